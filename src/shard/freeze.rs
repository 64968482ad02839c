//! What a checkpoint of a shard consists of, taken between two batches.

use std::sync::Arc;

use super::index::run::Version;
use super::index::{Entry, MemTable, ShardMap, View, key};
use super::log::{LogPoint, Place};
use super::shared::Shared;

/// Some shards, each as it is between two batches.
#[derive(Debug)]
pub(crate) struct FrozenShards {
    /// Position in its log of the segment that is being written: all records in those before it are in the shards.
    pub(crate) position: u32,
    pub(crate) shards: Vec<FrozenShard>,
}

/// A shard up to a sequence.
#[derive(Debug)]
pub(crate) struct FrozenShard {
    pub(crate) shard: u8,
    /// The last sequence that was published.
    pub(crate) sequence: u64,
    /// Where its log was then; `None` if that is sealed.
    pub(crate) point: Option<LogPoint>,
    /// What goes to a run; it is the shard's frozen table now. `None` if there was too little for one.
    pub(crate) table: Option<Arc<MemTable>>,
    /// What is to be listed, in the order of stems: containers, uploads and parts, and the artifacts of an active table
    /// that stays, with their tombstones.
    pub(crate) listed: Vec<Listed>,
    /// An active table that stays hides all that the runs hold: they can go.
    pub(crate) is_dead: bool,
}

/// An entry of its own.
#[derive(Debug)]
pub(crate) struct Listed {
    version: Box<[u8]>,
    place: Place,
    value: Box<[u8]>,
}

impl Listed {
    pub(crate) fn of(version: &[u8], entry: &Entry) -> Self {
        Self { version: version.into(), place: entry.place, value: entry.value.clone() }
    }

    /// Bytes of its key and value.
    pub(crate) fn bytes(&self) -> usize {
        self.version.len() + self.value.len()
    }

    pub(crate) fn version(&self) -> Version<'_> {
        let (stem, sequence) = key::split(&self.version);
        Version { stem, sequence, place: self.place, value: &self.value }
    }
}

/// Freezes a shard; an active table of at least `least` bytes is to become a run. For the owner, between two batches, and
/// not while another table of the shard is frozen.
pub(crate) fn freeze(
    shared: &Shared,
    shard: u8,
    least: usize,
    point: Option<LogPoint>,
) -> FrozenShard {
    let map = shared.index.shard(shard);
    let view = map.view();
    debug_assert!(view.frozen.is_none(), "one at a time");
    let sequence = map.published();
    let active = &view.active;
    let is_run = !active.table.is_empty() && active.table.bytes() >= least;
    let mut listed = residents(map);
    let is_dead = !is_run && shared.has_dead_runs(shard);
    let table = if is_run {
        let frozen = Some(Arc::clone(active));
        let runs = Arc::clone(&view.runs);
        map.set_view(View { active: Arc::default(), frozen, runs });
        Some(Arc::clone(active))
    } else {
        let artifacts = active.table.entries();
        listed.extend(artifacts.map(|found| Listed::of(found.key(), found.value())));
        listed.sort_by(|one, other| one.version.cmp(&other.version));
        None
    };
    FrozenShard { shard, sequence, point, table, listed, is_dead }
}

fn residents(map: &ShardMap) -> Vec<Listed> {
    map.resident().entries().map(|found| Listed::of(found.key(), found.value())).collect()
}
