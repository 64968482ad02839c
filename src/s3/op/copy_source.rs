//! The source of a copy, as `x-amz-copy-source` names it.

use crate::model::ContainerName;
use crate::s3::call::Call;
use crate::s3::error::{Code, S3Error};
use crate::s3::headers::{invalid, single};
use crate::s3::name;

const HEADER: &str = "x-amz-copy-source";

/// Where to copy from.
#[derive(Debug)]
pub(crate) struct CopySource {
    /// The bucket.
    pub(crate) bucket: ContainerName,
    /// The key, not checked yet.
    pub(crate) key: String,
}

impl CopySource {
    /// Reads the header, and checks that the tenant is the owner whom the client expects.
    ///
    /// # Errors
    /// `InvalidArgument`, `InvalidBucketName`, `NoSuchVersion` or `AccessDenied`.
    pub(crate) fn of(call: &Call<'_>) -> Result<Self, S3Error> {
        call.check_owner("x-amz-source-expected-bucket-owner")?;
        Self::parse(single(call.headers(), HEADER)?.unwrap_or_default())
    }

    /// `[/]bucket/key[?versionId=null]`, percent-encoded. A question mark of the key itself is
    /// encoded, so the first bare one ends it.
    fn parse(text: &str) -> Result<Self, S3Error> {
        let (path, version) = match text.split_once("?versionId=") {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        if path.contains('?') || path.starts_with("arn:") {
            return Err(malformed());
        }
        let path = name::decode(path).map_err(|_| malformed())?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path.split_once('/').ok_or_else(malformed)?;
        if key.is_empty() {
            return Err(malformed());
        }
        match version {
            None | Some("null") => Ok(Self { bucket: name::bucket(bucket)?, key: key.to_owned() }),
            Some("") => Err(malformed()),
            Some(other) => {
                Err(S3Error::from(Code::NoSuchVersion).with("Key", key).with("VersionId", other))
            }
        }
    }
}

fn malformed() -> S3Error {
    invalid(HEADER, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read() {
        for (text, key) in [
            ("/bucket/a/b", "a/b"),
            ("bucket/a%2Fb%3Fc", "a/b?c"),
            ("bucket%2Fkey", "key"),
            ("/bucket//a+b", "/a+b"),
            ("bucket/k?versionId=null", "k"),
        ] {
            let source = CopySource::parse(text).expect(text);
            assert_eq!((source.bucket.as_str(), source.key.as_str()), ("bucket", key));
        }
        for (text, code) in [
            ("", Code::InvalidArgument),
            ("/bucket", Code::InvalidArgument),
            ("/bucket/", Code::InvalidArgument),
            ("bucket/%ff", Code::InvalidArgument),
            ("bucket/k?versionId=", Code::InvalidArgument),
            ("bucket/k?other=1", Code::InvalidArgument),
            ("arn:aws:s3:::accesspoint/x/object/k", Code::InvalidArgument),
            ("B/k", Code::InvalidBucketName),
            ("bucket/k?versionId=abc", Code::NoSuchVersion),
        ] {
            assert_eq!(CopySource::parse(text).expect_err(text).code, code, "{text}");
        }
    }
}
