//! What the operations that make an object share.

use crate::driver::DriverError;
use crate::engine::EngineError;
use crate::model::{ETag, WriteCondition};
use crate::s3::error::S3Error;

/// The error of a write, with the condition that failed at commit. One that asked for an object
/// where there is none is `NoSuchKey`
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>).
pub(crate) fn with_condition(error: EngineError, condition: WriteCondition) -> S3Error {
    let decided = matches!(error, EngineError::Driver(DriverError::PreconditionFailed));
    let error = S3Error::from(error);
    match condition {
        _ if !decided => error,
        WriteCondition::None => error,
        WriteCondition::Absent => error.with("Condition", "If-None-Match"),
        WriteCondition::Present | WriteCondition::Matches(_) => error.with("Condition", "If-Match"),
    }
}

/// An entity tag in its quotation marks.
pub(crate) fn quoted(etag: ETag) -> String {
    format!("\"{etag}\"")
}
