//! Names on the wire: percent-decoded once, checked, and hashed for the events.

use std::borrow::Cow;
use std::fmt::Write as _;

use crc_fast::{CrcAlgorithm, checksum};

use crate::model::{ArtifactKey, ContainerName, NameError, TenantId};
use crate::stdx::percent;

use super::error::{Code, S3Error};

/// Decodes one percent-encoded piece of a path.
///
/// # Errors
/// `InvalidURI` if a percent sign is not followed by two hexadecimal digits, or if the decoded
/// bytes are not UTF-8.
pub(crate) fn decode(raw: &str) -> Result<Cow<'_, str>, S3Error> {
    to_text(percent::decode(raw).map_err(|_| bad_encoding())?)
}

/// Decodes a name or value of a query, where a plus sign is a space.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_query(raw: &str) -> Result<Cow<'_, str>, S3Error> {
    to_text(percent::decode_query(raw).map_err(|_| bad_encoding())?)
}

fn to_text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, S3Error> {
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
    }
    .ok_or_else(|| S3Error::new(Code::InvalidURI, "The URI does not decode to UTF-8."))
}

fn bad_encoding() -> S3Error {
    S3Error::new(Code::InvalidURI, "Couldn't parse the specified URI.")
}

/// Checks a bucket's name.
///
/// # Errors
/// `InvalidBucketName`, with the name.
pub(crate) fn bucket(name: &str) -> Result<ContainerName, S3Error> {
    ContainerName::new(name)
        .map_err(|_| S3Error::from(Code::InvalidBucketName).with("BucketName", name))
}

/// Checks an object's key.
///
/// # Errors
/// `KeyTooLongError` or `InvalidArgument`.
pub(crate) fn key(key: &str) -> Result<ArtifactKey<'_>, S3Error> {
    ArtifactKey::new(key).map_err(S3Error::from)
}

impl From<NameError> for S3Error {
    fn from(error: NameError) -> Self {
        match error {
            NameError::InvalidContainer => Code::InvalidBucketName.into(),
            NameError::KeyTooLong => Self::from(Code::KeyTooLongError)
                .with("MaxSizeAllowed", ArtifactKey::LENGTH_MAX.to_string()),
            NameError::KeyEmpty => Self::new(Code::InvalidArgument, "The key is empty."),
            NameError::KeyHasNul => {
                Self::new(Code::InvalidArgument, "The key contains U+0000, which is not supported.")
            }
        }
    }
}

/// The fixed hash by which events know a name: CRC-64/NVME. 0 stands for no name.
#[must_use]
pub(crate) fn hash(name: &str) -> u64 {
    if name.is_empty() { 0 } else { checksum(CrcAlgorithm::Crc64Nvme, name.as_bytes()).max(1) }
}

/// The canonical user id of a tenant: 64 hexadecimal digits that never change.
#[must_use]
pub(crate) fn owner_id(tenant: TenantId) -> String {
    let mut seed = b"vaultaire tenant ".to_vec();
    seed.extend_from_slice(&tenant.0.to_be_bytes());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &seed);
    let mut text = String::with_capacity(64);
    for byte in digest.as_ref() {
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_is_done_once_and_refuses_what_is_not_text() {
        for (raw, expected) in [
            ("a%20b", "a b"),
            ("a+b", "a+b"),
            ("%2525", "%25"),
            ("%F0%9F%A6%80", "🦀"),
            ("..", ".."),
        ] {
            assert_eq!(decode(raw).expect("valid"), expected);
        }
        for raw in ["%", "%4", "%zz", "%ff", "%C3%28"] {
            assert_eq!(decode(raw).expect_err(raw).code, Code::InvalidURI);
        }
        assert_eq!(decode_query("a+b%2B").expect("valid"), "a b+");
    }

    #[test]
    fn names_that_are_not_valid_have_their_codes() {
        assert_eq!(bucket("A").expect_err("short").code, Code::InvalidBucketName);
        assert_eq!(key(&"k".repeat(1025)).expect_err("long").code, Code::KeyTooLongError);
        assert_eq!(key("a\0b").expect_err("nul").code, Code::InvalidArgument);
        assert!(key("a//../b").is_ok());
    }

    #[test]
    fn hashes_and_owners_never_change() {
        assert_eq!(hash(""), 0);
        assert_eq!(hash("123456789"), 0xae8b_1486_0a79_9888);
        assert_eq!(owner_id(TenantId::DEFAULT), owner_id(TenantId(0)));
        assert_ne!(owner_id(TenantId(1)), owner_id(TenantId(0)));
        assert_eq!(owner_id(TenantId(7)).len(), 64);
    }
}
