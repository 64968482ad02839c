//! What the operations that make an object share.

use crate::context::Context;
use crate::driver::{DriverError, Target};
use crate::engine::{EngineError, Selection};
use crate::model::{ETag, ReadConditions, WriteCondition};
use crate::s3::call::Call;
use crate::s3::error::{Code, S3Error};

/// The error of a write. An `If-Match` that failed because there is no object is `NoSuchKey`
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>). That is
/// looked up after the decision, and so is advice on why, not part of it.
pub(crate) async fn failure(
    ctx: &Context,
    call: &Call<'_>,
    target: Target<'_>,
    condition: WriteCondition,
    error: EngineError,
) -> S3Error {
    let on_present = matches!(condition, WriteCondition::Present | WriteCondition::Matches(_));
    if !on_present || !matches!(error, EngineError::Driver(DriverError::PreconditionFailed)) {
        return with_condition(error, condition);
    }
    let any = ReadConditions::default();
    match call.engine().head(ctx, target, &any, Selection::Whole).await {
        Err(EngineError::Driver(DriverError::NoSuchArtifact)) => Code::NoSuchKey.into(),
        _ => with_condition(error, condition),
    }
}

/// Names the condition that failed at commit.
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
