//! HeadBucket: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>

use crate::context::Context;
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    call.engine().head_container(ctx, &call.bucket()?).await?;
    let mut answer = Answer::empty(200);
    answer.headers.push("x-amz-bucket-region", &call.service.config.region);
    Ok(answer)
}
