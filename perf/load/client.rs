//! One keep-alive connection: sends a request, reads the answer to its end.

use std::net::SocketAddr;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use rustix::net::RecvFlags;

/// What is read at once into memory; a small answer comes whole.
const READ_BYTES: usize = 64 << 10;
/// What is dropped at once in the kernel. The memory is named to it and never touched.
const DROP_BYTES: usize = 1 << 20;

/// What is done with the bytes of an answer's body.
#[derive(Clone, Copy)]
pub(crate) enum Sink {
    /// A HEAD: there are none.
    Absent,
    Drop,
    Keep,
    Compare(&'static [u8]),
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body_bytes: u64,
    pub(crate) etag: String,
    /// The body, where it was to be kept, and that of every error.
    pub(crate) body: Vec<u8>,
    is_last: bool,
}

/// A connection.
pub(crate) struct Connection {
    endpoint: SocketAddr,
    stream: TcpStream,
    /// The same socket, for the calls that the executor does not have.
    raw: std::net::TcpStream,
    buffer: Vec<u8>,
    dropped: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(endpoint: SocketAddr) -> Result<Self, String> {
        let (stream, raw) = connect(endpoint).map_err(|error| format!("connect: {error}"))?;
        Ok(Self {
            endpoint,
            stream,
            raw,
            buffer: Vec::with_capacity(READ_BYTES),
            dropped: vec![0; DROP_BYTES],
        })
    }

    /// Opens another connection in place of this one.
    pub(crate) fn renew(&mut self) -> Result<(), String> {
        let fresh = Self::open(self.endpoint)?;
        (self.stream, self.raw) = (fresh.stream, fresh.raw);
        Ok(())
    }

    /// Sends `bytes` and empties them.
    pub(crate) async fn send(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        let (sent, returned) = self.stream.write_all(std::mem::take(bytes)).await;
        *bytes = returned;
        bytes.clear();
        sent.map(drop).map_err(|error| format!("send: {error}"))
    }

    pub(crate) async fn send_static(&mut self, bytes: &'static [u8]) -> Result<(), String> {
        let (sent, _) = self.stream.write_all(bytes).await;
        sent.map(drop).map_err(|error| format!("send: {error}"))
    }

    /// Reads an answer. Behind the last one of a connection it opens another.
    pub(crate) async fn receive(&mut self, sink: Sink) -> Result<Answer, String> {
        self.buffer.clear();
        loop {
            self.fill().await?;
            let wants_etag = matches!(sink, Sink::Keep);
            let Some((mut answer, head_bytes, framing)) = parse(&self.buffer, wants_etag)? else {
                continue;
            };
            let sink = match sink {
                Sink::Drop | Sink::Compare(_) if answer.status >= 300 => Sink::Keep,
                sink => sink,
            };
            match framing {
                _ if matches!(sink, Sink::Absent) || matches!(answer.status, 204 | 304) => {}
                Framing::Length(length) => {
                    answer.body_bytes = length;
                    self.body(head_bytes, length, sink, &mut answer.body).await?;
                }
                Framing::Chunked => {
                    answer.body = self.chunked(head_bytes).await?;
                    answer.body_bytes = answer.body.len() as u64;
                }
                Framing::Unknown => return Err("answer without a length".into()),
            }
            if answer.is_last {
                self.renew()?;
            }
            return Ok(answer);
        }
    }

    /// Reads a body of known length, whose beginning is in the buffer behind the head.
    async fn body(
        &mut self,
        head_bytes: usize,
        length: u64,
        sink: Sink,
        kept: &mut Vec<u8>,
    ) -> Result<(), String> {
        let mut missing = length;
        let mut begin = head_bytes;
        let mut compared = 0;
        loop {
            let here = &self.buffer[begin..];
            missing =
                missing.checked_sub(here.len() as u64).ok_or("more than the answer's length")?;
            match sink {
                Sink::Keep => kept.extend_from_slice(here),
                Sink::Compare(wanted) => {
                    if wanted.get(compared..compared + here.len()) != Some(here) {
                        return Err(format!("other bytes than were put, near {compared}"));
                    }
                    compared += here.len();
                }
                Sink::Absent | Sink::Drop => {}
            }
            if missing == 0 {
                return match sink {
                    Sink::Compare(wanted) if wanted.len() != compared => {
                        Err(format!("{compared} bytes instead of {}", wanted.len()))
                    }
                    _ => Ok(()),
                };
            }
            if matches!(sink, Sink::Drop) && missing > READ_BYTES as u64 {
                missing = self.discard(missing).await?;
            }
            self.buffer.clear();
            begin = 0;
            if missing > 0 {
                self.fill().await?;
            }
        }
    }

    /// Drops up to `missing` bytes in the kernel, and tells how many are still to come.
    async fn discard(&mut self, mut missing: u64) -> Result<u64, String> {
        while missing > 0 {
            let most = usize::try_from(missing).unwrap_or(usize::MAX).min(DROP_BYTES);
            let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
            // For TCP this flag means: drop, do not copy (tcp(7)).
            match rustix::net::recv(&self.raw, &mut self.dropped[..most], flags) {
                Ok((_, 0)) => return Err("the server closed the connection".into()),
                Ok((_, count)) => missing -= count as u64,
                Err(rustix::io::Errno::AGAIN) => {
                    self.stream.readable(true).await.map_err(|error| error.to_string())?;
                }
                Err(error) => return Err(format!("receive: {error}")),
            }
        }
        Ok(0)
    }

    async fn chunked(&mut self, head_bytes: usize) -> Result<Vec<u8>, String> {
        let mut raw = self.buffer.split_off(head_bytes);
        loop {
            if let Some(body) = dechunk(&raw)? {
                return Ok(body);
            }
            self.buffer.clear();
            self.fill().await?;
            raw.extend_from_slice(&self.buffer);
        }
    }

    /// Reads once, behind what is in the buffer.
    async fn fill(&mut self) -> Result<(), String> {
        use monoio::buf::IoBufMut;
        let mut buffer = std::mem::take(&mut self.buffer);
        let filled = buffer.len();
        buffer.reserve(READ_BYTES / 2);
        let (count, slice) = self.stream.read(buffer.slice_mut(filled..)).await;
        self.buffer = slice.into_inner();
        match count {
            Ok(0) => Err("the server closed the connection".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("receive: {error}")),
        }
    }
}

fn connect(endpoint: SocketAddr) -> std::io::Result<(TcpStream, std::net::TcpStream)> {
    let raw = std::net::TcpStream::connect(endpoint)?;
    raw.set_nodelay(true)?;
    Ok((TcpStream::from_std(raw.try_clone()?)?, raw))
}

enum Framing {
    Length(u64),
    Chunked,
    Unknown,
}

/// A head, its length and what follows it; `None` while it is not whole.
fn parse(bytes: &[u8], wants_etag: bool) -> Result<Option<(Answer, usize, Framing)>, String> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head.parse(bytes).map_err(|error| format!("answer: {error}"))?;
    let httparse::Status::Complete(head_bytes) = parsed else { return Ok(None) };
    let mut answer = Answer { status: head.code.unwrap_or(0), ..Answer::default() };
    let mut framing = Framing::Unknown;
    for field in head.headers.iter() {
        let value = || std::str::from_utf8(field.value).unwrap_or_default().trim();
        // The length of a name tells nearly all of them apart.
        match field.name.len() {
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let length = value().parse().map_err(|_| "a wrong content-length")?;
                framing = Framing::Length(length);
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                framing = Framing::Chunked;
            }
            10 if field.name.eq_ignore_ascii_case("connection") => {
                answer.is_last = value().eq_ignore_ascii_case("close");
            }
            4 if wants_etag && field.name.eq_ignore_ascii_case("etag") => {
                value().clone_into(&mut answer.etag)
            }
            _ => {}
        }
    }
    Ok(Some((answer, head_bytes, framing)))
}

/// The body that chunks hold; `None` while they are not whole.
fn dechunk(mut raw: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    loop {
        let Some(end) = memchr::memmem::find(raw, b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&raw[..end]).unwrap_or_default();
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(digits, 16).map_err(|_| "a wrong chunk")?;
        raw = &raw[end + 2..];
        if length == 0 {
            // No trailers are asked for.
            return Ok(raw.starts_with(b"\r\n").then_some(body));
        }
        let Some(bytes) = raw.get(..length) else { return Ok(None) };
        body.extend_from_slice(bytes);
        let Some(rest) = raw.get(length + 2..) else { return Ok(None) };
        raw = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_once_they_are_whole() {
        let raw = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(dechunk(raw), Ok(Some(b"abc0123456789".to_vec())));
        for end in 0..raw.len() {
            assert_eq!(dechunk(&raw[..end]), Ok(None), "{end}");
        }
        assert!(dechunk(b"zz\r\n").is_err());
    }

    #[test]
    fn a_head_is_read_once_it_is_whole() -> Result<(), String> {
        let head =
            b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 7\r\nConnection: close\r\n\r\nabc";
        let Some((answer, head_bytes, framing)) = parse(head, true)? else {
            return Err("not whole".into());
        };
        assert_eq!((answer.status, answer.etag.as_str(), answer.is_last), (200, "\"x\"", true));
        assert_eq!(&head[head_bytes..], b"abc");
        assert!(matches!(framing, Framing::Length(7)));
        assert!(parse(&head[..40], true)?.is_none());
        Ok(())
    }
}
