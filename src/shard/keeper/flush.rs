//! Tables become runs, and shards get checkpoints.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{KeepError, Keeper, remove_run};
use crate::io::Disk;
use crate::runtime::Pauses;
use crate::shard::freeze::{FrozenShard, Listed};
use crate::shard::index::checkpoint::{Accounts, CheckpointBuilder, Derived};
use crate::shard::index::run::{Run, RunWriter, Version, directory, path as run_path};
use crate::shard::index::{MemTable, View, key};

/// Entries that are written before others have a turn.
pub(super) const ENTRIES: usize = 16;

/// What a run or a checkpoint takes besides its entries.
pub(super) const MARGIN: u64 = 16 << 10;

/// A table that became a run.
struct Flushed {
    /// `None` if nothing of it was left.
    run: Option<Arc<Run>>,
    /// What its entries hold.
    holdings: Accounts,
}

impl<D: Disk> Keeper<D> {
    /// Flushes the tables of some shards and makes checkpoints of these. Those that were `stalled` get none: log segments
    /// may have gone since they were frozen, which only a checkpoint of now makes up for.
    pub(super) async fn flush(
        &self,
        frozen: &[FrozenShard],
        stalled: bool,
    ) -> Result<(), KeepError> {
        let mut flushed = Vec::with_capacity(frozen.len());
        for shard in frozen {
            let written = match &shard.table {
                Some(table) => self.write_run(shard.shard, table).await.map(Some),
                None => Ok(None),
            };
            match written {
                Ok(one) => flushed.push(one),
                Err(error) => {
                    // Nobody knows of them yet.
                    self.give_up_runs(&flushed_runs(&flushed)).await;
                    return Err(error);
                }
            }
        }
        let folder = directory(self.shared.volume.layout());
        if flushed.iter().flatten().any(|one| one.run.is_some()) {
            self.disk.sync_directory(&folder).await?;
        }
        let _turn = self.runs.wait().await;
        let mut books = Vec::with_capacity(frozen.len());
        for (shard, one) in frozen.iter().zip(&flushed) {
            let view = self.shared.index.shard(shard.shard).view();
            let new = one.as_ref().and_then(|one| one.run.as_ref());
            let mut runs: Arc<[Arc<Run>]> = new.into_iter().chain(&*view.runs).cloned().collect();
            let mut accounts = self.shared.checkpoints.book(shard.shard).accounts.clone();
            if let (Some(one), Some(table)) = (one, &shard.table) {
                accounts.add_all(&one.holdings);
                accounts.subtract_all(&table.shadowed());
            }
            // Where nothing is left but tombstones, and the checkpoint says so, they hide nothing.
            let stays = stalled || self.merging.get() == Some(shard.shard);
            if (shard.is_dead || accounts.is_empty()) && !stays {
                runs = Arc::default();
                accounts = Accounts::default();
            }
            if !stalled && let Err(error) = self.write_checkpoint(shard, &runs, &accounts).await {
                if matches!(error, KeepError::Full) {
                    let unnamed = flushed_runs(&flushed[books.len()..]);
                    self.give_up_runs(&unnamed).await;
                }
                return Err(error);
            }
            books.push((runs, accounts));
        }
        if !stalled {
            self.disk.sync_directory(&folder).await?;
        }
        for ((shard, flushed), (runs, accounts)) in frozen.iter().zip(&flushed).zip(books) {
            let mut book = self.shared.checkpoints.book(shard.shard);
            if !stalled {
                book.sequence = shard.sequence;
            }
            book.accounts = accounts;
            drop(book);
            let map = self.shared.index.shard(shard.shard);
            let old = map.view();
            let drops_all = runs.is_empty() && !old.runs.is_empty();
            if flushed.is_none() && !drops_all {
                continue;
            }
            runs.iter().for_each(|run| self.shared.checkpoints.add_run(run.id()));
            if drops_all {
                self.condemn(flushed.as_ref().and_then(|flushed| flushed.run.as_ref()));
                self.condemn(&*old.runs);
            }
            if shard.is_dead && drops_all {
                *old.active.shadowed() = Accounts::default();
            }
            map.set_view(View { active: Arc::clone(&old.active), frozen: None, runs });
            self.retired.take(old.frozen.as_ref());
            self.shared.checkpoints.counters.flushes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn write_run(&self, shard: u8, table: &MemTable) -> Result<Flushed, KeepError> {
        // It is no longer than its entries are in memory, but for its last block.
        self.need_room(table.table.bytes() as u64 + MARGIN).await?;
        let id = self.shared.volume.next_segment_id();
        let path = run_path(self.shared.volume.layout(), id);
        let stems = table.table.len() as u64;
        let mut writer = RunWriter::create(&self.disk, &path, id, shard, stems).await?;
        let filled = self.fill(shard, table, &mut writer).await;
        let entries = writer.entries();
        let run = match filled {
            Ok(holdings) if entries > 0 => writer.finish().await.map(|run| (Some(run), holdings)),
            Ok(holdings) => {
                self.give_up_run(id).await;
                Ok((None, holdings))
            }
            Err(error) => Err(error.into()),
        };
        match run {
            Ok((run, holdings)) => Ok(Flushed { run: run.map(Arc::new), holdings }),
            Err(error) => {
                self.give_up_run(id).await;
                Err(error.into())
            }
        }
    }

    async fn fill(
        &self,
        shard: u8,
        table: &MemTable,
        writer: &mut RunWriter<D::File>,
    ) -> std::io::Result<Accounts> {
        let mut holdings = Accounts::default();
        // Where there is nothing below, a tombstone hides nothing.
        let hides = !self.shared.index.shard(shard).view().runs.is_empty();
        let pauses = Pauses::after(ENTRIES);
        for found in table.table.entries() {
            let (stem, sequence) = key::split(found.key());
            let entry = found.value();
            let version = Version { stem, sequence, place: entry.place, value: &entry.value };
            // A malformed value is not counted; recovery tells of it.
            let _ = holdings.add(shard, &version);
            if hides || !entry.is_tombstone() {
                writer.push(stem, sequence, entry.place, &entry.value).await?;
            }
            pauses.count(1).await;
        }
        Ok(holdings)
    }

    async fn write_checkpoint(
        &self,
        shard: &FrozenShard,
        runs: &[Arc<Run>],
        accounts: &Accounts,
    ) -> Result<(), KeepError> {
        let listed: usize = shard.listed.iter().map(Listed::bytes).sum();
        self.need_room(listed as u64 + MARGIN).await?;
        let ids: Vec<u64> = runs.iter().map(|run| run.id()).collect();
        let FrozenShard { sequence, point, .. } = *shard;
        let mut checkpoint = CheckpointBuilder::new(shard.shard, sequence, point, &ids, accounts);
        let pauses = Pauses::after(ENTRIES);
        for listed in &shard.listed {
            checkpoint.resident(&listed.version());
            pauses.count(1).await;
        }
        let layout = self.shared.volume.layout();
        let written = checkpoint.write(&self.disk, layout).await;
        self.note_written(Derived::Checkpoint(shard.shard), written).await
    }

    /// Notes that there is a checkpoint or mark now, unless there was no room for it.
    pub(super) async fn note_written(
        &self,
        what: Derived,
        written: std::io::Result<()>,
    ) -> Result<(), KeepError> {
        let written = written.map_err(KeepError::from);
        if matches!(written, Err(KeepError::Full)) {
            // It did not come to its name.
            let path = what.path(self.shared.volume.layout()).with_added_extension("tmp");
            let _ = self.disk.remove_if_there(&path).await;
        } else {
            self.shared.checkpoints.set_any();
        }
        written
    }

    async fn give_up_runs(&self, runs: &[u64]) {
        for run in runs {
            self.give_up_run(*run).await;
        }
    }

    /// Removes a run that no checkpoint names.
    pub(super) async fn give_up_run(&self, run: u64) {
        remove_run(&self.disk, &self.shared, run).await;
    }
}

/// The runs that tables became.
fn flushed_runs(flushed: &[Option<Flushed>]) -> Vec<u64> {
    let runs = flushed.iter().flatten().filter_map(|flushed| flushed.run.as_ref());
    runs.map(|run| run.id()).collect()
}
