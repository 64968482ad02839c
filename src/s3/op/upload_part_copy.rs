//! UploadPartCopy: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>

use crate::context::Context;
use crate::driver::Target;
use crate::engine::{CopyPartRequest, EngineError};
use crate::s3::call::{Answer, Call, argument};
use crate::s3::error::{Code, S3Error};
use crate::s3::headers::{checksum, condition, range};
use crate::s3::name;
use crate::s3::xml::Xml;

use super::copy_source::CopySource;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let from = CopySource::of(call)?;
    let request = CopyPartRequest {
        source: Target { container: &from.bucket, key: name::key(&from.key)? },
        source_conditions: condition::of_copy_source(call.headers())?,
        range: range::of_copy_source(call.headers())?,
        destination: Target { container: &bucket, key: call.key()? },
        upload: call.upload_id()?,
        number: call
            .part_number()?
            .ok_or_else(|| argument("partNumber", "", "There is no part number."))?,
    };
    let part = call.engine().copy_part(ctx, request).await.map_err(|error| match error {
        EngineError::CopySourceMissing => S3Error::from(Code::NoSuchKey).with("Key", from.key),
        EngineError::NotModified(_) => Code::PreconditionFailed.into(),
        EngineError::RangeNotSatisfiable { size } => S3Error::new(
            Code::InvalidArgument,
            format!("Range specified is not valid for source object of size: {size}"),
        ),
        error => error.into(),
    })?;
    let mut xml = Xml::new("CopyPartResult", 512);
    xml.time("LastModified", part.modified_ms);
    xml.etag("ETag", part.etag);
    checksum::element(&mut xml, part.checksum.as_ref(), 0);
    Ok(Answer::document(xml))
}
