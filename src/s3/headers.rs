//! Headers to and from the model: metadata, conditions, ranges, checksums, and the table of what is
//! accepted without effect.

pub(crate) mod accepted;
pub(crate) mod checksum;
pub(crate) mod condition;
pub(crate) mod metadata;
pub(crate) mod range;

use crate::http::Headers;

use super::error::{Code, S3Error};

/// The one value of a field; repeating it with the same value is harmless.
///
/// # Errors
/// `InvalidArgument` if it is not UTF-8 or has several values, for then it would be a matter of
/// luck which of them is heeded.
pub(crate) fn single<'a>(headers: &Headers<'a>, name: &str) -> Result<Option<&'a str>, S3Error> {
    let mut found = None;
    for (field, value) in headers.named(name) {
        let value = text(field, value)?;
        if found.is_some_and(|other| other != value) {
            return Err(invalid(name, "The header has several values."));
        }
        found = Some(value);
    }
    Ok(found)
}

/// A field's value as text, without surrounding space.
///
/// # Errors
/// `InvalidArgument` if it is not UTF-8.
pub(crate) fn text<'a>(name: &str, value: &'a [u8]) -> Result<&'a str, S3Error> {
    std::str::from_utf8(value)
        .map(str::trim)
        .map_err(|_| invalid(name, "The header's value is not UTF-8."))
}

/// `InvalidArgument` about a field.
pub(crate) fn invalid(name: &str, message: &'static str) -> S3Error {
    S3Error::new(Code::InvalidArgument, message).with("ArgumentName", name)
}

/// `NotImplemented` about a field or parameter.
pub(crate) fn not_implemented(name: &str) -> S3Error {
    S3Error::from(Code::NotImplemented).with("Header", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_one_value() {
        let field = |name, value| httparse::Header { name, value };
        let fields =
            [field("A", &b" x "[..]), field("a", b"x"), field("B", b"1"), field("b", b"2")];
        let headers = Headers::new(&fields);
        assert_eq!(single(&headers, "a").expect("one"), Some("x"));
        assert_eq!(single(&headers, "c").expect("none"), None);
        assert!(single(&headers, "b").is_err());
        let fields = [field("a", &b"\xff"[..])];
        assert!(single(&Headers::new(&fields), "a").is_err());
    }
}
