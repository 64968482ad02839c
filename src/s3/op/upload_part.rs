//! UploadPart: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html>

use crate::context::Context;
use crate::driver::Target;
use crate::http::Body;
use crate::s3::auth::{BodySource, ChecksumPlan};
use crate::s3::call::{Answer, Call, argument};
use crate::s3::error::S3Error;
use crate::s3::headers::checksum;

use super::write::quoted;

pub(crate) async fn serve<B: Body>(
    ctx: &Context,
    call: &Call<'_>,
    body: &mut B,
) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let target = Target { container: &bucket, key: call.key()? };
    let upload = call.upload_id()?;
    let number = call
        .part_number()?
        .ok_or_else(|| argument("partNumber", "", "There is no part number."))?;
    // Before the body is asked for, so that an upload that is gone costs no transfer.
    let info = call.engine().head_upload(ctx, target, upload).await?;
    let plan = ChecksumPlan {
        required: info.checksum.map(|(algorithm, _)| algorithm),
        etag: call.engine().etag,
    };
    let limit = call.service.config.body_bytes_max;
    let mut source = BodySource::new(call.head, &call.identity, body, limit, plan)?;
    let part = call.engine().put_part(ctx, target, upload, number, &mut source).await?;
    let mut answer = Answer::empty(200);
    answer.headers.push("ETag", &quoted(part.etag));
    checksum::push_part(&mut answer.headers, part.checksum.as_ref());
    Ok(answer)
}
