//! Bodies, and how they are vouched for.
//!
//! All come from one random block, at one of a few places, so that a hash is computed once and not for each request:
//! the generator must stay cheaper than the server.

use std::collections::HashMap;

use crate::args::Payload;
use crate::keys::Draw;
use crate::sign::{self, Signer};

const PLACES: usize = 16;
const PLACE_STEP: usize = 4096;
/// Chunks with signatures are of this size, as the SDKs send them.
const SIGNED_CHUNK: usize = 64 << 10;
/// Chunks before a trailer.
const PLAIN_CHUNK: usize = 1 << 20;
/// What is sent together with the head; more goes out without being copied.
const WITH_HEAD: usize = 64 << 10;
/// Encoded bytes sent at once.
const ENCODED_PIECE: usize = 256 << 10;
const HASHES_MAX: usize = 1 << 16;
const SIGNATURE: &str = ";chunk-signature=";
const TRAILER: &str = "x-amz-checksum-crc64nvme";

/// The block that bodies are cut from.
#[derive(Clone, Copy)]
pub(crate) struct Block(&'static [u8]);

impl Block {
    /// Fills a block for bodies up to `largest`; it lives as long as the process.
    pub(crate) fn new(largest: usize, draw: &mut Draw) -> Self {
        let mut bytes = vec![0; (largest + PLACES * PLACE_STEP).next_multiple_of(8)];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&draw.next_u64().to_le_bytes());
        }
        Self(bytes.leak())
    }

    /// The body of key `number`.
    pub(crate) fn body(&self, number: u64, size: usize) -> &'static [u8] {
        let place = usize::try_from(number % PLACES as u64).unwrap_or(0) * PLACE_STEP;
        &self.0[place..place + size]
    }
}

/// Hashes of slices of the block, by place and length.
#[derive(Default)]
pub(crate) struct Hashes {
    sha256: HashMap<(usize, usize), String>,
    crc64: HashMap<(usize, usize), String>,
}

impl Hashes {
    fn sha256(&mut self, bytes: &'static [u8]) -> &str {
        if self.sha256.len() >= HASHES_MAX {
            self.sha256.clear();
        }
        self.sha256.entry(place(bytes)).or_insert_with(|| sign::sha256(bytes))
    }

    fn crc64(&mut self, bytes: &'static [u8]) -> &str {
        if self.crc64.len() >= HASHES_MAX {
            self.crc64.clear();
        }
        self.crc64.entry(place(bytes)).or_insert_with(|| {
            let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes);
            base64_simd::STANDARD.encode_to_string(sum.to_be_bytes())
        })
    }
}

fn place(bytes: &'static [u8]) -> (usize, usize) {
    (bytes.as_ptr().addr(), bytes.len())
}

/// What is sent next.
pub(crate) enum Piece {
    /// What was written to the buffer.
    Buffer,
    /// This, as it is.
    Static(&'static [u8]),
}

/// A body on its way.
pub(crate) struct Body {
    payload: Payload,
    bytes: &'static [u8],
    sent: usize,
    is_ended: bool,
}

impl Body {
    pub(crate) fn new(payload: Payload, bytes: &'static [u8]) -> Self {
        Self { payload, bytes, sent: 0, is_ended: false }
    }

    pub(crate) fn none() -> Self {
        Self::new(Payload::Unsigned, &[])
    }

    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes on the wire, behind the head.
    pub(crate) fn encoded_length(&self) -> usize {
        let (chunk, overhead, end) = match self.payload {
            Payload::Unsigned | Payload::Signed => return self.bytes.len(),
            Payload::Chunks => (SIGNED_CHUNK, SIGNATURE.len() + 64 + 4, 1 + SIGNATURE.len() + 68),
            Payload::Trailer => (PLAIN_CHUNK, 4, 3 + TRAILER.len() + 1 + 12 + 4),
        };
        let chunks = self.bytes.chunks(chunk).map(|bytes| hex_digits(bytes.len()) + overhead);
        self.bytes.len() + chunks.sum::<usize>() + end
    }

    /// The value of x-amz-content-sha256.
    pub(crate) fn content<'a>(&self, hashes: &'a mut Hashes) -> &'a str {
        match self.payload {
            Payload::Unsigned => sign::UNSIGNED,
            Payload::Signed => hashes.sha256(self.bytes),
            Payload::Chunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            Payload::Trailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        }
    }

    /// The fields that the encoding wants, `length` being the body's own in digits.
    pub(crate) fn fields<'a>(&self, length: &'a str) -> Vec<(&'static str, &'a str)> {
        match self.payload {
            Payload::Unsigned | Payload::Signed => Vec::new(),
            Payload::Chunks => vec![("x-amz-decoded-content-length", length)],
            Payload::Trailer => {
                vec![("x-amz-decoded-content-length", length), ("x-amz-trailer", TRAILER)]
            }
        }
    }

    /// The next piece, or `None` behind the last. Appends to `out`, which the first time holds the head and is else empty.
    pub(crate) fn next(
        &mut self,
        out: &mut Vec<u8>,
        signer: &mut Signer,
        hashes: &mut Hashes,
    ) -> Option<Piece> {
        if self.is_ended {
            return None;
        }
        match self.payload {
            Payload::Unsigned | Payload::Signed => Some(self.next_plain(out)),
            Payload::Chunks => {
                while out.len() < ENCODED_PIECE && !self.is_ended {
                    let chunk = self.take(SIGNED_CHUNK);
                    put_hex(out, chunk.len());
                    out.extend_from_slice(SIGNATURE.as_bytes());
                    out.extend_from_slice(signer.chunk(hashes.sha256(chunk)));
                    out.extend_from_slice(b"\r\n");
                    out.extend_from_slice(chunk);
                    out.extend_from_slice(b"\r\n");
                    self.is_ended = chunk.is_empty();
                }
                Some(Piece::Buffer)
            }
            Payload::Trailer => {
                while out.len() < ENCODED_PIECE && !self.is_ended {
                    let chunk = self.take(PLAIN_CHUNK);
                    put_hex(out, chunk.len());
                    out.extend_from_slice(b"\r\n");
                    out.extend_from_slice(chunk);
                    if chunk.is_empty() {
                        self.is_ended = true;
                        out.extend_from_slice(TRAILER.as_bytes());
                        out.push(b':');
                        out.extend_from_slice(hashes.crc64(self.bytes).as_bytes());
                        out.extend_from_slice(b"\r\n");
                    }
                    out.extend_from_slice(b"\r\n");
                }
                Some(Piece::Buffer)
            }
        }
    }

    fn next_plain(&mut self, out: &mut Vec<u8>) -> Piece {
        if self.sent == 0 {
            let early = self.take(WITH_HEAD);
            out.extend_from_slice(early);
            self.is_ended = self.sent == self.bytes.len();
            return Piece::Buffer;
        }
        self.is_ended = true;
        Piece::Static(self.take(usize::MAX))
    }

    fn take(&mut self, most: usize) -> &'static [u8] {
        let rest = &self.bytes[self.sent..];
        let taken = &rest[..rest.len().min(most)];
        self.sent += taken.len();
        taken
    }
}

fn hex_digits(value: usize) -> usize {
    (usize::BITS - value.leading_zeros()).div_ceil(4).max(1) as usize
}

fn put_hex(out: &mut Vec<u8>, value: usize) {
    for digit in (0..hex_digits(value)).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * digit)) & 15]);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;

    #[test]
    fn an_encoded_body_has_the_length_that_was_said() {
        let args = Args::parse_from([
            "load",
            "put",
            "--access-key-id",
            "key",
            "--secret-access-key",
            "secret",
        ]);
        let block = Block::new(3 << 20, &mut Draw::new(&args, 1));
        let mut signer = Signer::new(&args);
        let mut hashes = Hashes::default();
        for payload in [Payload::Unsigned, Payload::Signed, Payload::Chunks, Payload::Trailer] {
            for size in [0, 1, 15, 16, 65_536, 65_537, 1 << 20, (3 << 20) - 1] {
                let mut body = Body::new(payload, block.body(5, size));
                let said = body.encoded_length();
                let mut sent = 0;
                let mut out = Vec::new();
                while let Some(piece) = body.next(&mut out, &mut signer, &mut hashes) {
                    sent += match piece {
                        Piece::Buffer => out.len(),
                        Piece::Static(bytes) => bytes.len(),
                    };
                    out.clear();
                }
                assert_eq!(sent, said, "{payload:?} {size}");
            }
        }
    }
}
