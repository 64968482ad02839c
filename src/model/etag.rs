//! Entity tags: the hash of a body, or of its parts' hashes with their count.

use std::fmt;

use crate::stdx::hex;

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

    /// Writes the text form.
    #[must_use]
    pub fn text<'b>(&self, buffer: &'b mut [u8; Self::TEXT_MAX]) -> &'b str {
        hex::encode(&self.hash, buffer);
        let mut length = 2 * self.hash.len();
        if self.parts > 0 {
            let mut number = itoa::Buffer::new();
            let number = number.format(self.parts).as_bytes();
            buffer[length] = b'-';
            buffer[length + 1..][..number.len()].copy_from_slice(number);
            length += 1 + number.len();
        }
        // Nothing but ASCII was written.
        std::str::from_utf8(&buffer[..length]).unwrap_or_default()
    }

    /// Reads the text form, without quotation marks.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (hash, parts) = match text.split_once('-') {
            Some((hash, parts)) => (hash, parts.parse::<u16>().ok().filter(|&n| n > 0)?),
            None => (text, 0),
        };
        Some(Self { hash: hex::decode(hash.as_bytes())?, parts })
    }

    /// Appends the text form, without quotation marks.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.text(&mut [0; Self::TEXT_MAX]).as_bytes());
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; Self::TEXT_MAX]))
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
