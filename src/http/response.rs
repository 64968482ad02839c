//! Responses, before `net/` sends them.

use bytes::Bytes;

/// Rendered header fields: `Name: value\r\n` each.
#[derive(Clone, Debug, Default)]
pub struct HeaderBlock(Vec<u8>);

impl HeaderBlock {
    /// Adds a field. Bytes that would end the line are replaced by spaces, so that no stored
    /// value can forge a header.
    pub fn push(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        let start = self.0.len();
        self.0.extend_from_slice(value.as_bytes());
        for byte in &mut self.0[start..] {
            if matches!(*byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
        self.0.extend_from_slice(b"\r\n");
    }

    /// Adds a field with a number.
    pub fn push_number(&mut self, name: &str, value: u64) {
        self.push(name, itoa::Buffer::new().format(value));
    }

    /// The rendered fields.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What follows a response's head.
#[derive(Debug)]
pub enum ResponseBody<R> {
    /// Nothing. `Content-Length: 0` is sent, except with 204 and 304.
    Empty,
    /// Nothing, but the head declares this length: an answer to HEAD.
    Declared(u64),
    /// These bytes.
    Bytes(Bytes),
    /// An artifact's bytes.
    Stream {
        /// Yields them.
        reader: R,
        /// How many there are.
        length: u64,
    },
}

/// A response. `net/` adds Date, Server, Content-Length and Connection.
#[derive(Debug)]
pub struct Response<R> {
    /// The status code.
    pub status: u16,
    /// All other header fields.
    pub headers: HeaderBlock,
    /// The body.
    pub body: ResponseBody<R>,
    /// Close the connection afterwards.
    pub close: bool,
}
