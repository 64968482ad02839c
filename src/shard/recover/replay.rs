//! Replays logs, and keeps of what they say what is current.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::gather::Gathered;
use super::index::{self, Derivation};
use super::keep::{self, Kept};
use super::spill::Spiller;
use super::unite::Uniter;
use super::{RecoverError, Recovery};
use crate::io::Disk;
use crate::shard::finder::Finder;
use crate::shard::index::run::directory;
use crate::shard::index::{SHARDS, ShardMap};
use crate::shard::keeper::KeepError;
use crate::shard::log::ReplayedRecord;
use crate::shard::log::replay::{ReplayError, Rot, SegmentRef, replay_segment};
use crate::shard::losses::Loss;
use crate::shard::shared::Shared;

impl Recovery {
    /// Replays what the checkpoints do not cover, and keeps what is current. All cores have done so on return, but
    /// nothing is counted yet.
    pub(super) async fn replay_and_keep<D: Disk>(
        &self,
        shared: &Shared,
        core: usize,
        disk: &D,
        finder: &Finder<D>,
        (segments, derived): (&[SegmentRef], Derivation),
    ) -> Result<Kept, RecoverError> {
        let covered =
            |segment: &&SegmentRef| derived.coverage.covers(segment.log, segment.position);
        let uncovered: Vec<&SegmentRef> =
            segments.iter().filter(|segment| !covered(segment)).collect();
        if core == 0 {
            // Here, so that what a start has left that came to no end does not take the room that this one needs.
            index::sweep(shared, disk).await?;
            let covered: HashMap<u64, &SegmentRef> =
                segments.iter().filter(covered).map(|one| (one.segment, one)).collect();
            shared.checkpoints.set_covered(covered.keys().copied());
            let mut found = self.found();
            found.replayed = uncovered.len();
            // Named again, for the log whose first frame named them may go.
            found.ends.extend(covered.values().filter_map(|segment| segment.end));
            for (segment, records) in &derived.written {
                if covered.contains_key(segment) {
                    let written = found.written.entry(*segment).or_default();
                    *written = (*written).max(*records);
                }
            }
        }
        self.replay(shared, disk, &uncovered).await?;
        self.meet().await?;
        let mut kept = Kept::default();
        if !self.is_index_damaged() {
            kept = self.keep_current(shared, core, disk, finder).await?;
        }
        self.meet().await?;
        if core == 0 {
            let spilled = std::mem::take(&mut self.found().spilled);
            spilled.remove(shared, disk).await;
        }
        Ok(kept)
    }

    /// Replays segments until none is left.
    async fn replay<D: Disk>(
        &self,
        shared: &Shared,
        disk: &D,
        segments: &[&SegmentRef],
    ) -> Result<(), RecoverError> {
        let known = (0..=u8::MAX).map(|shard| shared.checkpoints.book(shard).sequence);
        let mut gathered = Gathered::new(known.collect());
        let mut spiller = Spiller::new(shared, disk, self.limit);
        while let Some(segment) = segments.get(self.next_segment.fetch_add(1, Ordering::AcqRel)) {
            let mut visit = |record: ReplayedRecord<'_>| gathered.add(shared, record);
            let replayed = replay_segment(disk, segment, &mut visit).await;
            let summary = match replayed {
                Ok(summary) => summary,
                Err(ReplayError::Rot { segment, rot, summary }) => {
                    for Rot { offset, .. } in rot {
                        if !self.lose(shared, Loss::Frames { segment, offset }) {
                            tracing::error!(segment, offset, "committed frames are damaged");
                        }
                    }
                    summary
                }
                Err(error) => return Err(error.into()),
            };
            self.found().ends.extend(summary.log_end());
            if !self.is_run_sound(spiller.relieve(&mut gathered).await)? {
                break;
            }
        }
        gathered.flush(shared);
        for segment in &gathered.malformed {
            if !self.lose(shared, Loss::Records(*segment)) {
                tracing::error!(segment, "records of the log are malformed");
            }
        }
        let mut found = self.found();
        found.spilled.absorb(spiller.finish());
        for (segment, records) in gathered.records_of {
            *found.written.entry(segment).or_default() += records;
        }
        found.sequences.resize(SHARDS, 0);
        for (highest, own) in found.sequences.iter_mut().zip(gathered.sequences) {
            *highest = own.max(*highest);
        }
        Ok(())
    }

    /// What is current of a core's shards. Stops before its time if a run cannot be read.
    async fn keep_current<D: Disk>(
        &self,
        shared: &Shared,
        core: usize,
        disk: &D,
        finder: &Finder<D>,
    ) -> Result<Kept, RecoverError> {
        let (spilled, sequences) = {
            let found = self.found();
            (found.spilled.clone(), found.sequences.clone())
        };
        let uniter = Uniter::new(shared, disk, finder, spilled);
        let (mut kept, mut is_run) = (Kept::default(), false);
        for shard in shared.shards_of(core) {
            let replayed = sequences.get(usize::from(shard)).copied();
            let known = shared.checkpoints.book(shard).sequence;
            let newest = replayed.unwrap_or_default().max(known);
            if newest > 0 {
                shared.index.shard(shard).publish(newest);
            }
            let is_empty = shared.index.if_used(shard).is_none_or(ShardMap::is_empty);
            if is_empty && !uniter.concerns(shard) {
                continue;
            }
            let mut living = keep::keep_resident(shared, shard, &mut kept);
            if uniter.concerns(shard) {
                let united = uniter.unite(shard, &mut living, &mut kept).await;
                is_run |= matches!(united, Ok(true));
                if !self.is_run_sound(united.map(|_| ()))? {
                    return Ok(kept);
                }
            }
            keep::keep_artifacts(shared, shard, &mut living, &mut kept);
        }
        if is_run {
            disk.sync_directory(&directory(shared.volume.layout())).await?;
            // So that the next start need not do this again.
            shared.checkpoints.want(core);
        }
        for segment in &kept.malformed {
            if !self.lose(shared, Loss::Records(*segment)) {
                tracing::error!(segment, "values of the index are malformed");
            }
        }
        for shard in shared.used_shards_of(core) {
            kept.accounts.add_all(&shared.checkpoints.book(shard).accounts);
            match index::shadow(shared, finder, shard).await {
                Ok(shadowed) => kept.accounts.subtract_all(&shadowed),
                Err(error) => {
                    self.index_is_damaged(&error.to_string());
                    break;
                }
            }
        }
        Ok(kept)
    }

    /// Whether what was done with runs was not kept from it by a damaged one; that is noted.
    ///
    /// # Errors
    /// As the disk says.
    fn is_run_sound(&self, done: Result<(), KeepError>) -> Result<bool, RecoverError> {
        match done {
            Ok(()) => Ok(true),
            Err(KeepError::Run(error)) => {
                self.index_is_damaged(&error.to_string());
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
