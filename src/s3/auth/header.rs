//! The signature in the `Authorization` field.

use std::borrow::Cow;

use super::super::error::{Code, S3Error};
use super::NOT_V4;
use super::date::SignedTime;
use super::signature::{Claim, Place};
use crate::http::RequestHead;

/// Reads an `Authorization` field and what belongs to it.
pub(super) fn claim<'a>(value: &'a str, head: &RequestHead<'a>) -> Result<Claim<'a>, S3Error> {
    let (scheme, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    match scheme {
        "AWS4-HMAC-SHA256" => {}
        "AWS" | "AWS4-ECDSA-P256-SHA256" => return Err(S3Error::new(Code::InvalidRequest, NOT_V4)),
        _ => return Err(S3Error::new(Code::InvalidArgument, "Unsupported Authorization Type")),
    }
    if head.headers.get_all("authorization").count() > 1 {
        return Err(Place::Header.malformed("there is more than one"));
    }
    let [credential, signed_headers, signature] = components(rest)?;
    let payload = head.headers.get("x-amz-content-sha256").ok_or_else(|| {
        S3Error::new(
            Code::InvalidRequest,
            "Missing required header for this request: x-amz-content-sha256",
        )
    })?;
    Ok(Claim {
        place: Place::Header,
        credential: Cow::Borrowed(credential),
        signed_headers: Cow::Borrowed(signed_headers),
        signature: Cow::Borrowed(signature),
        time: time(head)?,
        expires_seconds: None,
        payload: Cow::Borrowed(payload),
        token: head.headers.get("x-amz-security-token").is_some_and(|token| !token.is_empty()),
    })
}

/// The three components, in any order, with or without blanks after the commas.
fn components(text: &str) -> Result<[&str; 3], S3Error> {
    const NAMES: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];
    let mut values = [""; 3];
    for component in text.split(',') {
        let (name, value) = component
            .trim()
            .split_once('=')
            .ok_or_else(|| Place::Header.malformed("a component has no \"=\"."))?;
        let index = NAMES
            .iter()
            .position(|known| *known == name)
            .filter(|&index| values[index].is_empty())
            .ok_or_else(|| Place::Header.malformed("a component is unknown or given twice."))?;
        values[index] = value;
    }
    if values.contains(&"") {
        return Err(Place::Header.malformed("the authorization header requires three components: Credential, SignedHeaders, and Signature."));
    }
    Ok(values)
}

/// The time of signing: `x-amz-date`, or `Date` where there is none.
fn time(head: &RequestHead<'_>) -> Result<SignedTime, S3Error> {
    let time = match head.headers.get("x-amz-date") {
        Some(text) => SignedTime::parse(text),
        None => head.headers.get("date").and_then(SignedTime::parse_date_field),
    };
    time.ok_or_else(|| {
        S3Error::new(
            Code::AccessDenied,
            "AWS authentication requires a valid Date or x-amz-date header",
        )
    })
}
