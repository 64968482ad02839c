//! PutObject: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>

use crate::context::Context;
use crate::driver::{Target, WriteSpec};
use crate::http::Body;
use crate::s3::auth::{BodySource, ChecksumPlan};
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;
use crate::s3::headers::{checksum, condition, metadata, not_implemented};

use super::write::{quoted, with_condition};

pub(crate) async fn serve<B: Body>(
    ctx: &Context,
    call: &Call<'_>,
    body: &mut B,
) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let target = Target { container: &bucket, key: call.key()? };
    // A fragment must not replace the whole (RFC 9110, section 14.5).
    if call.headers().has("content-range") {
        return Err(not_implemented("content-range"));
    }
    let condition = condition::of_write(call.headers())?;
    let spec = WriteSpec { metadata: metadata::from_headers(call.headers())?, condition };
    // Not of this operation's own headers, but clients name by it what they want computed.
    let required = checksum::named(call.headers(), "x-amz-checksum-algorithm")?;
    let limit = call.service.config.body_bytes_max;
    let plan = ChecksumPlan { required, etag: call.engine().etag };
    let mut source = BodySource::new(call.head, &call.identity, body, limit, plan)?;
    let receipt = call
        .engine()
        .put(ctx, target, spec, &mut source)
        .await
        .map_err(|error| with_condition(error, condition))?;
    let mut answer = Answer::empty(200);
    answer.headers.push("ETag", &quoted(receipt.etag));
    checksum::push(&mut answer.headers, receipt.checksum.as_ref(), receipt.etag.parts);
    Ok(answer)
}
