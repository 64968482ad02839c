//! What can go wrong below the engine, shaped by what the caller does about it.

use std::io;
use std::sync::Arc;

use crate::context::Interrupted;
use crate::model::ChecksumAlgorithm;

/// Why a body could not be taken. The client's fault or its absence, never ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection ended before the declared length.
    #[error("the body ended before its declared length")]
    Truncated,
    /// The client went away.
    #[error("the client went away")]
    Disconnected,
    /// No byte, or too few, in the allowed time.
    #[error("the body came too slowly")]
    TooSlow,
    /// The framing is malformed.
    #[error("the body is malformed: {0}")]
    Malformed(&'static str),
    /// More bytes than one write may have.
    #[error("the body is larger than is allowed")]
    TooLarge,
    /// The MD5 does not match what the client sent.
    #[error("the MD5 does not match the one given")]
    Md5Mismatch,
    /// The SHA-256 does not match the signed one.
    #[error("the SHA-256 does not match the one given")]
    Sha256Mismatch,
    /// A checksum does not match.
    #[error("the {0:?} checksum does not match the one given")]
    ChecksumMismatch(ChecksumAlgorithm),
    /// A chunk's or trailer's signature does not match.
    #[error("the signature of a chunk does not match")]
    SignatureMismatch,
    /// A copy's source could not be read on.
    #[error("the source of the copy failed")]
    CopySource,
    /// The operation was given up.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Why a driver did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DriverError {
    /// The tenant has no such container.
    #[error("no such container")]
    NoSuchContainer,
    /// The tenant has this container already.
    #[error("the container exists")]
    ContainerExists,
    /// The container holds artifacts.
    #[error("the container is not empty")]
    ContainerNotEmpty,
    /// No current artifact has this key; also if a condition asks for one.
    #[error("no such artifact")]
    NoSuchArtifact,
    /// No upload in progress has this id and key.
    #[error("no such upload")]
    NoSuchUpload,
    /// A condition did not hold at commit against the artifact that is there.
    #[error("a precondition failed")]
    PreconditionFailed,
    /// A part of a completion is missing or has another tag.
    #[error("part {0} is missing or differs")]
    InvalidPart(u16),
    /// The parts of a completion are not in ascending order.
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is too small.
    #[error("part {number} is too small: {size} of {size_min} bytes")]
    PartTooSmall {
        /// Its number.
        number: u16,
        /// Its size.
        size: u64,
        /// The least allowed.
        size_min: u64,
    },
    /// A completion's declared size or checksum does not follow from its parts.
    #[error("the completed artifact would differ from what was declared")]
    CompletionMismatch,
    /// The body could not be taken.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The operation was given up.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// No memory or queue space within the time; to be tried again.
    #[error("too much is in flight")]
    Overloaded,
    /// No space left for writes; deletes go on.
    #[error("the disk is full")]
    Full,
    /// A write or sync failed earlier: writes are refused until a restart. For a write that was
    /// under way the outcome is unknown.
    #[error("writing stopped after a failed write or sync")]
    Poisoned,
    /// Stored bytes do not match their checksum.
    #[error("stored bytes are damaged")]
    Corrupt,
    /// The driver does not do this.
    #[error("not supported by this driver")]
    Unsupported,
    /// The kernel refused.
    #[error("input or output failed: {0}")]
    Io(Arc<io::Error>),
}

impl From<io::Error> for DriverError {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            Self::Full
        } else {
            Self::Io(Arc::new(error))
        }
    }
}
