//! DeleteObject: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>

use crate::context::Context;
use crate::driver::Deletion;
use crate::s3::call::{Answer, Call};
use crate::s3::error::{Code, S3Error};
use crate::s3::headers::condition;

use super::write::with_condition;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let condition = condition::of_delete(call.headers())?;
    let deletion = Deletion { key: call.key()?, condition };
    let results = call.engine().delete(ctx, &bucket, &[deletion]).await?;
    match results.into_iter().next() {
        Some(Ok(())) => Ok(Answer::empty(204)),
        Some(Err(error)) => Err(with_condition(error, condition)),
        None => Err(Code::InternalError.into()),
    }
}
