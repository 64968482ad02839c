//! What a signature claims, wherever it was found, and whether that is true.

use std::borrow::Cow;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::super::error::{Code, S3Error};
use super::canonical::{self, SignedHeaders};
use super::date::{self, SignedTime};
use super::signer::ChunkSigner;
use super::{Identity, Payload, Working};
use crate::engine::tenant::Tenants;
use crate::http::RequestHead;
use crate::stdx::{hex, sha256};

/// Largest difference between the client's clock and ours, in milliseconds.
const SKEW_MS_MAX: i64 = 15 * 60 * 1000;

/// The region whose signature is taken when a client asks which region it should sign for.
const REGION_OF_QUESTIONS: &str = "us-east-1";

/// Where a signature was found; decides how what is wrong with it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The `Authorization` field.
    Header,
    /// The query.
    Query,
}

impl Place {
    /// The refusal of a signature that cannot be understood.
    pub(super) fn malformed(self, what: impl AsRef<str>) -> S3Error {
        let (code, lead) = match self {
            Self::Header => {
                (Code::AuthorizationHeaderMalformed, "The authorization header is malformed; ")
            }
            Self::Query => (
                Code::AuthorizationQueryParametersError,
                "Error parsing the X-Amz-Credential parameter; ",
            ),
        };
        S3Error::new(code, format!("{lead}{}", what.as_ref()))
    }
}

/// What a request says of its signature. Nothing here was checked.
pub(super) struct Claim<'a> {
    pub(super) place: Place,
    pub(super) credential: Cow<'a, str>,
    pub(super) signed_headers: Cow<'a, str>,
    pub(super) signature: Cow<'a, str>,
    pub(super) time: SignedTime,
    /// How long a presigned URL is valid.
    pub(super) expires_seconds: Option<u32>,
    /// The line of the canonical request that stands for the body.
    pub(super) payload: Cow<'a, str>,
    /// Whether there is a session token.
    pub(super) token: bool,
}

/// What a signing key is good for.
struct Scope<'a> {
    day: [u8; 8],
    region: &'a str,
    service: &'a str,
    /// All of it, as it is signed.
    text: &'a str,
}

impl<'a> Scope<'a> {
    /// Splits `access key id/day/region/service/aws4_request`; the id may itself have slashes.
    fn parse(credential: &'a str) -> Option<(&'a str, Self)> {
        let mut parts = credential.rsplitn(5, '/');
        let terminator = parts.next()?;
        let (service, region, day) = (parts.next()?, parts.next()?, parts.next()?);
        let id = parts.next().filter(|id| !id.is_empty())?;
        let day: [u8; 8] = day.as_bytes().try_into().ok()?;
        let plain = terminator == "aws4_request" && day.iter().all(u8::is_ascii_digit);
        let text = &credential[id.len() + 1..];
        plain.then_some((id, Self { day, region, service, text }))
    }
}

/// Checks a claim against our keys and clock.
pub(super) fn verify(
    claim: &Claim<'_>,
    head: &RequestHead<'_>,
    tenants: &Tenants,
    region: &str,
    now_ms: i64,
    working: &mut Working,
) -> Result<Identity, S3Error> {
    let (access_key_id, scope) = Scope::parse(&claim.credential).ok_or_else(|| {
        claim.place.malformed("the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
    })?;
    check_scope(claim, &scope, head, region)?;
    if claim.token {
        // Every key of ours is long-lived: a token can only belong to someone else's session.
        return Err(Code::InvalidToken.into());
    }
    let credential = tenants.credential(access_key_id).ok_or_else(|| {
        S3Error::from(Code::InvalidAccessKeyId).with("AWSAccessKeyId", access_key_id)
    })?;
    check_time(claim, now_ms)?;
    let mut signed = SignedHeaders::default();
    if !signed.read(&claim.signed_headers) {
        return Err(claim.place.malformed("the list of signed headers is not valid."));
    }
    signed.cover(head)?;
    let payload = promise(&claim.payload)?;

    let Working { keys, scratch } = working;
    canonical::write(scratch, head, &signed, &claim.payload)?;
    let key = keys.get(access_key_id, &credential.secret, &scope.day, scope.region);
    let request = hex::encode_32(&sha256::digest(&scratch.request));
    let to_sign = string_to_sign(&claim.time, &scope, &request);
    let mut tag = key.begin();
    to_sign.iter().for_each(|piece| tag.update(piece));
    let signature = hex::encode_32(&tag.finish());
    if verify_slices_are_equal(&signature, claim.signature.as_bytes()).is_err() {
        let refusal = S3Error::from(Code::SignatureDoesNotMatch)
            .with("AWSAccessKeyId", access_key_id)
            .with("StringToSign", String::from_utf8_lossy(&to_sign.concat()))
            .with("SignatureProvided", claim.signature.as_ref())
            .with("CanonicalRequest", String::from_utf8_lossy(&scratch.request));
        scratch.trim();
        return Err(refusal);
    }
    scratch.trim();
    let payload = payload.with_seed(|| {
        Box::new(ChunkSigner::new(key.clone(), claim.time, scope.text.as_bytes(), signature))
    });
    Ok(Identity { tenant: credential.tenant, presigned: claim.place == Place::Query, payload })
}

/// `algorithm, time, scope, hash of the canonical request`, a line each.
fn string_to_sign<'a>(
    time: &'a SignedTime,
    scope: &Scope<'a>,
    request: &'a [u8; 64],
) -> [&'a [u8]; 6] {
    [b"AWS4-HMAC-SHA256\n", time.text(), b"\n", scope.text.as_bytes(), b"\n", request]
}

fn check_scope(
    claim: &Claim<'_>,
    scope: &Scope<'_>,
    head: &RequestHead<'_>,
    region: &str,
) -> Result<(), S3Error> {
    if scope.service != "s3" {
        let what =
            format!("incorrect service \"{}\". This endpoint belongs to \"s3\".", scope.service);
        return Err(claim.place.malformed(what));
    }
    let asks_for_region = scope.region == REGION_OF_QUESTIONS
        && head.method == "GET"
        && head.query.split('&').any(|pair| matches!(pair, "location" | "location="));
    if scope.region != region && !asks_for_region {
        let what = format!("the region '{}' is wrong; expecting '{region}'", scope.region);
        return Err(claim.place.malformed(what).with("Region", region));
    }
    if claim.time.day() != scope.day {
        let day = String::from_utf8_lossy(&scope.day);
        let what = format!(
            "invalid credential date \"{day}\". This date is not the same as that of the signature."
        );
        return Err(claim.place.malformed(what));
    }
    Ok(())
}

fn check_time(claim: &Claim<'_>, now_ms: i64) -> Result<(), S3Error> {
    let signed_ms = claim.time.ms;
    let Some(expires_seconds) = claim.expires_seconds else {
        if signed_ms.abs_diff(now_ms) <= SKEW_MS_MAX.unsigned_abs() {
            return Ok(());
        }
        return Err(S3Error::from(Code::RequestTimeTooSkewed)
            .with("RequestTime", String::from_utf8_lossy(claim.time.text()))
            .with("ServerTime", date::display(now_ms))
            .with("MaxAllowedSkewMilliseconds", SKEW_MS_MAX.to_string()));
    };
    if signed_ms > now_ms.saturating_add(SKEW_MS_MAX) {
        return Err(S3Error::new(Code::AccessDenied, "Request is not valid yet")
            .with("ServerTime", date::display(now_ms)));
    }
    let end_ms = signed_ms.saturating_add(i64::from(expires_seconds) * 1000);
    if now_ms > end_ms {
        return Err(S3Error::new(Code::AccessDenied, "Request has expired")
            .with("X-Amz-Expires", expires_seconds.to_string())
            .with("Expires", date::display(end_ms))
            .with("ServerTime", date::display(now_ms)));
    }
    Ok(())
}

/// The words of `x-amz-content-sha256`.
enum Promise {
    Unsigned,
    Signed([u8; 32]),
    Streaming { trailer: bool },
    StreamingUnsignedTrailer,
}

impl Promise {
    fn with_seed(self, seed: impl FnOnce() -> Box<ChunkSigner>) -> Payload {
        match self {
            Self::Unsigned => Payload::Unsigned,
            Self::Signed(sha256) => Payload::Signed(sha256),
            Self::Streaming { trailer } => Payload::StreamingSigned { seed: seed(), trailer },
            Self::StreamingUnsignedTrailer => Payload::StreamingUnsignedTrailer,
        }
    }
}

fn promise(text: &str) -> Result<Promise, S3Error> {
    match text {
        "UNSIGNED-PAYLOAD" => Ok(Promise::Unsigned),
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Promise::Streaming { trailer: false }),
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(Promise::Streaming { trailer: true }),
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Promise::StreamingUnsignedTrailer),
        _ => hex::decode(text.as_bytes()).map(Promise::Signed).ok_or_else(|| {
            S3Error::new(
                Code::InvalidArgument,
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
            )
            .with("ArgumentName", "x-amz-content-sha256")
            .with("ArgumentValue", text)
        }),
    }
}
