//! A blocking client with one connection: signs, sends, reads one answer. It never sends a request twice, for the
//! ledger must know of each whether it was answered.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};

pub(crate) const ACCESS_KEY_ID: &str = "recovery-access-key";
pub(crate) const SECRET_ACCESS_KEY: &str = "recovery-secret-access-key";

/// Longest wait for an answer: a server that hangs is a finding, not a wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer, read in full.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// With its quotation marks; empty if there is none.
    pub(crate) etag: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What stands in the first element of this name.
    pub(crate) fn element(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0.replace("&quot;", "\""))
    }
}

/// One keep-alive connection, opened at the first request.
pub(crate) struct Client {
    address: String,
    stream: Option<TcpStream>,
}

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), stream: None }
    }

    /// Sends one request; `target` is percent-encoded with its query in canonical order. After an error its outcome
    /// is unknown.
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(&self.address)?,
        };
        let head = self.head(method, target, headers, body.len());
        let early = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        let (answer, reusable) = match read_answer(&mut stream, method == "HEAD") {
            Ok(read) => read,
            // What could not be sent says more than what did not come.
            Err(error) => return Err(early.err().unwrap_or(error)),
        };
        if reusable && early.is_ok() {
            self.stream = Some(stream);
        }
        Ok(answer)
    }

    /// The signed head of a request, to be sent by hand.
    pub(crate) fn head(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        length: usize,
    ) -> String {
        let now = jiff::Timestamp::try_from(SystemTime::now()).expect("in range");
        let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &stamp[..8];
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut signed = vec![
            ("host", self.address.as_str()),
            ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
            ("x-amz-date", stamp.as_str()),
        ];
        signed.extend(headers.iter().filter(|(name, _)| name.starts_with("x-amz-")));
        signed.sort_unstable();
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let mut canonical = format!("{method}\n{path}\n{query}\n");
        for (name, value) in &signed {
            canonical.push_str(&format!("{name}:{value}\n"));
        }
        canonical.push_str(&format!("\n{names}\nUNSIGNED-PAYLOAD"));
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hash}");
        let mut key = format!("AWS4{SECRET_ACCESS_KEY}").into_bytes();
        for step in [day, "us-east-1", "s3", "aws4_request", &to_sign] {
            let mac = hmac::Key::new(hmac::HMAC_SHA256, &key);
            key = hmac::sign(&mac, step.as_bytes()).as_ref().to_vec();
        }
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {}\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n\
             x-amz-date: {stamp}\r\nauthorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{scope}, \
             SignedHeaders={names}, Signature={}\r\ncontent-length: {length}\r\n",
            self.address,
            hex(&key)
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads one answer; says too whether the connection may be used again.
pub(crate) fn read_answer(stream: &mut TcpStream, is_head: bool) -> io::Result<(Answer, bool)> {
    let mut bytes = Vec::with_capacity(4096);
    let mut piece = vec![0; 64 << 10];
    let head_length = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let count = read_some(stream, &mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&piece[..count]);
    };
    let head = String::from_utf8_lossy(&bytes[..head_length]).to_ascii_lowercase();
    let malformed = || io::Error::other("a malformed answer");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(malformed)?;
    let field = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let mut body = bytes.split_off(head_length);
    if is_head || status == 204 || status == 304 {
        body.clear();
    } else if field("transfer-encoding") == Some("chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            let count = read_some(stream, &mut piece)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            body.extend_from_slice(&piece[..count]);
        }
        body = unchunked(&body).ok_or_else(malformed)?;
    } else {
        let length: usize =
            field("content-length").and_then(|value| value.parse().ok()).ok_or_else(malformed)?;
        let early = body.len().min(length);
        body.resize(length, 0);
        stream.read_exact(&mut body[early..])?;
    }
    let etag = field("etag").unwrap_or_default().to_owned();
    let reusable = field("connection") != Some("close");
    Ok((Answer { status, etag, body }, reusable))
}

/// Reads once. Where there is a time limit, the kernel does not take up a read again that a stop of the process, and not
/// a signal for it, has interrupted.
fn read_some(stream: &mut TcpStream, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n")?;
        let length = std::str::from_utf8(&bytes[..line]).ok()?;
        let length = usize::from_str_radix(length.split(';').next()?, 16).ok()?;
        bytes = &bytes[line + 2..];
        if length == 0 {
            return Some(out);
        }
        out.extend_from_slice(bytes.get(..length)?);
        bytes = bytes.get(length + 2..)?;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
