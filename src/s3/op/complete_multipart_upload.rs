//! CompleteMultipartUpload:
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>

use crate::context::Context;
use crate::driver::{Completion, DriverError, Target};
use crate::engine::EngineError;
use crate::http::{Body, Headers, RequestHead};
use crate::model::{ChecksumAlgorithm, ChecksumKind, CompletePart, ETag};
use crate::s3::call::{Answer, Call, PART_NUMBER_MAX};
use crate::s3::error::{Code, S3Error};
use crate::s3::headers::{checksum, condition, invalid, single};
use crate::s3::xml::{Xml, XmlReader};
use crate::stdx::percent;

use super::write::with_condition;

/// Smallest size of every part but the last.
const PART_BYTES_MIN: u64 = 5 << 20;

pub(crate) async fn serve<B: Body>(
    ctx: &Context,
    call: &Call<'_>,
    body: &mut B,
) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let target = Target { container: &bucket, key: call.key()? };
    let upload = call.upload_id()?;
    let condition = condition::of_write(call.headers())?;
    let created_with = match call.engine().head_upload(ctx, target, upload).await {
        Ok(upload) => upload.checksum,
        // It may have been completed before: then it is answered as it was then.
        Err(EngineError::Driver(DriverError::NoSuchUpload)) => None,
        Err(error) => return Err(error.into()),
    };
    // Clients send a composite checksum without the number of parts behind it and without its
    // type: then what the upload was created with tells what it is.
    let kind = checksum::kind(call.headers())?.or(created_with.map(|(_, kind)| kind));
    let whole = checksum::of_headers(call.headers(), kind)?;
    let size = declared_size(call)?;
    let fields = checksum::of_body_only(call.headers());
    let head = RequestHead { headers: Headers::new(&fields), ..*call.head };
    let parts = call.document_of(ctx, &head, body, parse).await?;
    if let Some((algorithm, ChecksumKind::Composite)) = created_with {
        expect_checksums(&parts, algorithm)?;
    }
    let completion = Completion {
        parts: &parts,
        condition,
        checksum: whole,
        size,
        part_size_min: PART_BYTES_MIN,
    };
    let receipt = match call.engine().complete_upload(ctx, target, upload, &completion).await {
        Ok(receipt) => receipt,
        Err(EngineError::Driver(DriverError::CompletionMismatch)) if whole.is_none() => {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "The x-amz-mp-object-size you specified is not the size of the parts.",
            ));
        }
        Err(error) => return Err(with_condition(error, condition)),
    };
    let mut xml = Xml::new("CompleteMultipartUploadResult", 1024);
    xml.text("Location", &location(call));
    xml.text("Bucket", bucket.as_str());
    xml.text("Key", target.key.as_str());
    xml.etag("ETag", receipt.etag);
    checksum::element(&mut xml, receipt.checksum.as_ref(), receipt.etag.parts);
    if let Some(checksum) = &receipt.checksum {
        xml.text("ChecksumType", checksum::kind_name(checksum.kind));
    }
    Ok(Answer::document(xml))
}

/// A checksum over those of the parts is only as good as these: the client must name them all.
fn expect_checksums(parts: &[CompletePart], algorithm: ChecksumAlgorithm) -> Result<(), S3Error> {
    match parts.iter().find(|part| part.checksum.is_none()) {
        None => Ok(()),
        Some(part) => Err(S3Error::new(
            Code::InvalidRequest,
            format!(
                "The upload was created using a {} checksum. The complete request must include \
                 the checksum for each part. It was missing for part {} in the request.",
                checksum::algorithm_name(algorithm).to_ascii_lowercase(),
                part.number
            ),
        )),
    }
}

fn declared_size(call: &Call<'_>) -> Result<Option<u64>, S3Error> {
    const HEADER: &str = "x-amz-mp-object-size";
    single(call.headers(), HEADER)?
        .map(|text| text.parse().map_err(|_| invalid(HEADER, "The size is not a number.")))
        .transpose()
}

/// Where the object is, as the client addressed us.
fn location(call: &Call<'_>) -> String {
    let mut location = String::from("http://");
    location.push_str(call.headers().get("host").unwrap_or_default());
    location.push('/');
    percent::encode_path(&call.route.bucket, &mut location);
    location.push('/');
    percent::encode_path(&call.route.key, &mut location);
    location
}

fn parse(document: &[u8]) -> Result<Vec<CompletePart>, S3Error> {
    let mut xml = XmlReader::new(document, "CompleteMultipartUpload")?;
    let mut parts: Vec<CompletePart> = Vec::new();
    while let Some(element) = xml.child()? {
        if element != "Part" || parts.len() == usize::from(PART_NUMBER_MAX) {
            return Err(Code::MalformedXML.into());
        }
        parts.push(part(&mut xml)?);
    }
    xml.end()?;
    if parts.is_empty() { Err(Code::MalformedXML.into()) } else { Ok(parts) }
}

fn part(xml: &mut XmlReader<'_>) -> Result<CompletePart, S3Error> {
    let mut number = None;
    let mut etag = None;
    let mut given = None;
    while let Some(element) = xml.child()? {
        let text = xml.text()?;
        let text = text.trim();
        match (element, checksum::of_element(element)) {
            ("PartNumber", _) => {
                let parsed = text.parse().ok().filter(|n| (1..=PART_NUMBER_MAX).contains(n));
                number = Some(parsed.ok_or_else(bad_number)?);
            }
            ("ETag", _) => etag = Some(text.trim_matches('"').to_owned()),
            // An empty element is what some clients write for a checksum that they have not.
            (_, Some(_)) if text.is_empty() => {}
            (_, Some(algorithm)) => {
                let kind = Some(ChecksumKind::FullObject);
                given = Some(checksum::value(algorithm, kind, text)?);
            }
            _ => return Err(Code::MalformedXML.into()),
        }
    }
    let number: u16 = number.ok_or(Code::MalformedXML)?;
    let etag = etag.ok_or(Code::MalformedXML)?;
    let etag = ETag::parse(&etag)
        .ok_or_else(|| S3Error::from(Code::InvalidPart).with("PartNumber", number.to_string()))?;
    Ok(CompletePart { number, etag, checksum: given })
}

fn bad_number() -> S3Error {
    S3Error::new(
        Code::InvalidArgument,
        "PartNumber must be an integer between 1 and 10000, inclusive",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "d41d8cd98f00b204e9800998ecf8427e";

    fn parsed(parts: &str) -> Result<Vec<CompletePart>, Code> {
        parse(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").as_bytes())
            .map_err(|error| error.code)
    }

    #[test]
    fn parts_are_parsed() {
        let parts = parsed(&format!(
            "<Part><ETag>&quot;{TAG}&quot;</ETag><PartNumber>2</PartNumber>\
             <ChecksumCRC32>AAAAAQ==</ChecksumCRC32><ChecksumSHA1/></Part>\
             <Part><PartNumber>1</PartNumber><ETag>{TAG}</ETag></Part>"
        ))
        .expect("valid");
        // The order is the client's; whether it is right is decided below.
        assert_eq!(parts.iter().map(|part| part.number).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(parts[0].checksum.map(|c| c.value().to_vec()), Some(vec![0, 0, 0, 1]));
        assert_eq!(parts[1].checksum, None);
    }

    #[test]
    fn bad_documents_are_refused() {
        let tag = format!("<ETag>{TAG}</ETag>");
        for (parts, code) in [
            (String::new(), Code::MalformedXML),
            ("<Part/>".into(), Code::MalformedXML),
            (format!("<Part>{tag}</Part>"), Code::MalformedXML),
            (format!("<Part><PartNumber>0</PartNumber>{tag}</Part>"), Code::InvalidArgument),
            (format!("<Part><PartNumber>10001</PartNumber>{tag}</Part>"), Code::InvalidArgument),
            ("<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>".into(), Code::InvalidPart),
            (
                format!("<Part><PartNumber>1</PartNumber>{tag}</Part>").repeat(10_001),
                Code::MalformedXML,
            ),
        ] {
            assert_eq!(parsed(&parts), Err(code), "{}", &parts[..parts.len().min(60)]);
        }
    }

    #[test]
    fn the_longest_completion_fits_a_document() {
        let part = format!(
            "<Part><ETag>&quot;{TAG}&quot;</ETag><PartNumber>10000</PartNumber>\
             <ChecksumSHA256>{}</ChecksumSHA256></Part>",
            "A".repeat(44)
        );
        assert!(part.len() * 10_000 < crate::s3::xml::DOCUMENT_BYTES_MAX);
    }
}
