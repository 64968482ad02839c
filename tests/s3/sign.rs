//! A small SigV4 signer for raw requests, written apart from the server's own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};

use crate::harness::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server};

/// A request to be signed and sent as raw bytes.
pub(crate) struct Raw {
    pub(crate) method: &'static str,
    /// Percent-encoded, with its query in canonical order.
    pub(crate) target: String,
    /// `x-amz-content-sha256`
    pub(crate) payload_hash: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) secret: &'static str,
    pub(crate) age: Duration,
}

impl Raw {
    pub(crate) fn new(method: &'static str, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            payload_hash: "UNSIGNED-PAYLOAD".into(),
            headers: Vec::new(),
            secret: SECRET_ACCESS_KEY,
            age: Duration::ZERO,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The head with its signature, ending in the empty line; and the seed signature.
    pub(crate) fn head(&self, server: &Server) -> (String, String) {
        let stamp = timestamp(SystemTime::now() - self.age);
        let day = &stamp[..8];
        let mut signed: Vec<(&str, String)> = vec![
            ("host", server.address.clone()),
            ("x-amz-content-sha256", self.payload_hash.clone()),
            ("x-amz-date", stamp.clone()),
        ];
        signed.extend(
            self.headers
                .iter()
                .filter(|(name, _)| name.starts_with("x-amz-"))
                .map(|(name, value)| (*name, value.clone())),
        );
        signed.sort();
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let mut canonical = format!("{}\n{path}\n{query}\n", self.method);
        for (name, value) in &signed {
            canonical.push_str(&format!("{name}:{value}\n"));
        }
        canonical.push_str(&format!("\n{names}\n{}", self.payload_hash));
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}",
            hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
        );
        let signature = hex(&mac(&signing_key(self.secret, day), to_sign.as_bytes()));
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &signed {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in self.headers.iter().filter(|(name, _)| !name.starts_with("x-amz-")) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!(
            "authorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{scope}, \
             SignedHeaders={names}, Signature={signature}\r\n\r\n"
        ));
        (head, signature)
    }

    /// Sends head and body on a connection of its own and returns the whole answer.
    pub(crate) fn send(&self, server: &Server, body: &[u8]) -> String {
        let (head, _) = self.head(server);
        exchange(server, &[head.as_bytes(), body].concat())
    }
}

/// Sends bytes as they are and reads until the server closes or has answered one request in full.
pub(crate) fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(&server.address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    read_answer(&mut stream)
}

/// Reads one answer: its head, and as much body as it declares.
pub(crate) fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0; 1];
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            _ => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    if stream.read_exact(&mut body).is_ok() {
        answer.extend_from_slice(&body);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The signing key for a day.
pub(crate) fn signing_key(secret: &str, day: &str) -> Vec<u8> {
    let day_key = mac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
    let region_key = mac(&day_key, b"us-east-1");
    mac(&mac(&region_key, b"s3"), b"aws4_request")
}

pub(crate) fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `YYYYMMDDTHHMMSSZ`
pub(crate) fn timestamp(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).expect("in range");
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}
