//! The operations of the engine.

use crate::context::Context;
use crate::driver::{Completion, Deletion, DriverError, Health, Source, Target, UploadSpec, WriteSpec};
use crate::model::{
    ArtifactInfo, ByteRange, ContainerInfo, ContainerName, ContainerPage, ContainerQuery, ListPage,
    ListQuery, Metadata, PartInfo, PartPage, PartQuery, RangeRequest, ReadConditions, UploadId,
    UploadInfo, UploadPage, UploadQuery, WriteCondition, WriteReceipt,
};

use super::{AnyReader, DriverRules, EngineError};

/// Which bytes to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// All.
    #[default]
    Whole,
    /// A range.
    Range(RangeRequest),
    /// A part, by its number from 1.
    Part(u16),
}

/// An artifact found, and what of it was selected. `R` is its reader, or `()` for a HEAD.
#[derive(Debug)]
pub struct Opened<R> {
    /// Its description.
    pub info: ArtifactInfo,
    /// The selected bytes.
    pub range: ByteRange,
    /// Whether a range or part was asked for, so that the answer is a 206.
    pub partial: bool,
    /// Number of parts it was completed from.
    pub part_count: Option<u16>,
    /// Yields the selected bytes.
    pub reader: R,
}

/// Metadata of a copy.
#[derive(Clone, Debug)]
pub enum CopyMetadata {
    /// The source's.
    Keep,
    /// This.
    Replace(Metadata),
}

/// What to copy.
#[derive(Debug)]
pub struct CopyRequest<'a> {
    /// From.
    pub source: Target<'a>,
    /// What must hold of the source.
    pub source_conditions: ReadConditions,
    /// To.
    pub destination: Target<'a>,
    /// Metadata of the copy.
    pub metadata: CopyMetadata,
    /// What must hold of the destination at commit.
    pub condition: WriteCondition,
    /// The checksum to compute for the copy; `None` keeps the source's algorithm, or CRC-64/NVME.
    pub checksum: Option<crate::model::ChecksumAlgorithm>,
}

/// The engine of one core.
pub struct Engine {
    drivers: DriverRules,
}
