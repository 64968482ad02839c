//! Hexadecimal text of fixed-size values.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The value of one digit, in either case.
#[must_use]
pub fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Writes the lower-case text of the bytes at the beginning of `out`, two digits for each that fits.
pub fn encode(bytes: &[u8], out: &mut [u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// The lower-case text of 32 bytes.
#[must_use]
pub fn encode_32(bytes: &[u8; 32]) -> [u8; 64] {
    let mut out = [0; 64];
    encode(bytes, &mut out);
    out
}

/// Reads exactly `N` bytes, in either case.
#[must_use]
pub fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_other_text_is_refused() {
        let bytes: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 7).unwrap());
        let text = encode_32(&bytes);
        assert_eq!(&text[..8], b"00070e15");
        assert_eq!(decode::<32>(&text), Some(bytes));
        assert_eq!(decode::<2>(b"aBfF"), Some([0xab, 0xff]));
        assert_eq!(decode::<2>(b"abf"), None);
        assert_eq!(decode::<2>(b"abfg"), None);
    }
}
