//! Plain types that several layers speak: names, conditions, checksums, metadata.
//!
//! Nothing here performs I/O, knows of HTTP, or uses another layer.

mod artifact;
mod checksum;
mod condition;
mod etag;
mod listing;
mod metadata;
mod multipart;
mod name;
mod range;

pub use artifact::{ArtifactInfo, ContainerInfo, WriteReceipt};
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumKind, Digests};
pub use condition::{ETagMatch, ReadConditions, ReadVerdict, WriteCondition};
pub use etag::{ETag, ETagHash};
pub use listing::{ContainerPage, ContainerQuery, ListEntry, ListPage, ListQuery};
pub use metadata::{Metadata, MetadataBuilder, MetadataField};
pub use multipart::{
    CompletePart, PartInfo, PartPage, PartQuery, PartSpan, UploadEntry, UploadId, UploadInfo,
    UploadPage, UploadQuery,
};
pub use name::{ArtifactKey, ContainerName, NameError, TenantId};
pub use range::{ByteRange, RangeRequest, RangeUnsatisfiable};
