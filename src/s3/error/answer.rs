//! An error as an answer.

use crate::engine::AnyReader;
use crate::event::Outcome;
use crate::http::{HeaderBlock, Response, ResponseBody};
use crate::s3::{HOST_ID, xml::Xml};

use super::{Code, S3Error};

/// Where an error happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place<'a> {
    /// The path as sent.
    pub(crate) resource: &'a str,
    /// The bucket's name; empty for none.
    pub(crate) bucket: &'a str,
    /// The object's key; empty for none.
    pub(crate) key: &'a str,
    /// Whether the answer has no body, for it is one to HEAD.
    pub(crate) headless: bool,
}

/// Renders an error. The fields that every answer has are left to the caller.
#[must_use]
pub(crate) fn render(error: &S3Error, request_id: &str, place: Place<'_>) -> Response<AnyReader> {
    let mut headers = HeaderBlock::default();
    let detail = |name| error.details.iter().find(|(other, _)| *other == name).map(|d| &*d.1);
    match error.code {
        Code::InvalidRange => {
            if let Some(size) = detail("ActualObjectSize") {
                headers.push("Content-Range", &format!("bytes */{size}"));
            }
        }
        Code::MethodNotAllowed => headers.push("Allow", "DELETE, GET, HEAD, POST, PUT"),
        Code::SlowDown | Code::ServiceUnavailable => headers.push("Retry-After", "1"),
        _ => {}
    }
    headers.push("Content-Type", "application/xml");
    let status = error.code.status();
    let body = if place.headless || matches!(status, 204 | 304) {
        ResponseBody::Empty
    } else {
        ResponseBody::Bytes(document(error, request_id, place))
    };
    Response { status, headers, body, close: false }
}

fn document(error: &S3Error, request_id: &str, place: Place<'_>) -> bytes::Bytes {
    let mut xml = Xml::bare("Error");
    xml.text("Code", error.code.name());
    xml.text("Message", &error.message);
    for (element, value) in &error.details {
        xml.text(element, value);
    }
    for (element, value) in [("BucketName", place.bucket), ("Key", place.key)] {
        let told = error.details.iter().any(|(other, _)| *other == element);
        if !value.is_empty() && !told {
            xml.text(element, value);
        }
    }
    xml.text("Resource", place.resource);
    xml.text("RequestId", request_id);
    xml.text("HostId", HOST_ID);
    xml.finish()
}

/// How events count an answer with this code.
#[must_use]
pub(crate) fn outcome(code: Code) -> Outcome {
    match code {
        Code::ClientDisconnected => Outcome::ClientAbort,
        Code::NotModified => Outcome::Ok,
        code => match code.status() {
            403 => Outcome::Denied,
            503 | 507 => Outcome::Refused,
            501 => Outcome::ClientError,
            500.. => Outcome::ServerError,
            _ => Outcome::ClientError,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_rendered() {
        let error = S3Error::from(Code::InvalidRange).with("ActualObjectSize", "7");
        let place = Place { resource: "/b/%3Ck", bucket: "b", key: "<k", headless: false };
        let response = render(&error, "0123", place);
        assert_eq!(response.status, 416);
        let headers = String::from_utf8_lossy(response.headers.as_bytes()).into_owned();
        assert!(headers.contains("Content-Range: bytes */7\r\n"), "{headers}");
        let ResponseBody::Bytes(body) = response.body else { panic!("a body") };
        let body = String::from_utf8_lossy(&body);
        for part in [
            "<Error><Code>InvalidRange</Code><Message>",
            "<ActualObjectSize>7</ActualObjectSize><BucketName>b</BucketName><Key>&lt;k</Key>",
            "<Resource>/b/%3Ck</Resource><RequestId>0123</RequestId><HostId>",
        ] {
            assert!(body.contains(part), "{part} in {body}");
        }
        let response = render(&error, "0123", Place { headless: true, ..place });
        assert!(matches!(response.body, ResponseBody::Empty));
    }

    #[test]
    fn outcomes() {
        for (code, expected) in [
            (Code::AccessDenied, Outcome::Denied),
            (Code::SlowDown, Outcome::Refused),
            (Code::InsufficientStorage, Outcome::Refused),
            (Code::NoSuchKey, Outcome::ClientError),
            (Code::NotImplemented, Outcome::ClientError),
            (Code::InternalError, Outcome::ServerError),
            (Code::ClientDisconnected, Outcome::ClientAbort),
        ] {
            assert_eq!(outcome(code), expected, "{code:?}");
        }
    }
}
