//! Bodies that behave as a test wants.

use std::task::Poll;

use crate::context::{Cancellation, Context};
use crate::driver::{BodyError, Source};
use crate::model::{Checksum, ChecksumAlgorithm, ChecksumKind, Digests, ETag};
use crate::stdx::md5;

/// What happens when a source has yielded so many bytes.
#[derive(Clone, Debug)]
enum Event {
    /// It fails.
    Fail(BodyError),
    /// Nobody waits for the answer any more.
    Cancel(Cancellation),
    /// Nothing more ever comes; the flag says that this point was reached.
    Stall(std::rc::Rc<std::cell::Cell<bool>>),
}

/// A body from memory.
#[derive(Clone, Debug)]
pub struct TestSource {
    bytes: Vec<u8>,
    taken: usize,
    reads: usize,
    declared: bool,
    /// Lengths of the pieces that it yields, again and again; empty for whatever fits.
    pieces: Vec<usize>,
    /// Whether every second read has to be asked twice.
    hesitant: bool,
    event: Option<(usize, Event)>,
    finish_error: Option<BodyError>,
    checksum: Option<ChecksumAlgorithm>,
    finished: bool,
}

impl TestSource {
    /// A body of declared length, without a checksum, that comes as fast as it is asked for.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            taken: 0,
            reads: 0,
            declared: true,
            pieces: Vec::new(),
            hesitant: false,
            event: None,
            finish_error: None,
            checksum: None,
            finished: false,
        }
    }

    /// Does not tell its length.
    #[must_use]
    pub fn undeclared(mut self) -> Self {
        self.declared = false;
        self
    }

    /// Yields pieces of these lengths in turn, and lets the reader wait between.
    #[must_use]
    pub fn in_pieces(mut self, pieces: &[usize]) -> Self {
        self.pieces = pieces.to_vec();
        self.hesitant = true;
        self
    }

    /// Lets the reader wait between pieces.
    #[must_use]
    pub fn hesitant(mut self) -> Self {
        self.hesitant = true;
        self
    }

    /// Carries a checksum.
    #[must_use]
    pub fn with_checksum(mut self, algorithm: ChecksumAlgorithm) -> Self {
        self.checksum = Some(algorithm);
        self
    }

    /// Fails once it has yielded so many bytes.
    #[must_use]
    pub fn failing_at(mut self, taken: usize, error: BodyError) -> Self {
        self.event = Some((taken, Event::Fail(error)));
        self
    }

    /// Cancels the operation once it has yielded so many bytes, and goes on.
    #[must_use]
    pub fn cancelling_at(mut self, taken: usize, cancellation: Cancellation) -> Self {
        self.event = Some((taken, Event::Cancel(cancellation)));
        self
    }

    /// Yields so many bytes and no more, for ever. The flag is set when that point is reached.
    #[must_use]
    pub fn stalling_at(
        mut self,
        taken: usize,
        reached: std::rc::Rc<std::cell::Cell<bool>>,
    ) -> Self {
        self.event = Some((taken, Event::Stall(reached)));
        self
    }

    /// Has a broken promise that is found at the end.
    #[must_use]
    pub fn refusing(mut self, error: BodyError) -> Self {
        self.finish_error = Some(error);
        self
    }

    /// The digests of the whole.
    #[must_use]
    pub fn digests(&self) -> Digests {
        let checksum = self.checksum.map(|algorithm| checksum_of(algorithm, &self.bytes));
        Digests { etag: etag_of(&self.bytes), checksum }
    }

    /// How many bytes were taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Waits once, if this source does that.
    async fn hesitate(&mut self) {
        let mut waits = self.hesitant && self.reads.is_multiple_of(2);
        std::future::poll_fn(|polling| {
            if std::mem::take(&mut waits) {
                polling.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        self.reads += 1;
    }

    /// Lets what is due at this point happen, and returns how many bytes may be yielded before the
    /// next such point.
    async fn pass_event(&mut self) -> Result<usize, BodyError> {
        let Some((at, event)) = &self.event else { return Ok(usize::MAX) };
        if self.taken < *at {
            return Ok(at - self.taken);
        }
        match event.clone() {
            Event::Fail(error) => Err(error),
            Event::Cancel(cancellation) => {
                cancellation.cancel();
                Ok(usize::MAX)
            }
            Event::Stall(reached) => {
                std::future::poll_fn(|polling| {
                    if !reached.replace(true) {
                        polling.waker().wake_by_ref();
                    }
                    Poll::<()>::Pending
                })
                .await;
                Ok(0)
            }
        }
    }
}

impl Source for TestSource {
    fn size(&self) -> Option<u64> {
        self.declared.then_some(self.bytes.len() as u64)
    }

    async fn read(&mut self, _ctx: &Context, buffer: &mut [u8]) -> Result<usize, BodyError> {
        assert!(!self.finished, "nothing is read after the end was checked");
        self.hesitate().await;
        let allowed = self.pass_event().await?;
        let piece = match &self.pieces[..] {
            [] => usize::MAX,
            pieces => pieces[self.reads % pieces.len()],
        };
        let left = self.bytes.len() - self.taken;
        let length = left.min(buffer.len()).min(piece).min(allowed);
        buffer[..length].copy_from_slice(&self.bytes[self.taken..self.taken + length]);
        self.taken += length;
        Ok(length)
    }

    async fn finish(&mut self, _ctx: &Context) -> Result<Digests, BodyError> {
        assert!(!self.finished, "the end is checked once");
        assert_eq!(self.taken, self.bytes.len(), "the end is checked after the last byte");
        self.finished = true;
        self.finish_error.clone().map_or_else(|| Ok(self.digests()), Err)
    }
}

/// The entity tag of bytes written in one piece.
pub(super) fn etag_of(bytes: &[u8]) -> ETag {
    ETag { hash: md5::digest(bytes), parts: 0 }
}

/// The checksum of bytes.
pub(super) fn checksum_of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
    checksum_value(algorithm, ChecksumKind::FullObject, bytes)
}

/// A checksum of a kind over these bytes, whatever they are.
pub(super) fn checksum_value(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
    bytes: &[u8],
) -> Checksum {
    let crc = |crc: crc_fast::CrcAlgorithm| crc_fast::checksum(crc, bytes).to_be_bytes();
    let sha = |sha| aws_lc_rs::digest::digest(sha, bytes);
    let value = match algorithm {
        ChecksumAlgorithm::Crc32 => crc(crc_fast::CrcAlgorithm::Crc32IsoHdlc)[4..].to_vec(),
        ChecksumAlgorithm::Crc32c => crc(crc_fast::CrcAlgorithm::Crc32Iscsi)[4..].to_vec(),
        ChecksumAlgorithm::Crc64Nvme => crc(crc_fast::CrcAlgorithm::Crc64Nvme).to_vec(),
        ChecksumAlgorithm::Sha1 => {
            sha(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY).as_ref().to_vec()
        }
        ChecksumAlgorithm::Sha256 => sha(&aws_lc_rs::digest::SHA256).as_ref().to_vec(),
    };
    Checksum::new(algorithm, kind, &value).expect("a value of the right length")
}
