//! GetObjectAttributes:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html>

use crate::context::Context;
use crate::driver::Target;
use crate::engine::Selection;
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;
use crate::s3::headers::{checksum, condition, invalid, text};
use crate::s3::time;
use crate::s3::xml::Xml;

use super::get_object::refusal;

const HEADER: &str = "x-amz-object-attributes";

#[derive(Default)]
struct Wanted {
    etag: bool,
    checksum: bool,
    parts: bool,
    storage_class: bool,
    size: bool,
}

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let target = Target { container: &bucket, key: call.key()? };
    let conditions = condition::of_read(call.headers())?;
    let wanted = wanted(call)?;
    let opened = match call.engine().head(ctx, target, &conditions, Selection::Whole).await {
        Ok(opened) => opened,
        Err(error) => return refusal(error),
    };
    let info = &opened.info;
    let mut xml = Xml::new("GetObjectAttributesResponse", 512);
    if wanted.etag {
        xml.text("ETag", &info.etag.to_string());
    }
    if let Some(checksum) = info.checksum.as_ref().filter(|_| wanted.checksum) {
        xml.open("Checksum");
        checksum::element(&mut xml, Some(checksum), info.etag.parts);
        xml.text("ChecksumType", checksum::kind_name(checksum.kind));
        xml.close("Checksum");
    }
    if let Some(count) = opened.part_count.filter(|_| wanted.parts) {
        xml.open("ObjectParts");
        xml.number("PartsCount", u64::from(count));
        xml.close("ObjectParts");
    }
    if wanted.storage_class {
        xml.text("StorageClass", "STANDARD");
    }
    if wanted.size {
        xml.number("ObjectSize", info.size);
    }
    let mut answer = Answer::document(xml);
    answer.headers.push("Last-Modified", &time::imf_fixdate(info.modified_ms));
    Ok(answer)
}

fn wanted(call: &Call<'_>) -> Result<Wanted, S3Error> {
    let mut wanted = Wanted::default();
    let mut any = false;
    for (name, value) in call.headers().iter().filter(|(n, _)| n.eq_ignore_ascii_case(HEADER)) {
        for attribute in text(name, value)?.split(',').map(str::trim) {
            any = true;
            match attribute {
                "ETag" => wanted.etag = true,
                "Checksum" => wanted.checksum = true,
                "ObjectParts" => wanted.parts = true,
                "StorageClass" => wanted.storage_class = true,
                "ObjectSize" => wanted.size = true,
                _ => return Err(invalid(HEADER, "Invalid attribute name specified.")),
            }
        }
    }
    if any { Ok(wanted) } else { Err(invalid(HEADER, "No attribute is named.")) }
}
