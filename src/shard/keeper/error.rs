//! Why the keeper did not write something.

use std::io;

use crate::shard::error::ShardError;
use crate::shard::index::checkpoint::CheckpointError;
use crate::shard::index::run::RunError;

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error("the disk is full")]
    Full,
    #[error("{0}")]
    Io(io::Error),
    #[error(transparent)]
    Run(RunError),
    #[error(transparent)]
    Checkpoint(CheckpointError),
    /// The commit loop did not answer.
    #[error(transparent)]
    Shard(ShardError),
    #[error("the driver stops")]
    Stopping,
}

impl From<io::Error> for KeepError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}

impl From<RunError> for KeepError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Io(error) => error.into(),
            damaged @ RunError::Damaged { .. } => Self::Run(damaged),
        }
    }
}

impl From<CheckpointError> for KeepError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Io(error) => error.into(),
            damaged @ CheckpointError::Damaged(_) => Self::Checkpoint(damaged),
        }
    }
}
