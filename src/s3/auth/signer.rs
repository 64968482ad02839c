//! Signatures of chunks and trailers: each covers the one before it, back to that of the head.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::date::SignedTime;
use crate::stdx::hex;
use crate::stdx::sha256::{self, HmacKey};

/// The SHA-256 of nothing, which stands for a chunk's absent header fields.
const EMPTY_SHA256: &[u8; 64] = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Checks the signatures of one body, in order. Cloned before use, it starts from the head's.
#[derive(Clone)]
pub struct ChunkSigner {
    key: HmacKey,
    time: SignedTime,
    scope: Box<[u8]>,
    previous: [u8; 64],
}

impl fmt::Debug for ChunkSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkSigner").finish_non_exhaustive()
    }
}

impl ChunkSigner {
    /// Starts from the signature of the head, `seed`, made with `key` at `time` for `scope`.
    pub(super) fn new(key: HmacKey, time: SignedTime, scope: &[u8], seed: [u8; 64]) -> Self {
        Self { key, time, scope: scope.into(), previous: seed }
    }

    /// Checks a chunk's signature, given the SHA-256 of its data; the next builds on it.
    #[must_use]
    pub(super) fn verify_chunk(&mut self, sha256: &[u8; 32], given: &[u8; 64]) -> bool {
        self.verify("AWS4-HMAC-SHA256-PAYLOAD\n", &[EMPTY_SHA256, &hex::encode_32(sha256)], given)
    }

    /// The signature that a chunk should have; the next builds on it.
    #[cfg(test)]
    pub(super) fn sign_chunk(&mut self, sha256: &[u8; 32]) -> [u8; 64] {
        let _ = self.verify_chunk(sha256, &[0; 64]);
        self.previous
    }

    /// Checks the trailer's signature, given its fields as `name:value\n` each.
    #[must_use]
    pub(super) fn verify_trailer(&mut self, fields: &[u8], given: &[u8; 64]) -> bool {
        self.verify(
            "AWS4-HMAC-SHA256-TRAILER\n",
            &[&hex::encode_32(&sha256::digest(fields))],
            given,
        )
    }

    fn verify(&mut self, algorithm: &str, hashes: &[&[u8; 64]], given: &[u8; 64]) -> bool {
        let mut message = self.key.begin();
        message.update(algorithm.as_bytes());
        message.update(self.time.text());
        message.update(b"\n");
        message.update(&self.scope);
        message.update(b"\n");
        message.update(&self.previous);
        for hash in hashes {
            message.update(b"\n");
            message.update(*hash);
        }
        self.previous = hex::encode_32(&message.finish());
        verify_slices_are_equal(&self.previous, given).is_ok()
    }
}
