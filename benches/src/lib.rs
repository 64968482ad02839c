//! What the benchmarks share: signed requests and bodies in memory.

use aws_lc_rs::{digest, hmac};
use vaultaire::driver::BodyError;
use vaultaire::engine::tenant::{Credential, Tenants};
use vaultaire::http::Body;
use vaultaire::model::TenantId;

/// The access key id that requests are signed with.
pub const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
/// Its secret.
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// The region that is signed for.
pub const REGION: &str = "us-east-1";
/// When requests are signed.
pub const STAMP: &str = "20200101T000000Z";
/// [`STAMP`] in milliseconds since the epoch.
pub const NOW_MS: i64 = 1_577_836_800_000;

/// The one tenant, whose key requests are signed with.
#[must_use]
pub fn tenants() -> Tenants {
    Tenants::new(vec![Credential {
        access_key_id: ACCESS_KEY_ID.to_owned(),
        secret: SECRET.to_owned(),
        tenant: TenantId::DEFAULT,
    }])
}

const SCOPE: &str = "20200101/us-east-1/s3/aws4_request";
/// Bytes of a signed chunk.
pub const CHUNK: usize = 64 << 10;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn seal(text: &str) -> String {
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for step in SCOPE.split('/') {
        let mac = hmac::Key::new(hmac::HMAC_SHA256, &key);
        key = hmac::sign(&mac, step.as_bytes()).as_ref().to_vec();
    }
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes()).as_ref())
}

/// A signed request head as bytes, and its signature. `query` and `fields` are in canonical form and order.
#[must_use]
pub fn signed_head(
    method: &str,
    path: &str,
    query: &str,
    content: &str,
    fields: &[(&str, &str)],
    length: Option<usize>,
) -> (Vec<u8>, String) {
    let mut all = vec![("host", "127.0.0.1:9000"), ("x-amz-content-sha256", content)];
    all.push(("x-amz-date", STAMP));
    all.extend_from_slice(fields);
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{content}");
    let text = format!("AWS4-HMAC-SHA256\n{STAMP}\n{SCOPE}\n{}", sha256(canonical.as_bytes()));
    let signature = seal(&text);
    let mark = if query.is_empty() { "" } else { "?" };
    let mut head = format!("{method} {path}{mark}{query} HTTP/1.1\r\n");
    for (name, value) in all {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!(
        "authorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{SCOPE}, \
         SignedHeaders={names}, Signature={signature}\r\n"
    );
    if let Some(length) = length {
        head += &format!("content-length: {length}\r\n");
    }
    head += "\r\n";
    (head.into_bytes(), signature)
}

/// A PUT of `bytes` in signed chunks: its head and the encoded body.
#[must_use]
pub fn chunked_put(path: &str, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let length = bytes.len().to_string();
    let fields = [("x-amz-decoded-content-length", length.as_str())];
    // The signature does not cover Content-Length, so it can be found after the body was made.
    let content = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    let (_, mut previous) = signed_head("PUT", path, "", content, &fields, None);
    let mut body = Vec::new();
    for chunk in bytes.chunks(CHUNK).chain([&[][..]]) {
        let empty = sha256(&[]);
        previous = seal(&format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{STAMP}\n{SCOPE}\n{previous}\n{empty}\n{}",
            sha256(chunk)
        ));
        body.extend_from_slice(
            format!("{:x};chunk-signature={previous}\r\n", chunk.len()).as_bytes(),
        );
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    let (head, _) = signed_head("PUT", path, "", content, &fields, Some(body.len()));
    (head, body)
}

/// A body in memory.
pub struct Memory<'a> {
    rest: &'a [u8],
    length: u64,
}

impl<'a> Memory<'a> {
    /// All of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, length: bytes.len() as u64 }
    }
}

impl Body for Memory<'_> {
    fn length(&self) -> Option<u64> {
        Some(self.length)
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let count = self.rest.len().min(buffer.len());
        let (now, rest) = self.rest.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.rest = rest;
        Ok(count)
    }
}

/// `length` bytes that no two places share.
#[must_use]
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
