//! Ranges of bytes: `Range` and `Content-Range` (RFC 9110, section 14), and a part copy's own.

use crate::http::Headers;
use crate::model::{ByteRange, RangeRequest};
use crate::s3::error::{Code, S3Error};

use super::single;

/// The range that a read asks for. What is not one valid range of bytes is ignored, as is any
/// range under an `If-Range`: the whole is always a right answer.
///
/// # Errors
/// `InvalidArgument` if the field is not text or is there twice.
pub(crate) fn of_read(headers: &Headers<'_>) -> Result<Option<RangeRequest>, S3Error> {
    let range = single(headers, "range")?;
    Ok(if headers.has("if-range") { None } else { range.and_then(parse) })
}

fn parse(text: &str) -> Option<RangeRequest> {
    let (unit, range) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    match range.trim().split_once('-')? {
        ("", length) => Some(RangeRequest::Suffix(number(length)?)),
        (first, "") => Some(RangeRequest::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(RangeRequest::Between(first, last))
        }
    }
}

/// Digits alone; what is too large is as large as can be.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The first and last byte that a part copy takes of its source.
///
/// # Errors
/// `InvalidArgument` unless it is `bytes=first-last`.
pub(crate) fn of_copy_source(headers: &Headers<'_>) -> Result<Option<(u64, u64)>, S3Error> {
    let Some(text) = single(headers, "x-amz-copy-source-range")? else { return Ok(None) };
    match text.starts_with("bytes=").then(|| parse(text)).flatten() {
        Some(RangeRequest::Between(first, last)) => Ok(Some((first, last))),
        _ => Err(S3Error::new(
            Code::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first \
             and last are the zero-based offsets of the first and last bytes to copy",
        )
        .with("ArgumentName", "x-amz-copy-source-range")
        .with("ArgumentValue", text)),
    }
}

/// The value of `Content-Range`.
#[must_use]
pub(crate) fn content_range(range: ByteRange, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.offset, range.end().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_valid_range_or_none() {
        for (text, expected) in [
            ("bytes=0-0", Some(RangeRequest::Between(0, 0))),
            ("Bytes=5-", Some(RangeRequest::From(5))),
            ("bytes=-5", Some(RangeRequest::Suffix(5))),
            ("bytes=1-99999999999999999999", Some(RangeRequest::Between(1, u64::MAX))),
            ("bytes=0-1,3-4", None),
            ("bytes=5-4", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=a-b", None),
            ("lines=0-1", None),
            ("bytes", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
            let fields = [httparse::Header { name: "Range", value: text.as_bytes() }];
            assert_eq!(of_read(&Headers::new(&fields)).expect("text"), expected);
        }
        let fields = [
            httparse::Header { name: "Range", value: b"bytes=0-1" },
            httparse::Header { name: "If-Range", value: b"\"x\"" },
        ];
        assert_eq!(of_read(&Headers::new(&fields)).expect("text"), None);
    }

    #[test]
    fn a_part_copy_names_both_ends() {
        let range = |text: &str| {
            let fields =
                [httparse::Header { name: "x-amz-copy-source-range", value: text.as_bytes() }];
            of_copy_source(&Headers::new(&fields)).map_err(|error| error.code)
        };
        assert_eq!(range("bytes=0-9"), Ok(Some((0, 9))));
        for bad in ["bytes=0-", "bytes=-9", "0-9", "bytes=9-0", ""] {
            assert_eq!(range(bad), Err(Code::InvalidArgument), "{bad}");
        }
        assert_eq!(of_copy_source(&Headers::new(&[])).expect("none"), None);
    }

    #[test]
    fn content_range_is_inclusive() {
        assert_eq!(content_range(ByteRange { offset: 2, length: 3 }, 10), "bytes 2-4/10");
    }
}
