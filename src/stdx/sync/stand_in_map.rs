//! A stand-in of the skip list: a few slots in no order.
//!
//! A look at it goes over the slots one by one, while others insert and remove: it promises no more than the skip list
//! does, that what was there all the while is found.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Bound;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use loom::sync::atomic::AtomicU8;

/// Entries that one takes in its life.
const SLOTS: usize = 6;

const PRESENT: u8 = 1;
const REMOVED: u8 = 2;

/// An ordered map of keys that are inserted once each.
pub(crate) struct SkipMap<K, V> {
    slots: Vec<Slot<K, V>>,
    used: AtomicUsize,
}

struct Slot<K, V> {
    item: OnceLock<(K, V)>,
    state: AtomicU8,
}

/// A handle of an entry, which outlives its removal.
pub(crate) struct SkipEntry<'a, K, V> {
    map: &'a SkipMap<K, V>,
    slot: &'a Slot<K, V>,
    item: &'a (K, V),
}

impl<K, V> Default for SkipMap<K, V> {
    fn default() -> Self {
        let slot = || Slot { item: OnceLock::new(), state: AtomicU8::new(0) };
        Self { slots: (0..SLOTS).map(|_| slot()).collect(), used: AtomicUsize::new(0) }
    }
}

impl<K: Ord, V> SkipMap<K, V> {
    pub(crate) fn insert(&self, key: K, value: V) {
        let slot = &self.slots[self.used.fetch_add(1, Relaxed)];
        assert!(slot.item.set((key, value)).is_ok(), "a slot is used once");
        slot.state.store(PRESENT, Release);
    }

    /// The greatest entry up to a bound.
    pub(crate) fn upper_bound<Q: Ord + ?Sized>(
        &self,
        bound: Bound<&Q>,
    ) -> Option<SkipEntry<'_, K, V>>
    where
        K: Borrow<Q>,
    {
        let fits = |key: &Q| match bound {
            Bound::Included(bound) => key <= bound,
            Bound::Excluded(bound) => key < bound,
            Bound::Unbounded => true,
        };
        self.iter().filter(|entry| fits(entry.key().borrow())).last()
    }

    /// The least entry from a bound on.
    pub(crate) fn lower_bound<Q: Ord + ?Sized>(
        &self,
        bound: Bound<&Q>,
    ) -> Option<SkipEntry<'_, K, V>>
    where
        K: Borrow<Q>,
    {
        let fits = |key: &Q| match bound {
            Bound::Included(bound) => key >= bound,
            Bound::Excluded(bound) => key > bound,
            Bound::Unbounded => true,
        };
        self.iter().find(|entry| fits(entry.key().borrow()))
    }

    /// The entries in order, as a look at each slot showed them.
    pub(crate) fn iter(&self) -> std::vec::IntoIter<SkipEntry<'_, K, V>> {
        let used = self.used.load(Relaxed);
        let mut entries: Vec<_> = self.slots[..used]
            .iter()
            .filter(|slot| slot.state.load(Acquire) == PRESENT)
            .filter_map(|slot| Some(SkipEntry { map: self, slot, item: slot.item.get()? }))
            .collect();
        entries.sort_by(|one, other| one.key().cmp(other.key()));
        entries.into_iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.iter().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K, V> IntoIterator for SkipMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    /// In no order.
    fn into_iter(self) -> Self::IntoIter {
        let items = self.slots.into_iter().filter_map(|slot| slot.item.into_inner());
        items.collect::<Vec<_>>().into_iter()
    }
}

impl<'a, K: Ord, V> SkipEntry<'a, K, V> {
    pub(crate) fn key(&self) -> &'a K {
        &self.item.0
    }

    pub(crate) fn value(&self) -> &'a V {
        &self.item.1
    }

    /// Takes it out; `false` if it was out already.
    pub(crate) fn remove(&self) -> bool {
        self.slot.state.compare_exchange(PRESENT, REMOVED, AcqRel, Acquire).is_ok()
    }

    /// What follows it.
    pub(crate) fn next(&self) -> Option<SkipEntry<'a, K, V>> {
        self.map.lower_bound(Bound::Excluded(self.key()))
    }
}

impl<K, V> fmt::Debug for SkipMap<K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SkipMap")
    }
}
