//! Whether a batch may go into the log now. While the disk is full, one segment's worth is kept for those who make room.

use super::batch::{Shape, Urgency};
use super::format::{BLOCK, FRAME_HEADER, KEYS_ENTRY, padded};

/// What becomes of a batch.
pub(super) enum Admission {
    Fits,
    NextSegment,
    Full,
}

/// One part in so many of the last segment is kept for [`Urgency::Last`]. What is moved by it so that a segment can go
/// is at most that, or deletions could leave too little.
pub(crate) const LAST_SHARE: u64 = 4;

/// What there is of a log.
pub(super) struct Room {
    /// Length of a segment.
    pub(super) length: u64,
    /// Where the next frame of the one being written goes.
    pub(super) end: u64,
    /// Bytes that its footer will hold so far.
    pub(super) keys: usize,
    /// Segments that are ready.
    pub(super) spares: usize,
    /// Whether the disk had no room for another.
    pub(super) starved: bool,
}

impl Room {
    pub(super) fn admit(&self, shape: Shape, urgency: Urgency) -> Admission {
        let keys = self.keys + KEYS_ENTRY + shape.table_length as usize;
        // Frame, footer and trailer: a segment can always be sealed.
        let needed = shape.frame_length() + padded(FRAME_HEADER + keys) + BLOCK;
        let after = self.end + needed as u64;
        let leaves_last = after + self.length / LAST_SHARE <= self.length;
        let Self { spares, starved, .. } = *self;
        match (after <= self.length, urgency) {
            (true, Urgency::Reserve) if starved && spares == 0 && !leaves_last => Admission::Full,
            (true, Urgency::Normal) if starved && spares == 0 => Admission::Full,
            (false, Urgency::Normal) if starved && spares <= 1 => Admission::Full,
            (true, _) => Admission::Fits,
            (false, _) => Admission::NextSegment,
        }
    }
}
