//! CopyObject: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>

use crate::context::Context;
use crate::driver::Target;
use crate::engine::{CopyMetadata, CopyRequest, EngineError};
use crate::s3::call::{Answer, Call};
use crate::s3::error::{Code, S3Error};
use crate::s3::headers::{checksum, condition, invalid, metadata, not_implemented, single};
use crate::s3::name;
use crate::s3::xml::Xml;

use super::copy_source::CopySource;
use super::write::with_condition;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let destination = Target { container: &bucket, key: call.key()? };
    let from = CopySource::of(call)?;
    let source = Target { container: &from.bucket, key: name::key(&from.key)? };
    let metadata = directive(call)?;
    let same = (source.container, source.key) == (destination.container, destination.key);
    if same && matches!(metadata, CopyMetadata::Keep) {
        return Err(onto_itself());
    }
    let condition = condition::of_write(call.headers())?;
    let request = CopyRequest {
        source,
        source_conditions: condition::of_copy_source(call.headers())?,
        destination,
        metadata,
        condition,
        checksum: checksum::named(call.headers(), "x-amz-checksum-algorithm")?,
    };
    let receipt = match call.engine().copy(ctx, request).await {
        Ok(receipt) => receipt,
        Err(EngineError::CopySourceMissing) => {
            return Err(S3Error::from(Code::NoSuchKey).with("Key", from.key));
        }
        // Of the source: to a copy, "not modified" is a failed condition.
        Err(EngineError::NotModified(_)) => return Err(Code::PreconditionFailed.into()),
        Err(error) => return Err(with_condition(error, condition)),
    };
    let mut xml = Xml::new("CopyObjectResult", 512);
    xml.time("LastModified", receipt.modified_ms);
    xml.etag("ETag", receipt.etag);
    checksum::element(&mut xml, receipt.checksum.as_ref(), receipt.etag.parts);
    if let Some(checksum) = &receipt.checksum {
        xml.text("ChecksumType", checksum::kind_name(checksum.kind));
    }
    Ok(Answer::document(xml))
}

fn directive(call: &Call<'_>) -> Result<CopyMetadata, S3Error> {
    const HEADER: &str = "x-amz-metadata-directive";
    const REDIRECT: &str = "x-amz-website-redirect-location";
    match single(call.headers(), HEADER)? {
        // It would have to be joined with metadata that is only known below.
        None | Some("COPY") if call.headers().has(REDIRECT) => Err(not_implemented(REDIRECT)),
        None | Some("COPY") => Ok(CopyMetadata::Keep),
        Some("REPLACE") => Ok(CopyMetadata::Replace(metadata::from_headers(call.headers())?)),
        Some(_) => Err(invalid(HEADER, "Unknown metadata directive.")),
    }
}

fn onto_itself() -> S3Error {
    S3Error::new(
        Code::InvalidRequest,
        "This copy request is illegal because it is trying to copy an object to itself without \
         changing the object's metadata, storage class, website redirect location or encryption \
         attributes.",
    )
}
