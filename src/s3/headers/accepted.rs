//! The table of `x-amz-` fields: which are read, which change nothing and are accepted, and which
//! would change the meaning of a request and are refused.
//!
//! A field that is not in the table is refused: a condition, a lock or an encryption that went
//! unheeded would be worse than an error.

use crate::http::Headers;
use crate::s3::error::{Code, S3Error};
use crate::s3::query::Query;

use super::{not_implemented, text};

/// What is done about a field.
#[derive(Clone, Copy)]
enum Rule {
    /// Something reads it, from the header. Presigned requests may carry fields in the query, where
    /// nothing reads these.
    Read,
    /// Changes nothing, whatever its value.
    Harmless,
    /// Changes nothing with one of these values; refused with any other.
    Only(&'static [&'static str]),
    /// As `Only`, but a value that is none of the second list either is not even valid.
    StorageClass(&'static [&'static str], &'static [&'static str]),
}

use Rule::{Harmless, Only, Read, StorageClass};

/// Sorted by name, which comes without its `x-amz-`.
const RULES: &[(&str, Rule)] = &[
    ("acl", Only(&["private", "bucket-owner-full-control"])),
    ("bucket-object-lock-enabled", Only(&["false", "False"])),
    // Nothing is locked, so nothing is bypassed.
    ("bypass-governance-retention", Harmless),
    ("cf-id", Harmless),
    ("checksum-algorithm", Read),
    ("checksum-crc32", Read),
    ("checksum-crc32c", Read),
    ("checksum-crc64nvme", Read),
    ("checksum-mode", Read),
    ("checksum-sha1", Read),
    ("checksum-sha256", Read),
    ("checksum-type", Read),
    ("content-sha256", Harmless),
    ("copy-source", Read),
    ("copy-source-if-match", Read),
    ("copy-source-if-modified-since", Read),
    ("copy-source-if-none-match", Read),
    ("copy-source-if-unmodified-since", Read),
    ("copy-source-range", Read),
    ("date", Harmless),
    ("decoded-content-length", Read),
    ("expected-bucket-owner", Read),
    ("max-parts", Read),
    ("metadata-directive", Read),
    ("mfa", Harmless),
    ("mp-object-size", Read),
    ("object-attributes", Read),
    ("object-ownership", Only(&["BucketOwnerEnforced"])),
    // Asks a listing for the state of restores, of which there are none.
    ("optional-object-attributes", Harmless),
    ("part-number-marker", Read),
    ("request-payer", Harmless),
    ("sdk-checksum-algorithm", Harmless),
    ("security-token", Harmless),
    ("source-expected-bucket-owner", Read),
    ("storage-class", StorageClass(&["STANDARD"], STORAGE_CLASSES)),
    ("tagging", Only(&[""])),
    // There are no tags to copy or to replace.
    ("tagging-directive", Only(&["COPY", "REPLACE"])),
    ("trailer", Read),
    ("user-agent", Harmless),
    ("website-redirect-location", Read),
];

const STORAGE_CLASSES: &[&str] = &[
    "DEEP_ARCHIVE",
    "EXPRESS_ONEZONE",
    "FSX_ONTAP",
    "FSX_OPENZFS",
    "GLACIER",
    "GLACIER_IR",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "OUTPOSTS",
    "REDUCED_REDUNDANCY",
    "SNOW",
    "STANDARD_IA",
];

/// The names by which a signature travels in the query.
const SIGNATURE: &[&str] =
    &["algorithm", "credential", "date", "expires", "security-token", "signature", "signedheaders"];

/// Refuses a request that carries what would change its meaning and is not implemented.
///
/// # Errors
/// `NotImplemented`, or `InvalidStorageClass`.
pub(crate) fn check(headers: &Headers<'_>, query: &Query<'_>) -> Result<(), S3Error> {
    for (name, value) in headers.iter() {
        let Some(rest) = amz(name) else { continue };
        if !starts_with(rest, "meta-") {
            heed(name, rest, text(name, value)?, false)?;
        }
    }
    for (name, value) in query.iter() {
        let Some(rest) = amz(name) else { continue };
        if !SIGNATURE.iter().any(|known| rest.eq_ignore_ascii_case(known)) {
            heed(name, rest, value, true)?;
        }
    }
    Ok(())
}

fn amz(name: &str) -> Option<&str> {
    starts_with(name, "x-amz-").then(|| &name[6..])
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn heed(name: &str, rest: &str, value: &str, in_query: bool) -> Result<(), S3Error> {
    let lower = || rest.bytes().map(|byte| byte.to_ascii_lowercase());
    let found = RULES.binary_search_by(|(known, _)| known.bytes().cmp(lower()));
    match found.ok().map(|index| RULES[index].1) {
        Some(Read) if !in_query => Ok(()),
        Some(Harmless) => Ok(()),
        Some(Only(values)) if values.contains(&value) => Ok(()),
        Some(StorageClass(values, _)) if values.contains(&value) => Ok(()),
        Some(StorageClass(_, known)) if !known.contains(&value) => {
            Err(S3Error::from(Code::InvalidStorageClass).with("StorageClassRequested", value))
        }
        _ => Err(not_implemented(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<(), Code> {
        let fields = [httparse::Header { name, value: value.as_bytes() }];
        check(&Headers::new(&fields), &Query::default()).map_err(|error| error.code)
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(RULES.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn what_changes_nothing_is_accepted_and_the_rest_is_not() {
        for (name, value) in [
            ("X-Amz-Acl", "private"),
            ("x-amz-acl", "bucket-owner-full-control"),
            ("x-amz-storage-class", "STANDARD"),
            ("x-amz-request-payer", "requester"),
            ("x-amz-meta-anything", "at all"),
            ("x-amz-tagging", ""),
            ("x-amz-bucket-object-lock-enabled", "false"),
            ("x-amzn-trace-id", "1"),
            ("X-Forwarded-For", "::1"),
        ] {
            assert_eq!(checked(name, value), Ok(()), "{name}");
        }
        for (name, value) in [
            ("x-amz-acl", "public-read"),
            ("x-amz-storage-class", "GLACIER"),
            ("x-amz-tagging", "a=b"),
            ("x-amz-grant-read", "id=1"),
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-server-side-encryption-customer-key", "k"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-object-lock-legal-hold", "OFF"),
            ("x-amz-bucket-object-lock-enabled", "true"),
            ("x-amz-write-offset-bytes", "0"),
            ("x-amz-if-match-size", "0"),
            ("x-amz-unheard", ""),
        ] {
            assert_eq!(checked(name, value), Err(Code::NotImplemented), "{name}");
        }
        assert_eq!(checked("x-amz-storage-class", "COLD"), Err(Code::InvalidStorageClass));
    }

    #[test]
    fn presigned_fields_are_heeded_or_refused() {
        let checked = |raw: &str| {
            check(&Headers::new(&[]), &Query::parse(raw).expect("valid")).map_err(|e| e.code)
        };
        assert_eq!(checked("X-Amz-Signature=1&X-Amz-SignedHeaders=h&x-id=PutObject"), Ok(()));
        assert_eq!(checked("x-amz-acl=private&x-amz-sdk-checksum-algorithm=CRC32"), Ok(()));
        assert_eq!(checked("x-amz-acl=public-read"), Err(Code::NotImplemented));
        assert_eq!(checked("x-amz-checksum-crc32=AAAAAA=="), Err(Code::NotImplemented));
        assert_eq!(checked("x-amz-meta-a=b"), Err(Code::NotImplemented));
    }
}
