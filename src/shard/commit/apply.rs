//! Brings a durable batch into the index, and takes out what it replaced.

use super::batch::{Aftermath, Batch};
use super::resolve::Older;
use crate::model::UploadId;
use crate::shard::index::key::{self, Keyspace};
use crate::shard::index::run::Version;
use crate::shard::index::value::{Artifact, Content, Location};
use crate::shard::index::{Entry, ShardMap};
use crate::shard::log::{Appended, Place};
use crate::shard::record::Kind;
use crate::shard::segments::Segments;
use crate::shard::shared::Shared;

/// Notes the room that the batch takes in its log segment.
pub(super) fn count_frame(batch: &Batch<'_>, appended: &Appended) {
    if let Some(place) = appended.places.last() {
        // What was moved is not to be moved for its padding again, or there would be no end to it.
        let moves = batch.pending.iter().any(|pending| pending.relocated);
        let padding = if moves { 0 } else { appended.padding };
        batch.shared.segments.add_frame(place.segment, appended.frame_length, padding);
    }
}

/// Inserts the records and makes them visible, all of a shard at once.
pub(super) fn publish(batch: &Batch<'_>, places: &[Place]) {
    let Shared { index, segments, .. } = batch.shared;
    // A frame lies in one segment.
    if let Some(place) = places.last() {
        let set = batch.records.iter().filter(|record| record.kind == Kind::Set as u8).count();
        segments.add_records(place.segment, places.len() as u64, set as u64);
    }
    for ((record, pending), place) in batch.records.iter().zip(&batch.pending).zip(places) {
        let value: Box<[u8]> = record.meta[pending.value_start..].into();
        let entry = Entry { place: *place, value };
        index.shard(record.shard).insert(&pending.stem, record.sequence, entry);
    }
    for (shard, sequence) in &batch.sequences {
        index.shard(*shard).publish(*sequence);
    }
}

/// Takes out of the index what the batch replaced, removed or ended, and gives its space back.
pub(super) fn clean_up(shared: &Shared, mut batch: Batch<'_>) {
    for (record, pending) in batch.records.iter().zip(&batch.pending) {
        let map = shared.index.shard(record.shard);
        let freed = |old, entry: &Entry| {
            if pending.relocated {
                shared.segments.release_record(entry.place);
                for (location, size) in &pending.moved {
                    shared.segments.release(*location, *size);
                }
            } else {
                release(&shared.segments, record.shard, &pending.stem, old, entry);
            }
        };
        map.prune(&pending.stem, record.sequence, freed);
        // The first record of a stem hides what lies under the active table.
        if let Some(Older { sequence, entry }) = batch.resolved.take(record.shard, &pending.stem) {
            let (stem, Entry { place, value }) = (&pending.stem, &entry);
            let version = Version { stem, sequence, place: *place, value };
            // A malformed value was not counted where it lies either.
            let _ = map.view().active.shadowed().add(record.shard, &version);
            freed(sequence, &entry);
        }
    }
    for aftermath in batch.aftermath {
        match aftermath {
            Aftermath::EndUpload { shard, container, upload, taken } => {
                end_upload(shared, shard, container, upload, &taken);
            }
            Aftermath::DropContainer { shard, container } => {
                for keyspace in [Keyspace::Upload, Keyspace::Part] {
                    drop_all(shared, shard, &key::within(keyspace, container));
                }
            }
        }
    }
}

fn end_upload(shared: &Shared, shard: u8, container: u64, upload: UploadId, taken: &[u16]) {
    let map = shared.index.shard(shard);
    remove_all(map, &key::parts(container, upload), |stem, sequence, entry| {
        let is_taken =
            key::part_of(stem).is_some_and(|(_, number)| taken.binary_search(&number).is_ok());
        if is_taken {
            hand_over(&shared.segments, shard, sequence, entry);
        } else {
            release(&shared.segments, shard, stem, sequence, entry);
        }
    });
}

fn drop_all(shared: &Shared, shard: u8, prefix: &[u8]) {
    remove_all(shared.index.shard(shard), prefix, |stem, sequence, entry| {
        release(&shared.segments, shard, stem, sequence, entry);
    });
}

fn remove_all(map: &ShardMap, prefix: &[u8], mut removed: impl FnMut(&[u8], u64, &Entry)) {
    let mut cursor = map.scan(prefix.into(), &[]);
    while let Some(found) = cursor.next() {
        if map.remove(&found) {
            removed(found.stem(), found.sequence(), found.entry());
        }
    }
}

/// An artifact owns the part's bytes now: its record is not needed any more, unless the bytes lie in it.
fn hand_over(segments: &Segments, shard: u8, sequence: u64, entry: &Entry) {
    let part = Artifact::decode(shard, sequence, entry.place, &entry.value);
    if !part.is_some_and(|part| matches!(part.content, Content::Whole(Location::Inline { .. }))) {
        segments.release_record(entry.place);
    }
}

/// Gives back the space of an entry that is in the index no more.
pub(crate) fn release(segments: &Segments, shard: u8, stem: &[u8], sequence: u64, entry: &Entry) {
    let has_bytes = stem.first().is_some_and(|keyspace| {
        *keyspace == Keyspace::Artifact as u8 || *keyspace == Keyspace::Part as u8
    });
    let decoded =
        has_bytes.then(|| Artifact::decode(shard, sequence, entry.place, &entry.value)).flatten();
    match decoded.map(|artifact| (artifact.content, artifact.size)) {
        Some((Content::Whole(location), size)) => {
            segments.release(location, size);
            segments.release_record(entry.place);
        }
        // Whoever collects the garbage reads the list first, and releases the record then.
        Some((Content::Composite(list), _)) => segments.release_composite(list),
        None => segments.release_record(entry.place),
    }
}
