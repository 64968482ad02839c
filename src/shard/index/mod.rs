//! The index: for each virtual shard an ordered map of keys to entries, written by the core that owns the
//! shard and read by every core without a lock or a message.
//!
//! Entries are insert-only: a key ends with the sequence of its record, so replacing an artifact adds an
//! entry beside the old one. Readers see what the shard's `published` sequence covers. The owner inserts,
//! publishes with a release store, and only then removes what the new entries replaced, oldest first. A
//! reader that misses looks at `published` again: if it moved, the entry may just have been replaced, and it
//! retries, so a replacement is never taken for a miss.

pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod parts;
mod scan;
pub(crate) mod value;

#[cfg(test)]
mod tests;

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_skiplist::SkipMap;

pub(crate) use scan::Cursor;

use crate::model::{ContainerName, TenantId};
use crate::shard::log::Place;
use key::KeyBytes;

/// Number of virtual shards. Fixed: it is part of the format.
pub(crate) const SHARDS: usize = 256;

/// The virtual shard of a container. Fixed: it is part of the format (FNV-1a, folded).
pub(crate) fn shard_of(tenant: TenantId, name: &ContainerName) -> u8 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in tenant.0.to_le_bytes().iter().chain(name.as_bytes()) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash.to_le_bytes().into_iter().fold(0, |folded, byte| folded ^ byte)
}

/// What the maps keep of a record.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where the record's body lies; its segment holds the record.
    pub(crate) place: Place,
    /// The value; empty for a tombstone.
    pub(crate) value: Box<[u8]>,
}

impl Entry {
    /// Whether it says that the key is gone.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.value.is_empty()
    }
}

/// A handle of an entry; the entry outlives its removal while the handle lives.
pub(crate) type Handle<'a> = crossbeam_skiplist::map::Entry<'a, Box<[u8]>, Entry>;

/// One virtual shard's map.
#[derive(Debug, Default)]
pub(crate) struct ShardMap {
    map: SkipMap<Box<[u8]>, Entry>,
    published: AtomicU64,
}

impl ShardMap {
    /// The sequence up to which entries are visible.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Adds an entry, visible once its sequence is published. For the owner.
    pub(crate) fn insert(&self, stem: &[u8], sequence: u64, entry: Entry) {
        self.insert_version(key::version_boxed(stem, sequence), entry);
    }

    /// Adds an entry under a whole key. For recovery, in which all cores insert.
    pub(crate) fn insert_version(&self, version: Box<[u8]>, entry: Entry) {
        self.map.insert(version, entry);
    }

    /// Makes all entries up to `sequence` visible. For the owner.
    pub(crate) fn publish(&self, sequence: u64) {
        debug_assert!(sequence >= self.published.load(Ordering::Relaxed), "sequences only grow");
        self.published.store(sequence, Ordering::Release);
    }

    /// The current entry of a stem: its sequence and what `read` makes of it.
    pub(crate) fn get<T>(&self, stem: &[u8], read: impl Fn(u64, &Entry) -> T) -> Option<T> {
        let mut published = self.published();
        loop {
            let upto = key::version(stem, published);
            if let Some(found) = self.map.upper_bound(Bound::Included(&upto[..])) {
                let (found_stem, sequence) = key::split(found.key());
                if found_stem == stem {
                    let entry = found.value();
                    return (!entry.is_tombstone()).then(|| read(sequence, entry));
                }
            }
            let now = self.published();
            if now == published {
                return None;
            }
            published = now;
        }
    }

    /// The id of a container and what else its entry says.
    pub(crate) fn container(&self, tenant: TenantId, name: &ContainerName) -> Option<Container> {
        let stem = key::container(tenant, name);
        self.get(&stem, |_, entry| value::decode_container(&entry.value)).flatten()
    }

    /// Walks over the visible entries whose keys begin with `prefix`, from `from` on.
    pub(crate) fn scan(&self, prefix: KeyBytes, from: &[u8]) -> Cursor<'_> {
        Cursor::new(self, prefix, from)
    }

    /// Removes the versions of `stem` that are older than `newest`, the oldest first, and that one too if it is a
    /// tombstone; calls `freed` with each that was not a tombstone. For the owner, after publishing `newest`.
    pub(crate) fn prune(&self, stem: &[u8], newest: u64, mut freed: impl FnMut(u64, &Entry)) {
        debug_assert!(newest <= self.published(), "what replaces them is visible");
        let mut next = self.map.lower_bound(Bound::Included(stem));
        while let Some(found) = next.take() {
            let (found_stem, sequence) = key::split(found.key());
            if found_stem != stem || sequence > newest {
                break;
            }
            let entry = found.value();
            if (sequence < newest || entry.is_tombstone())
                && found.remove()
                && !entry.is_tombstone()
            {
                freed(sequence, entry);
            }
            next = found.next();
        }
    }

    /// All entries, visible or not, in the order of their keys. For recovery and tests.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Handle<'_>> {
        self.map.iter()
    }

    fn seek(&self, from: &[u8]) -> Option<Handle<'_>> {
        self.map.lower_bound(Bound::Included(from))
    }
}

/// A container, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) id: u64,
    pub(crate) created_ms: i64,
}

/// The maps of all virtual shards.
#[derive(Debug)]
pub(crate) struct Index {
    shards: Box<[ShardMap]>,
}

impl Default for Index {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| ShardMap::default()).collect() }
    }
}

impl Index {
    /// One shard's map.
    pub(crate) fn shard(&self, shard: u8) -> &ShardMap {
        &self.shards[usize::from(shard)]
    }

    /// All of them, in order.
    pub(crate) fn shards(&self) -> impl Iterator<Item = &ShardMap> {
        self.shards.iter()
    }
}
