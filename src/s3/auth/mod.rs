//! Who asks: SigV4 (AWS Signature Version 4), and whether the body is what was signed.
//!
//! [`Authenticator::authenticate`] checks a head and gives an [`Identity`]; [`BodySource`] then
//! takes the body, strips aws-chunked from it and checks every promise that the head made about it.
//! Nothing of a body is held here but a line of its framing.
//!
//! Sources: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>
//! and <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>.

mod canonical;
mod checksums;
mod chunked;
mod date;
mod document;
mod header;
mod keys;
mod query;
mod signature;
mod signer;
mod source;
mod unchecked;

#[cfg(test)]
mod tests;

pub use checksums::{ChecksumPlan, checksum_of_name, checksum_suffix};
pub use document::read_document;
pub use signer::ChunkSigner;
pub use source::BodySource;

use std::cell::RefCell;

use super::error::{Code, S3Error};
use crate::engine::tenant::Tenants;
use crate::http::RequestHead;
use crate::model::TenantId;
use canonical::Scratch;
use keys::KeyCache;

/// What the client promised about the body when it signed the head.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Nothing.
    Unsigned,
    /// That it has this SHA-256.
    Signed([u8; 32]),
    /// That it is aws-chunked and every chunk is signed, each signature depending on the last.
    StreamingSigned {
        /// Knows the signature of the head, which the first chunk's depends on.
        seed: Box<ChunkSigner>,
        /// Whether signed trailer fields follow the last chunk.
        trailer: bool,
    },
    /// That it is aws-chunked with trailer fields, unsigned.
    StreamingUnsignedTrailer,
}

/// Who signed a request.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Whose key signed it.
    pub tenant: TenantId,
    /// Whether the signature was in the query.
    pub presigned: bool,
    /// What was promised about the body.
    pub payload: Payload,
}

/// Checks the signatures of one core's requests, keeping what they have in common: signing keys
/// and the memory that canonical requests are written to.
pub struct Authenticator {
    tenants: Tenants,
    region: String,
    working: RefCell<Working>,
}

/// What an [`Authenticator`] keeps from one request to the next.
#[derive(Default)]
struct Working {
    keys: KeyCache,
    scratch: Scratch,
}

impl Authenticator {
    /// Knows these tenants; requests must be signed for `region`.
    #[must_use]
    pub fn new(tenants: Tenants, region: impl Into<String>) -> Self {
        Self { tenants, region: region.into(), working: RefCell::default() }
    }

    /// The region that requests must be signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Says who signed a request, as of `now_ms` (milliseconds since the epoch). The body is not
    /// looked at.
    ///
    /// # Errors
    /// The answer to give instead: as S3 does, for the first of what is wrong.
    pub fn authenticate(&self, head: &RequestHead<'_>, now_ms: i64) -> Result<Identity, S3Error> {
        authenticate_with(head, &self.tenants, &self.region, now_ms, &mut self.working.borrow_mut())
    }
}

/// [`Authenticator::authenticate`] without anything kept.
///
/// # Errors
/// As there.
pub fn authenticate(
    head: &RequestHead<'_>,
    tenants: &Tenants,
    region: &str,
    now_ms: i64,
) -> Result<Identity, S3Error> {
    authenticate_with(head, tenants, region, now_ms, &mut Working::default())
}

const NOT_V4: &str =
    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";

fn authenticate_with(
    head: &RequestHead<'_>,
    tenants: &Tenants,
    region: &str,
    now_ms: i64,
    working: &mut Working,
) -> Result<Identity, S3Error> {
    let in_query = query::carries_signature(head.query);
    let claim = match head.headers.get("authorization") {
        Some(_) if in_query => {
            return Err(S3Error::new(
                Code::InvalidArgument,
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
            ));
        }
        Some(value) => header::claim(value, head)?,
        None if in_query => query::claim(head)?,
        None if query::carries_v2(head.query) => {
            return Err(S3Error::new(Code::InvalidRequest, NOT_V4));
        }
        None if head.headers.has("authorization") => {
            return Err(S3Error::new(Code::InvalidArgument, "Unsupported Authorization Type"));
        }
        None => return Err(Code::AccessDenied.into()),
    };
    signature::verify(&claim, head, tenants, region, now_ms, working)
}
