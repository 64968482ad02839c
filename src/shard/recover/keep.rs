//! Keeps of each key the newest record, if what it belongs to still exists, and counts it.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::model::UploadId;
use crate::shard::index::checkpoint::Accounts;
use crate::shard::index::key::{self, Keyspace};
use crate::shard::index::run::Version;
use crate::shard::index::value::decode_container;
use crate::shard::index::{Entry, Handle, Table};
use crate::shard::shared::Shared;

/// What was kept.
#[derive(Default)]
pub(super) struct Kept {
    /// Current records of containers and uploads by log segment.
    pub(super) records: HashMap<u64, u64>,
    /// What artifacts and parts hold.
    pub(super) accounts: Accounts,
    /// Segments with the records of values that cannot be read.
    pub(super) malformed: BTreeSet<u64>,
}

impl Kept {
    /// Adds all but what artifacts and parts hold.
    pub(super) fn absorb_records(&mut self, other: &Self) {
        for (segment, records) in &other.records {
            *self.records.entry(*segment).or_default() += records;
        }
        self.malformed.extend(&other.malformed);
    }
}

/// Cleans the containers, uploads and parts of one shard up, and says what its artifacts may belong to. The keyspaces are
/// met in the order in which they depend on each other.
pub(super) fn keep_resident(shared: &Shared, shard: u8, kept: &mut Kept) -> Living {
    let map = shared.index.shard(shard);
    let mut living = Living::default();
    keep_newest(map.resident(), |entry| {
        settle(shard, &version_of(entry), false, &mut living, kept)
    });
    living
}

/// Cleans the artifacts up that one shard has in memory.
pub(super) fn keep_artifacts(shared: &Shared, shard: u8, living: &mut Living, kept: &mut Kept) {
    let view = shared.index.shard(shard).view();
    keep_newest(&view.active.table, |entry| {
        let version = version_of(entry);
        let hides = view.runs_may_hold(version.stem);
        settle(shard, &version, hides, living, kept)
    });
}

/// What an entry of a table says.
pub(super) fn version_of<'e>(entry: &'e Handle<'_>) -> Version<'e> {
    let (stem, sequence) = key::split(entry.key());
    let Entry { place, value } = entry.value();
    Version { stem, sequence, place: *place, value }
}

/// Removes all versions but the newest ones that are to be kept.
fn keep_newest(table: &Table, mut keep: impl FnMut(&Handle<'_>) -> bool) {
    let mut settle = |entry: Handle<'_>, replaced: bool| {
        if replaced || !keep(&entry) {
            table.remove(&entry);
        }
    };
    let mut newest: Option<Handle<'_>> = None;
    for entry in table.entries() {
        let stem = key::split(entry.key()).0;
        let replaced = newest.as_ref().is_some_and(|before| key::split(before.key()).0 == stem);
        if let Some(before) = newest.replace(entry) {
            settle(before, replaced);
        }
    }
    if let Some(last) = newest {
        settle(last, false);
    }
}

/// What of the current shard may have something in it.
#[derive(Default)]
pub(in crate::shard) struct Living {
    containers: HashSet<u64>,
    uploads: HashSet<(u64, UploadId)>,
}

impl Living {
    /// These containers and uploads.
    pub(in crate::shard) fn new(
        containers: impl Iterator<Item = u64>,
        uploads: impl Iterator<Item = (u64, UploadId)>,
    ) -> Self {
        Self { containers: containers.collect(), uploads: uploads.collect() }
    }

    /// Whether an entry belongs to something that exists; notes it if something may belong to it.
    pub(in crate::shard) fn admit(&mut self, stem: &[u8], value: &[u8]) -> bool {
        let Some(&keyspace) = stem.first() else { return false };
        if keyspace == Keyspace::Container as u8 {
            let container = decode_container(value);
            return container.is_some_and(|container| self.containers.insert(container.id));
        }
        let Some(container) = key::container_of(stem) else { return false };
        if !self.containers.contains(&container) {
            return false;
        }
        if keyspace == Keyspace::Upload as u8 {
            return key::upload_of(stem)
                .is_some_and(|upload| self.uploads.insert((container, upload)));
        }
        if keyspace == Keyspace::Part as u8 {
            let upload = key::part_of(stem).map(|(upload, _)| upload);
            return upload.is_some_and(|upload| self.uploads.contains(&(container, upload)));
        }
        keyspace == Keyspace::Artifact as u8
    }
}

/// Whether the newest version of a key is kept; counts it. A tombstone is if it may hide something.
pub(super) fn settle(
    shard: u8,
    version: &Version<'_>,
    hides: bool,
    living: &mut Living,
    kept: &mut Kept,
) -> bool {
    if version.is_tombstone() {
        return hides;
    }
    if !living.admit(version.stem, version.value) {
        return false;
    }
    let has_bytes = key::is_artifact(version.stem) || version.stem[0] == Keyspace::Part as u8;
    if !has_bytes || kept.accounts.add(shard, version).is_err() {
        *kept.records.entry(version.place.segment).or_default() += 1;
        if has_bytes {
            kept.malformed.insert(version.place.segment);
        }
    }
    true
}
