//! The commit log: the only truth.
//!
//! A log is the stream of frames that one core of one start wrote, over segments of
//! [`SEGMENT_LENGTH`] bytes, less where the disk is small. A frame is one commit batch: atomic, durable when [`LogWriter::append`](writer) returns.
//! Records are opaque here: what their `meta` and `body` mean is the index's business.

mod admission;
mod batch;
pub(crate) mod durable;
pub(crate) mod footer;
pub mod format;
mod probe;
mod reader;
pub(crate) mod recycled;
pub mod replay;
mod retire;
mod seal;
mod segments;
pub(crate) mod verify;
mod walk;
pub mod writer;

use std::path::PathBuf;

use bytes::Bytes;

pub(crate) use admission::LAST_SHARE;

/// Length of a log segment, in bytes, where there is room for it.
pub const SEGMENT_LENGTH: u64 = 64 << 20;

/// A log: the core that wrote it and the start of the server in which it did. Starts count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// Which start.
    pub start: u32,
    /// Which core.
    pub core: u16,
}

/// A log segment, unique in the data folder and never used again, also when its file is recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// The exact end of a segment that was never sealed, as recovery found it: whatever lies behind it
/// in the file was never acknowledged and is not part of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// Which log.
    pub log: LogId,
    /// Which segment of it.
    pub segment: u64,
    /// Offset in the segment file of the first byte after the last frame.
    pub offset: u32,
    /// The last batch of the log that lies in this segment or before it.
    pub batch: u64,
}

/// A point of a log up to which all of it was durable when that was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPoint {
    /// Which segment; those before it in its log were durable too.
    pub(crate) segment: u64,
    /// Offset in the segment file of the first byte after the last frame.
    pub(crate) offset: u32,
}

/// A record to be written.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// The virtual shard.
    pub shard: u8,
    /// What kind of record; the index's business.
    pub kind: u8,
    /// The shard's sequence number.
    pub sequence: u64,
    /// What replay needs of it. Kept in the segment's footer too. At most 16 KiB.
    pub meta: Bytes,
    /// Bytes that replay does not read (an inline artifact, a part list). At most 4 MiB.
    pub body: Bytes,
}

/// Where a record's body lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The segment's number.
    pub segment: u64,
    /// Offset of the first byte in the segment file.
    pub offset: u32,
    /// Number of bytes.
    pub length: u32,
}

/// A record met in replay.
#[derive(Clone, Copy, Debug)]
pub struct ReplayedRecord<'a> {
    /// As written.
    pub shard: u8,
    /// As written.
    pub kind: u8,
    /// As written.
    pub sequence: u64,
    /// As written.
    pub meta: &'a [u8],
    /// Where the body is.
    pub place: Place,
}

/// What a finished append is told: every record of the batch is durable.
#[derive(Clone, Debug)]
pub struct Appended {
    /// Number of the batch in its log, from 1.
    pub batch: u64,
    /// Where the bodies lie, one each, in order.
    pub places: Vec<Place>,
    /// Bytes of its frame.
    pub frame_length: u64,
    /// How many of them are padding.
    pub padding: u64,
}

/// Paths in a data folder.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The folder.
    pub root: PathBuf,
}

impl Layout {
    /// Log segments.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The file of a log segment.
    #[must_use]
    pub fn segment_path(&self, segment: u64) -> PathBuf {
        self.root.join("log").join(format!("{segment:016x}.log"))
    }

    /// The keys of a log segment that recovery found unsealed, beside it.
    #[must_use]
    pub fn keys_path(&self, segment: u64) -> PathBuf {
        self.root.join("log").join(format!("{segment:016x}.keys"))
    }

    /// Data segments and artifacts with a file of their own.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }
}

/// Whoever does not know the data folder's id cannot make up a frame.
pub(crate) fn salt_of(uuid: [u8; 16]) -> u64 {
    uuid.as_chunks::<8>().0.iter().fold(0, |salt, half| {
        salt.rotate_left(29) ^ u64::from_le_bytes(*half).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

#[cfg(test)]
mod tests;
