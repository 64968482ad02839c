//! The index: for each virtual shard an ordered map of keys to entries, written by the core that owns the
//! shard and read by every core without a lock or a message.
//!
//! Entries are insert-only: a key ends with the sequence of its record, so replacing an artifact adds an
//! entry beside the old one. Readers see what the shard's `published` sequence covers. The owner inserts,
//! publishes with a release store, and only then removes what the new entries replaced, oldest first. A
//! reader that misses looks at `published` again: if it moved, the entry may just have been replaced, and it
//! retries, so a replacement is never taken for a miss.
//!
//! Containers, uploads and parts stay in memory. Artifacts sink: from the active table, which is written to, through a
//! frozen one into sorted runs on disk. A [`View`] of these is swapped as one. A reader makes a pin, takes the published
//! sequence, then the view, and looks from the newest to the oldest; what was frozen after it took the sequence may be
//! newer than that, and then it looks again. A tombstone stays for as long as something below it may have its key.

pub(crate) mod checkpoint;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod parts;
pub(crate) mod run;
mod scan;
mod table;
pub(crate) mod value;
mod view;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

pub(crate) use scan::{Cursor, Visible};
use table::Met;
pub(crate) use table::{Table, size};
pub(crate) use view::{MemTable, View};
pub(crate) use walk::{TableSource, Walk};

use crate::model::{ContainerName, TenantId};
use crate::shard::log::Place;
use crate::stdx::sync::{ArcSwap, AtomicU64, Guard, SkipEntry};
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
pub(crate) type Handle<'a> = SkipEntry<'a, Box<[u8]>, Entry>;

/// One virtual shard's maps.
#[derive(Debug, Default)]
pub(crate) struct ShardMap {
    /// Containers, uploads and parts, which stay in memory.
    resident: Table,
    /// Artifacts.
    view: ArcSwap<View>,
    published: AtomicU64,
    /// Bytes of the tables of artifacts of all shards of the same owner, which counts them itself.
    owners_bytes: Arc<AtomicUsize>,
}

/// What memory knows of an artifact.
pub(crate) enum Looked<T> {
    /// All there is to know.
    Known(Option<T>),
    /// It may be in a run.
    Below(Below),
}

/// A look-up that goes on in the runs.
#[derive(Debug)]
pub(crate) struct Below {
    pub(crate) view: Arc<View>,
    /// What the look-up may see.
    pub(crate) published: u64,
}

impl ShardMap {
    /// The sequence up to which entries are visible.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Adds an entry, visible once its sequence is published. For the owner.
    pub(crate) fn insert(&self, stem: &[u8], sequence: u64, entry: Entry) {
        let bytes = self.insert_version(key::version_boxed(stem, sequence), entry);
        self.owners_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds an entry under a whole key; returns by how many bytes that lengthens the tables of artifacts. For recovery,
    /// in which all cores insert.
    pub(crate) fn insert_version(&self, version: Box<[u8]>, entry: Entry) -> usize {
        if key::is_artifact(&version) {
            return self.view.load().active.table.insert(version, entry);
        }
        self.resident.insert(version, entry);
        0
    }

    /// Makes all entries up to `sequence` visible. For the owner.
    pub(crate) fn publish(&self, sequence: u64) {
        debug_assert!(sequence >= self.published.load(Ordering::Relaxed), "sequences only grow");
        self.published.store(sequence, Ordering::Release);
    }

    /// The current entry of a container, upload or part: what `read` makes of its sequence, place and value.
    pub(crate) fn get<T>(&self, stem: &[u8], read: impl Fn(u64, &Entry) -> T) -> Option<T> {
        debug_assert!(!key::is_artifact(stem), "artifacts may lie in runs");
        let mut published = self.published();
        loop {
            if let Met::Version(found) = self.resident.newest(stem, published) {
                let entry = found.value();
                let sequence = key::split(found.key()).1;
                return (!entry.is_tombstone()).then(|| read(sequence, entry));
            }
            let now = self.published();
            if now == published {
                return None;
            }
            published = now;
        }
    }

    /// What memory knows of an artifact: what `read` makes of the sequence, place and value of its current entry. Whoever
    /// goes on in the runs has made a pin before.
    pub(crate) fn look<T>(&self, stem: &[u8], read: impl Fn(u64, Place, &[u8]) -> T) -> Looked<T> {
        debug_assert!(key::is_artifact(stem), "nothing else lies in views");
        'again: loop {
            // First this, then the view: what is frozen or in a run there may be newer, and says so.
            let published = self.published();
            let view = self.view.load();
            for table in view.tables() {
                match table.newest(stem, published) {
                    Met::Version(found) => {
                        let (entry, sequence) = (found.value(), key::split(found.key()).1);
                        let there = !entry.is_tombstone();
                        return Looked::Known(
                            there.then(|| read(sequence, entry.place, &entry.value)),
                        );
                    }
                    // It may have replaced one that we could have seen, which is gone.
                    Met::Newer if self.published() != published => continue 'again,
                    Met::Newer | Met::Nothing => {}
                }
            }
            if !view.runs_may_hold(stem) {
                return Looked::Known(None);
            }
            return Looked::Below(Below { view: Guard::into_inner(view), published });
        }
    }

    /// What the active table says of an artifact; `None` if it does not hold it. For the owner.
    pub(crate) fn in_active<T>(
        &self,
        stem: &[u8],
        read: impl Fn(u64, Place, &[u8]) -> T,
    ) -> Option<Option<T>> {
        let view = self.view.load();
        let Met::Version(found) = view.active.table.newest(stem, self.published()) else {
            return None;
        };
        let (entry, sequence) = (found.value(), key::split(found.key()).1);
        Some((!entry.is_tombstone()).then(|| read(sequence, entry.place, &entry.value)))
    }

    /// Whether nothing lies under the active table.
    pub(crate) fn is_flat(&self) -> bool {
        self.view.load().is_flat()
    }

    /// The tables and runs of artifacts. The caller has made a pin if it wants to read runs.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Forgets all versions of a stem that are in memory. For recovery.
    pub(crate) fn forget_stem(&self, stem: &[u8]) {
        if key::is_artifact(stem) {
            self.view.load().active.table.forget_stem(stem);
        } else {
            self.resident.forget_stem(stem);
        }
    }

    /// Whether there is nothing in it, which is soon said of most shards of a small folder.
    pub(crate) fn is_empty(&self) -> bool {
        self.resident.is_empty() && self.view.load().is_empty()
    }

    /// Forgets everything. For recovery.
    pub(crate) fn reset(&self) {
        self.resident.clear();
        if !self.view.load().is_empty() {
            self.set_view(View::default());
        }
        self.published.store(0, Ordering::Release);
    }

    /// Puts another view in place. For the owner.
    pub(crate) fn set_view(&self, view: View) {
        self.owners_bytes.fetch_add(view.table_bytes(), Ordering::Relaxed);
        self.owners_bytes.fetch_sub(self.table_bytes(), Ordering::Relaxed);
        self.view.store(Arc::new(view));
    }

    /// The id of a container and what else its entry says.
    pub(crate) fn container(&self, tenant: TenantId, name: &ContainerName) -> Option<Container> {
        let stem = key::container(tenant, name);
        self.get(&stem, |_, entry| value::decode_container(&entry.value)).flatten()
    }

    /// Walks over the visible entries of containers, uploads or parts whose keys begin with `prefix`, from `from` on.
    pub(crate) fn scan(&self, prefix: KeyBytes, from: &[u8]) -> Cursor<'_> {
        Cursor::new(&self.resident, &self.published, prefix, from)
    }

    /// Walks over the visible artifacts of a table of this shard, tombstones too.
    pub(crate) fn scan_table<'a>(
        &'a self,
        table: &'a Table,
        prefix: KeyBytes,
        from: &[u8],
    ) -> Cursor<'a> {
        Cursor::new(table, &self.published, prefix, from)
    }

    /// Removes the versions of `stem` that are older than `newest`, the oldest first, and that one too if it is a
    /// tombstone that hides nothing; calls `freed` with each that was not a tombstone. What lies under the active table
    /// stays. For the owner, after publishing `newest`.
    pub(crate) fn prune(&self, stem: &[u8], newest: u64, freed: impl FnMut(u64, &Entry)) {
        debug_assert!(newest <= self.published(), "what replaces them is visible");
        if key::is_artifact(stem) {
            let view = self.view.load();
            let table = &view.active.table;
            let before = table.bytes();
            table.prune(stem, newest, || view.may_lie_below(stem), freed);
            self.owners_bytes.fetch_sub(before - table.bytes(), Ordering::Relaxed);
        } else {
            self.resident.prune(stem, newest, || false, freed);
        }
    }

    /// Takes an entry that a walk over containers, uploads or parts has met out; `false` if it was out already. For the
    /// owner.
    pub(crate) fn remove(&self, found: &Visible<'_>) -> bool {
        self.resident.remove(found.handle())
    }

    /// Bytes of memory of its tables of artifacts.
    pub(crate) fn table_bytes(&self) -> usize {
        self.view.load().table_bytes()
    }

    /// Containers, uploads and parts.
    pub(crate) fn resident(&self) -> &Table {
        &self.resident
    }
}

/// A container, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) id: u64,
    pub(crate) created_ms: i64,
}

/// The maps of all virtual shards. Most shards of a small folder are never used; a map is made when it is asked for.
#[derive(Debug)]
pub(crate) struct Index {
    shards: Box<[OnceLock<Box<ShardMap>>]>,
    table_bytes: Box<[Arc<AtomicUsize>]>,
}

impl Index {
    /// For so many owners, which is at least one.
    pub(crate) fn new(owners: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| OnceLock::new()).collect(),
            table_bytes: (0..owners).map(|_| Arc::default()).collect(),
        }
    }

    /// Whose a shard is.
    pub(crate) fn owner(&self, shard: u8) -> usize {
        usize::from(shard) % self.table_bytes.len()
    }

    /// The shards that a core owns.
    pub(crate) fn shards_of(&self, owner: usize) -> impl Iterator<Item = u8> + use<> {
        (0..=u8::MAX).skip(owner).step_by(self.table_bytes.len())
    }

    /// Bytes of memory of the tables of artifacts of an owner's shards, once [`Index::count_tables`] was called.
    pub(crate) fn table_bytes(&self, owner: usize) -> usize {
        self.table_bytes[owner].load(Ordering::Relaxed)
    }

    /// Counts the bytes of the tables of an owner, whose shards these are. After recovery, which does not.
    pub(crate) fn count_tables(&self, owner: usize, shards: impl Iterator<Item = u8>) {
        let bytes = shards.filter_map(|shard| self.if_used(shard)).map(ShardMap::table_bytes).sum();
        self.table_bytes[owner].store(bytes, Ordering::Relaxed);
    }

    /// Whether the bytes of an owner's tables are as they were counted.
    pub(crate) fn are_tables_counted(
        &self,
        owner: usize,
        shards: impl Iterator<Item = u8>,
    ) -> bool {
        self.table_bytes(owner)
            == shards.filter_map(|shard| self.if_used(shard)).map(ShardMap::table_bytes).sum()
    }

    /// One shard's map.
    pub(crate) fn shard(&self, shard: u8) -> &ShardMap {
        self.shards[usize::from(shard)].get_or_init(|| {
            let owners_bytes = Arc::clone(&self.table_bytes[self.owner(shard)]);
            Box::new(ShardMap { owners_bytes, ..ShardMap::default() })
        })
    }

    /// One shard's map; `None` if it was never asked for, and then it is empty.
    pub(crate) fn if_used(&self, shard: u8) -> Option<&ShardMap> {
        self.shards[usize::from(shard)].get().map(Box::as_ref)
    }

    /// All that were asked for, in order.
    pub(crate) fn used(&self) -> impl Iterator<Item = &ShardMap> {
        self.shards.iter().filter_map(OnceLock::get).map(Box::as_ref)
    }
}
