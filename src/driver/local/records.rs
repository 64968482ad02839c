//! The current records of a log segment, some at a time: how background work finds what there is without walking the
//! index.

use std::io;
use std::rc::Rc;

use super::Core;
use crate::driver::DriverError;
use crate::io::{Clock, Disk};
use crate::shard::index::Looked;
use crate::shard::index::key::{self, KeyBytes, Keyspace};
use crate::shard::index::value::Artifact;
use crate::shard::log::replay::{
    ReplayError, Rot, SegmentRef, find_segments, read_segment, replay_aside,
};
use crate::shard::log::{Place, ReplayedRecord, salt_of};
use crate::shard::losses::Loss;
use crate::shard::record::decode_meta;

/// Most records that are held at once. The keys of a segment with more are read again for each lot.
const LOT: usize = 4096;

/// A record that may have been current when its segment was read.
pub(super) struct Live {
    pub(super) shard: u8,
    pub(super) stem: KeyBytes,
    pub(super) sequence: u64,
}

impl Live {
    /// A record of a log, unless memory knows that it is not current.
    fn perhaps<D: Disk, C: Clock>(core: &Core<D, C>, record: &ReplayedRecord<'_>) -> Option<Self> {
        let (stem, _) = decode_meta(record.meta)?;
        let (shard, sequence) = (record.shard, record.sequence);
        let map = core.shared.index.shard(shard);
        let current = if key::is_artifact(stem) {
            match map.look(stem, |sequence, _, _| sequence) {
                Looked::Known(current) => current,
                Looked::Below(_) => Some(sequence),
            }
        } else {
            map.get(stem, |sequence, _| sequence)
        };
        (current == Some(sequence)).then(|| Self { shard, stem: stem.into(), sequence })
    }

    /// About as many bytes as it takes in a log, if it is current still.
    pub(super) async fn bytes<D: Disk, C: Clock>(
        &self,
        core: &Core<D, C>,
    ) -> Result<Option<usize>, DriverError> {
        /// What stands around stem, value and body.
        const AROUND: usize = 64;
        self.get(core, |place, value| {
            AROUND + self.stem.len() + value.len() + place.length as usize
        })
        .await
    }

    /// What `read` makes of its place and value, if it is current still. The caller has made a pin if it goes on with
    /// what they refer to.
    pub(super) async fn get<D: Disk, C: Clock, T>(
        &self,
        core: &Core<D, C>,
        read: impl Fn(Place, &[u8]) -> T,
    ) -> Result<Option<T>, DriverError> {
        let found = core.finder.get(self.shard, &self.stem, |sequence, place, value| {
            (sequence == self.sequence).then(|| read(place, value))
        });
        Ok(found.await?.flatten())
    }

    /// The place of its body and its value, if it is current still.
    pub(super) async fn entry<D: Disk, C: Clock>(
        &self,
        core: &Core<D, C>,
    ) -> Result<Option<(Place, Vec<u8>)>, DriverError> {
        self.get(core, |place, value| (place, value.to_vec())).await
    }
}

/// All log segments, also those that are being written.
pub(super) async fn logs<D: Disk, C: Clock>(
    core: &Core<D, C>,
) -> Result<Vec<SegmentRef>, DriverError> {
    let salt = salt_of(core.shared.volume.uuid());
    let listing = find_segments(&core.disk, core.shared.volume.layout(), Some(salt)).await;
    Ok(listing.map_err(|error| io::Error::other(error.to_string()))?.segments)
}

/// The records of a sealed segment that may be current.
///
/// # Errors
/// If it cannot be read, or has lost something that was not accepted.
pub(super) async fn all<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    segment: &SegmentRef,
) -> Result<Vec<Live>, DriverError> {
    let mut live = Vec::new();
    let mut visit = |record: ReplayedRecord<'_>| live.extend(Live::perhaps(core, &record));
    match replay_aside(&core.disk, segment, &mut visit).await {
        Ok(_) => Ok(live),
        Err(ReplayError::Rot { segment, rot, .. }) if are_accepted(core, segment, &rot) => Ok(live),
        Err(error) => Err(io::Error::other(error.to_string()).into()),
    }
}

/// Whether all that a segment has lost was accepted.
fn are_accepted<D: Disk, C: Clock>(core: &Core<D, C>, segment: u64, rot: &[Rot]) -> bool {
    let losses = core.shared.integrity.losses();
    rot.iter().all(|rot| losses.were_accepted(Loss::Frames { segment, offset: rot.offset }))
}

/// Yields the records of a segment that may be current; it may still be written to.
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
            if wanted(&record) {
                lot.extend(Live::perhaps(core, &record));
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
