//! GetObjectAttributes:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html>

use crate::context::Context;
use crate::driver::Target;
use crate::model::{ChecksumAlgorithm, PartQuery, PartSpan};
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;
use crate::s3::headers::{checksum, condition, invalid, single, text};
use crate::s3::time;
use crate::s3::xml::Xml;

use super::get_object::refusal;

const HEADER: &str = "x-amz-object-attributes";

/// Most parts that one answer tells of.
const PARTS_MAX: u16 = 1000;

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
    let query = part_query(call)?;
    let (opened, parts) = match call.engine().head_parts(ctx, target, &conditions, query).await {
        Ok(found) => found,
        Err(error) => return refusal(error),
    };
    let info = &opened.info;
    let mut xml = Xml::new("GetObjectAttributesResponse", 512);
    if wanted.etag {
        xml.text("ETag", &info.etag.to_string());
    }
    if let Some(checksum) = info.checksum.as_ref().filter(|_| wanted.checksum) {
        xml.open("Checksum");
        // The number of parts has an element of its own here.
        checksum::element(&mut xml, Some(checksum), 0);
        xml.text("ChecksumType", checksum::kind_name(checksum.kind));
        xml.close("Checksum");
    }
    if let Some(count) = opened.part_count.filter(|_| wanted.parts) {
        let listed = info.checksum.map(|checksum| checksum.algorithm);
        write_parts(&mut xml, count, query, &parts, listed);
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

/// Which of the parts to tell of.
fn part_query(call: &Call<'_>) -> Result<PartQuery, S3Error> {
    let number = |header, default: u16, most: u16| -> Result<u16, S3Error> {
        let Some(text) = single(call.headers(), header)? else { return Ok(default) };
        let number = text.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok());
        let number = number.ok_or_else(|| invalid(header, "The value is not a whole number."))?;
        Ok(u16::try_from(number).unwrap_or(most).min(most))
    };
    Ok(PartQuery {
        after: number("x-amz-part-number-marker", 0, u16::MAX)?,
        limit: usize::from(number("x-amz-max-parts", PARTS_MAX, PARTS_MAX)?),
    })
}

/// Tells how many parts there are, and of some of them. An object whose parts have no checksum in
/// common is told of by their number alone.
fn write_parts(
    xml: &mut Xml,
    count: u16,
    query: PartQuery,
    parts: &[PartSpan],
    listed: Option<ChecksumAlgorithm>,
) {
    xml.open("ObjectParts");
    xml.number("PartsCount", u64::from(count));
    if let Some(algorithm) = listed {
        let last = query.after.saturating_add(u16::try_from(parts.len()).unwrap_or(u16::MAX));
        xml.number("PartNumberMarker", u64::from(query.after));
        xml.number("NextPartNumberMarker", u64::from(last));
        xml.number("MaxParts", query.limit as u64);
        xml.boolean("IsTruncated", last < count);
        for (part, number) in parts.iter().zip(u64::from(query.after) + 1..) {
            xml.open("Part");
            xml.number("PartNumber", number);
            xml.number("Size", part.range.length);
            let own = part.checksum.filter(|checksum| checksum.algorithm == algorithm);
            checksum::element(xml, own.as_ref(), 0);
            xml.close("Part");
        }
    }
    xml.close("ObjectParts");
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
