//! ListMultipartUploads:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>

use crate::context::Context;
use crate::model::{UploadEntry, UploadId, UploadPage, UploadQuery};
use crate::s3::call::{Answer, Call, argument};
use crate::s3::error::S3Error;
use crate::s3::headers::checksum;
use crate::s3::xml::Xml;

/// Most entries of a page.
const UPLOADS_MAX: usize = 1000;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let text = |name| call.query.get(name).unwrap_or_default();
    let query = UploadQuery {
        prefix: text("prefix").to_owned(),
        delimiter: text("delimiter").to_owned(),
        after: after(text("key-marker"), text("upload-id-marker"))?,
        limit: call.query.count("max-uploads", 0, UPLOADS_MAX, UPLOADS_MAX)?,
    };
    let url_encoded = call.query.url_encoded()?;
    let page = if query.limit == 0 {
        call.engine().head_container(ctx, &bucket).await?;
        UploadPage::default()
    } else {
        call.engine().list_uploads(ctx, &bucket, &query).await?
    };

    let mut xml =
        call.xml(ctx, "ListMultipartUploadsResult", 1024 + page.entries.len() * 640).await?;
    xml.text("Bucket", bucket.as_str());
    xml.key("KeyMarker", text("key-marker"), url_encoded);
    xml.text("UploadIdMarker", text("upload-id-marker"));
    if page.truncated {
        match page.entries.last() {
            Some(UploadEntry::Upload { key, id, .. }) => {
                xml.key("NextKeyMarker", key, url_encoded);
                xml.text("NextUploadIdMarker", &id.to_string());
            }
            Some(UploadEntry::Prefix(prefix)) => {
                xml.key("NextKeyMarker", prefix, url_encoded);
                xml.text("NextUploadIdMarker", "");
            }
            None => {}
        }
    }
    xml.key("Prefix", &query.prefix, url_encoded);
    if !query.delimiter.is_empty() {
        xml.key("Delimiter", &query.delimiter, url_encoded);
    }
    if url_encoded {
        xml.text("EncodingType", "url");
    }
    xml.number("MaxUploads", query.limit as u64);
    xml.boolean("IsTruncated", page.truncated);
    entries(&mut xml, call, &page, url_encoded);
    Ok(Answer::document(xml))
}

/// After which upload the page begins. An upload's id counts only with its key.
fn after(key: &str, id: &str) -> Result<Option<(String, Option<UploadId>)>, S3Error> {
    if key.is_empty() {
        return Ok(None);
    }
    let id = if id.is_empty() {
        None
    } else {
        let parsed = UploadId::parse(id);
        Some(parsed.ok_or_else(|| argument("upload-id-marker", id, "Invalid uploadId marker"))?)
    };
    Ok(Some((key.to_owned(), id)))
}

fn entries(xml: &mut Xml, call: &Call<'_>, page: &UploadPage, url_encoded: bool) {
    for entry in &page.entries {
        let UploadEntry::Upload { key, id, info } = entry else { continue };
        xml.open("Upload");
        xml.key("Key", key, url_encoded);
        xml.text("UploadId", &id.to_string());
        call.owner(xml, "Initiator");
        call.owner(xml, "Owner");
        xml.text("StorageClass", "STANDARD");
        xml.time("Initiated", info.created_ms);
        if let Some((algorithm, kind)) = info.checksum {
            xml.text("ChecksumAlgorithm", checksum::algorithm_name(algorithm));
            xml.text("ChecksumType", checksum::kind_name(kind));
        }
        xml.close("Upload");
    }
    for entry in &page.entries {
        let UploadEntry::Prefix(prefix) = entry else { continue };
        xml.open("CommonPrefixes");
        xml.key("Prefix", prefix, url_encoded);
        xml.close("CommonPrefixes");
    }
}
