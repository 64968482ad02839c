//! ListParts: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>

use crate::context::Context;
use crate::driver::Target;
use crate::model::{PartPage, PartQuery};
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;
use crate::s3::headers::checksum;

/// Most parts of a page.
const PARTS_MAX: usize = 1000;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let target = Target { container: &bucket, key: call.key()? };
    let upload = call.upload_id()?;
    let limit = call.query.count("max-parts", 0, PARTS_MAX, PARTS_MAX)?;
    let after = call.query.count("part-number-marker", 0, 0, usize::from(u16::MAX))?;
    let after = u16::try_from(after).unwrap_or(u16::MAX);
    let page = if limit == 0 {
        let upload = call.engine().head_upload(ctx, target, upload).await?;
        PartPage { upload, parts: Vec::new(), truncated: false }
    } else {
        call.engine().list_parts(ctx, target, upload, PartQuery { after, limit }).await?
    };
    let url_encoded = call.query.url_encoded()?;

    let mut xml = call.xml(ctx, "ListPartsResult", 1024 + page.parts.len() * 256).await?;
    xml.text("Bucket", bucket.as_str());
    xml.key("Key", target.key.as_str(), url_encoded);
    xml.text("UploadId", &upload.to_string());
    if url_encoded {
        xml.text("EncodingType", "url");
    }
    call.owner(&mut xml, "Initiator");
    call.owner(&mut xml, "Owner");
    xml.text("StorageClass", "STANDARD");
    if let Some((algorithm, kind)) = page.upload.checksum {
        xml.text("ChecksumAlgorithm", checksum::algorithm_name(algorithm));
        xml.text("ChecksumType", checksum::kind_name(kind));
    }
    xml.number("PartNumberMarker", u64::from(after));
    let last = page.parts.last().map_or(0, |part| part.number);
    xml.number("NextPartNumberMarker", u64::from(last));
    xml.number("MaxParts", limit as u64);
    xml.boolean("IsTruncated", page.truncated);
    for part in &page.parts {
        xml.open("Part");
        xml.number("PartNumber", u64::from(part.number));
        xml.time("LastModified", part.modified_ms);
        xml.etag("ETag", part.etag);
        xml.number("Size", part.size);
        checksum::element(&mut xml, part.checksum.as_ref(), 0);
        xml.close("Part");
    }
    Ok(Answer::document(xml))
}
