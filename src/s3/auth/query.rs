//! The signature in the query: presigned URLs.

use std::borrow::Cow;

use super::super::error::{Code, S3Error};
use super::NOT_V4;
use super::canonical::SIGNATURE_PARAMETER;
use super::date::SignedTime;
use super::signature::{Claim, Place};
use crate::http::RequestHead;
use crate::stdx::percent;

/// Longest validity of a presigned URL: a week.
const EXPIRES_SECONDS_MAX: u32 = 604_800;

fn refuse(message: &'static str) -> S3Error {
    S3Error::new(Code::AuthorizationQueryParametersError, message)
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Whether the query has any of the parameters of a SigV4 signature.
pub(super) fn carries_signature(query: &str) -> bool {
    pairs(query).any(|(name, _)| {
        matches!(name, "X-Amz-Algorithm" | "X-Amz-Credential") || name == SIGNATURE_PARAMETER
    })
}

/// Whether the query has a signature of version 2.
pub(super) fn carries_v2(query: &str) -> bool {
    pairs(query).any(|(name, _)| name == "AWSAccessKeyId")
}

/// The decoded values of the parameters that make a signature.
#[derive(Default)]
struct Parameters<'a> {
    algorithm: Option<Cow<'a, str>>,
    credential: Option<&'a str>,
    date: Option<Cow<'a, str>>,
    expires: Option<Cow<'a, str>>,
    signed_headers: Option<Cow<'a, str>>,
    signature: Option<Cow<'a, str>>,
    payload: Option<Cow<'a, str>>,
    token: Option<Cow<'a, str>>,
}

impl<'a> Parameters<'a> {
    fn read(query: &'a str) -> Result<Self, S3Error> {
        let mut all = Self::default();
        for (name, value) in pairs(query) {
            let slot = match name {
                "X-Amz-Algorithm" => &mut all.algorithm,
                "X-Amz-Date" => &mut all.date,
                "X-Amz-Expires" => &mut all.expires,
                "X-Amz-SignedHeaders" => &mut all.signed_headers,
                "X-Amz-Content-Sha256" => &mut all.payload,
                "X-Amz-Security-Token" => &mut all.token,
                SIGNATURE_PARAMETER => &mut all.signature,
                "X-Amz-Credential" if all.credential.is_none() => {
                    all.credential = Some(value);
                    continue;
                }
                "X-Amz-Credential" => return Err(refuse("X-Amz-Credential is given twice.")),
                _ => continue,
            };
            if slot.replace(text(value)?).is_some() {
                return Err(refuse("A parameter of the signature is given twice."));
            }
        }
        Ok(all)
    }
}

fn text(value: &str) -> Result<Cow<'_, str>, S3Error> {
    match percent::decode_query(value).map_err(|_| Code::InvalidURI)? {
        Cow::Borrowed(_) => Ok(Cow::Borrowed(value)),
        Cow::Owned(bytes) => {
            String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Code::InvalidURI.into())
        }
    }
}

/// Reads the parameters of a presigned URL.
pub(super) fn claim<'a>(head: &RequestHead<'a>) -> Result<Claim<'a>, S3Error> {
    let all = Parameters::read(head.query)?;
    let missing = || {
        refuse(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
        )
    };
    match all.algorithm.ok_or_else(missing)?.as_ref() {
        "AWS4-HMAC-SHA256" => {}
        "AWS4-ECDSA-P256-SHA256" => return Err(S3Error::new(Code::InvalidRequest, NOT_V4)),
        _ => return Err(refuse("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")),
    }
    let credential = text(all.credential.ok_or_else(missing)?)?;
    let signature = all.signature.ok_or_else(missing)?;
    let date = all.date.ok_or_else(missing)?;
    let signed_headers = all.signed_headers.ok_or_else(missing)?;
    let expires_seconds = expires(&all.expires.ok_or_else(missing)?)?;
    let time = SignedTime::parse(&date).ok_or_else(|| {
        refuse("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    })?;
    let payload = match head.headers.get("x-amz-content-sha256") {
        Some(value) => Cow::Borrowed(value),
        None => all.payload.unwrap_or(Cow::Borrowed("UNSIGNED-PAYLOAD")),
    };
    let header_token = head.headers.get("x-amz-security-token");
    let token = all.token.as_deref().or(header_token).is_some_and(|token| !token.is_empty());
    Ok(Claim {
        place: Place::Query,
        credential,
        signed_headers,
        signature,
        time,
        expires_seconds: Some(expires_seconds),
        payload,
        token,
    })
}

fn expires(text: &str) -> Result<u32, S3Error> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refuse("X-Amz-Expires should be a number"));
    }
    if digits.len() < text.len() {
        return Err(refuse("X-Amz-Expires must be non-negative"));
    }
    match digits.parse() {
        Ok(0) => Err(refuse("X-Amz-Expires must be at least one second")),
        Ok(seconds) if seconds <= EXPIRES_SECONDS_MAX => Ok(seconds),
        _ => Err(refuse(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds",
        )),
    }
}
