//! DeleteBucket: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html>

use crate::context::Context;
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    call.engine().delete_container(ctx, &call.bucket()?).await?;
    Ok(Answer::empty(204))
}
