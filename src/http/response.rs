//! Responses, before `net/` sends them.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use jiff::fmt::rfc2822::DateTimePrinter;

/// Most blocks that a core keeps for reuse, and most bytes of each.
const SPARE_MAX: usize = 32;
const SPARE_BYTES_MAX: usize = 4 << 10;

thread_local! {
    /// The memory of blocks that were rendered, so that an answer asks no allocator.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Rendered header fields: `Name: value\r\n` each.
#[derive(Clone, Debug)]
pub struct HeaderBlock(Vec<u8>);

impl Default for HeaderBlock {
    fn default() -> Self {
        Self(SPARE.with_borrow_mut(Vec::pop).unwrap_or_default())
    }
}

impl Drop for HeaderBlock {
    fn drop(&mut self) {
        if !(1..=SPARE_BYTES_MAX).contains(&self.0.capacity()) {
            return;
        }
        let mut memory = std::mem::take(&mut self.0);
        memory.clear();
        // While a thread ends there may be nowhere to keep it.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(memory);
            }
        });
    }
}

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

    /// Adds a field whose value `write` appends: digits, dates and the like, which cannot end a line.
    pub fn push_with(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        let start = self.0.len();
        write(&mut self.0);
        debug_assert!(!self.0[start..].iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        self.0.extend_from_slice(b"\r\n");
    }

    /// Adds fields that are already rendered, each with the end of its line.
    pub fn push_rendered(&mut self, lines: &'static str) {
        debug_assert!(lines.ends_with("\r\n"));
        self.0.extend_from_slice(lines.as_bytes());
    }

    /// Adds a field with a number.
    pub fn push_number(&mut self, name: &str, value: u64) {
        self.push_with(name, |out| {
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        });
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

/// What of a response's body goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclaredLength {
    /// `Content-Length` with this value.
    Known(u64),
    /// None: 204 has no body and 304 may leave it out.
    Absent,
}

impl DeclaredLength {
    /// Of this response.
    #[must_use]
    pub fn of<R>(status: u16, body: &ResponseBody<R>) -> Self {
        match (status, body) {
            (204 | 304, _) => Self::Absent,
            (_, ResponseBody::Empty) => Self::Known(0),
            (_, ResponseBody::Declared(length) | ResponseBody::Stream { length, .. }) => {
                Self::Known(*length)
            }
            (_, ResponseBody::Bytes(bytes)) => Self::Known(bytes.len() as u64),
        }
    }
}

/// Renders a response's head, replacing what is in `out`.
pub fn render_head(
    out: &mut Vec<u8>,
    status: u16,
    headers: &HeaderBlock,
    length: DeclaredLength,
    date: &[u8],
    close: bool,
) {
    out.clear();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\nServer: Vaultaire\r\nDate: ");
    out.extend_from_slice(date);
    if let DeclaredLength::Known(length) = length {
        out.extend_from_slice(b"\r\nContent-Length: ");
        out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    }
    if close {
        out.extend_from_slice(b"\r\nConnection: close");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(headers.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The phrase of a status (RFC 9110, section 15).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        416 => "Range Not Satisfiable",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        507 => "Insufficient Storage",
        _ => "Status",
    }
}

/// The `Date` field's value, formatted once a second.
#[derive(Debug, Default)]
pub struct DateCache {
    second: Cell<i64>,
    text: RefCell<String>,
}

impl DateCache {
    /// Calls `then` with the date at this moment, milliseconds since the epoch.
    pub fn with<T>(&self, wall_ms: i64, then: impl FnOnce(&[u8]) -> T) -> T {
        let second = wall_ms.div_euclid(1000);
        if self.second.get() != second || self.text.borrow().is_empty() {
            self.second.set(second);
            *self.text.borrow_mut() = jiff::Timestamp::from_second(second)
                .and_then(|moment| DateTimePrinter::new().timestamp_to_rfc9110_string(&moment))
                .unwrap_or_else(|_| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned());
        }
        then(self.text.borrow().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_and_names_length_and_date() {
        let mut headers = HeaderBlock::default();
        headers.push("ETag", "\"x\"");
        let mut out = b"old".to_vec();
        render_head(&mut out, 206, &headers, DeclaredLength::Known(12), b"D", true);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 206 Partial Content\r\nServer: Vaultaire\r\nDate: D\r\nContent-Length: 12\r\n\
             Connection: close\r\nETag: \"x\"\r\n\r\n"
        );
    }

    #[test]
    fn no_content_declares_no_length() {
        assert_eq!(DeclaredLength::of(204, &ResponseBody::<()>::Empty), DeclaredLength::Absent);
        assert_eq!(
            DeclaredLength::of(304, &ResponseBody::<()>::Declared(9)),
            DeclaredLength::Absent
        );
        assert_eq!(DeclaredLength::of(200, &ResponseBody::<()>::Empty), DeclaredLength::Known(0));
        assert_eq!(
            DeclaredLength::of(200, &ResponseBody::<()>::Declared(9)),
            DeclaredLength::Known(9)
        );
    }

    #[test]
    fn the_date_changes_with_the_second() {
        let cache = DateCache::default();
        let text = |ms| cache.with(ms, |text| String::from_utf8(text.to_vec()).unwrap());
        assert_eq!(text(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(784_111_777_999), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(784_111_778_000), "Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
