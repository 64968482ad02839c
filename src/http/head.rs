//! Request heads, parsed by httparse, and what they say about the message's framing (RFC 9112).
//!
//! What could be read in two ways is refused, so that a proxy in front and this server never
//! disagree about where a request ends.

use std::mem::MaybeUninit;

/// The header fields of a request, borrowed from the connection's head buffer.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    fields: &'a [httparse::Header<'a>],
    /// The [`mark`]s of all names: most questions are about fields that are not there.
    marks: u64,
}

/// A bit that stands for a name, in any case, and for some others.
fn mark(name: &str) -> u64 {
    let last = name.as_bytes().last().map_or(0, |byte| usize::from(byte | 0x20));
    1 << ((name.len() + 7 * last) % 64)
}

impl<'a> Headers<'a> {
    /// Wraps parsed fields.
    #[must_use]
    pub fn new(fields: &'a [httparse::Header<'a>]) -> Self {
        let marks = fields.iter().fold(0, |marks, field| marks | mark(field.name));
        Self { fields, marks }
    }

    /// The values of this name (in any case), in order, with the name as sent.
    pub fn named<'n>(
        &self,
        name: &'n str,
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a, 'n> {
        let fields = if self.marks & mark(name) == 0 { &[] } else { self.fields };
        fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| (field.name, field.value))
    }

    /// The first field of this name (in any case), if its value is UTF-8; without surrounding space.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.get_all(name).next()
    }

    /// All values of this name that are UTF-8, in order.
    pub fn get_all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.named(name).filter_map(|(_, value)| std::str::from_utf8(value).ok()).map(str::trim)
    }

    /// Whether there is a field of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    /// How many fields of this name there are.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.named(name).count()
    }

    /// The members of a comma-separated field of this name.
    pub fn tokens<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.get_all(name).flat_map(|value| value.split(',')).map(str::trim)
    }

    /// All fields, in order: name as sent, value as bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.fields.iter().map(|field| (field.name, field.value))
    }
}

/// A parsed request head.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method as sent.
    pub method: &'a str,
    /// The path as sent, percent-encoded, beginning with `/`.
    pub path: &'a str,
    /// The query as sent, without `?`; empty for none.
    pub query: &'a str,
    /// The header fields.
    pub headers: Headers<'a>,
}

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// This many bytes; 0 without a body.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// A request head, and what it says about the message and the connection.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The head.
    pub head: RequestHead<'a>,
    /// Length of the head in bytes, to the end of its empty line.
    pub length: usize,
    /// How the body is framed.
    pub framing: Framing,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the connection is closed after the answer.
    pub close: bool,
}

/// Why a head was refused. The connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is longer than is allowed.
    #[error("the request head is too long")]
    TooLong,
    /// It has more fields than are allowed.
    #[error("the request head has too many fields")]
    TooManyFields,
    /// It is neither HTTP/1.1 nor HTTP/1.0.
    #[error("the version of HTTP is not supported")]
    Version,
    /// It is malformed.
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// A transfer coding other than `chunked`.
    #[error("the transfer coding is not supported")]
    TransferCoding,
}

/// Fields that are parsed without asking the allocator.
const FIELDS_INLINE: usize = 32;

/// Room for the fields of one head.
pub struct FieldSpace<'b> {
    inline: [MaybeUninit<httparse::Header<'b>>; FIELDS_INLINE],
    heap: Vec<MaybeUninit<httparse::Header<'b>>>,
}

impl FieldSpace<'_> {
    /// Empty room.
    #[must_use]
    pub fn new() -> Self {
        Self { inline: [MaybeUninit::uninit(); FIELDS_INLINE], heap: Vec::new() }
    }
}

impl Default for FieldSpace<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Parses the head at the beginning of `bytes`, with at most `fields_max` fields; `None` while it
/// is incomplete.
///
/// # Errors
/// [`HeadError`] as soon as it cannot become a good head.
pub fn parse<'s, 'b: 's>(
    bytes: &'b [u8],
    space: &'s mut FieldSpace<'b>,
    fields_max: usize,
) -> Result<Option<Message<'s>>, HeadError> {
    let FieldSpace { inline, heap } = space;
    match parse_fields(bytes, &mut inline[..fields_max.min(FIELDS_INLINE)]) {
        Err(HeadError::TooManyFields) if fields_max > FIELDS_INLINE => {
            heap.resize(fields_max, MaybeUninit::uninit());
            parse_fields(bytes, heap)
        }
        other => other,
    }
}

fn parse_fields<'s, 'b: 's>(
    bytes: &'b [u8],
    fields: &'s mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<Option<Message<'s>>, HeadError> {
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(refusal(error)),
    };
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(HeadError::Malformed("the request line is incomplete"));
    };
    let headers = Headers::new(request.headers);
    let (path, query) = split_target(target)?;
    if headers.count("host") > 1 || (version == 1 && !headers.has("host")) {
        return Err(HeadError::Malformed("there must be one Host field"));
    }
    Ok(Some(Message {
        head: RequestHead { method, path, query, headers },
        length,
        framing: framing(headers, version)?,
        expects_continue: version == 1
            && headers.tokens("expect").any(|token| token.eq_ignore_ascii_case("100-continue")),
        close: version == 0
            || headers.tokens("connection").any(|token| token.eq_ignore_ascii_case("close")),
    }))
}

fn refusal(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::HeaderName => HeadError::Malformed("a field name"),
        httparse::Error::HeaderValue => HeadError::Malformed("a field value"),
        httparse::Error::NewLine => HeadError::Malformed("the end of a line"),
        httparse::Error::Token => HeadError::Malformed("the request line"),
        httparse::Error::Status => HeadError::Malformed("a status"),
    }
}

/// Path and query of a target in origin form, or in absolute form (RFC 9112, section 3.2).
fn split_target(target: &str) -> Result<(&str, &str), HeadError> {
    let origin = if target.starts_with('/') {
        target
    } else {
        let scheme_end = target.find("://").ok_or(HeadError::Malformed("the request target"))?;
        let scheme = &target[..scheme_end];
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(HeadError::Malformed("the request target"));
        }
        let rest = &target[scheme_end + 3..];
        match rest.find(['/', '?']) {
            Some(at) if rest.as_bytes()[at] == b'/' => &rest[at..],
            Some(at) => return Ok(("/", &rest[at + 1..])),
            None => "/",
        }
    };
    Ok(origin.split_once('?').unwrap_or((origin, "")))
}

/// RFC 9112, section 6, without its tolerance.
fn framing(headers: Headers<'_>, version: u8) -> Result<Framing, HeadError> {
    let lengths = headers.count("content-length");
    if headers.has("transfer-encoding") {
        if lengths > 0 {
            return Err(HeadError::Malformed("both Transfer-Encoding and Content-Length"));
        }
        if version == 0 || headers.count("transfer-encoding") > 1 {
            return Err(HeadError::Malformed("Transfer-Encoding"));
        }
        return match headers.get("transfer-encoding") {
            Some(coding) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            _ => Err(HeadError::TransferCoding),
        };
    }
    match lengths {
        0 => Ok(Framing::Length(0)),
        1 => headers
            .get("content-length")
            .filter(|value| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|value| value.parse().ok())
            .map(Framing::Length)
            .ok_or(HeadError::Malformed("Content-Length")),
        _ => Err(HeadError::Malformed("more than one Content-Length")),
    }
}

/// Finds the end of a head while it arrives, looking at each byte once.
#[derive(Debug, Default)]
pub struct HeadEnd {
    scanned: usize,
}

impl HeadEnd {
    /// Whether `bytes`, which only grew since the last call, hold a whole head.
    pub fn found(&mut self, bytes: &[u8]) -> bool {
        // The end is an empty line; it may have been cut anywhere.
        let from = self.scanned.saturating_sub(2);
        self.scanned = bytes.len();
        memchr::memchr_iter(b'\n', &bytes[from..]).any(|at| {
            let next = &bytes[from + at + 1..];
            next.starts_with(b"\n") || next.starts_with(b"\r\n")
        })
    }
}

#[cfg(test)]
mod tests;
