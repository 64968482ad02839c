//! Entity tags: the hash of a body, or of its parts' hashes with their count.

use std::fmt;

/// What the entity tags of bodies are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ETagHash {
    /// MD5, as S3 has it and clients may check it.
    #[default]
    Md5,
    /// CRC-64/NVME and the length, several times cheaper. These tags have the form of those of a multipart upload
    /// of one part, so that nobody takes them for an MD5.
    Crc64,
}

/// An entity tag. `parts` is 0 for a body written in one piece, else the number of parts,
/// which follows the hash after a hyphen on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ETag {
    /// The 16 bytes of the hash.
    pub hash: [u8; 16],
    /// 0, or the number of parts that the hash was made from.
    pub parts: u16,
}

impl ETag {
    /// The tag of [`ETagHash::Crc64`].
    #[must_use]
    pub fn from_crc64(crc: u64, length: u64) -> Self {
        let mut hash = [0; 16];
        hash[..8].copy_from_slice(&crc.to_be_bytes());
        hash[8..].copy_from_slice(&length.to_be_bytes());
        Self { hash, parts: 1 }
    }

    /// Longest text form: 32 hexadecimal digits, a hyphen and five digits.
    pub const TEXT_MAX: usize = 38;

    /// Reads the text form, without quotation marks.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (hash, parts) = match text.split_once('-') {
            Some((hash, parts)) => (hash, parts.parse::<u16>().ok().filter(|&n| n > 0)?),
            None => (text, 0),
        };
        let digits = hash.as_bytes();
        if digits.len() != 32 {
            return None;
        }
        let mut out = [0; 16];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let nibble = |d: u8| char::from(d).to_digit(16).and_then(|n| u8::try_from(n).ok());
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self { hash: out, parts })
    }

    /// The hash in hexadecimal digits.
    fn digits(&self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.hash) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }

    /// Appends the text form, without quotation marks.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.digits());
        if self.parts > 0 {
            out.push(b'-');
            out.extend_from_slice(itoa::Buffer::new().format(self.parts).as_bytes());
        }
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())?;
        if self.parts > 0 {
            write!(f, "-{}", self.parts)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for text in ["d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e-10000"] {
            let tag = ETag::parse(text).unwrap();
            assert_eq!(tag.to_string(), text);
            let mut written = Vec::new();
            tag.write_to(&mut written);
            assert_eq!(written, text.as_bytes());
        }
        for bad in
            ["", "*", "d41d8cd98f00b204e9800998ecf8427", "d41d8cd98f00b204e9800998ecf8427e-0"]
        {
            assert_eq!(ETag::parse(bad), None, "{bad}");
        }
    }
}
