//! Counts from scratch what a start has counted by its books. For tests: it reads the whole index.

use std::collections::BTreeMap;

use super::sweep::read_parts;
use crate::io::{Disk, OpenOptions};
use crate::shard::finder::Finder;
use crate::shard::index::Walk;
use crate::shard::index::checkpoint::Accounts;
use crate::shard::index::key::{self, Keyspace};
use crate::shard::index::run::Version;
use crate::shard::index::value::Location;
use crate::shard::shared::Shared;

/// What differs between the books of the segments and what the index holds; `None` if nothing does. To be called when
/// all cores have recovered and none has begun to work.
pub(crate) async fn recount<D: Disk>(
    shared: &Shared,
    disk: &D,
    finder: &Finder<D>,
) -> Option<String> {
    let mut records: BTreeMap<u64, u64> = BTreeMap::new();
    let mut held = Accounts::default();
    for shard in 0..=u8::MAX {
        let Some(map) = shared.index.if_used(shard).filter(|map| !map.is_empty()) else {
            continue;
        };
        for found in map.resident().entries() {
            let (stem, sequence) = key::split(found.key());
            let entry = found.value();
            let version = Version { stem, sequence, place: entry.place, value: &entry.value };
            if stem[0] != Keyspace::Part as u8 || held.add(shard, &version).is_err() {
                *records.entry(entry.place.segment).or_default() += 1;
            }
        }
        let view = map.view();
        let prefix = [Keyspace::Artifact as u8][..].into();
        let mut walk = Walk::new(map, &view, prefix, &[]);
        loop {
            let version = match walk.next(finder.reader()).await {
                Ok(Some(version)) => version,
                Ok(None) => break,
                // What cannot be read is no matter of books.
                Err(_) => return None,
            };
            if held.add(shard, &version).is_err() {
                return Some("a malformed value".into());
            }
            if walk.step().is_err() {
                return None;
            }
        }
    }
    let mut bytes: BTreeMap<u64, u64> = held.bytes().collect();
    for (segment, count) in held.records() {
        *records.entry(segment).or_default() += count;
    }
    for list in held.composites() {
        let path = shared.volume.layout().segment_path(list.place.segment);
        let options = OpenOptions { direct: true, ..OpenOptions::default() };
        let parts = match disk.open(&path, options).await {
            Ok(file) => read_parts(&file, list).await,
            Err(error) => Err(error),
        };
        let Ok(Some(parts)) = parts else { return None };
        for part in parts {
            match part.location {
                Location::Inline { place, .. } => *records.entry(place.segment).or_default() += 1,
                Location::Extent { segment, .. } => {
                    let length = crate::shard::extent::extent_length(part.size);
                    *bytes.entry(segment).or_default() += length;
                }
                Location::OwnFile { .. } => {}
            }
        }
    }
    let (log, data) = shared.segments.lives();
    let differ = |what: &str, counted: BTreeMap<u64, u64>, booked: BTreeMap<u64, u64>| {
        (counted != booked).then(|| format!("{what}: counted {counted:x?}, booked {booked:x?}"))
    };
    differ("records", records, log).or_else(|| differ("bytes", bytes, data))
}
