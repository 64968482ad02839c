//! Whole requests and bodies: the published examples, tampering with each part, bad input.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::super::error::{Code, S3Error};
use super::*;
use crate::context::Context;
use crate::driver::{BodyError, Source as _};
use crate::engine::tenant::Credential;
use crate::http::{Body, Headers};
use crate::model::{Checksum, ChecksumAlgorithm, Digests};
use crate::stdx::sha256;
use crate::stdx::{base64, hex};

mod bodies;
mod heads;

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// 2013-05-24T00:00:00Z, the time of all published examples.
const NOW_MS: i64 = 1_369_353_600_000;

/// A request head that can be changed and signed.
#[derive(Clone)]
struct Request {
    method: &'static str,
    path: String,
    query: String,
    fields: Vec<(String, String)>,
}

impl Request {
    fn new(method: &'static str, path: &str, query: &str, fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Self { method, path: path.to_owned(), query: query.to_owned(), fields }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(other, _)| other != name);
        self
    }

    /// Adds an Authorization field with this scope for all fields, written down independently of the
    /// code under test: fields must be in lower case and sorted, path and query canonical.
    fn signed_for(self, scope: &str) -> Self {
        let names: Vec<_> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let value = |wanted| {
            self.fields.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value)
        };
        let lines: String =
            self.fields.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let payload = value("x-amz-content-sha256");
        let Self { method, path, query, .. } = &self;
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}");
        let time = value("x-amz-date");
        let hash = hex::encode_32(&sha256::digest(canonical.as_bytes()));
        let hash = std::str::from_utf8(&hash).unwrap();
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
        let mut key = format!("AWS4{SECRET}").into_bytes();
        for part in scope.split('/') {
            let step = hmac::Key::new(HMAC_SHA256, &key);
            key = hmac::sign(&step, part.as_bytes()).as_ref().to_vec();
        }
        let tag = hmac::sign(&hmac::Key::new(HMAC_SHA256, &key), to_sign.as_bytes());
        let signature = hex::encode_32(tag.as_ref().try_into().unwrap());
        let signature = std::str::from_utf8(&signature).unwrap();
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={ID}/{scope},SignedHeaders={names},  Signature={signature}"
        );
        self.with("Authorization", &value)
    }

    fn signed(self) -> Self {
        self.signed_for("20130524/us-east-1/s3/aws4_request")
    }

    fn with_head<T>(&self, look: impl FnOnce(&RequestHead<'_>) -> T) -> T {
        let fields: Vec<_> = self
            .fields
            .iter()
            .map(|(name, value)| httparse::Header { name, value: value.as_bytes() })
            .collect();
        look(&RequestHead {
            method: self.method,
            path: &self.path,
            query: &self.query,
            headers: Headers::new(&fields),
        })
    }

    fn authenticate_at(&self, now_ms: i64) -> Result<Identity, S3Error> {
        let authenticator = Authenticator::new(tenants(), "us-east-1");
        self.with_head(|head| {
            let fresh = authenticator.authenticate(head, now_ms);
            let warm = authenticator.authenticate(head, now_ms);
            assert_eq!(
                fresh.as_ref().map(|_| ()).map_err(|error| error.code),
                warm.map(|_| ()).map_err(|error| error.code)
            );
            fresh
        })
    }

    fn authenticate(&self) -> Result<Identity, S3Error> {
        self.authenticate_at(NOW_MS)
    }

    fn refusal(&self) -> Option<Code> {
        self.authenticate().err().map(|error| error.code)
    }
}

fn tenants() -> Tenants {
    let credential =
        Credential { access_key_id: ID.to_owned(), secret: SECRET.to_owned(), tenant: TenantId(7) };
    Tenants::new(vec![credential])
}

fn authorization(headers: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={ID}/20130524/us-east-1/s3/aws4_request,SignedHeaders={headers},Signature={signature}"
    )
}

/// A body that yields at most so many bytes a time.
struct Pieces<'a> {
    rest: &'a [u8],
    length: Option<u64>,
    cuts: Vec<usize>,
    turn: usize,
}

impl<'a> Pieces<'a> {
    fn new(rest: &'a [u8], cuts: &[usize]) -> Self {
        Self { rest, length: Some(rest.len() as u64), cuts: cuts.to_vec(), turn: 0 }
    }
}

impl Body for Pieces<'_> {
    fn length(&self) -> Option<u64> {
        self.length
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let cut = self.cuts[self.turn % self.cuts.len()];
        self.turn += 1;
        let length = cut.min(buffer.len()).min(self.rest.len());
        let (now, rest) = self.rest.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.rest = rest;
        Ok(length)
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Stored(Vec<u8>, Digests),
    Refused(Code),
    Failed(BodyError),
}

/// Takes a body through a source, reading so many bytes a time.
fn take(request: &Request, body: &[u8], cuts: &[usize], reads: &[usize]) -> Outcome {
    take_with(request, body, cuts, reads, false)
}

/// As [`take`], or filling memory that is handed over.
fn take_with(
    request: &Request,
    body: &[u8],
    cuts: &[usize],
    reads: &[usize],
    fills: bool,
) -> Outcome {
    let ctx = Context::internal(TenantId(7));
    let identity = request.authenticate().expect("signed");
    let mut body = Pieces::new(body, cuts);
    request.with_head(|head| {
        let plan = ChecksumPlan::default();
        let mut source = match BodySource::new(head, &identity, &mut body, 1 << 20, plan) {
            Ok(source) => source,
            Err(error) => return Outcome::Refused(error.code),
        };
        let run = async {
            let mut data = Vec::new();
            let mut buffer = vec![0; 100_000];
            for turn in 0.. {
                let room = reads[turn % reads.len()];
                if fills {
                    let start = data.len();
                    data.resize(start + room, 0);
                    let mut arrived = Vec::new();
                    let mut note = |bytes: &[u8]| arrived.extend_from_slice(bytes);
                    let (filled, back) = source.fill(&ctx, data, start, &mut note).await;
                    let filled = filled?;
                    data = back;
                    data.truncate(start + filled);
                    assert_eq!(arrived, data[start..], "each byte is shown once, in order");
                    if filled < room {
                        break;
                    }
                    continue;
                }
                let filled = source.read(&ctx, &mut buffer[..room]).await?;
                if filled == 0 {
                    break;
                }
                data.extend_from_slice(&buffer[..filled]);
            }
            Ok((data, source.finish(&ctx).await?))
        };
        let done = if fills {
            crate::io::testing::run(run)
        } else {
            run.now_or_never().expect("never waits")
        };
        match done {
            Ok((data, digests)) => Outcome::Stored(data, digests),
            Err(error) => Outcome::Failed(error),
        }
    })
}
