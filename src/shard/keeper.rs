//! Keeps the index of one core's shards on disk: flushes tables to runs, writes checkpoints and marks, merges runs.
//!
//! ```text
//! run durable -> its name -> checkpoints of the shards -> their names -> the views change -> mark -> old log segments,
//! and old runs once nobody can read them any more
//! ```
//!
//! Nothing of it is needed to start: all can be built again from the logs. What fails to be written is given up, and
//! the tables stay in memory.

mod dead;
mod error;
mod flush;
mod merge;
mod retired;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) use error::KeepError;

use self::retired::Retired;
use super::error::ShardError;
use super::finder::Finder;
use super::freeze::{FrozenShard, FrozenShards};
use super::index::checkpoint::{Derived, Mark, ShardSet};
use super::index::run::{directory, path as run_path};
use super::log::LogId;
use super::shared::Shared;
use super::turn::Turn;
use crate::io::Disk;
use crate::shard::commit::{Answer, Request};

/// Shards that are flushed together; they share the syncs of the directory.
const GROUP: usize = 16;

/// When memory fills, a table becomes a run if it has one in so many of the bytes that each shard may have on average.
const LEAST_SHARE: usize = 4;

/// So many times as much as usual may be in memory when tables cannot be flushed any more.
const LIMITS_MAX: usize = 8;

/// When checkpoints are made again for which there was no room, so many times as much is free as must stay so.
const ROOM: u64 = 2;

/// One core's keeper.
pub(crate) struct Keeper<D: Disk> {
    shared: Arc<Shared>,
    core: usize,
    disk: D,
    finder: Rc<Finder<D>>,
    /// Bytes of this core's tables after which they are flushed.
    limit: usize,
    /// Bytes after which commits wait for that.
    limit_hard: Cell<usize>,
    /// Whoever replaces the runs of a shard has it.
    runs: Turn,
    /// The shard whose runs are being merged: they stay meanwhile.
    merging: Cell<Option<u8>>,
    /// Whoever makes checkpoints has it.
    rounds: Turn,
    /// Frozen shards that could not be written for want of room.
    stalled: RefCell<Vec<FrozenShard>>,
    /// Runs that were replaced, with the epoch's stamp.
    condemned: RefCell<VecDeque<(u64, u64)>>,
    retired: Retired,
    /// Position of the segment that the core's log has come to.
    position: Cell<u32>,
    /// The core's log was sealed.
    sealed: Cell<bool>,
    stopping: Cell<bool>,
    /// The disk was full at the last attempt.
    starved: Cell<bool>,
    forgotten: Cell<bool>,
    /// Artifacts that had been refused when dead runs were last looked for.
    refusals: Cell<u64>,
}

impl<D: Disk> Keeper<D> {
    /// For a core whose tables may have so many bytes.
    pub(crate) fn new(
        shared: Arc<Shared>,
        core: usize,
        disk: D,
        finder: Rc<Finder<D>>,
        limit: usize,
    ) -> Rc<Self> {
        let keeper = Self {
            shared,
            core,
            disk,
            finder,
            limit,
            limit_hard: Cell::new(0),
            runs: Turn::default(),
            merging: Cell::new(None),
            rounds: Turn::default(),
            stalled: RefCell::default(),
            condemned: RefCell::default(),
            retired: Retired::default(),
            position: Cell::new(0),
            sealed: Cell::new(false),
            stopping: Cell::new(false),
            starved: Cell::new(false),
            forgotten: Cell::new(false),
            refusals: Cell::new(0),
        };
        keeper.shared.index.count_tables(core, keeper.shards());
        // What recovery has left in memory is flushed first; that keeps nobody waiting.
        keeper.limit_hard.set(2 * limit + keeper.table_bytes());
        Rc::new(keeper)
    }

    /// The shards of this core that may hold something.
    fn shards(&self) -> impl Iterator<Item = u8> + '_ {
        self.shared.used_shards_of(self.core)
    }

    /// Bytes of the tables of this core's shards.
    pub(crate) fn table_bytes(&self) -> usize {
        self.shared.index.table_bytes(self.core)
    }

    /// The least bytes of a table that is worth a run. What is less stays in memory, so it must not fill that.
    pub(crate) fn least(&self) -> usize {
        let least = self.shared.sizes.table_min;
        if !self.is_filling() {
            return least;
        }
        let shards = self.shared.shards_of(self.core).count().max(1);
        least.min(self.limit / shards / LEAST_SHARE)
    }

    /// Whether commits should wait until tables are flushed.
    pub(crate) fn is_full(&self) -> bool {
        self.table_bytes() > self.limit_hard.get()
    }

    /// Whether nothing more can be taken, because tables cannot be flushed any more.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.cannot_flush()
            && !self.shared.checkpoints.is_off()
            && self.table_bytes() > LIMITS_MAX * self.limit_hard.get()
    }

    /// Whether it is of no use to wait for a flush.
    pub(crate) fn cannot_flush(&self) -> bool {
        let checkpoints = &self.shared.checkpoints;
        checkpoints.is_given_up() || checkpoints.is_resting() || self.starved.get()
    }

    /// Whether tables should be flushed.
    pub(crate) fn is_filling(&self) -> bool {
        self.table_bytes() > self.limit
    }

    /// Notes where the core's log has come to.
    pub(crate) fn set_position(&self, position: u32) {
        self.position.set(position);
    }

    /// The log is sealed: nothing follows what it holds.
    pub(crate) fn set_sealed(&self) {
        self.sealed.set(true);
    }

    /// Keeps a shard that was frozen for the next checkpoint.
    #[cfg(test)]
    pub(crate) fn stall(&self, frozen: FrozenShard) {
        self.stalled.borrow_mut().push(frozen);
    }

    /// Whether no frozen shard waits.
    #[cfg(test)]
    pub(crate) fn is_calm(&self) -> bool {
        self.stalled.borrow().is_empty()
    }

    /// Lets a merge end before its time.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
    }

    /// Does what is due: a checkpoint, and the removal of what is not used any more.
    pub(crate) async fn tick(&self, clock: &impl crate::io::Clock) {
        self.retired.free().await;
        self.free_runs().await;
        if self.shared.checkpoints.is_damaged() {
            self.forget().await;
        }
        if self.shared.checkpoints.is_given_up() {
            return;
        }
        if self.shared.checkpoints.is_resting() {
            self.drop_dead_runs().await;
            if !self.has_room((ROOM - 1) * self.shared.kept_free()).await {
                return;
            }
            self.shared.checkpoints.wake();
        }
        if self.is_due() {
            let freeze = async |shards: Vec<u8>| {
                let first = shards.first().copied();
                let first = first.or_else(|| self.shared.shards_of(self.core).next());
                let request = Request::Freeze(shards);
                let asked = self.shared.commit(first.unwrap_or_default(), request, clock, |_| ());
                match asked.await?.answer {
                    Answer::Frozen(frozen) => Ok(*frozen),
                    _ => Err(ShardError::Overloaded),
                }
            };
            self.checkpoint(freeze).await;
        }
    }

    /// Makes a checkpoint when nobody commits any more.
    pub(crate) async fn finish(&self) {
        self.stop();
        if !self.sealed.get() || self.shared.checkpoints.is_given_up() {
            return;
        }
        let freeze = async |shards: Vec<u8>| {
            let least = self.least();
            let freeze = |shard| super::freeze::freeze(&self.shared, shard, least, None);
            let shards = shards.into_iter().map(freeze).collect();
            Ok(FrozenShards { position: self.position.get() + 1, shards })
        };
        self.checkpoint(freeze).await;
    }

    /// Whether so many bytes may be used, and enough is left to the logs.
    async fn has_room(&self, bytes: u64) -> bool {
        self.need_room(bytes).await.is_ok()
    }

    async fn need_room(&self, bytes: u64) -> Result<(), KeepError> {
        need_room(&self.disk, &self.shared, bytes).await
    }

    fn is_due(&self) -> bool {
        let marked = self.shared.checkpoints.position(self.core).unwrap_or(0);
        let wanted = self.shared.checkpoints.take_wanted(self.core);
        let advanced = self.position.get().saturating_sub(marked);
        wanted
            || advanced >= self.shared.sizes.checkpoint_segments
            || !self.stalled.borrow().is_empty()
            || self.is_filling()
            || self.could_make_room()
    }

    /// Whether artifacts were refused for want of room that runs have.
    fn could_make_room(&self) -> bool {
        let refusals = self.shared.checkpoints.refusals();
        self.refusals.replace(refusals) != refusals
            && self.shards().any(|shard| self.shared.has_dead_runs(shard))
    }

    /// Makes a checkpoint of all that has changed, and tells how it went.
    async fn checkpoint(&self, freeze: impl AsyncFn(Vec<u8>) -> Result<FrozenShards, ShardError>) {
        let _turn = self.rounds.wait().await;
        let done = self.round(&freeze).await;
        self.starved.set(matches!(done, Err(KeepError::Full)));
        match done {
            Ok(()) => {}
            Err(KeepError::Full) => {
                if self.shared.checkpoints.is_waited_for() || self.has_dead_shard().await {
                    self.do_without().await;
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    /// What follows from a failure that is not for want of room.
    fn failed(&self, error: &KeepError) {
        let checkpoints = &self.shared.checkpoints;
        match error {
            KeepError::Full | KeepError::Shard(_) | KeepError::Stopping => {}
            KeepError::Run(_) | KeepError::Checkpoint(_) => {
                checkpoints.note_damage(&error.to_string())
            }
            KeepError::Io(_) => checkpoints.give_up(&error.to_string()),
        }
    }

    /// There is no room for a checkpoint, and what is dead in the logs or in runs waits for one: goes on as if there never
    /// was any, so that it can go. The logs have everything.
    async fn do_without(&self) {
        let checkpoints = &self.shared.checkpoints;
        let Some(_alone) = checkpoints.alone() else { return };
        match forget(&self.disk, &self.shared).await {
            Ok(()) => checkpoints.begin_again(),
            Err(error) => checkpoints.give_up(&error.to_string()),
        }
    }

    async fn round(
        &self,
        freeze: &impl AsyncFn(Vec<u8>) -> Result<FrozenShards, ShardError>,
    ) -> Result<(), KeepError> {
        debug_assert!(self.shared.index.are_tables_counted(self.core, self.shards()));
        let checkpoints = &self.shared.checkpoints;
        let _attempt = checkpoints.attempt().ok_or(KeepError::Stopping)?;
        let stalled = self.stalled.take();
        self.flush_all(stalled, true).await?;
        let ask = async |shards| freeze(shards).await.map_err(KeepError::Shard);
        // First this: whatever the segments before it hold is in the shards that changed.
        let position = ask(Vec::new()).await?.position;
        let changed = |&shard: &u8| {
            self.shared.index.shard(shard).published() > checkpoints.book(shard).sequence
        };
        let dirty: Vec<u8> = self.shards().filter(changed).collect();
        for group in dirty.chunks(GROUP) {
            let frozen = ask(group.to_vec()).await?;
            self.flush_all(frozen.shards, false).await?;
        }
        self.mark(position).await?;
        checkpoints.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Flushes shards; those that could not be are kept if it was for want of room.
    async fn flush_all(
        &self,
        mut frozen: Vec<FrozenShard>,
        stalled: bool,
    ) -> Result<(), KeepError> {
        while !frozen.is_empty() {
            let rest = frozen.split_off(frozen.len().min(GROUP));
            if let Err(error) = self.flush(&frozen, stalled).await {
                let mut stalled = self.stalled.borrow_mut();
                // Those without a table are as they were.
                stalled.extend(frozen.into_iter().chain(rest).filter(|one| one.table.is_some()));
                return Err(error);
            }
            frozen = rest;
        }
        Ok(())
    }

    async fn mark(&self, position: u32) -> Result<(), KeepError> {
        let (shared, layout) = (&self.shared, self.shared.volume.layout());
        let mut shards = ShardSet::default();
        shared
            .shards_of(self.core)
            .filter(|&shard| shared.checkpoints.book(shard).sequence > 0)
            .for_each(|shard| shards.insert(shard));
        let number = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let log = LogId { start: shared.volume.start(), core: number(self.core) };
        let cores = number(shared.cores());
        let written = shared.segments.log_records();
        // Else the next start would not see the damage that this one has found.
        let covers_earlier = !shared.checkpoints.is_log_damaged();
        let mark = Mark { log, cores, position, covers_earlier, shards, written };
        let written = mark.write(&self.disk, layout).await;
        self.note_written(Derived::Mark(log), written).await?;
        self.disk.sync_directory(&directory(layout)).await?;
        shared.checkpoints.marked(self.core, position);
        if covers_earlier && shared.checkpoints.all_marked() {
            self.remove_old_marks().await?;
        }
        Ok(())
    }

    /// Removes the marks of earlier starts, which those of this one replace.
    async fn remove_old_marks(&self) -> Result<(), KeepError> {
        let layout = self.shared.volume.layout();
        for entry in self.disk.list_directory(&directory(layout)).await? {
            if let Some(mark @ Derived::Mark(log)) = Derived::of_name(&entry.name)
                && log.start < self.shared.volume.start()
            {
                self.disk.remove_if_there(&mark.path(layout)).await?;
            }
        }
        Ok(())
    }

    /// The index is damaged: lets the next start build it again.
    async fn forget(&self) {
        if !self.forgotten.replace(true)
            && let Err(error) = forget(&self.disk, &self.shared).await
        {
            tracing::error!(%error, "the damaged index could not be removed");
        }
    }
}

/// Fails like a full disk where there is no room for so many bytes besides what is left to the logs.
pub(crate) async fn need_room<D: Disk>(
    disk: &D,
    shared: &Shared,
    bytes: u64,
) -> Result<(), KeepError> {
    let free = disk.free_bytes(&directory(shared.volume.layout())).await;
    let is_room = free.is_ok_and(|free| free >= shared.kept_free() + bytes);
    if is_room { Ok(()) } else { Err(KeepError::Full) }
}

/// Removes a run that no checkpoint names.
pub(crate) async fn remove_run<D: Disk>(disk: &D, shared: &Shared, run: u64) {
    shared.checkpoints.drop_run(run);
    // The next start removes what we cannot.
    let _ = disk.remove_if_there(&run_path(shared.volume.layout(), run)).await;
}

/// Removes all marks, durably, then all checkpoints, so that the next start replays the logs. What these have lost is
/// not accepted any more: the runs may have had it.
///
/// # Errors
/// As the disk says.
pub(crate) async fn forget<D: Disk>(disk: &D, shared: &Shared) -> io::Result<()> {
    let layout = shared.volume.layout();
    let folder = directory(layout);
    let entries = disk.list_directory(&folder).await?;
    let names = || entries.iter().filter_map(|entry| Derived::of_name(&entry.name));
    if names().any(|name| matches!(name, Derived::Mark(_) | Derived::Checkpoint(_))) {
        shared.integrity.forget_losses(disk, layout).await?;
    }
    for mark in names().filter(|name| matches!(name, Derived::Mark(_))) {
        disk.remove_if_there(&mark.path(layout)).await?;
    }
    disk.sync_directory(&folder).await?;
    for checkpoint in names().filter(|name| matches!(name, Derived::Checkpoint(_))) {
        disk.remove_if_there(&checkpoint.path(layout)).await?;
    }
    disk.sync_directory(&folder).await
}
