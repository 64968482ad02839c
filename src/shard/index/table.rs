//! An ordered map of versions in memory, written by one core and read by all.

use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Entry, Handle, key};
use crate::stdx::sync::SkipMap;

/// What an entry costs besides the bytes of its key and value: the node, its tower and the allocator's rounding.
const OVERHEAD: usize = 160;

/// Versions of stems, the newest of a stem last.
#[derive(Debug, Default)]
pub(crate) struct Table {
    map: SkipMap<Box<[u8]>, Entry>,
    bytes: AtomicUsize,
}

/// What a look-up meets.
pub(super) enum Met<'a> {
    /// The newest version that the look-up may see, which may be a tombstone.
    Version(Handle<'a>),
    /// Only versions that it may not see.
    Newer,
    /// None at all.
    Nothing,
}

impl Table {
    /// Bytes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Number of entries, visible or not.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether it has no entry.
    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Returns how many bytes it takes.
    pub(super) fn insert(&self, version: Box<[u8]>, entry: Entry) -> usize {
        let bytes = size(&version, &entry);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.map.insert(version, entry);
        bytes
    }

    /// The newest version of a stem up to a sequence.
    pub(super) fn newest(&self, stem: &[u8], upto: u64) -> Met<'_> {
        let version = key::version(stem, upto);
        if let Some(found) = self.map.upper_bound(Bound::Included(&version[..]))
            && key::split(found.key()).0 == stem
        {
            return Met::Version(found);
        }
        let next = self.map.lower_bound(Bound::Excluded(&version[..]));
        if next.is_some_and(|next| key::split(next.key()).0 == stem) {
            return Met::Newer;
        }
        Met::Nothing
    }

    /// Whether there is a version of the stem, visible or not.
    pub(crate) fn holds(&self, stem: &[u8]) -> bool {
        let first = self.map.lower_bound(Bound::Included(stem));
        first.is_some_and(|first| key::split(first.key()).0 == stem)
    }

    pub(super) fn seek(&self, from: &[u8]) -> Option<Handle<'_>> {
        self.map.lower_bound(Bound::Included(from))
    }

    /// All entries, visible or not, in the order of their keys.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Handle<'_>> {
        self.map.iter()
    }

    /// Takes it apart: each entry is freed as it is dropped.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (Box<[u8]>, Entry)> {
        self.map.into_iter()
    }

    /// Takes a version out; `false` if it was out already. For the owner.
    pub(crate) fn remove(&self, found: &Handle<'_>) -> bool {
        let removed = found.remove();
        if removed {
            self.bytes.fetch_sub(size(found.key(), found.value()), Ordering::Relaxed);
        }
        removed
    }

    /// Takes a stem's only version out if it is a tombstone. For the owner.
    pub(crate) fn drop_tombstone(&self, stem: &[u8]) {
        if let Some(found) = self.seek(stem)
            && key::split(found.key()).0 == stem
            && found.value().is_tombstone()
        {
            self.remove(&found);
        }
    }

    /// Takes all versions of a stem out. For recovery.
    pub(super) fn forget_stem(&self, stem: &[u8]) {
        while let Some(found) = self.seek(stem).filter(|found| key::split(found.key()).0 == stem) {
            self.remove(&found);
        }
    }

    /// Takes all versions out. For recovery.
    pub(super) fn clear(&self) {
        for found in self.entries() {
            self.remove(&found);
        }
    }

    /// See [`ShardMap::prune`](super::ShardMap::prune).
    pub(super) fn prune(
        &self,
        stem: &[u8],
        newest: u64,
        keep_tombstone: impl Fn() -> bool,
        mut freed: impl FnMut(u64, &Entry),
    ) {
        let mut next = self.map.lower_bound(Bound::Included(stem));
        while let Some(found) = next.take() {
            let (found_stem, sequence) = key::split(found.key());
            if found_stem != stem || sequence > newest {
                break;
            }
            let entry = found.value();
            let goes = sequence < newest || (entry.is_tombstone() && !keep_tombstone());
            if goes && self.remove(&found) && !entry.is_tombstone() {
                freed(sequence, entry);
            }
            next = found.next();
        }
    }
}

/// Bytes of memory of an entry, about.
pub(crate) fn size(version: &[u8], entry: &Entry) -> usize {
    version.len() + entry.value.len() + OVERHEAD
}
