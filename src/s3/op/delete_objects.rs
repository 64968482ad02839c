//! DeleteObjects: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>

use crate::context::Context;
use crate::driver::Deletion;
use crate::http::Body;
use crate::io::budget::Reservation;
use crate::model::WriteCondition;
use crate::s3::call::{Answer, Call};
use crate::s3::error::{Code, S3Error};
use crate::s3::headers::{checksum, condition};
use crate::s3::name;
use crate::s3::xml::{Xml, XmlReader};

use super::write::with_condition;

/// Most keys of one request.
const KEYS_MAX: usize = 1000;

struct Request {
    quiet: bool,
    objects: Vec<Named>,
}

/// A key as the client named it, and what is wrong with that.
struct Named {
    key: String,
    condition: WriteCondition,
    refused: Option<S3Error>,
}

pub(crate) async fn serve<B: Body>(
    ctx: &Context,
    call: &Call<'_>,
    body: &mut B,
) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    if !checksum::protects_body(call.headers()) {
        return Err(S3Error::new(
            Code::InvalidRequest,
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        ));
    }
    let mut request = call.document(ctx, body, parse).await?;
    let accepted = request.objects.iter().filter(|named| named.refused.is_none());
    let deletions = accepted
        .map(|named| Ok(Deletion { key: name::key(&named.key)?, condition: named.condition }))
        .collect::<Result<Vec<_>, S3Error>>()?;
    // Before anything is deleted: afterwards there is no refusing.
    let keys: usize = request.objects.iter().map(|named| named.key.len()).sum();
    let room = call.service.reserve(ctx, 256 + keys + request.objects.len() * 96).await?;
    let results = call.engine().delete(ctx, &bucket, &deletions).await?;
    let waiting = request.objects.iter_mut().filter(|named| named.refused.is_none());
    for (named, result) in waiting.zip(results) {
        named.refused = result.err().map(|error| with_condition(error, named.condition));
    }
    Ok(Answer::document(answer(&request, room)))
}

fn answer(request: &Request, room: Reservation) -> Xml {
    let mut xml = Xml::within("DeleteResult", room);
    for named in &request.objects {
        match &named.refused {
            None if request.quiet => {}
            None => {
                xml.open("Deleted");
                xml.text("Key", &named.key);
                xml.close("Deleted");
            }
            Some(error) => {
                xml.open("Error");
                xml.text("Key", &named.key);
                xml.text("Code", error.code.name());
                xml.text("Message", &error.message);
                xml.close("Error");
            }
        }
    }
    xml
}

fn parse(document: &[u8]) -> Result<Request, S3Error> {
    let mut xml = XmlReader::new(document, "Delete")?;
    let mut request = Request { quiet: false, objects: Vec::new() };
    while let Some(element) = xml.child()? {
        match element {
            "Quiet" => request.quiet = boolean(&xml.text()?)?,
            "Object" if request.objects.len() < KEYS_MAX => {
                request.objects.push(object(&mut xml)?);
            }
            _ => return Err(Code::MalformedXML.into()),
        }
    }
    xml.end()?;
    if request.objects.is_empty() { Err(Code::MalformedXML.into()) } else { Ok(request) }
}

fn boolean(text: &str) -> Result<bool, S3Error> {
    match text.trim() {
        "true" | "True" | "1" => Ok(true),
        "false" | "False" | "0" | "" => Ok(false),
        _ => Err(Code::MalformedXML.into()),
    }
}

fn object(xml: &mut XmlReader<'_>) -> Result<Named, S3Error> {
    let mut key = None;
    let mut condition = WriteCondition::None;
    let mut refused = None;
    while let Some(element) = xml.child()? {
        let text = xml.text()?;
        match element {
            "Key" => key = Some(text),
            "ETag" => condition = condition::of_tag(&text),
            "VersionId" if matches!(text.as_str(), "null" | "") => {}
            "VersionId" => refused = Some(S3Error::from(Code::NoSuchVersion)),
            "LastModifiedTime" | "Size" => refused = Some(Code::NotImplemented.into()),
            _ => return Err(Code::MalformedXML.into()),
        }
    }
    let key = key.ok_or(Code::MalformedXML)?;
    let refused = refused.or_else(|| name::key(&key).err());
    Ok(Named { key, condition, refused })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_parsed() {
        let request = parse(
            b"<Delete><Object><Key>a</Key><VersionId>null</VersionId></Object>\
              <Object><Key>b</Key><VersionId>x</VersionId></Object>\
              <Object><Key></Key></Object><Quiet>true</Quiet></Delete>",
        )
        .expect("valid");
        let refused: Vec<_> =
            request.objects.iter().map(|named| named.refused.as_ref().map(|e| e.code)).collect();
        assert!(request.quiet);
        assert_eq!(refused, [None, Some(Code::NoSuchVersion), Some(Code::InvalidArgument)]);
    }

    #[test]
    fn limits_hold() {
        let of = |count: usize| {
            let objects = "<Object><Key>k</Key></Object>".repeat(count);
            parse(format!("<Delete>{objects}</Delete>").as_bytes()).map(|r| r.objects.len())
        };
        assert_eq!(of(1000).ok(), Some(1000));
        assert_eq!(of(1001).expect_err("too many").code, Code::MalformedXML);
        assert_eq!(of(0).expect_err("none").code, Code::MalformedXML);
        assert!(parse(b"<Delete><Object></Object></Delete>").is_err());
        assert!(parse(b"<Delete><Quiet>maybe</Quiet></Delete>").is_err());
    }
}
