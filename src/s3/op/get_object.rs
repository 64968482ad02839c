//! GetObject: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>

use crate::context::Context;
use crate::driver::Target;
use crate::engine::{AnyReader, EngineError, Opened, Selection};
use crate::http::{HeaderBlock, ResponseBody};
use crate::s3::call::{Answer, Call};
use crate::s3::error::{Code, S3Error};
use crate::s3::headers::{checksum, condition, metadata, range};

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let target = Target { container: &bucket, key: call.key()? };
    let conditions = condition::of_read(call.headers())?;
    let selection = selection(call)?;
    let checksums = checksum::mode(call.headers())?;
    match call.engine().get(ctx, target, &conditions, selection).await {
        Ok(opened) => {
            let mut answer = describe(call, &opened, checksums);
            let Opened { reader, range, .. } = opened;
            answer.body = body(reader, range.length);
            Ok(answer)
        }
        Err(error) => refusal(error),
    }
}

fn body(reader: AnyReader, length: u64) -> ResponseBody<AnyReader> {
    if length == 0 { ResponseBody::Empty } else { ResponseBody::Stream { reader, length } }
}

/// Which bytes the request selects.
///
/// # Errors
/// `InvalidRequest` if it names both a range and a part.
pub(super) fn selection(call: &Call<'_>) -> Result<Selection, S3Error> {
    let range = range::of_read(call.headers())?;
    match (call.part_number()?, range) {
        (Some(_), Some(_)) => Err(S3Error::new(
            Code::InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter",
        )),
        (Some(number), None) => Ok(Selection::Part(number)),
        (None, Some(range)) => Ok(Selection::Range(range)),
        (None, None) => Ok(Selection::Whole),
    }
}

/// The head of the answer to a GET or HEAD.
pub(super) fn describe<R>(call: &Call<'_>, opened: &Opened<R>, checksums: bool) -> Answer {
    let Opened { info, range, partial, part_count, .. } = opened;
    let mut answer = Answer::empty(if *partial { 206 } else { 200 });
    let headers = &mut answer.headers;
    headers.push_rendered("Accept-Ranges: bytes\r\n");
    metadata::push(headers, info, &call.query);
    // A part of an empty object is partial and yet has no range.
    if *partial && range.length > 0 {
        headers.push("Content-Range", &range::content_range(*range, info.size));
    }
    if call.query.get("partNumber").is_some()
        && let Some(count) = part_count
    {
        headers.push_number("x-amz-mp-parts-count", u64::from(*count));
    }
    if call.query.get("versionId").is_some() {
        headers.push("x-amz-version-id", "null");
    }
    if checksums {
        push_checksum(headers, call, opened);
    }
    answer.range = Some(*range);
    answer
}

/// Adds the checksum of what is sent: a part has its own, and a range none, for a client could take
/// that of the whole for it.
fn push_checksum<R>(headers: &mut HeaderBlock, call: &Call<'_>, opened: &Opened<R>) {
    let Opened { info, checksum, .. } = opened;
    let of_part = opened.part_count.is_some() && call.query.get("partNumber").is_some();
    if !of_part {
        checksum::push(headers, checksum.as_ref(), info.etag.parts);
    } else if let (Some(own), Some(whole)) = (checksum, &info.checksum)
        && own.algorithm == whole.algorithm
    {
        checksum::push_part(headers, Some(own));
        headers.push("x-amz-checksum-type", checksum::kind_name(whole.kind));
    }
}

/// A 304 is an answer with a head of its own; all else is an error.
///
/// # Errors
/// The error, unless it is a 304.
pub(super) fn refusal(error: EngineError) -> Result<Answer, S3Error> {
    match error {
        EngineError::NotModified(info) => {
            let mut answer = Answer::empty(304);
            metadata::push_validators(&mut answer.headers, &info);
            metadata::push_caching(&mut answer.headers, &info);
            Ok(answer)
        }
        error => Err(error.into()),
    }
}
