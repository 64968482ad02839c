//! Keeps of each key the newest record, if what it belongs to still exists, and counts it.

use std::collections::{HashMap, HashSet};

use crate::model::UploadId;
use crate::shard::index::Handle;
use crate::shard::index::key::{self, Keyspace};
use crate::shard::index::value::{Artifact, Content, Location, PartList, decode_container};
use crate::shard::shared::Shared;

/// What was kept.
#[derive(Default)]
pub(super) struct Kept {
    /// Current records by log segment.
    pub(super) records: HashMap<u64, u64>,
    /// Artifacts completed from parts, whose lists are to be read.
    pub(super) composites: Vec<PartList>,
    pub(super) own_files: Vec<u64>,
    /// Values that cannot be read.
    pub(super) malformed: u64,
}

/// Cleans one shard up and publishes it. The keyspaces are met in the order in which they depend on each other.
pub(super) fn keep_current(shared: &Shared, shard: u8, highest: u64, kept: &mut Kept) {
    let map = shared.index.shard(shard);
    map.publish(highest);
    let mut living = Living::default();
    let mut newest: Option<Handle<'_>> = None;
    for entry in map.entries() {
        if let Some(before) = newest.replace(entry) {
            let same = newest
                .as_ref()
                .is_some_and(|entry| key::split(entry.key()).0 == key::split(before.key()).0);
            if same {
                before.remove();
            } else {
                settle(shared, shard, &before, &mut living, kept);
            }
        }
    }
    if let Some(last) = newest {
        settle(shared, shard, &last, &mut living, kept);
    }
}

/// What of the current shard may have something in it.
#[derive(Default)]
struct Living {
    containers: HashSet<u64>,
    uploads: HashSet<(u64, UploadId)>,
}

impl Living {
    /// Whether an entry belongs to something that exists; notes it if something may belong to it.
    fn admit(&mut self, stem: &[u8], value: &[u8]) -> bool {
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

/// Keeps or removes the newest version of a key.
fn settle(shared: &Shared, shard: u8, entry: &Handle<'_>, living: &mut Living, kept: &mut Kept) {
    let (stem, sequence) = key::split(entry.key());
    let value = entry.value();
    if value.is_tombstone() || !living.admit(stem, &value.value) {
        entry.remove();
        return;
    }
    *kept.records.entry(value.place.segment).or_default() += 1;
    let has_bytes = stem[0] == Keyspace::Artifact as u8 || stem[0] == Keyspace::Part as u8;
    if !has_bytes {
        return;
    }
    let Some(artifact) = Artifact::decode(shard, sequence, value.place, &value.value) else {
        kept.malformed += 1;
        return;
    };
    match artifact.content {
        Content::Composite(list) => kept.composites.push(list),
        Content::Whole(Location::OwnFile { id }) => kept.own_files.push(id),
        Content::Whole(location) => shared.segments.hold(location, artifact.size),
    }
}
