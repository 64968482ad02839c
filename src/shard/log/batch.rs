//! What may be appended at once, how urgently, and why it may be refused.

use super::format::{BODY_BYTES_MAX, FRAME_HEADER, META_BYTES_MAX, RECORD_ENTRY, padded};
use super::probe::SyncMethod;
use super::{NewRecord, SEGMENT_LENGTH};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// Refused as soon as the disk has no room for another segment.
    #[default]
    Normal,
    /// Deletes and what else makes room: may use the last reserved segment.
    Reserve,
}

/// What a log may be told at its start.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// How appends become durable; `None` for a short measurement.
    pub sync_method: Option<SyncMethod>,
    /// Length of a segment file, in bytes: a multiple of 4096, with room for two of the largest frames.
    pub segment_length: u64,
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
}
