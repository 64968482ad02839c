//! Conditional requests: `If-Match` and its kin, on reads, on writes, and on the source of a copy.

use crate::http::Headers;
use crate::model::{ETag, ETagMatch, ReadConditions, WriteCondition};
use crate::s3::error::S3Error;
use crate::s3::time;

use super::{not_implemented, single, text};

/// A tag that nothing has, for a condition that names what cannot be a tag of ours.
const NO_TAG: ETag = ETag { hash: [0; 16], parts: u16::MAX };

const IF_MATCH: &str = "if-match";
const IF_NONE_MATCH: &str = "if-none-match";
const IF_MODIFIED_SINCE: &str = "if-modified-since";
const IF_UNMODIFIED_SINCE: &str = "if-unmodified-since";

/// The conditions of a read.
///
/// # Errors
/// `InvalidArgument` if a field is not text.
pub(crate) fn of_read(headers: &Headers<'_>) -> Result<ReadConditions, S3Error> {
    conditions(headers, [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE])
}

/// The conditions on the source of a copy.
///
/// # Errors
/// As [`of_read`].
pub(crate) fn of_copy_source(headers: &Headers<'_>) -> Result<ReadConditions, S3Error> {
    conditions(
        headers,
        [
            "x-amz-copy-source-if-match",
            "x-amz-copy-source-if-none-match",
            "x-amz-copy-source-if-modified-since",
            "x-amz-copy-source-if-unmodified-since",
        ],
    )
}

fn conditions(headers: &Headers<'_>, names: [&str; 4]) -> Result<ReadConditions, S3Error> {
    let [if_match, if_none_match, since, until] = names;
    Ok(ReadConditions {
        if_match: tags(headers, if_match, false)?,
        if_none_match: tags(headers, if_none_match, true)?,
        // A date that is none is no condition (RFC 9110, section 13.1.3).
        if_modified_since: single(headers, since)?.and_then(time::parse_http_date),
        if_unmodified_since: single(headers, until)?.and_then(time::parse_http_date),
    })
}

/// The condition of a write, decided at commit: `If-None-Match: *`, or `If-Match` with one tag or
/// `*`.
///
/// # Errors
/// `NotImplemented` for any other, and for those on dates.
pub(crate) fn of_write(headers: &Headers<'_>) -> Result<WriteCondition, S3Error> {
    refuse(headers, &[IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE])?;
    let if_match = tags(headers, IF_MATCH, false)?;
    match (if_match, tags(headers, IF_NONE_MATCH, true)?) {
        (None, None) => Ok(WriteCondition::None),
        (None, Some(ETagMatch::Any)) => Ok(WriteCondition::Absent),
        (Some(ETagMatch::Any), None) => Ok(WriteCondition::Present),
        (Some(ETagMatch::Tags(tags)), None) => match tags.as_slice() {
            [] => Ok(WriteCondition::Matches(NO_TAG)),
            [tag] => Ok(WriteCondition::Matches(*tag)),
            _ => Err(not_implemented(IF_MATCH)),
        },
        (_, Some(_)) => Err(not_implemented(IF_NONE_MATCH)),
    }
}

/// The condition of a delete: only `If-Match`.
///
/// # Errors
/// As [`of_write`].
pub(crate) fn of_delete(headers: &Headers<'_>) -> Result<WriteCondition, S3Error> {
    refuse(headers, &[IF_NONE_MATCH])?;
    of_write(headers)
}

/// The condition that an entity tag in a document makes.
pub(crate) fn of_tag(text: &str) -> WriteCondition {
    match text.trim() {
        "*" => WriteCondition::Present,
        text => WriteCondition::Matches(one_tag(text, false).unwrap_or(NO_TAG)),
    }
}

/// For operations that have no conditions.
///
/// # Errors
/// `NotImplemented` if there is one.
pub(crate) fn refuse_all(headers: &Headers<'_>) -> Result<(), S3Error> {
    refuse(headers, &[IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE])
}

fn refuse(headers: &Headers<'_>, names: &[&str]) -> Result<(), S3Error> {
    match names.iter().find(|name| headers.has(name)) {
        Some(name) => Err(not_implemented(name)),
        None => Ok(()),
    }
}

/// Reads the list of tags of all fields of this name. Weak tags fit only where `weak` (RFC 9110,
/// section 8.8.3.2).
fn tags(headers: &Headers<'_>, name: &str, weak: bool) -> Result<Option<ETagMatch>, S3Error> {
    let mut found: Option<Vec<ETag>> = None;
    for (field, value) in headers.named(name) {
        let list = found.get_or_insert_default();
        for tag in text(field, value)?.split(',').map(str::trim) {
            if tag == "*" {
                return Ok(Some(ETagMatch::Any));
            }
            list.extend(one_tag(tag, weak));
        }
    }
    Ok(found.map(ETagMatch::Tags))
}

/// Reads one tag, with or without its quotation marks.
fn one_tag(text: &str, weak: bool) -> Option<ETag> {
    let text = match text.strip_prefix("W/") {
        Some(rest) if weak => rest,
        Some(_) => return None,
        None => text,
    };
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    ETag::parse(bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Code;

    const TAG: &str = "d41d8cd98f00b204e9800998ecf8427e";

    fn with<T>(
        fields: &[(&str, &str)],
        read: impl Fn(&Headers<'_>) -> Result<T, S3Error>,
    ) -> Result<T, Code> {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| httparse::Header { name, value: value.as_bytes() })
            .collect();
        read(&Headers::new(&fields)).map_err(|error| error.code)
    }

    #[test]
    fn conditions_of_reads() {
        let tag = ETag::parse(TAG).expect("valid");
        let quoted = format!("\"{TAG}\"");
        let weak = format!("W/\"{TAG}\", \"x\"");
        let read = with(&[("If-Match", &weak), ("If-None-Match", &weak)], of_read).expect("text");
        assert_eq!(read.if_match, Some(ETagMatch::Tags(vec![])));
        assert_eq!(read.if_none_match, Some(ETagMatch::Tags(vec![tag])));
        let twice = [("If-Match", &*quoted), ("if-match", &*quoted)];
        let read = with(&twice, of_read).expect("text");
        assert_eq!(read.if_match, Some(ETagMatch::Tags(vec![tag, tag])));
        let read = with(
            &[
                ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("If-Unmodified-Since", "soon"),
            ],
            of_read,
        )
        .expect("text");
        assert_eq!((read.if_modified_since, read.if_unmodified_since), (Some(784_111_777), None));
        let source = with(&[("x-amz-copy-source-if-match", TAG)], of_copy_source).expect("text");
        assert_eq!(source.if_match, Some(ETagMatch::Tags(vec![tag])));
    }

    #[test]
    fn conditions_of_writes() {
        let tag = ETag::parse(TAG).expect("valid");
        let write = |name, value: &str| with(&[(name, value)], of_write);
        assert_eq!(write("If-None-Match", "*"), Ok(WriteCondition::Absent));
        assert_eq!(write("If-None-Match", TAG), Err(Code::NotImplemented));
        assert_eq!(write("If-Match", TAG), Ok(WriteCondition::Matches(tag)));
        assert_eq!(write("If-Match", "*"), Ok(WriteCondition::Present));
        assert_eq!(write("If-Match", "\"other\""), Ok(WriteCondition::Matches(NO_TAG)));
        assert_eq!(write("If-Match", &format!("{TAG}, {TAG}-2")), Err(Code::NotImplemented));
        assert_eq!(write("If-Modified-Since", ""), Err(Code::NotImplemented));
        assert_eq!(write("X-Other", ""), Ok(WriteCondition::None));
        let both = [("If-Match", TAG), ("If-None-Match", "*")];
        assert_eq!(with(&both, of_write), Err(Code::NotImplemented));
        assert_eq!(with(&[("If-None-Match", "*")], of_delete), Err(Code::NotImplemented));
        assert_eq!(of_tag(&format!("\"{TAG}\"")), WriteCondition::Matches(tag));
    }
}
