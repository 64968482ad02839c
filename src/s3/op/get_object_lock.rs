//! GetObjectRetention and GetObjectLegalHold, in buckets that lock nothing.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectRetention.html>

use crate::context::Context;
use crate::driver::Target;
use crate::engine::Selection;
use crate::model::ReadConditions;
use crate::s3::call::{Answer, Call};
use crate::s3::error::{Code, S3Error};

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let target = Target { container: &bucket, key: call.key()? };
    call.engine().head(ctx, target, &ReadConditions::default(), Selection::Whole).await?;
    Err(S3Error::new(Code::InvalidRequest, "Bucket is missing Object Lock Configuration"))
}
