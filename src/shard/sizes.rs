//! How large things are. Where the simulation and tests want borders to be crossed soon, they are smaller.

use super::{data, log, mailbox};

/// The sizes of one data folder's parts, in bytes where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// A log segment: a multiple of 4096, with room for two of the largest batches.
    pub log_segment: u64,
    /// Most bytes of one batch that holds more than one request.
    pub batch: usize,
    /// A data segment.
    pub data_segment: u64,
    /// The least length of one, which it has where there is little room.
    pub data_segment_min: u64,
    /// Largest body that goes into the log.
    pub inline_max: u64,
    /// Largest body that shares a data segment with others.
    pub extent_max: u64,
    /// Number of commits that may wait at one core.
    pub mailbox: usize,
    /// Artifacts of one core that are kept in memory before they go to runs, less where the budget is small.
    pub tables: usize,
    /// A smaller table of a shard's artifacts is listed in a checkpoint, and becomes no run.
    pub table_min: usize,
    /// Records that one core keeps in memory while logs are replayed, less where the budget is small; besides them those
    /// of one log segment.
    pub replay: usize,
    /// Number of log segments after which a core makes a checkpoint.
    pub checkpoint_segments: u32,
    /// Milliseconds after which a core looks whether the index wants something to be done.
    pub index_period_ms: u64,
    /// Bytes of log segments that a core empties at leisure in each round of housekeeping, which is 200 ms.
    pub leisure: u64,
    /// Rounds of housekeeping, 200 ms each, for which a segment stays that nobody uses. By then each core has closed its
    /// file: to close a file that has no name any more frees its blocks, which would keep that core for long. Whoever
    /// unlinks a file that is closed has a helper thread of the ring do it.
    pub closing_rounds: u32,
}

impl Sizes {
    /// Those of a server.
    pub const STANDARD: Self = Self {
        log_segment: log::SEGMENT_LENGTH,
        batch: log::writer::BATCH_BYTES_MAX,
        data_segment: data::SEGMENT_LENGTH,
        data_segment_min: 16 << 20,
        inline_max: 32 << 10,
        extent_max: 8 << 20,
        mailbox: mailbox::CAPACITY,
        tables: 32 << 20,
        table_min: 64 << 10,
        replay: 128 << 20,
        checkpoint_segments: 8,
        index_period_ms: 50,
        leisure: 12 << 20,
        closing_rounds: 5,
    };
}

impl Default for Sizes {
    fn default() -> Self {
        Self::STANDARD
    }
}
