//! Why a shard did not do what it was asked; shaped like the driver's errors, which are made of these.

use std::io;
use std::sync::Arc;

/// Why a commit did not take effect, or bytes could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ShardError {
    #[error("no such container")]
    NoSuchContainer,
    #[error("the container exists")]
    ContainerExists,
    #[error("the container is not empty")]
    ContainerNotEmpty,
    #[error("no such artifact")]
    NoSuchArtifact,
    #[error("no such upload")]
    NoSuchUpload,
    #[error("a precondition failed")]
    PreconditionFailed,
    #[error("part {0} is missing or differs")]
    InvalidPart(u16),
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    #[error("part {number} is too small: {size} of {size_min} bytes")]
    PartTooSmall { number: u16, size: u64, size_min: u64 },
    #[error("the completed artifact would differ from what was declared")]
    CompletionMismatch,
    #[error("too much is in flight")]
    Overloaded,
    #[error("the disk is full")]
    Full,
    #[error("writing stopped after a failed write or sync")]
    Poisoned,
    #[error("stored bytes are damaged")]
    Corrupt,
    #[error("input or output failed: {0}")]
    Io(Arc<io::Error>),
}

impl From<io::Error> for ShardError {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            Self::Full
        } else {
            Self::Io(Arc::new(error))
        }
    }
}

impl From<super::index::list::Malformed> for ShardError {
    fn from(_: super::index::list::Malformed) -> Self {
        Self::Corrupt
    }
}
