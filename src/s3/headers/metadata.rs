//! Metadata from a request's headers, and back into an answer's.

use crate::http::{HeaderBlock, Headers};
use crate::model::{ArtifactInfo, Metadata, MetadataBuilder, MetadataField};
use crate::s3::error::{Code, S3Error};
use crate::s3::query::Query;
use crate::s3::time;

use super::{invalid, single, text};

/// Most bytes of user metadata, names and values together
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).
const USER_BYTES_MAX: usize = 2 << 10;

/// The media type of what was stored without one.
const CONTENT_TYPE_DEFAULT: &str = "binary/octet-stream";

const USER_PREFIX: &str = "x-amz-meta-";

/// The fields of the standard, with the parameter that overrides each in an answer.
const STANDARD: [(&str, MetadataField<'static>, &str); 7] = [
    ("Content-Type", MetadataField::ContentType, "response-content-type"),
    ("Cache-Control", MetadataField::CacheControl, "response-cache-control"),
    ("Content-Disposition", MetadataField::ContentDisposition, "response-content-disposition"),
    ("Content-Encoding", MetadataField::ContentEncoding, "response-content-encoding"),
    ("Content-Language", MetadataField::ContentLanguage, "response-content-language"),
    ("Expires", MetadataField::Expires, "response-expires"),
    ("x-amz-website-redirect-location", MetadataField::WebsiteRedirect, ""),
];

/// The metadata that a write carries.
///
/// # Errors
/// `MetadataTooLarge`, or `InvalidArgument` if a value is not UTF-8.
pub(crate) fn from_headers(headers: &Headers<'_>) -> Result<Metadata, S3Error> {
    let mut builder = MetadataBuilder::default();
    for (name, field, _) in STANDARD {
        let Some(value) = single(headers, name)? else { continue };
        let value = if field == MetadataField::ContentEncoding {
            &*without_transport_coding(value)
        } else {
            value
        };
        if !value.is_empty() && !builder.push(field, value) {
            return Err(invalid(name, "The header's value is too long."));
        }
    }
    let user = user_metadata(headers)?;
    let size: usize = user.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > USER_BYTES_MAX {
        return Err(too_large(size));
    }
    for (name, value) in &user {
        if !builder.push(MetadataField::User(name), value) {
            return Err(too_large(size));
        }
    }
    Ok(builder.finish())
}

fn too_large(size: usize) -> S3Error {
    S3Error::from(Code::MetadataTooLarge)
        .with("Size", size.to_string())
        .with("MaxSizeAllowed", USER_BYTES_MAX.to_string())
}

/// Names in lower case; a name that is there twice has its values joined.
fn user_metadata(headers: &Headers<'_>) -> Result<Vec<(String, String)>, S3Error> {
    let mut user: Vec<(String, String)> = Vec::new();
    for (name, value) in headers.iter() {
        let prefixed = name
            .get(..USER_PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(USER_PREFIX));
        if !prefixed {
            continue;
        }
        let value = text(name, value)?;
        let name = name[USER_PREFIX.len()..].to_ascii_lowercase();
        if name.is_empty() {
            return Err(invalid(USER_PREFIX, "A metadata header has no name."));
        }
        match user.iter_mut().find(|(other, _)| *other == name) {
            Some((_, values)) => {
                values.push(',');
                values.push_str(value);
            }
            None => user.push((name, value.to_owned())),
        }
    }
    Ok(user)
}

/// Leaves out `aws-chunked`, which is how the body travelled, not what it is.
fn without_transport_coding(value: &str) -> String {
    let codings: Vec<_> = value
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    codings.join(",")
}

/// Adds to an answer what describes an artifact: its tag, time and metadata. A signed request may
/// override the standard fields; every request that gets this far is signed.
pub(crate) fn push(out: &mut HeaderBlock, info: &ArtifactInfo, query: &Query<'_>) {
    push_validators(out, info);
    let mut typed = false;
    let mut overridden = [false; STANDARD.len()];
    let parameters = if query.is_empty() { &[] } else { &STANDARD[..] };
    for (index, (name, field, parameter)) in parameters.iter().enumerate() {
        if let Some(value) = query.non_empty(parameter) {
            out.push(name, value);
            overridden[index] = true;
            typed |= *field == MetadataField::ContentType;
        }
    }
    let mut name_buffer = String::new();
    for (field, value) in info.metadata.iter() {
        if let MetadataField::User(name) = field {
            name_buffer.clear();
            name_buffer.push_str(USER_PREFIX);
            name_buffer.push_str(name);
            out.push(&name_buffer, value);
            continue;
        }
        let Some(index) = STANDARD.iter().position(|row| row.1 == field) else { continue };
        if !overridden[index] {
            out.push(STANDARD[index].0, value);
            typed |= field == MetadataField::ContentType;
        }
    }
    if !typed {
        out.push("Content-Type", CONTENT_TYPE_DEFAULT);
    }
}

/// Adds to an answer what a cache validates by, as for a 304.
pub(crate) fn push_validators(out: &mut HeaderBlock, info: &ArtifactInfo) {
    out.push_with("ETag", |out| {
        out.push(b'"');
        info.etag.write_to(out);
        out.push(b'"');
    });
    out.push_with("Last-Modified", |out| time::write_imf_fixdate(info.modified_ms, out));
}

/// Adds to a 304 the fields that steer caches (RFC 9110, section 15.4.5).
pub(crate) fn push_caching(out: &mut HeaderBlock, info: &ArtifactInfo) {
    for (name, field) in
        [("Cache-Control", MetadataField::CacheControl), ("Expires", MetadataField::Expires)]
    {
        if let Some(value) = info.metadata.get(field) {
            out.push(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ETag;

    fn metadata(fields: &[(&str, &[u8])]) -> Result<Metadata, Code> {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| httparse::Header { name, value }).collect();
        from_headers(&Headers::new(&fields)).map_err(|error| error.code)
    }

    fn rendered(metadata: Metadata, query: &str) -> String {
        let info = ArtifactInfo {
            size: 1,
            etag: ETag { hash: [0xab; 16], parts: 2 },
            modified_ms: 784_111_777_999,
            metadata,
            checksum: None,
        };
        let mut out = HeaderBlock::default();
        push(&mut out, &info, &Query::parse(query).expect("valid"));
        String::from_utf8(out.as_bytes().to_vec()).expect("text")
    }

    #[test]
    fn metadata_comes_back() {
        let stored = metadata(&[
            ("content-type", b"text/plain"),
            ("Content-Encoding", b"aws-chunked, gzip"),
            ("X-Amz-Meta-Colour", "grün".as_bytes()),
            ("x-amz-meta-colour", b"red"),
            ("Cache-Control", b"no-cache"),
        ])
        .expect("valid");
        let text = rendered(stored.clone(), "");
        for line in [
            "ETag: \"abababababababababababababababab-2\"\r\n",
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            "Content-Type: text/plain\r\n",
            "Content-Encoding: gzip\r\n",
            "Cache-Control: no-cache\r\n",
            "x-amz-meta-colour: grün,red\r\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let text = rendered(stored, "response-content-type=a/b&response-cache-control=x%0d%0ay");
        assert!(text.contains("Content-Type: a/b\r\n") && !text.contains("text/plain"), "{text}");
        assert!(text.contains("Cache-Control: x  y\r\n"), "{text}");
    }

    #[test]
    fn a_media_type_is_always_told() {
        let only_chunked = metadata(&[("Content-Encoding", b"aws-chunked")]).expect("valid");
        assert_eq!(only_chunked, Metadata::default());
        let text = rendered(only_chunked, "");
        assert!(text.contains("Content-Type: binary/octet-stream\r\n"));
        assert!(!text.contains("Content-Encoding"));
    }

    #[test]
    fn limits_hold() {
        let value = vec![b'v'; USER_BYTES_MAX - 1];
        assert!(metadata(&[("x-amz-meta-k", &value)]).is_ok());
        let value = vec![b'v'; USER_BYTES_MAX];
        assert_eq!(metadata(&[("x-amz-meta-k", &value)]), Err(Code::MetadataTooLarge));
        assert_eq!(metadata(&[("x-amz-meta-k", b"\xff")]), Err(Code::InvalidArgument));
        assert_eq!(metadata(&[("x-amz-meta-", b"v")]), Err(Code::InvalidArgument));
    }
}
