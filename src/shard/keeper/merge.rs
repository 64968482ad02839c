//! Merges runs, so that a look-up meets few of them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{KeepError, Keeper};
use crate::io::Disk;
use crate::runtime::Pauses;
use crate::shard::index::View;
use crate::shard::index::checkpoint::{Checkpoint, CheckpointBuilder, Derived};
use crate::shard::index::run::{Merge, Run, RunCursor, RunWriter, directory, path as run_path};

/// So many neighbours are merged, at least.
const WIDTH: usize = 4;

/// With more runs than this the cheapest neighbours are merged, whatever the sizes.
const RUNS_MAX: usize = 16;

/// Versions that are merged before others have a turn.
const VERSIONS: usize = 16;

impl<D: Disk> Keeper<D> {
    /// Merges some runs of one shard, if that pays; says whether it did.
    pub(crate) async fn merge(&self) -> bool {
        let checkpoints = &self.shared.checkpoints;
        if checkpoints.is_given_up() || checkpoints.is_resting() || self.starved.get() {
            return false;
        }
        let turn = self.runs.wait().await;
        let worth = self.shards().find_map(|shard| {
            let map = self.shared.index.shard(shard);
            if map.is_flat() {
                return None;
            }
            let runs = &map.view().runs;
            let lengths: Vec<u64> = runs.iter().map(|run| run.length()).collect();
            Some((shard, runs[worth_merging(&lengths)?].to_vec()))
        });
        let Some((shard, runs)) = worth else { return false };
        self.merging.set(Some(shard));
        drop(turn);
        let merged = self.merge_runs(shard, &runs).await;
        self.merging.set(None);
        match merged {
            Ok(()) => {
                checkpoints.counters.merges.fetch_add(1, Ordering::Relaxed);
                return true;
            }
            // What there is stays as it is.
            Err(KeepError::Full) => self.starved.set(true),
            Err(error) => self.failed(&error),
        }
        false
    }

    async fn merge_runs(&self, shard: u8, old: &[Arc<Run>]) -> Result<(), KeepError> {
        // Nobody else replaces runs of a shard that is being merged, so their files stay without a pin.
        let map = self.shared.index.shard(shard);
        let layout = self.shared.volume.layout();
        let oldest = map.view().runs.last().map(|run| run.id());
        let drops = oldest == old.last().map(|run| run.id());
        let id = self.shared.volume.next_segment_id();
        let stems = old.iter().map(|run| run.entries()).sum();
        self.need_room(old.iter().map(|run| run.length()).sum()).await?;
        let path = run_path(layout, id);
        let mut writer = RunWriter::create(&self.disk, &path, id, shard, stems).await?;
        let filled = self.fill_merged(old, drops, &mut writer).await;
        let new = match filled {
            Ok(()) if writer.entries() > 0 => match writer.finish().await {
                Ok(run) => Some(Arc::new(run)),
                Err(error) => {
                    self.give_up_run(id).await;
                    return Err(error.into());
                }
            },
            filled => {
                self.give_up_run(id).await;
                filled?;
                None
            }
        };
        self.disk.sync_directory(&directory(layout)).await?;
        let replaced = self.replace(shard, old, new.as_ref()).await;
        if matches!(replaced, Err(KeepError::Stopping | KeepError::Full)) && new.is_some() {
            // No checkpoint came to name it.
            self.give_up_run(id).await;
        }
        replaced
    }

    /// Puts a run, or nothing, in the place of others.
    async fn replace(
        &self,
        shard: u8,
        old: &[Arc<Run>],
        new: Option<&Arc<Run>>,
    ) -> Result<(), KeepError> {
        let map = self.shared.index.shard(shard);
        let _turn = self.runs.wait().await;
        let attempt = self.shared.checkpoints.attempt();
        let _attempt = attempt.ok_or(KeepError::Stopping)?;
        // A flush may have put another before them.
        let view = map.view();
        let first = old.first().map(|run| run.id());
        let at = view.runs.iter().position(|run| Some(run.id()) == first).unwrap_or_default();
        let (before, after) = (&view.runs[..at], &view.runs[at + old.len()..]);
        let runs: Arc<[Arc<Run>]> = before.iter().chain(new).chain(after).cloned().collect();
        self.rewrite_checkpoint(shard, &view.runs, &runs).await?;
        self.disk.sync_directory(&directory(self.shared.volume.layout())).await?;
        if let Some(new) = new {
            self.shared.checkpoints.add_run(new.id());
        }
        let view = map.view();
        map.set_view(View { active: Arc::clone(&view.active), frozen: view.frozen.clone(), runs });
        self.condemn(old);
        Ok(())
    }

    async fn fill_merged(
        &self,
        runs: &[Arc<Run>],
        drop_tombstones: bool,
        writer: &mut RunWriter<D::File>,
    ) -> Result<(), KeepError> {
        let reader = self.finder.reader();
        let mut merge = Merge::new(runs.iter().map(|run| RunCursor::new(Arc::clone(run), false)));
        let pauses = Pauses::after(VERSIONS);
        loop {
            if !merge.try_ready(reader.cache)? {
                if self.stopping.get() {
                    return Err(KeepError::Stopping);
                }
                merge.ready(reader).await?;
            }
            let Some(version) = merge.peek() else { break };
            if !(drop_tombstones && version.is_tombstone()) {
                let (stem, value) = (version.stem, version.value);
                writer.push(stem, version.sequence, version.place, value).await?;
            }
            merge.next()?;
            pauses.count(1).await;
        }
        Ok(())
    }

    /// Writes the checkpoint of a shard again, with other runs that hold the same.
    async fn rewrite_checkpoint(
        &self,
        shard: u8,
        before: &[Arc<Run>],
        after: &[Arc<Run>],
    ) -> Result<(), KeepError> {
        let layout = self.shared.volume.layout();
        let ids_of = |runs: &[Arc<Run>]| runs.iter().map(|run| run.id()).collect::<Vec<_>>();
        let old = Checkpoint::read(&self.disk, layout, shard).await?;
        // One that a flush wrote before it failed names runs that nobody has; or all were given up for want of room.
        let Some(old) = old.filter(|old| old.runs == ids_of(before)) else {
            return Err(KeepError::Stopping);
        };
        let ids = ids_of(after);
        let mut new = CheckpointBuilder::new(shard, old.sequence, old.point, &ids, &old.accounts);
        old.resident().for_each(|version| new.resident(&version));
        let written = new.write(&self.disk, layout).await;
        self.note_written(Derived::Checkpoint(shard), written).await
    }
}

/// Which of the runs, whose lengths are given newest first, are worth merging: neighbours of which none is longer than
/// all newer ones among them together. So a version is written again about as often as the index doubles, however
/// unlike the flushes are, and few runs stay.
fn worth_merging(lengths: &[u64]) -> Option<Range<usize>> {
    for first in 0..lengths.len() {
        let mut newer = lengths[first];
        let joins = |length: &&u64| {
            let joins = **length <= newer;
            newer = newer.saturating_add(**length);
            joins
        };
        let count = 1 + lengths[first + 1..].iter().take_while(joins).count();
        if count >= WIDTH {
            return Some(first..first + count);
        }
    }
    if lengths.len() <= RUNS_MAX {
        return None;
    }
    let bytes_of = |first: &usize| lengths[*first..*first + WIDTH].iter().sum::<u64>();
    let cheapest = (0..=lengths.len() - WIDTH).min_by_key(bytes_of)?;
    Some(cheapest..cheapest + WIDTH)
}

#[cfg(test)]
mod tests {
    use super::{RUNS_MAX, WIDTH, worth_merging};

    #[test]
    fn neighbours_are_merged_of_which_none_outweighs_the_newer() {
        assert_eq!(worth_merging(&[]), None);
        assert_eq!(worth_merging(&[9, 9, 9]), None);
        assert_eq!(worth_merging(&[9, 9, 9, 28]), None);
        assert_eq!(worth_merging(&[9, 9, 9, 27, 55]), Some(0..4));
        assert_eq!(worth_merging(&[9, 100, 90, 80, 70, 5000]), Some(1..5));
        assert_eq!(worth_merging(&[1, 10, 100, 1000, 10_000]), None);
    }

    #[test]
    fn too_many_are_merged_where_that_is_cheapest() {
        let doubling: Vec<u64> = (0..17).map(|number| (1 << number) + 1).collect();
        assert_eq!(worth_merging(&doubling), Some(0..WIDTH));
        assert_eq!(worth_merging(&doubling[1..]), None);
    }

    #[test]
    fn however_flushes_differ_in_length_little_is_written_and_few_runs_stay() {
        for lengths in [[6_400, 6_400], [6_400, 650], [1, 9_000]] {
            let (mut runs, mut written, mut flushed) = (Vec::new(), 0, 0);
            for number in 0..1000 {
                runs.insert(0, lengths[number % 2]);
                flushed += lengths[number % 2];
                while let Some(range) = worth_merging(&runs) {
                    let merged = runs.drain(range.clone()).sum();
                    runs.insert(range.start, merged);
                    written += merged;
                }
                assert!(runs.len() <= RUNS_MAX, "{runs:?}");
            }
            assert!(written < 10 * flushed, "{written} of {flushed}");
        }
    }
}
