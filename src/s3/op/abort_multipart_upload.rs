//! AbortMultipartUpload:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>

use crate::context::Context;
use crate::driver::Target;
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let target = Target { container: &bucket, key: call.key()? };
    call.engine().abort_upload(ctx, target, call.upload_id()?).await?;
    Ok(Answer::empty(204))
}
