//! Where a shard's artifacts are looked up: tables in memory over sorted runs on disk.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::checkpoint::Accounts;
use super::run::{Probe, Run};
use super::table::Table;

/// A table of artifacts.
#[derive(Debug, Default)]
pub(crate) struct MemTable {
    pub(crate) table: Table,
    shadowed: Mutex<Accounts>,
    holdings: OnceLock<Accounts>,
}

impl MemTable {
    /// What entries below it hold that its own entries hide. For the shard's owner.
    pub(crate) fn shadowed(&self) -> MutexGuard<'_, Accounts> {
        self.shadowed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its own entries hold, once it is frozen and that was counted.
    pub(crate) fn holdings(&self) -> &OnceLock<Accounts> {
        &self.holdings
    }
}

/// What the artifacts of a shard are in, the newest first. It never changes but for what the owner does to the active
/// table; the shard gets another one instead.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// What is written to.
    pub(crate) active: Arc<MemTable>,
    /// What is on its way into a run.
    pub(crate) frozen: Option<Arc<MemTable>>,
    /// Runs, the newest first.
    pub(crate) runs: Arc<[Arc<Run>]>,
}

impl View {
    pub(super) fn tables(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.active.table).chain(self.frozen.as_ref().map(|frozen| &frozen.table))
    }

    /// Bytes of memory of its tables.
    pub(super) fn table_bytes(&self) -> usize {
        self.tables().map(Table::bytes).sum()
    }

    /// Whether a run may hold a stem.
    pub(crate) fn runs_may_hold(&self, stem: &[u8]) -> bool {
        if self.runs.is_empty() {
            return false;
        }
        let probe = Probe::new(stem);
        self.runs.iter().any(|run| run.may_hold(&probe))
    }

    /// Whether what lies under the active table may hold a stem.
    pub(crate) fn may_lie_below(&self, stem: &[u8]) -> bool {
        self.frozen.as_ref().is_some_and(|frozen| frozen.table.holds(stem))
            || self.runs_may_hold(stem)
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.is_flat() && self.active.table.is_empty()
    }

    /// Whether nothing lies under the active table.
    pub(crate) fn is_flat(&self) -> bool {
        self.frozen.is_none() && self.runs.is_empty()
    }
}
