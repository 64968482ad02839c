//! Runs that hold nothing any more go without being merged, which needs room.

use std::sync::Arc;

use super::Keeper;
use super::flush::ENTRIES;
use crate::io::Disk;
use crate::runtime::Pauses;
use crate::shard::index::checkpoint::Accounts;
use crate::shard::index::run::Version;
use crate::shard::index::{MemTable, View, key};

impl<D: Disk> Keeper<D> {
    /// Drops the runs, and the frozen table, of each shard whose active table hides all that they hold. For a time in
    /// which no checkpoint names them.
    pub(super) async fn drop_dead_runs(&self) {
        let _no_round = self.rounds.wait().await;
        for shard in self.shards() {
            let view = self.shared.index.shard(shard).view();
            if view.runs.is_empty() || self.merging.get() == Some(shard) {
                continue;
            }
            if let Some(frozen) = &view.frozen {
                count(shard, frozen).await;
            }
            let _no_merge = self.runs.wait().await;
            let checkpoints = &self.shared.checkpoints;
            if checkpoints.is_resting()
                && !checkpoints.is_any()
                && self.merging.get() != Some(shard)
            {
                self.drop_if_dead(shard);
            }
        }
    }

    /// Whether there is a shard whose active table hides all that its runs and its frozen table hold.
    pub(super) async fn has_dead_shard(&self) -> bool {
        for shard in self.shards() {
            let view = self.shared.index.shard(shard).view();
            if view.runs.is_empty() {
                continue;
            }
            if let Some(frozen) = &view.frozen {
                count(shard, frozen).await;
            }
            let view = self.shared.index.shard(shard).view();
            if is_dead(&view, &self.shared.checkpoints.book(shard).accounts) {
                return true;
            }
        }
        false
    }

    fn drop_if_dead(&self, shard: u8) {
        let map = self.shared.index.shard(shard);
        let view = map.view();
        let mut book = self.shared.checkpoints.book(shard);
        if !is_dead(&view, &book.accounts) {
            return;
        }
        // Nothing lies below any more. A batch under way that hides something of it had not been counted as hiding yet.
        book.accounts = Accounts::default();
        *view.active.shadowed() = Accounts::default();
        drop(book);
        let active = Arc::clone(&view.active);
        map.set_view(View { active, frozen: None, runs: Arc::default() });
        self.retired.take(view.frozen.as_ref());
        self.stalled.borrow_mut().retain(|one| one.shard != shard);
        self.condemn(&*view.runs);
    }
}

/// Whether the active table hides all that lies below it, of which runs hold so much. Not before what is frozen was
/// counted.
fn is_dead(view: &View, runs: &Accounts) -> bool {
    let mut below = runs.clone();
    if let Some(frozen) = &view.frozen {
        let Some(holdings) = frozen.holdings().get() else { return false };
        below.add_all(holdings);
        below.subtract_all(&frozen.shadowed());
    }
    below == *view.active.shadowed()
}

/// Counts what a frozen table holds, once.
async fn count(shard: u8, frozen: &MemTable) {
    if frozen.holdings().get().is_some() {
        return;
    }
    let mut holdings = Accounts::default();
    let pauses = Pauses::after(ENTRIES);
    for found in frozen.table.entries() {
        let (stem, sequence) = key::split(found.key());
        let entry = found.value();
        let version = Version { stem, sequence, place: entry.place, value: &entry.value };
        // A malformed value is not counted; recovery tells of it.
        let _ = holdings.add(shard, &version);
        pauses.count(1).await;
    }
    // Nothing is added to it, so whoever counts comes to the same.
    let _ = frozen.holdings().set(holdings);
}
