//! What can go wrong in the engine.

use crate::driver::DriverError;
use crate::model::ArtifactInfo;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// As the driver says.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A read condition says that the client's copy is current; boxed is what it would have got.
    #[error("not modified")]
    NotModified(Box<ArtifactInfo>),
    /// A read condition failed.
    #[error("a precondition failed")]
    PreconditionFailed,
    /// The range or part is not in the artifact of this size.
    #[error("the range is not satisfiable")]
    RangeNotSatisfiable {
        /// Size of the artifact.
        size: u64,
    },
    /// The artifact has no such part.
    #[error("no such part")]
    NoSuchPart,
    /// A copy's source does not exist.
    #[error("the source of the copy does not exist")]
    CopySourceMissing,
    /// A copy's source is larger than may be copied in one request.
    #[error("the source of the copy is too large")]
    CopySourceTooLarge,
}
