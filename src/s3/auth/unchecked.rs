//! The signatures of a body's chunks, which are checked behind the bytes: when a buffer is full, all chunks in it are
//! hashed at once, for each has a hash of its own.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::signer::ChunkSigner;
use crate::driver::BodyError;
use crate::stdx::sha256::{self, Sha256};

/// Bytes of a chunk as clients like them.
const CHUNK: usize = 64 << 10;

/// Chunks that are hashed at once, as far as they need no memory of their own.
const CHUNKS: usize = 17;

/// So many pieces are checked though the buffer is not full: chunks may have a byte each.
const PIECES_MAX: usize = 64;

/// Bytes of one chunk, with its signature if they are the last.
struct Piece {
    length: usize,
    end: Option<[u8; 64]>,
}

/// What has passed and was not checked yet.
pub(super) struct Unchecked {
    signer: ChunkSigner,
    /// Of the chunk that the next bytes belong to.
    hash: Sha256,
    pieces: VecDeque<Piece>,
    trailer: Option<(Vec<u8>, [u8; 64])>,
}

impl Unchecked {
    pub(super) fn new(signer: ChunkSigner) -> Self {
        Self { signer, hash: Sha256::default(), pieces: VecDeque::new(), trailer: None }
    }

    /// So many bytes of the current chunk pass.
    pub(super) fn pass(&mut self, length: usize) {
        match self.pieces.back_mut() {
            Some(piece) if piece.end.is_none() => piece.length += length,
            _ => self.pieces.push_back(Piece { length, end: None }),
        }
    }

    /// The current chunk ends, and should have this signature.
    pub(super) fn end(&mut self, given: [u8; 64]) {
        match self.pieces.back_mut() {
            Some(piece) if piece.end.is_none() => piece.end = Some(given),
            _ => self.pieces.push_back(Piece { length: 0, end: Some(given) }),
        }
    }

    /// The trailer's fields have passed, and should have this signature.
    pub(super) fn end_trailer(&mut self, fields: &[u8], given: [u8; 64]) {
        self.trailer = Some((fields.to_vec(), given));
    }

    /// Whether it takes much memory to keep what has passed in mind.
    pub(super) fn is_much(&self) -> bool {
        self.pieces.len() >= PIECES_MAX
    }

    /// Checks all that has passed. `bytes` are those that passed since the last time; `yield_now` lets the core's other
    /// tasks run once.
    ///
    /// # Errors
    /// [`BodyError::SignatureMismatch`]; nothing of the body may be believed then.
    ///
    /// # Cancel safety
    /// None: a check that was dropped is not to be gone on with.
    pub(super) async fn check(
        &mut self,
        mut bytes: &[u8],
        yield_now: impl AsyncFn(),
    ) -> Result<(), BodyError> {
        loop {
            self.check_some(&mut bytes)?;
            if self.pieces.is_empty() {
                break;
            }
            yield_now().await;
        }
        if !bytes.is_empty() {
            return Err(BodyError::Malformed("bytes of no chunk"));
        }
        match self.trailer.take() {
            Some((fields, given)) => right(self.signer.verify_trailer(&fields, &given)),
            None => Ok(()),
        }
    }

    fn check_some(&mut self, bytes: &mut &[u8]) -> Result<(), BodyError> {
        let mut streams = SmallVec::<[(Sha256, &[u8]); CHUNKS]>::new();
        let mut ends = SmallVec::<[Option<[u8; 64]>; CHUNKS]>::new();
        // Then others have a turn. One chunk more, for the first may have been begun before.
        let chunks = sha256::streams_in_a_turn();
        let mut room = chunks * CHUNK;
        while streams.len() <= chunks
            && room > 0
            && let Some(piece) = self.pieces.front_mut()
        {
            let count = piece.length.min(room);
            let (these, rest) = bytes
                .split_at_checked(count)
                .ok_or(BodyError::Malformed("finished after a read that was given up"))?;
            *bytes = rest;
            room -= count;
            piece.length -= count;
            streams.push((std::mem::take(&mut self.hash), these));
            ends.push(if piece.length == 0 { piece.end } else { None });
            if piece.length == 0 {
                self.pieces.pop_front();
            }
        }
        sha256::update_all(&mut streams);
        for ((hash, _), end) in streams.into_iter().zip(ends) {
            match end {
                Some(given) => right(self.signer.verify_chunk(&hash.finish(), &given))?,
                None => self.hash = hash,
            }
        }
        Ok(())
    }
}

fn right(is_right: bool) -> Result<(), BodyError> {
    if is_right { Ok(()) } else { Err(BodyError::SignatureMismatch) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::date::SignedTime;
    use super::*;
    use crate::io::testing::drive;
    use crate::stdx::sha256::{HmacKey, digest};

    fn signer() -> ChunkSigner {
        let key = HmacKey::new(b"key");
        ChunkSigner::new(key, SignedTime::parse("20130524T000000Z").unwrap(), b"scope", [b'0'; 64])
    }

    /// Passes chunks of these lengths, and checks whenever so many bytes have passed.
    fn check_all(
        bytes: &[u8],
        lengths: &[usize],
        every: usize,
        signed: &[u8],
    ) -> Result<(), BodyError> {
        let (mut unchecked, mut signing) = (Unchecked::new(signer()), signer());
        let (mut begin, mut passed, mut checked) = (0, 0, 0);
        for &length in lengths {
            let given = signing.sign_chunk(&digest(&signed[begin..begin + length]));
            begin += length;
            while passed < begin {
                let count = (begin - passed).min(every - (passed - checked));
                unchecked.pass(count);
                passed += count;
                if passed - checked == every {
                    drive(unchecked.check(&bytes[checked..passed], async || ()))?;
                    checked = passed;
                }
            }
            unchecked.end(given);
        }
        drive(unchecked.check(&bytes[checked..], async || ()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn chunks_of_any_length_are_checked_wherever_buffers_end(
            lengths in prop::collection::vec(
                prop_oneof![1_usize..200, 60_000_usize..70_000, Just(65_536), 300_000_usize..600_000],
                1..8,
            ),
            every in prop_oneof![1_000_usize..100_000, Just(1 << 20)],
            flip in any::<prop::sample::Index>(),
        ) {
            let bytes: Vec<u8> = (0..=250).cycle().take(lengths.iter().sum()).collect();
            prop_assert!(check_all(&bytes, &lengths, every, &bytes).is_ok());
            let mut changed = bytes.clone();
            changed[flip.index(bytes.len())] ^= 1;
            let refused = check_all(&changed, &lengths, every, &bytes);
            prop_assert!(matches!(refused, Err(BodyError::SignatureMismatch)));
        }
    }

    #[test]
    fn many_short_chunks_ask_for_a_check() {
        let mut unchecked = Unchecked::new(signer());
        for _ in 0..PIECES_MAX {
            assert!(!unchecked.is_much());
            unchecked.pass(1);
            unchecked.end([b'0'; 64]);
        }
        assert!(unchecked.is_much());
    }
}
