//! How far log segments were durable, as checkpoints know.

use std::collections::HashMap;

use super::LogPoint;
use super::replay::SegmentRef;

/// Of each segment the farthest point that a checkpoint names.
#[derive(Clone, Debug, Default)]
pub(crate) struct DurablePoints(HashMap<u64, u32>);

impl DurablePoints {
    /// Takes a checkpoint's point in.
    pub(crate) fn note(&mut self, LogPoint { segment, offset }: LogPoint) {
        let known = self.0.entry(segment).or_default();
        *known = offset.max(*known);
    }

    /// Tells the segments.
    pub(crate) fn tell(&self, segments: &mut [SegmentRef]) {
        for segment in segments {
            segment.durable = self.0.get(&segment.segment).copied().unwrap_or_default();
        }
    }
}
