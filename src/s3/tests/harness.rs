//! A service over the memory driver, and a client that signs.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use futures_util::FutureExt as _;

use crate::context::{Cancellation, Context, Monotonic, RequestId};
use crate::driver::memory::MemoryDriver;
use crate::driver::{BodyError, Chunk, Reader as _};
use crate::engine::tenant::{Credential, Tenants};
use crate::engine::{AnyDriver, DriverRules, Engine};
use crate::http::{Body, Headers, RequestHead, ResponseBody};
use crate::io::Clock;
use crate::io::budget::Budget;
use crate::model::{ETagHash, TenantId};
use crate::s3::{Outline, Reply, Service, ServiceConfig};
use crate::stdx::percent;

const SECRET: &str = "secret";
const DAY: &str = "20200101";
const TIME: &str = "20200101T000000Z";
/// [`TIME`]
const NOW_MS: i64 = 1_577_836_800_000;

/// Stands still.
#[derive(Clone)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Monotonic {
        Monotonic(0)
    }

    fn wall_ms(&self) -> i64 {
        NOW_MS
    }

    async fn sleep(&self, _duration: Duration) {}
}

/// A body in memory. What is over `sent` never comes, as from a client that went away.
pub(super) struct Memory {
    bytes: Vec<u8>,
    position: usize,
    length: Option<u64>,
}

impl Body for Memory {
    fn length(&self) -> Option<u64> {
        self.length
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        // In small pieces, so that nothing relies on all of it coming at once.
        let rest = &self.bytes[self.position..];
        let count = rest.len().min(buffer.len()).min(1000);
        if count == 0
            && !buffer.is_empty()
            && self.length.is_some_and(|length| length > self.position as u64)
        {
            return Err(BodyError::Truncated);
        }
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        Ok(count)
    }
}

/// One request.
#[derive(Clone)]
pub(super) struct Request {
    method: String,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    length: Option<u64>,
}

/// `METHOD target`
pub(super) fn request(line: &str) -> Request {
    let (method, target) = line.split_once(' ').expect("method and target");
    let (method, target) = (method.to_owned(), target.to_owned());
    Request { method, target, fields: vec![], body: vec![], length: None }
}

impl Request {
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    pub(super) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Declares a length that is not the body's.
    pub(super) fn length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// Adds the Content-MD5 of the body.
    pub(super) fn md5(self) -> Self {
        let md5 = crate::stdx::md5::digest(&self.body);
        self.with("content-md5", &base64_simd::STANDARD.encode_to_string(md5))
    }
}

/// One response, with its body read.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: String,
    pub(super) body: Vec<u8>,
    /// What HEAD declares, or the length of the body.
    pub(super) length: u64,
    pub(super) close: bool,
    pub(super) outline: Outline,
    pub(super) tenant: TenantId,
}

impl Answered {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (other, value) = line.split_once(": ")?;
            other.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The text of the first element of this name.
    pub(super) fn element(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.text().split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
    }

    /// The texts of all elements of this name.
    pub(super) fn elements(&self, name: &str) -> Vec<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let pieces = self.text().split(open.as_str()).skip(1);
        pieces.filter_map(|piece| piece.split_once(close.as_str())).map(|(text, _)| text).collect()
    }

    /// The status and the code of the error.
    pub(super) fn error(&self) -> (u16, &str) {
        assert_eq!(self.element("Code").unwrap_or_default(), self.outline.error_code);
        (self.status, self.element("Code").unwrap_or_default())
    }
}

/// The server.
pub(super) struct Server(Service);

impl Server {
    /// A server that has the bucket `bkt`.
    pub(super) fn new() -> Self {
        Self::with(ETagHash::default(), 64 << 20)
    }

    /// One whose entity tags are made of this.
    pub(super) fn with_etag(made_of: ETagHash) -> Self {
        Self::with(made_of, 64 << 20)
    }

    /// One with a budget of so many bytes.
    pub(super) fn with_memory(bytes: u64) -> Self {
        Self::with(ETagHash::default(), bytes)
    }

    fn with(made_of: ETagHash, memory: u64) -> Self {
        let driver = AnyDriver::Memory(MemoryDriver::with_clock(Still));
        let rules = DriverRules::new(vec![("memory".to_owned(), driver)], vec![]);
        let credential = |id: &str, tenant| Credential {
            access_key_id: id.to_owned(),
            secret: SECRET.to_owned(),
            tenant: TenantId(tenant),
        };
        let config = ServiceConfig {
            region: "eu-test-1".to_owned(),
            domains: vec!["s3.test".to_owned()],
            tenants: Tenants::new(vec![credential("one", 0), credential("two", 7)]),
            body_bytes_max: 32 << 20,
        };
        let engine = Rc::new(Engine::with_etag(rules, made_of));
        let this = Self(Service::new(config, engine, Budget::new(memory), Still));
        assert_eq!(this.send(&request("PUT /bkt")).status, 200);
        this
    }

    /// Sends a request of the first tenant.
    pub(super) fn send(&self, request: &Request) -> Answered {
        self.send_as("one", request)
    }

    /// Sends a request signed with this key.
    pub(super) fn send_as(&self, key: &str, request: &Request) -> Answered {
        let mut fields = request.fields.clone();
        if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            fields.push(("Host".to_owned(), b"localhost:9000".to_vec()));
        }
        let length = request.length.unwrap_or(request.body.len() as u64);
        fields.push(("x-amz-content-sha256".to_owned(), b"UNSIGNED-PAYLOAD".to_vec()));
        fields.push(("x-amz-date".to_owned(), TIME.into()));
        let authorization = sign(key, request, &fields);
        fields.push(("Authorization".to_owned(), authorization.into_bytes()));
        fields.push(("Content-Length".to_owned(), length.to_string().into_bytes()));
        self.send_raw(request, &fields, length)
    }

    /// Sends a request with nothing added.
    pub(super) fn send_unsigned(&self, request: &Request) -> Answered {
        self.send_raw(request, &request.fields, request.body.len() as u64)
    }

    fn send_raw(&self, request: &Request, fields: &[(String, Vec<u8>)], length: u64) -> Answered {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| httparse::Header { name, value }).collect();
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let headers = Headers::new(&fields);
        let head = RequestHead { method: &request.method, path, query, headers };
        let mut body = Memory { bytes: request.body.clone(), position: 0, length: Some(length) };
        let ctx = Context::new(
            TenantId::DEFAULT,
            RequestId(0xab),
            Monotonic::NEVER,
            Cancellation::default(),
        );
        let reply = self.0.serve(ctx, &head, &mut body).now_or_never().expect("never waits");
        read(reply)
    }
}

fn read(reply: Reply) -> Answered {
    let Reply { ctx, response, outline } = reply;
    let mut body = Vec::new();
    let mut declared = None;
    match response.body {
        ResponseBody::Empty => {}
        ResponseBody::Declared(length) => declared = Some(length),
        ResponseBody::Bytes(bytes) => body = bytes.to_vec(),
        ResponseBody::Stream { mut reader, length } => {
            while let Some(chunk) =
                reader.next(&ctx).now_or_never().expect("never waits").expect("no failure")
            {
                let Chunk::Memory(bytes) = chunk else { panic!("no files here") };
                body.extend_from_slice(&bytes);
            }
            assert_eq!(body.len() as u64, length);
        }
    }
    let headers = String::from_utf8(response.headers.as_bytes().to_vec()).expect("text");
    assert!(headers.contains("x-amz-request-id: 00000000000000AB\r\n"), "{headers}");
    assert!(headers.contains("x-amz-id-2: "), "{headers}");
    Answered {
        status: response.status,
        headers,
        length: declared.unwrap_or(body.len() as u64),
        body,
        close: response.close,
        outline,
        tenant: ctx.tenant(),
    }
}

/// The Authorization field over all fields, written independently of what checks it.
fn sign(key: &str, request: &Request, fields: &[(String, Vec<u8>)]) -> String {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut sorted: Vec<(String, Vec<u8>)> =
        fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    sorted.sort_by(|one, other| one.0.cmp(&other.0));
    sorted.dedup_by(|next, one| {
        let same = next.0 == one.0;
        if same {
            one.1.push(b',');
            one.1.extend_from_slice(&next.1);
        }
        same
    });
    let names: Vec<_> = sorted.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let mut canonical = format!("{}\n", request.method).into_bytes();
    if percent::canonical_path(path, &mut canonical).is_err() {
        canonical.extend_from_slice(path.as_bytes());
    }
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (mut n, mut v) = (Vec::new(), Vec::new());
            percent::canonical_query(name, &mut n).expect("valid");
            percent::canonical_query(value, &mut v).expect("valid");
            (n, v)
        })
        .collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.into_iter().map(|(n, v)| [&n[..], b"=", &v[..]].concat()).collect();
    canonical.push(b'\n');
    canonical.extend_from_slice(&pairs.join(&b'&'));
    canonical.push(b'\n');
    for (name, value) in &sorted {
        canonical.extend_from_slice(&[name.as_bytes(), b":", value.trim_ascii(), b"\n"].concat());
    }
    canonical.extend_from_slice(format!("\n{names}\nUNSIGNED-PAYLOAD").as_bytes());

    let scope = format!("{DAY}/eu-test-1/s3/aws4_request");
    let hash = hex(digest::digest(&digest::SHA256, &canonical).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{TIME}\n{scope}\n{hash}");
    let mut secret = format!("AWS4{SECRET}").into_bytes();
    for part in scope.split('/') {
        let step = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        secret = hmac::sign(&step, part.as_bytes()).as_ref().to_vec();
    }
    let last = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let signature = hex(hmac::sign(&last, to_sign.as_bytes()).as_ref());
    format!("AWS4-HMAC-SHA256 Credential={key}/{scope},SignedHeaders={names},Signature={signature}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory");
        text
    })
}
