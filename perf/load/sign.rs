//! SigV4 (AWS, "Authenticating requests"): the day's key and the stamp are cached, and heads are written without
//! an allocation.

use std::time::SystemTime;

use aws_lc_rs::{digest, hmac};

use crate::args::Args;

/// The value of x-amz-content-sha256 for a body that is not signed.
pub(crate) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A request to be signed.
pub(crate) struct Head<'a> {
    pub(crate) method: &'static str,
    pub(crate) path: &'a str,
    /// In canonical form and order.
    pub(crate) query: &'a str,
    /// The value of x-amz-content-sha256.
    pub(crate) content: &'a str,
    /// Further fields of the name x-amz-…, in order.
    pub(crate) fields: &'a [(&'static str, &'a str)],
    pub(crate) length: usize,
}

/// Signs requests of one connection.
pub(crate) struct Signer {
    host: String,
    access_key_id: String,
    secret: String,
    region: String,
    /// Requests go out without a signature.
    is_plain: bool,
    second: u64,
    stamp: String,
    scope: String,
    key: Option<hmac::Key>,
    scratch: Vec<u8>,
    /// Of the last request or chunk.
    signature: [u8; 64],
}

impl Signer {
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            host: args.endpoint.to_string(),
            access_key_id: args.access_key_id.clone(),
            secret: args.secret_access_key.clone(),
            region: args.region.clone(),
            is_plain: args.unsigned,
            second: 0,
            stamp: String::new(),
            scope: String::new(),
            key: None,
            scratch: Vec::with_capacity(1024),
            signature: [0; 64],
        }
    }

    /// Writes a request head to `out`.
    pub(crate) fn head(&mut self, out: &mut Vec<u8>, head: &Head<'_>) {
        if !self.is_plain {
            self.refresh();
            self.sign(head);
        }
        put(out, &[head.method, " ", head.path]);
        if !head.query.is_empty() {
            put(out, &["?", head.query]);
        }
        put(out, &[" HTTP/1.1\r\nhost: ", &self.host]);
        if !self.is_plain {
            self.each_field(head, |name, value| put(out, &["\r\n", name, ": ", value]));
            put(out, &["\r\nauthorization: AWS4-HMAC-SHA256 Credential=", &self.access_key_id]);
            put(out, &["/", &self.scope, ", SignedHeaders=host"]);
            self.each_field(head, |name, _| put(out, &[";", name]));
            put(out, &[", Signature="]);
            out.extend_from_slice(&self.signature);
        }
        if head.length > 0 || matches!(head.method, "PUT" | "POST") {
            let mut digits = itoa::Buffer::new();
            put(out, &["\r\ncontent-length: ", digits.format(head.length)]);
        }
        put(out, &["\r\n\r\n"]);
    }

    /// The signature of a chunk whose SHA-256 is given; it follows that of the last head or chunk.
    pub(crate) fn chunk(&mut self, hash: &str) -> &[u8; 64] {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        put(&mut text, &["AWS4-HMAC-SHA256-PAYLOAD\n", &self.stamp, "\n", &self.scope, "\n"]);
        text.extend_from_slice(&self.signature);
        put(&mut text, &["\n", EMPTY, "\n", hash]);
        self.seal(&text);
        self.scratch = text;
        &self.signature
    }

    /// The signed fields behind `host`, in order.
    fn each_field(&self, head: &Head<'_>, mut field: impl FnMut(&str, &str)) {
        let own = [("x-amz-content-sha256", head.content), ("x-amz-date", &self.stamp)];
        let mut own = own.into_iter().peekable();
        for (name, value) in head.fields {
            while let Some((own_name, own_value)) = own.next_if(|(own, _)| own < name) {
                field(own_name, own_value);
            }
            field(name, value);
        }
        own.for_each(|(name, value)| field(name, value));
    }

    fn sign(&mut self, head: &Head<'_>) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        put(&mut text, &[head.method, "\n", head.path, "\n", head.query, "\nhost:", &self.host]);
        self.each_field(head, |name, value| put(&mut text, &["\n", name, ":", value]));
        put(&mut text, &["\n\nhost"]);
        self.each_field(head, |name, _| put(&mut text, &[";", name]));
        put(&mut text, &["\n", head.content]);
        let hash = digest::digest(&digest::SHA256, &text);
        text.clear();
        put(&mut text, &["AWS4-HMAC-SHA256\n", &self.stamp, "\n", &self.scope, "\n"]);
        text.extend_from_slice(&hex(hash.as_ref()));
        self.seal(&text);
        self.scratch = text;
    }

    fn seal(&mut self, text: &[u8]) {
        if let Some(key) = &self.key {
            self.signature = hex(hmac::sign(key, text).as_ref());
        }
    }

    fn refresh(&mut self) {
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second == self.second {
            return;
        }
        self.second = second;
        let same_day = self.stamp.get(..8).map(str::to_owned);
        self.stamp = jiff::Timestamp::try_from(now)
            .map(|time| time.strftime("%Y%m%dT%H%M%SZ").to_string())
            .unwrap_or_default();
        let day = self.stamp.get(..8).unwrap_or_default();
        if self.key.is_none() || same_day.as_deref() != Some(day) {
            let mut key = format!("AWS4{}", self.secret).into_bytes();
            for step in [day, &self.region, "s3", "aws4_request"] {
                let mac = hmac::Key::new(hmac::HMAC_SHA256, &key);
                key = hmac::sign(&mac, step.as_bytes()).as_ref().to_vec();
            }
            self.key = Some(hmac::Key::new(hmac::HMAC_SHA256, &key));
            self.scope = format!("{day}/{}/s3/aws4_request", self.region);
        }
    }
}

fn put(out: &mut Vec<u8>, texts: &[&str]) {
    for text in texts {
        out.extend_from_slice(text.as_bytes());
    }
}

/// The hexadecimal form of a SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digits = hex(digest::digest(&digest::SHA256, bytes).as_ref());
    digits.iter().map(|digit| char::from(*digit)).collect()
}

fn hex(bytes: &[u8]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'0'; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}
