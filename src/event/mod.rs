//! Events: one fixed-size record for every operation, failed and refused ones too.
//!
//! A core pushes records into its own lock-free ring ([`Emitter`]); one aggregator thread drains all
//! rings into counters and histograms ([`metrics`]) and the access log. A scrape never touches a data core.

pub mod access_log;
pub mod admin;
pub mod aggregate;
pub mod metrics;
pub mod ring;

mod exposition;
mod process;
mod state;
#[cfg(test)]
mod testing;

pub use ring::{Emitter, rings};
pub use state::{AdminState, STUCK_AFTER};

use crate::context::{RequestId, STAGES};
use crate::model::TenantId;

/// What was asked for. Closed: a new operation is added here first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    /// Not recognised: malformed HTTP, or refused before it was known.
    Unknown = 0,
    /// Lists containers.
    ListContainers,
    /// Creates a container.
    CreateContainer,
    /// Describes a container.
    HeadContainer,
    /// Deletes a container.
    DeleteContainer,
    /// Reads a container's configuration (location, versioning, lock and the like).
    GetContainerConfiguration,
    /// Stores an artifact.
    Put,
    /// Reads an artifact.
    Get,
    /// Describes an artifact.
    Head,
    /// Deletes an artifact.
    Delete,
    /// Deletes a batch of artifacts.
    DeleteMany,
    /// Copies an artifact.
    Copy,
    /// Lists artifacts.
    List,
    /// Begins an upload.
    CreateUpload,
    /// Stores a part.
    PutPart,
    /// Copies into a part.
    CopyPart,
    /// Completes an upload.
    CompleteUpload,
    /// Aborts an upload.
    AbortUpload,
    /// Lists parts.
    ListParts,
    /// Lists uploads.
    ListUploads,
    /// Recognised, and not implemented.
    Unsupported,
}

impl Operation {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 21] = [
        Self::Unknown,
        Self::ListContainers,
        Self::CreateContainer,
        Self::HeadContainer,
        Self::DeleteContainer,
        Self::GetContainerConfiguration,
        Self::Put,
        Self::Get,
        Self::Head,
        Self::Delete,
        Self::DeleteMany,
        Self::Copy,
        Self::List,
        Self::CreateUpload,
        Self::PutPart,
        Self::CopyPart,
        Self::CompleteUpload,
        Self::AbortUpload,
        Self::ListParts,
        Self::ListUploads,
        Self::Unsupported,
    ];

    /// Name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::ListContainers => "list_containers",
            Self::CreateContainer => "create_container",
            Self::HeadContainer => "head_container",
            Self::DeleteContainer => "delete_container",
            Self::GetContainerConfiguration => "get_container_configuration",
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::Delete => "delete",
            Self::DeleteMany => "delete_many",
            Self::Copy => "copy",
            Self::List => "list",
            Self::CreateUpload => "create_upload",
            Self::PutPart => "put_part",
            Self::CopyPart => "copy_part",
            Self::CompleteUpload => "complete_upload",
            Self::AbortUpload => "abort_upload",
            Self::ListParts => "list_parts",
            Self::ListUploads => "list_uploads",
            Self::Unsupported => "unsupported",
        }
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// As asked.
    Ok = 0,
    /// The client's mistake, or a condition of its own that did not hold.
    ClientError,
    /// Who asks is not known or may not.
    Denied,
    /// Refused for want of memory, time or space.
    Refused,
    /// Our failure.
    ServerError,
    /// The client went away before the end.
    ClientAbort,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::ClientError,
        Self::Denied,
        Self::Refused,
        Self::ServerError,
        Self::ClientAbort,
    ];

    /// Name in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::ServerError => "server_error",
            Self::ClientAbort => "client_abort",
        }
    }
}

/// The record of one operation.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// When it ended, milliseconds since the epoch.
    pub ended_ms: i64,
    /// The request.
    pub request_id: RequestId,
    /// Who asked.
    pub tenant: TenantId,
    /// What for.
    pub operation: Operation,
    /// How it ended.
    pub outcome: Outcome,
    /// The core that served it.
    pub core: u16,
    /// Status of the answer; 0 if none was sent.
    pub status: u16,
    /// Code of the error in the answer, from the wire's table; empty for none.
    pub error_code: &'static str,
    /// Hash of the container's name; 0 for none.
    pub container_hash: u64,
    /// Hash of the key; 0 for none.
    pub key_hash: u64,
    /// Body bytes received.
    pub bytes_in: u64,
    /// Body bytes sent.
    pub bytes_out: u64,
    /// First byte of the range that was read.
    pub range_offset: u64,
    /// Length of the range that was read.
    pub range_length: u64,
    /// From the first byte of the request to the last of the answer.
    pub total_ns: u64,
    /// Per [`Stage`](crate::context::Stage).
    pub stages_ns: [u64; STAGES],
    /// How long its turns on the core were: CPU time, but for what preempted the core's thread. What others did for
    /// it (the commit loop, the kernel's workers) is not in it. 0 for a request that never got that far.
    pub cpu_ns: u64,
    /// The commit batch that made it durable; 0 for none.
    pub batch_id: u64,
    /// Depth of the commit queue when it was joined.
    pub queue_depth: u32,
    /// Whether the bytes came from a cache.
    pub cache_hit: bool,
}
