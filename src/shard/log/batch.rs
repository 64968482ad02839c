//! What may be appended at once, how urgently, and why it may be refused.

use super::format::{BODY_BYTES_MAX, FRAME_HEADER, META_BYTES_MAX, RECORD_ENTRY, padded};
use super::probe::SyncMethod;
use super::{NewRecord, Place, SEGMENT_LENGTH};
use crate::io::buffer::AlignedBuffer;

/// No segment is made shorter than this because the disk is small.
const SEGMENT_LENGTH_MIN: u64 = 16 << 20;

/// A segment should be at most one in so many of a core's share of the free bytes.
const FREE_SHARE: u64 = 16;

/// Most bytes of one batch, counted with [`encoded_length`]. The largest record fits.
pub const BATCH_BYTES_MAX: usize = BODY_BYTES_MAX + (64 << 10);
/// Most records of one batch.
pub const BATCH_RECORDS_MAX: usize = 4096;

/// Why an append did not happen, or why it is not known whether it did.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// A write or sync has failed, now or earlier: nothing is acknowledged any more. The outcome of
    /// the append that met it is unknown until the next start.
    #[error("the log is out of service after a failed write: {0}")]
    Poisoned(String),
    /// The disk has no room for another segment. Nothing was written; deletes may still succeed.
    #[error("the disk is full")]
    Full,
    /// The batch exceeds [`BATCH_BYTES_MAX`] or [`BATCH_RECORDS_MAX`], or a record its limits.
    /// Nothing was written.
    #[error("the batch is too large")]
    TooLarge,
}

/// How badly an append is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Refused as soon as the disk has no room for another segment.
    #[default]
    Normal,
    /// Deletes and what else makes room in the end: may use most of the last reserved segment.
    Reserve,
    /// What is moved so that a segment can go, without which deletes make no room: may use all of it.
    Last,
}

/// What a log may be told at its start.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// How appends become durable; `None` for a short measurement.
    pub sync_method: Option<SyncMethod>,
    /// Length of a segment file, in bytes: a multiple of 4096, with room for two of the largest frames.
    pub segment_length: u64,
}

impl LogOptions {
    /// Shorter segments where so many free bytes are to do for the logs of so many cores, each of which keeps two or
    /// three: all together they should leave most of the room to artifacts.
    #[must_use]
    pub fn fitting(self, free: u64, cores: usize) -> Self {
        let share = free / (cores.max(1) as u64 * FREE_SHARE);
        let mut segment_length = self.segment_length;
        while segment_length > share && segment_length / 2 >= SEGMENT_LENGTH_MIN {
            segment_length /= 2;
        }
        Self { segment_length, ..self }
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { sync_method: None, segment_length: SEGMENT_LENGTH }
    }
}

/// Bytes that a record takes in a batch.
#[must_use]
pub fn encoded_length(record: &NewRecord) -> usize {
    RECORD_ENTRY + record.meta.len() + record.body.len()
}

/// The sizes of a frame to be.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) records: u32,
    pub(super) table_length: u32,
    pub(super) payload_length: u32,
}

impl Shape {
    pub(super) fn of(records: &[NewRecord]) -> Option<Self> {
        let table: usize = records.iter().map(|record| RECORD_ENTRY + record.meta.len()).sum();
        let payload: usize = records.iter().map(encoded_length).sum();
        let allowed = records.len() <= BATCH_RECORDS_MAX
            && payload <= BATCH_BYTES_MAX
            && records.iter().all(|record| {
                record.meta.len() <= META_BYTES_MAX && record.body.len() <= BODY_BYTES_MAX
            });
        if !allowed {
            return None;
        }
        Some(Self {
            records: u32::try_from(records.len()).ok()?,
            table_length: u32::try_from(table).ok()?,
            payload_length: u32::try_from(payload).ok()?,
        })
    }

    pub(super) fn frame_length(self) -> usize {
        padded(FRAME_HEADER + self.payload_length as usize)
    }

    pub(super) fn padding(self) -> usize {
        self.frame_length() - FRAME_HEADER - self.payload_length as usize
    }

    /// Where the bodies come to lie in a frame at this offset of a segment.
    pub(super) fn places(self, segment: u64, frame_at: u64, records: &[NewRecord]) -> Vec<Place> {
        let mut body_at = frame_at + FRAME_HEADER as u64 + u64::from(self.table_length);
        let place = |record: &NewRecord| {
            let (offset, length) = (offset_u32(body_at), offset_u32(record.body.len() as u64));
            body_at += u64::from(length);
            Place { segment, offset, length }
        };
        records.iter().map(place).collect()
    }
}

/// Offsets in a segment fit 32 bits, as its length does.
pub(super) fn offset_u32(offset: u64) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// The frame buffer, or a larger one in its place. It grows to the largest batch that was met.
pub(super) fn with_room(buffer: AlignedBuffer, bytes: usize) -> AlignedBuffer {
    if bytes <= buffer.capacity() {
        buffer
    } else {
        AlignedBuffer::with_capacity(bytes.next_power_of_two())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_shorter_where_there_is_little_room() {
        let length = |free: u64, cores| LogOptions::default().fitting(free, cores).segment_length;
        assert_eq!(length(u64::MAX, 64), 64 << 20);
        assert_eq!(length(2 << 30, 2), 64 << 20);
        assert_eq!(length(1 << 30, 2), 32 << 20);
        assert_eq!(length(300 << 20, 2), 16 << 20);
        assert_eq!(length(0, 2), 16 << 20, "the disk says that it is full");
        let asked = LogOptions { segment_length: 12 << 20, ..LogOptions::default() };
        assert_eq!(asked.fitting(0, 1).segment_length, 12 << 20, "it is short as it is");
    }
}
