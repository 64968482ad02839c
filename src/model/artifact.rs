//! What is known of a stored artifact and of a container.

use super::{Checksum, ContainerName, ETag, Metadata};

/// A stored artifact's description: everything but its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactInfo {
    /// Number of bytes.
    pub size: u64,
    /// Entity tag.
    pub etag: ETag,
    /// When it was committed, milliseconds since the epoch.
    pub modified_ms: i64,
    /// Its metadata.
    pub metadata: Metadata,
    /// The checksum stored with it.
    pub checksum: Option<Checksum>,
}

/// A container's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInfo {
    /// Its name.
    pub name: ContainerName,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: i64,
}

/// What a finished write is told. The artifact is durable when the caller has this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteReceipt {
    /// Its entity tag.
    pub etag: ETag,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// When it was committed, milliseconds since the epoch.
    pub modified_ms: i64,
    /// Number of bytes.
    pub size: u64,
}
