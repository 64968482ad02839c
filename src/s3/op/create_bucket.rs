//! CreateBucket: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html>

use crate::context::Context;
use crate::http::Body;
use crate::s3::call::{Answer, Call};
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::XmlReader;

pub(crate) async fn serve<B: Body>(
    ctx: &Context,
    call: &Call<'_>,
    body: &mut B,
) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let region = &call.service.config.region;
    let location = call.document(ctx, body, parse).await?;
    if let Some(location) = location.as_ref().filter(|location| *location != region) {
        return Err(S3Error::from(Code::IllegalLocationConstraintException)
            .with("LocationConstraint", location)
            .with("Region", region));
    }
    call.engine().create_container(ctx, &bucket).await?;
    let mut answer = Answer::empty(200);
    answer.headers.push("Location", &format!("/{bucket}"));
    Ok(answer)
}

/// The region that the document asks for, if there is one.
fn parse(document: &[u8]) -> Result<Option<String>, S3Error> {
    if document.is_empty() {
        return Ok(None);
    }
    let mut xml = XmlReader::new(document, "CreateBucketConfiguration")?;
    let mut location = None;
    while let Some(element) = xml.child()? {
        match element {
            "LocationConstraint" => location = Some(xml.text()?.trim().to_owned()),
            "Bucket" | "Location" | "Tags" => return Err(Code::NotImplemented.into()),
            _ => return Err(Code::MalformedXML.into()),
        }
    }
    xml.end()?;
    Ok(location.filter(|location| !location.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_parsed() {
        let of = |inner: &str| {
            let text = format!("<CreateBucketConfiguration>{inner}</CreateBucketConfiguration>");
            parse(text.as_bytes()).map_err(|error| error.code)
        };
        assert_eq!(parse(b"").expect("none"), None);
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("<LocationConstraint/>"), Ok(None));
        assert_eq!(of("<LocationConstraint>eu</LocationConstraint>"), Ok(Some("eu".into())));
        assert_eq!(of("<Tags/>"), Err(Code::NotImplemented));
        assert_eq!(of("<Key/>"), Err(Code::MalformedXML));
    }
}
