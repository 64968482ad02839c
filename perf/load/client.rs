//! One keep-alive connection: sends a request, reads the answer to its end and drops the bytes.

use std::net::SocketAddr;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;

const READ_BYTES: usize = 256 << 10;

/// What came back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body_bytes: u64,
}

/// A connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(endpoint: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(endpoint).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self { stream, buffer: vec![0; READ_BYTES] })
    }

    /// Sends `request` (returned for the next use) and reads the whole answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Vec<u8>,
        is_head: bool,
    ) -> Result<(Answer, Vec<u8>), String> {
        let (sent, request) = self.stream.write_all(request).await;
        sent.map_err(|error| format!("send: {error}"))?;
        let mut head = Vec::new();
        loop {
            let count = self.fill().await?;
            head.extend_from_slice(&self.buffer[..count]);
            let mut fields = [httparse::EMPTY_HEADER; 48];
            let mut answer = httparse::Response::new(&mut fields);
            let parsed = answer.parse(&head).map_err(|error| format!("answer: {error}"))?;
            let httparse::Status::Complete(head_length) = parsed else { continue };
            let status = answer.code.unwrap_or(0);
            let declared = answer
                .headers
                .iter()
                .find(|field| field.name.eq_ignore_ascii_case("content-length"))
                .and_then(|field| {
                    std::str::from_utf8(field.value).ok()?.trim().parse::<u64>().ok()
                });
            let chunked = answer
                .headers
                .iter()
                .any(|field| field.name.eq_ignore_ascii_case("transfer-encoding"));
            let early = (head.len() - head_length) as u64;
            let body_bytes = match declared {
                _ if is_head || status == 204 || status == 304 => 0,
                Some(length) => {
                    let mut missing = length.saturating_sub(early);
                    while missing > 0 {
                        missing = missing.saturating_sub(self.fill().await? as u64);
                    }
                    length
                }
                None if chunked => {
                    // Only the end matters: an empty chunk.
                    let mut tail = head.split_off(head_length);
                    let mut total = tail.len() as u64;
                    while !tail.ends_with(b"0\r\n\r\n") {
                        let count = self.fill().await?;
                        total += count as u64;
                        tail.extend_from_slice(&self.buffer[..count]);
                        let keep = tail.len().saturating_sub(8);
                        tail.drain(..keep);
                    }
                    total
                }
                None => return Err("answer without a length".into()),
            };
            return Ok((Answer { status, body_bytes }, request));
        }
    }

    async fn fill(&mut self) -> Result<usize, String> {
        let buffer = std::mem::take(&mut self.buffer);
        let (count, buffer) = self.stream.read(buffer).await;
        self.buffer = buffer;
        match count {
            Ok(0) => Err("the server closed the connection".into()),
            Ok(count) => Ok(count),
            Err(error) => Err(format!("receive: {error}")),
        }
    }
}
