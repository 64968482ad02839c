//! Percent-encoding exactly as SigV4 writes it: the unreserved characters of RFC 3986
//! (`A-Z a-z 0-9 - . _ ~`) stay, every other byte becomes `%XX` with upper-case digits.

use std::borrow::Cow;

use super::hex::digit;

/// Text has a `%` that two hexadecimal digits do not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a percent sign is not followed by two hexadecimal digits")]
pub struct Malformed;

const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The byte that begins `text`, decoded, and how many bytes of `text` it took.
fn next_byte(text: &[u8], plus_is_space: bool) -> Result<Option<(u8, usize)>, Malformed> {
    match text {
        [] => Ok(None),
        [b'%', rest @ ..] => match rest {
            [high, low, ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => Ok(Some((high << 4 | low, 3))),
                _ => Err(Malformed),
            },
            _ => Err(Malformed),
        },
        [b'+', ..] if plus_is_space => Ok(Some((b' ', 1))),
        [byte, ..] => Ok(Some((*byte, 1))),
    }
}

fn decode_with(text: &str, plus_is_space: bool) -> Result<Cow<'_, [u8]>, Malformed> {
    let bytes = text.as_bytes();
    let coded = |byte: &u8| *byte == b'%' || plus_is_space && *byte == b'+';
    let Some(first) = bytes.iter().position(coded) else {
        return Ok(Cow::Borrowed(bytes));
    };
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let Some((byte, taken)) = next_byte(rest, plus_is_space)? {
        out.push(byte);
        rest = &rest[taken..];
    }
    Ok(Cow::Owned(out))
}

/// Decodes a path, or part of one. `+` is itself. Borrows when nothing is encoded; the result
/// need not be UTF-8.
///
/// # Errors
/// [`Malformed`] at a `%` without two hexadecimal digits.
pub fn decode(text: &str) -> Result<Cow<'_, [u8]>, Malformed> {
    decode_with(text, false)
}

/// Decodes a name or value of a query, where `+` is a space.
///
/// # Errors
/// [`Malformed`] at a `%` without two hexadecimal digits.
pub fn decode_query(text: &str) -> Result<Cow<'_, [u8]>, Malformed> {
    decode_with(text, true)
}

fn push_encoded(byte: u8, keep_slash: bool, out: &mut Vec<u8>) {
    if is_unreserved(byte) || keep_slash && byte == b'/' {
        out.push(byte);
    } else {
        let high = HEX_UPPER[usize::from(byte >> 4)];
        let low = HEX_UPPER[usize::from(byte & 15)];
        out.extend_from_slice(&[b'%', high, low]);
    }
}

/// Appends `path` encoded, its slashes kept.
pub fn encode_path(path: &str, out: &mut String) {
    encode_bytes(path.as_bytes(), true, out);
}

/// Appends `path` encoded, its slashes kept.
pub fn encode_path_bytes(path: &str, out: &mut Vec<u8>) {
    let mut rest = path.as_bytes();
    loop {
        let plain = rest.iter().position(|&byte| !(is_unreserved(byte) || byte == b'/'));
        let (plain, coded) = rest.split_at(plain.unwrap_or(rest.len()));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = coded.split_first() else { return };
        push_encoded(byte, true, out);
        rest = after;
    }
}

/// Appends `text` encoded, slashes too.
pub fn encode_component(text: &str, out: &mut String) {
    encode_bytes(text.as_bytes(), false, out);
}

/// Appends any bytes encoded; slashes stay if `keep_slash`.
pub fn encode_bytes(bytes: &[u8], keep_slash: bool, out: &mut String) {
    for &byte in bytes {
        if is_unreserved(byte) || keep_slash && byte == b'/' {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX_UPPER[usize::from(byte >> 4)]));
            out.push(char::from(HEX_UPPER[usize::from(byte & 15)]));
        }
    }
}

/// Appends an encoded path in the one spelling that is signed, whatever the client's own was:
/// decoded and encoded again.
///
/// # Errors
/// [`Malformed`]; `out` then holds a part of it.
pub fn canonical_path(path: &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
    canonical(path, true, false, out)
}

/// Appends an encoded name or value of a query in the one spelling that is signed.
///
/// # Errors
/// [`Malformed`]; `out` then holds a part of it.
pub fn canonical_query(text: &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
    canonical(text, false, true, out)
}

fn canonical(
    text: &str,
    keep_slash: bool,
    plus_is_space: bool,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut rest = text.as_bytes();
    loop {
        let plain = rest
            .iter()
            .position(|&byte| !(is_unreserved(byte) || keep_slash && byte == b'/'))
            .unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        let Some((byte, taken)) = next_byte(rest, plus_is_space)? else { return Ok(()) };
        push_encoded(byte, keep_slash, out);
        rest = &rest[taken..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(result: Result<Cow<'_, [u8]>, Malformed>) -> Option<String> {
        result.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn decoding() {
        assert!(matches!(decode("/plain+text"), Ok(Cow::Borrowed(b"/plain+text"))));
        assert_eq!(text(decode("a%2Fb%20c%e2%82%ac+")), Some("a/b c€+".into()));
        assert_eq!(text(decode_query("a+b%2B")), Some("a b+".into()));
        assert_eq!(decode("%ff%00").ok().as_deref(), Some(&[0xff, 0][..]));
        for bad in ["%", "%2", "a%zz", "%%20", "%2g"] {
            assert_eq!(decode(bad), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn encoding() {
        let mut out = String::new();
        encode_path("/a b/€~-._+*'()", &mut out);
        assert_eq!(out, "/a%20b/%E2%82%AC~-._%2B%2A%27%28%29");
        let mut bytes = Vec::new();
        encode_path_bytes("/a b/€~-._+*'()", &mut bytes);
        assert_eq!(bytes, out.as_bytes());
        out.clear();
        encode_component("a/b=c&d", &mut out);
        assert_eq!(out, "a%2Fb%3Dc%26d");
    }

    #[test]
    fn every_spelling_has_one_canonical_form() {
        for spelling in ["/a+b/!'()*:@", "/a%2bb/%21%27%28%29%2a%3A%40", "/%61%2Bb/!%27()*%3a@"] {
            let mut out = Vec::new();
            canonical_path(spelling, &mut out).unwrap();
            assert_eq!(out, b"/a%2Bb/%21%27%28%29%2A%3A%40", "{spelling}");
        }
        let mut out = Vec::new();
        canonical_query("a+b%2Bc/d", &mut out).unwrap();
        assert_eq!(out, b"a%20b%2Bc%2Fd");
        assert_eq!(canonical_path("/%4", &mut Vec::new()), Err(Malformed));
    }
}
