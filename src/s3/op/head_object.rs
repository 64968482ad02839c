//! HeadObject: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>

use crate::context::Context;
use crate::driver::Target;
use crate::http::ResponseBody;
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;
use crate::s3::headers::{checksum, condition};

use super::get_object::{describe, refusal, selection};

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let target = Target { container: &bucket, key: call.key()? };
    let conditions = condition::of_read(call.headers())?;
    let checksums = checksum::mode(call.headers())?;
    match call.engine().head(ctx, target, &conditions, selection(call)?).await {
        Ok(opened) => {
            let mut answer = describe(call, &opened, checksums);
            answer.body = ResponseBody::Declared(opened.range.length);
            Ok(answer)
        }
        Err(error) => refusal(error),
    }
}
