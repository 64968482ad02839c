//! Appends batches of records to this core's log.

use std::io;
use std::sync::Arc;

use super::{Appended, LogEnd, NewRecord};
use crate::io::Disk;
use crate::shard::volume::Volume;

/// Most bytes of one batch, counted with [`encoded_length`]. The largest record fits.
pub const BATCH_BYTES_MAX: usize = (4 << 20) + (64 << 10);
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
    /// The batch exceeds [`BATCH_BYTES_MAX`] or [`BATCH_RECORDS_MAX`], or a record its limits. Nothing was written.
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

/// Bytes that a record takes in a batch.
#[must_use]
pub fn encoded_length(record: &NewRecord) -> usize {
    24 + record.meta.len() + record.body.len()
}

/// Writes one core's log.
pub struct LogWriter<D: Disk> {
    _disk: D,
}

impl<D: Disk> LogWriter<D> {
    /// Creates this core's log of this start. Its first frame, which is durable on return, names the
    /// ends of older logs. Chooses the sync method by a short probe.
    ///
    /// # Errors
    /// As the disk says.
    pub async fn open(
        disk: D,
        volume: Arc<Volume>,
        core: u16,
        ends: Vec<LogEnd>,
    ) -> io::Result<Self> {
        let _ = (volume, core, ends);
        Ok(Self { _disk: disk })
    }

    /// The work that should not keep appends waiting: sealing full segments, writing the next one
    /// ahead. To be spawned once on the writer's core; ends after the writer is sealed or dropped.
    /// Without it the same work happens inside [`LogWriter::append`].
    pub fn background(&self) -> impl Future<Output = ()> + 'static {
        std::future::ready(())
    }

    /// Writes one frame with these records, in order; all are durable on return.
    ///
    /// # Errors
    /// See [`LogError`].
    ///
    /// # Cancel safety
    /// None: a dropped append poisons the writer.
    pub async fn append(&mut self, records: &[NewRecord]) -> Result<Appended, LogError> {
        self.append_with(records, Urgency::Normal).await
    }

    /// As [`LogWriter::append`], saying how badly it is needed.
    ///
    /// # Errors
    /// See [`LogError`].
    ///
    /// # Cancel safety
    /// None: a dropped append poisons the writer.
    pub async fn append_with(
        &mut self,
        records: &[NewRecord],
        urgency: Urgency,
    ) -> Result<Appended, LogError> {
        let _ = (records, urgency);
        Err(LogError::Full)
    }

    /// Whether a [`Urgency::Normal`] batch of so many bytes would find room now.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let _ = bytes;
        false
    }

    /// Whether a write or sync has failed.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        false
    }

    /// Ends the log in good order: the keys of its last segment are written and durable on return.
    /// Nothing can be appended afterwards.
    ///
    /// # Errors
    /// [`LogError::Poisoned`].
    pub async fn seal(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    /// Takes a segment whose records are all dead out of the data folder: its file is recycled or
    /// unlinked. No reader may use it any more.
    ///
    /// # Errors
    /// As the disk says; the segment may be retired again later.
    ///
    /// # Panics
    /// If it is the segment being written.
    pub async fn retire(&mut self, segment: u64) -> io::Result<()> {
        let _ = segment;
        Ok(())
    }
}
