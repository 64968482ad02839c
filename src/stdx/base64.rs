//! Base64 (RFC 4648, padded) of short values.

use base64_simd::{AsOut, STANDARD};

/// Longest value that [`decode`] reads, in bytes.
pub const VALUE_MAX: usize = 32;

/// Reads a value of exactly `length` bytes, at most [`VALUE_MAX`], into the beginning of an array.
#[must_use]
pub fn decode(text: &str, length: usize) -> Option<[u8; VALUE_MAX]> {
    let mut out = [0; VALUE_MAX];
    let fits = length <= VALUE_MAX && STANDARD.decoded_length(text.as_bytes()).ok()? == length;
    if !fits {
        return None;
    }
    STANDARD.decode(text.as_bytes(), out[..length].as_out()).ok()?;
    Some(out)
}

/// The text of a value.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode_to_string(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip_and_other_lengths_are_refused() {
        assert_eq!(encode(&[0xb0, 0xe3, 0xbc, 0xfd]), "sOO8/Q==");
        assert_eq!(
            decode("sOO8/Q==", 4).map(|v| v[..4].to_vec()),
            Some(vec![0xb0, 0xe3, 0xbc, 0xfd])
        );
        for bad in ["sOO8/Q=", "sOO8/Q", "sOO8", "", "sOO8/Q==\n", "sOO8_Q==", "!!!!!!=="] {
            assert_eq!(decode(bad, 4), None, "{bad}");
        }
        assert_eq!(decode(&encode(&[1; 33]), 33), None);
    }
}
