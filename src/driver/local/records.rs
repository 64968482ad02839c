//! The current records of a log segment, some at a time: how background work finds what there is without walking the
//! index.

use std::io;
use std::rc::Rc;

use super::Core;
use crate::driver::DriverError;
use crate::io::{Clock, Disk};
use crate::shard::index::key::{KeyBytes, Keyspace};
use crate::shard::index::value::Artifact;
use crate::shard::log::ReplayedRecord;
use crate::shard::log::replay::{SegmentRef, read_segment};
use crate::shard::record::decode_meta;

/// Most records that are held at once. The keys of a segment with more are read again for each lot.
const LOT: usize = 4096;

/// A record that was current when its segment was read.
pub(super) struct Live {
    pub(super) shard: u8,
    pub(super) stem: KeyBytes,
    pub(super) sequence: u64,
}

/// Yields the current records of a segment, which may still be written to.
pub(super) struct Records<'a> {
    segment: &'a SegmentRef,
    /// Records that were looked at.
    seen: u64,
    ended: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(segment: &'a SegmentRef) -> Self {
        Self { segment, seen: 0, ended: false }
    }

    /// The next of those that are `wanted`; `None` after the last.
    ///
    /// # Errors
    /// If the segment cannot be read and has not been retired.
    pub(super) async fn next<D: Disk, C: Clock>(
        &mut self,
        core: &Rc<Core<D, C>>,
        wanted: &dyn Fn(&ReplayedRecord<'_>) -> bool,
    ) -> Result<Option<Vec<Live>>, DriverError> {
        if self.ended {
            return Ok(None);
        }
        let (before, mut met) = (self.seen, 0);
        let mut lot = Vec::new();
        let mut visit = |record: ReplayedRecord<'_>| {
            met += 1;
            if met <= before || lot.len() >= LOT {
                return;
            }
            self.seen = met;
            if wanted(&record)
                && let Some((stem, _)) = decode_meta(record.meta)
            {
                let map = core.shared.index.shard(record.shard);
                if map.get(stem, |sequence, _| sequence) == Some(record.sequence) {
                    let (shard, sequence) = (record.shard, record.sequence);
                    lot.push(Live { shard, stem: stem.into(), sequence });
                }
            }
        };
        match read_segment(&core.disk, self.segment, &mut visit).await {
            Ok(_) => (),
            // It was emptied and retired meanwhile: what lived in it has moved to another.
            Err(_) if !core.shared.segments.has_log(self.segment.segment) => (),
            Err(error) => return Err(io::Error::other(error.to_string()).into()),
        }
        self.ended = lot.len() < LOT;
        Ok(Some(lot))
    }
}

/// Whether a record sets an artifact or part that is as `wanted`.
pub(super) fn has_bytes(
    record: &ReplayedRecord<'_>,
    wanted: &dyn Fn(&Artifact<'_>) -> bool,
) -> bool {
    let Some((stem, value)) = decode_meta(record.meta) else { return false };
    let keyspace = stem.first().copied();
    if value.is_empty()
        || (keyspace != Some(Keyspace::Artifact as u8) && keyspace != Some(Keyspace::Part as u8))
    {
        return false;
    }
    let artifact = Artifact::decode(record.shard, record.sequence, record.place, value);
    artifact.is_some_and(|artifact| wanted(&artifact))
}
