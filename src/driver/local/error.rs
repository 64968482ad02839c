//! How the shards' errors look to the engine.

use crate::driver::DriverError;
use crate::io::budget::Exhausted;
use crate::shard::error::ShardError;

impl From<ShardError> for DriverError {
    fn from(error: ShardError) -> Self {
        match error {
            ShardError::NoSuchContainer => Self::NoSuchContainer,
            ShardError::ContainerExists => Self::ContainerExists,
            ShardError::ContainerNotEmpty => Self::ContainerNotEmpty,
            ShardError::NoSuchArtifact => Self::NoSuchArtifact,
            ShardError::NoSuchUpload => Self::NoSuchUpload,
            ShardError::PreconditionFailed => Self::PreconditionFailed,
            ShardError::InvalidPart(number) => Self::InvalidPart(number),
            ShardError::InvalidPartOrder => Self::InvalidPartOrder,
            ShardError::PartTooSmall { number, size, size_min } => {
                Self::PartTooSmall { number, size, size_min }
            }
            ShardError::CompletionMismatch => Self::CompletionMismatch,
            ShardError::Overloaded => Self::Overloaded,
            ShardError::Full => Self::Full,
            ShardError::Poisoned => Self::Poisoned,
            ShardError::Corrupt => Self::Corrupt,
            ShardError::Io(error) => Self::Io(error),
        }
    }
}

impl From<Exhausted> for DriverError {
    fn from(_: Exhausted) -> Self {
        Self::Overloaded
    }
}
