//! What nobody finds any more: tables that have become runs, and runs that were replaced.

use std::cell::RefCell;
use std::sync::Arc;

use super::Keeper;
use super::flush::ENTRIES;
use crate::io::Disk;
use crate::runtime::Pauses;
use crate::shard::index::MemTable;
use crate::shard::index::run::{Run, path as run_path};

/// Tables in which nobody looks any more but for who began to before: freed by nobody but their keeper, and bit by bit.
/// A large one has 100,000 entries with memory of their own, which at once would keep a core for tens of milliseconds.
#[derive(Default)]
pub(super) struct Retired(RefCell<Vec<Arc<MemTable>>>);

impl Retired {
    /// Takes the frozen table of a view that was replaced.
    pub(super) fn take(&self, frozen: Option<&Arc<MemTable>>) {
        self.0.borrow_mut().extend(frozen.cloned());
    }

    /// Frees those that nobody reads.
    pub(super) async fn free(&self) {
        for table in self.0.take() {
            match Arc::try_unwrap(table) {
                Ok(table) => {
                    let pauses = Pauses::after(ENTRIES);
                    for entry in table.table.into_entries() {
                        drop(entry);
                        pauses.count(1).await;
                    }
                }
                Err(table) => self.0.borrow_mut().push(table),
            }
        }
    }
}

impl<D: Disk> Keeper<D> {
    /// Removes runs that are in no view any more, once nobody can read them.
    pub(super) fn condemn<'r>(&self, runs: impl IntoIterator<Item = &'r Arc<Run>>) {
        let stamp = self.shared.epochs.stamp();
        self.condemned.borrow_mut().extend(runs.into_iter().map(|run| (stamp, run.id())));
    }

    /// Removes the runs that nobody can read any more.
    pub(super) async fn free_runs(&self) {
        loop {
            let first = self.condemned.borrow().front().copied();
            let Some((stamp, run)) = first else { return };
            if !self.shared.epochs.is_free(stamp) {
                return;
            }
            self.condemned.borrow_mut().pop_front();
            self.shared.checkpoints.drop_run(run);
            self.shared.blocks.forget(run);
            let path = run_path(self.shared.volume.layout(), run);
            if let Err(error) = self.disk.remove_if_there(&path).await {
                tracing::warn!(run, %error, "a run that was replaced stays");
            }
        }
    }
}
