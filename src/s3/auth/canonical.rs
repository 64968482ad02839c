//! The canonical request: the one spelling of a head that both sides hash.

use std::ops::Range;

use smallvec::SmallVec;

use super::super::error::{Code, S3Error};
use crate::http::RequestHead;
use crate::stdx::percent;

/// Most header fields that a signature may name.
const SIGNED_HEADERS_MAX: usize = 128;

/// Memory kept for the next request, in bytes; what one needed above that is given back.
const SCRATCH_KEPT_BYTES: usize = 16 * 1024;

/// The signed part of the query that does not belong to what it signs.
pub(super) const SIGNATURE_PARAMETER: &str = "X-Amz-Signature";

/// Header fields that something between the client and us adds, and that mean nothing here.
const NEVER_SIGNED: [&str; 1] = ["x-amz-cf-id"];

/// Memory that canonical requests are written to, used again for the next.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) request: Vec<u8>,
    query: Vec<u8>,
    pairs: Vec<(Range<usize>, Range<usize>)>,
}

impl Scratch {
    /// Gives back what an unusually large request needed.
    pub(super) fn trim(&mut self) {
        self.request.clear();
        self.request.shrink_to(SCRATCH_KEPT_BYTES);
        self.query.clear();
        self.query.shrink_to(SCRATCH_KEPT_BYTES);
        self.pairs.clear();
        self.pairs.shrink_to(SCRATCH_KEPT_BYTES / size_of::<(Range<usize>, Range<usize>)>());
    }
}

/// The names of the signed header fields, sorted.
#[derive(Default)]
pub(super) struct SignedHeaders<'a>(SmallVec<[&'a str; 24]>);

impl<'a> SignedHeaders<'a> {
    /// Reads `name;name;…` into an empty list; `false` if that is empty or has too many or empty names.
    pub(super) fn read(&mut self, text: &'a str) -> bool {
        let names = &mut self.0;
        for name in text.split(';') {
            if name.is_empty() || names.len() == SIGNED_HEADERS_MAX {
                return false;
            }
            names.push(name);
        }
        if !names.is_sorted() {
            names.sort_unstable();
        }
        true
    }

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|signed| signed.eq_ignore_ascii_case(name))
    }

    /// Refuses a head with a field that could change its meaning and is not signed: `Host` and
    /// all of Amazon's.
    pub(super) fn cover(&self, head: &RequestHead<'_>) -> Result<(), S3Error> {
        let matters = |name: &str| {
            let amazon = name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
            amazon && !NEVER_SIGNED.iter().any(|exempt| exempt.eq_ignore_ascii_case(name))
        };
        let mut missing = String::new();
        let fields = head.headers.iter().map(|(name, _)| name).filter(|name| matters(name));
        for name in fields.chain(["host"]).filter(|name| !self.contains(name)) {
            if !missing.is_empty() {
                missing.push_str(", ");
            }
            missing.push_str(&name.to_ascii_lowercase());
        }
        if missing.is_empty() {
            return Ok(());
        }
        let message = "There were headers present in the request which were not signed";
        Err(S3Error::new(Code::AccessDenied, message).with("HeadersNotSigned", missing))
    }
}

/// Writes the canonical request to `scratch.request`.
///
/// The path is decoded and encoded again but, as S3 alone has it, neither normalised nor encoded
/// twice. In the query `+` is a space. Header values are trimmed, runs of blanks folded into one,
/// and fields of one name joined by commas in their order.
///
/// # Errors
/// `InvalidURI` if the path or query is not properly percent-encoded.
pub(super) fn write(
    scratch: &mut Scratch,
    head: &RequestHead<'_>,
    signed: &SignedHeaders<'_>,
    payload: &str,
) -> Result<(), S3Error> {
    let Scratch { request, query, pairs } = scratch;
    request.clear();
    request.extend_from_slice(head.method.as_bytes());
    request.push(b'\n');
    percent::canonical_path(head.path, request).map_err(|_| Code::InvalidURI)?;
    request.push(b'\n');
    write_query(head.query, query, pairs, request).map_err(|_| Code::InvalidURI)?;
    request.push(b'\n');
    for name in &signed.0 {
        write_header(name, head, request);
    }
    request.push(b'\n');
    for (index, name) in signed.0.iter().enumerate() {
        if index > 0 {
            request.push(b';');
        }
        push_lower(name, request);
    }
    request.push(b'\n');
    request.extend_from_slice(payload.as_bytes());
    Ok(())
}

fn write_query(
    text: &str,
    encoded: &mut Vec<u8>,
    pairs: &mut Vec<(Range<usize>, Range<usize>)>,
    out: &mut Vec<u8>,
) -> Result<(), percent::Malformed> {
    encoded.clear();
    pairs.clear();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name == SIGNATURE_PARAMETER {
            continue;
        }
        let start = encoded.len();
        percent::canonical_query(name, encoded)?;
        let middle = encoded.len();
        percent::canonical_query(value, encoded)?;
        pairs.push((start..middle, middle..encoded.len()));
    }
    let spelled =
        |pair: &(Range<usize>, Range<usize>)| (&encoded[pair.0.clone()], &encoded[pair.1.clone()]);
    pairs.sort_unstable_by(|a, b| spelled(a).cmp(&spelled(b)));
    for (index, pair) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        let (name, value) = spelled(pair);
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
    Ok(())
}

fn push_lower(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    out[start..].make_ascii_lowercase();
}

fn write_header(wanted: &str, head: &RequestHead<'_>, out: &mut Vec<u8>) {
    push_lower(wanted, out);
    out.push(b':');
    for (index, (_, value)) in head.headers.named(wanted).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_folded(value, out);
    }
    out.push(b'\n');
}

/// Appends a value without the blanks around it, and with single spaces within.
fn push_folded(value: &[u8], out: &mut Vec<u8>) {
    if memchr::memchr2(b' ', b'\t', value).is_none() {
        return out.extend_from_slice(value);
    }
    let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    #[test]
    fn one_spelling() {
        let field = |name, value: &'static str| httparse::Header { name, value: value.as_bytes() };
        let fields = [
            field("X-Amz-Meta-B", "  two   words\t here "),
            field("Host", "example.com:9000"),
            field("x-amz-meta-a", "1"),
            field("X-AMZ-META-A", " 2 "),
        ];
        let head = RequestHead {
            method: "GET",
            path: "/b/a+b%7e//../(x)",
            query: "prefix=a+b%2fc&&list-type=2&a-b=1&a=2&a=1&acl&X-Amz-Signature=00",
            headers: Headers::new(&fields),
        };
        let mut signed = SignedHeaders::default();
        assert!(signed.read("x-amz-meta-b;host;x-amz-meta-a;absent"));
        let mut scratch = Scratch::default();
        write(&mut scratch, &head, &signed, "UNSIGNED-PAYLOAD").unwrap();
        assert_eq!(
            String::from_utf8_lossy(&scratch.request),
            "GET\n/b/a%2Bb~//../%28x%29\na=1&a=2&a-b=1&acl=&list-type=2&prefix=a%20b%2Fc\n\
             absent:\nhost:example.com:9000\nx-amz-meta-a:1,2\nx-amz-meta-b:two words here\n\n\
             absent;host;x-amz-meta-a;x-amz-meta-b\nUNSIGNED-PAYLOAD"
        );
        let bad = RequestHead { path: "/%", ..head };
        let refusal = write(&mut scratch, &bad, &signed, "").map_err(|error| error.code);
        assert_eq!(refusal, Err(Code::InvalidURI));
    }

    #[test]
    fn lists_of_signed_headers_are_bounded() {
        for bad in ["", "a;", ";a", "a;;b", &vec!["a"; 129].join(";")] {
            assert!(!SignedHeaders::default().read(bad), "{bad}");
        }
    }
}
