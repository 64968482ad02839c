//! CreateMultipartUpload:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html>

use crate::context::Context;
use crate::driver::{Target, UploadSpec};
use crate::s3::call::{Answer, Call};
use crate::s3::error::{Code, S3Error};
use crate::s3::headers::{checksum, metadata};
use crate::s3::xml::Xml;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let key = call.key()?;
    let target = Target { container: &bucket, key };
    let algorithm = checksum::named(call.headers(), "x-amz-checksum-algorithm")?;
    let checksum = match (algorithm, checksum::kind(call.headers())?) {
        (Some(algorithm), kind) => Some((algorithm, checksum::upload_kind(algorithm, kind)?)),
        (None, None) => None,
        (None, Some(_)) => {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "The x-amz-checksum-type header can only be used with the \
                 x-amz-checksum-algorithm header.",
            ));
        }
    };
    let spec = UploadSpec { metadata: metadata::from_headers(call.headers())?, checksum };
    let id = call.engine().create_upload(ctx, target, spec).await?;
    let mut xml = Xml::new("InitiateMultipartUploadResult", 512);
    xml.text("Bucket", bucket.as_str());
    xml.text("Key", key.as_str());
    xml.text("UploadId", &id.to_string());
    let mut answer = Answer::document(xml);
    if let Some((algorithm, kind)) = checksum {
        answer.headers.push("x-amz-checksum-algorithm", checksum::algorithm_name(algorithm));
        answer.headers.push("x-amz-checksum-type", checksum::kind_name(kind));
    }
    Ok(answer)
}
