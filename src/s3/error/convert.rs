//! What lower layers say, in the codes of the protocol.

use crate::context::Interrupted;
use crate::driver::{BodyError, DriverError};
use crate::engine::{COPY_BYTES_MAX, EngineError};
use crate::s3::headers::checksum;

use super::{Code, S3Error};

impl From<Interrupted> for S3Error {
    fn from(error: Interrupted) -> Self {
        match error {
            Interrupted::Cancelled => Code::ClientDisconnected.into(),
            Interrupted::DeadlineExceeded => {
                Self::new(Code::ServiceUnavailable, "The request took longer than is allowed.")
            }
        }
    }
}

impl From<BodyError> for S3Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Truncated => Code::IncompleteBody.into(),
            BodyError::Disconnected => Code::ClientDisconnected.into(),
            BodyError::TooSlow => Code::RequestTimeout.into(),
            BodyError::Malformed(what) => {
                Self::new(Code::InvalidRequest, format!("The body is malformed: {what}."))
            }
            BodyError::TooLarge => Code::EntityTooLarge.into(),
            BodyError::Md5Mismatch => Self::new(
                Code::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            ),
            BodyError::Sha256Mismatch => Code::XAmzContentSHA256Mismatch.into(),
            BodyError::ChecksumMismatch(algorithm) => Self::new(
                Code::BadDigest,
                format!(
                    "The {} you specified did not match the calculated checksum.",
                    checksum::algorithm_name(algorithm)
                ),
            ),
            BodyError::SignatureMismatch => Code::SignatureDoesNotMatch.into(),
            BodyError::CopySource => failure(&error),
            BodyError::Interrupted(error) => error.into(),
        }
    }
}

impl From<DriverError> for S3Error {
    fn from(error: DriverError) -> Self {
        match error {
            DriverError::NoSuchContainer => Code::NoSuchBucket.into(),
            DriverError::ContainerExists => Code::BucketAlreadyOwnedByYou.into(),
            DriverError::ContainerNotEmpty => Code::BucketNotEmpty.into(),
            DriverError::NoSuchArtifact => Code::NoSuchKey.into(),
            DriverError::NoSuchUpload => Code::NoSuchUpload.into(),
            DriverError::PreconditionFailed => Code::PreconditionFailed.into(),
            DriverError::InvalidPart(number) => {
                Self::from(Code::InvalidPart).with("PartNumber", number.to_string())
            }
            DriverError::InvalidPartOrder => Code::InvalidPartOrder.into(),
            DriverError::PartTooSmall { number, size, size_min } => {
                Self::from(Code::EntityTooSmall)
                    .with("ProposedSize", size.to_string())
                    .with("MinSizeAllowed", size_min.to_string())
                    .with("PartNumber", number.to_string())
            }
            DriverError::CompletionMismatch => Self::new(
                Code::BadDigest,
                "The size or checksum you specified does not follow from the parts.",
            ),
            DriverError::Body(error) => error.into(),
            DriverError::Interrupted(error) => error.into(),
            DriverError::Overloaded => Code::SlowDown.into(),
            DriverError::Full => Code::InsufficientStorage.into(),
            DriverError::Unsupported => Code::NotImplemented.into(),
            DriverError::Poisoned | DriverError::Corrupt | DriverError::Io(_) => failure(&error),
        }
    }
}

impl From<EngineError> for S3Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Driver(error) => error.into(),
            EngineError::NotModified(_) => Code::NotModified.into(),
            EngineError::PreconditionFailed => Code::PreconditionFailed.into(),
            EngineError::RangeNotSatisfiable { size } => {
                Self::from(Code::InvalidRange).with("ActualObjectSize", size.to_string())
            }
            EngineError::NoSuchPart => Code::InvalidPartNumber.into(),
            EngineError::CopySourceMissing => Code::NoSuchKey.into(),
            EngineError::CopySourceTooLarge => Self::new(
                Code::InvalidRequest,
                format!(
                    "The specified copy source is larger than the maximum allowable size for a \
                     copy source: {COPY_BYTES_MAX}"
                ),
            ),
        }
    }
}

/// A failure of ours. What it was goes to the log and not to the client.
fn failure(error: &dyn std::error::Error) -> S3Error {
    tracing::error!(%error, "a request failed");
    Code::InternalError.into()
}
