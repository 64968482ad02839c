//! What recent look-ups found, for as long as nothing of their shard has been published since.
//!
//! A look-up walks down a tall map and misses the processor's caches at every step, and most of what is read is read
//! again. Whatever changes what a look-up finds, a relocation of bytes too, is a record of its shard's log and moves
//! the shard's published sequence. While that stands still, a look-up finds what it found before.

use std::cell::{Cell, RefCell};

use crate::driver::Target;
use crate::io::budget::{Budget, Reservation};
use crate::model::{ContainerName, TenantId};
use crate::shard::index::Index;

/// Most slots, of which only those that were used take memory.
const SLOTS_MAX: usize = 1 << 15;
/// Slots of a set, any of which may keep a name that belongs there. Their tags lie in one line of the cache.
const WAYS: usize = 4;
/// All of them together may take one in so many bytes of the budget.
const SHARE: u64 = 16;
/// Longest key that is kept, so that memory is bounded.
const KEY_LENGTH_MAX: usize = 256;

/// One core's.
pub(super) struct Recent<T> {
    sets: RefCell<Vec<Set<T>>>,
    /// Which of a full set gives way next.
    victim: Cell<usize>,
    budget: Budget,
}

type Set<T> = [Way<T>; WAYS];

/// A part of the name's hash, so that others need not be looked at.
type Way<T> = Option<(u32, Box<Slot<T>>)>;

struct Slot<T> {
    tenant: TenantId,
    container: ContainerName,
    key: Vec<u8>,
    shard: u8,
    /// What the shard had published before the look-up.
    published: u64,
    found: T,
    _room: Reservation,
}

impl<T> Slot<T> {
    fn is_of(&self, tenant: TenantId, target: Target<'_>) -> bool {
        self.key == target.key.as_bytes()
            && self.container == *target.container
            && self.tenant == tenant
    }
}

impl<T: Clone> Recent<T> {
    /// Empty; it pays from the budget for what it keeps.
    pub(super) fn new(budget: Budget) -> Self {
        let payable = usize::try_from(budget.total() / SHARE).unwrap_or(usize::MAX);
        let slots = (payable / Self::SLOT_BYTES).min(SLOTS_MAX);
        let sets = (0..slots.div_ceil(WAYS).max(1)).map(|_| [const { None }; WAYS]).collect();
        Self { sets: RefCell::new(sets), victim: Cell::default(), budget }
    }

    /// What a slot takes.
    const SLOT_BYTES: usize = size_of::<Slot<T>>() + KEY_LENGTH_MAX;

    /// What a look-up would find now, if it is known. The caller has made a pin.
    pub(super) fn get(&self, index: &Index, tenant: TenantId, target: Target<'_>) -> Option<T> {
        let sets = self.sets.borrow();
        let (set, tag) = place(target, sets.len());
        let (_, slot) = sets[set][way_of(&sets[set], tag, tenant, target)?].as_ref()?;
        let stands_still = slot.published == index.shard(slot.shard).published();
        stands_still.then(|| slot.found.clone())
    }

    /// Keeps what a look-up found that began when the shard had published this.
    pub(super) fn keep(
        &self,
        (shard, published): (u8, u64),
        tenant: TenantId,
        target: Target<'_>,
        found: T,
    ) {
        let name = target.key.as_bytes();
        if name.len() > KEY_LENGTH_MAX {
            return;
        }
        let container = *target.container;
        let mut sets = self.sets.borrow_mut();
        let (set, tag) = place(target, sets.len());
        match self.way_for(&mut sets[set], tag, tenant, target) {
            Some((kept, slot)) => {
                *kept = tag;
                slot.key.clear();
                slot.key.extend_from_slice(name);
                (slot.tenant, slot.container) = (tenant, container);
                (slot.shard, slot.published, slot.found) = (shard, published, found);
            }
            empty => {
                let room = self.budget.try_reserve(Self::SLOT_BYTES as u64);
                let Some(_room) = room else { return };
                let key = name.to_vec();
                let slot = Slot { tenant, container, key, shard, published, found, _room };
                *empty = Some((tag, Box::new(slot)));
            }
        }
    }

    /// Where a name is kept from now on: where it is, else where nothing is, else in the place of another.
    fn way_for<'s>(
        &self,
        set: &'s mut Set<T>,
        tag: u32,
        tenant: TenantId,
        target: Target<'_>,
    ) -> &'s mut Way<T> {
        let its = way_of(set, tag, tenant, target);
        let at = its.or_else(|| set.iter().position(Option::is_none)).unwrap_or_else(|| {
            self.victim.set((self.victim.get() + 1) % WAYS);
            self.victim.get()
        });
        &mut set[at]
    }
}

/// The way of a set that keeps a name.
fn way_of<T>(set: &Set<T>, tag: u32, tenant: TenantId, target: Target<'_>) -> Option<usize> {
    set.iter().position(|way| {
        way.as_ref().is_some_and(|(kept, slot)| *kept == tag && slot.is_of(tenant, target))
    })
}

/// Where a name belongs among so many sets, and its tag. Whoever makes names meet there gains nothing but look-ups.
fn place(target: Target<'_>, sets: usize) -> (usize, u32) {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    let mut hash = target.container.as_bytes().len() as u64;
    for bytes in [target.container.as_bytes(), target.key.as_bytes()] {
        let (words, rest) = bytes.as_chunks::<8>();
        hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        let last = rest.iter().fold(rest.len() as u64, |last, byte| last << 8 | u64::from(*byte));
        hash = mix(hash, last);
    }
    // By its upper half, without a division. The product leaves the lower bits of that to the tag.
    let (upper, tag) = ((hash >> 32) * sets as u64, (hash >> 16) & u64::from(u32::MAX));
    (usize::try_from(upper >> 32).unwrap_or_default(), u32::try_from(tag).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ArtifactKey;
    use crate::shard::index::shard_of;

    #[test]
    fn nothing_is_known_once_something_was_published() {
        let index = Index::new(1);
        let container = ContainerName::new("some-name").unwrap();
        let of = |key| Target { container: &container, key: ArtifactKey::new(key).unwrap() };
        let tenant = TenantId::DEFAULT;
        let shard = shard_of(tenant, &container);
        let recent = Recent::new(Budget::new(1 << 20));
        recent.keep((shard, index.shard(shard).published()), tenant, of("a"), 1);
        assert_eq!(recent.get(&index, tenant, of("a")), Some(1));
        assert_eq!(recent.get(&index, tenant, of("b")), None);
        assert_eq!(recent.get(&index, TenantId(9), of("a")), None);
        let other = ContainerName::new("other-name").unwrap();
        let elsewhere = Target { container: &other, ..of("a") };
        assert_eq!(recent.get(&index, tenant, elsewhere), None);

        index.shard(shard).publish(1);
        assert_eq!(recent.get(&index, tenant, of("a")), None);
        // A look-up that began before that may have seen it or not.
        recent.keep((shard, 0), tenant, of("a"), 2);
        assert_eq!(recent.get(&index, tenant, of("a")), None);
        recent.keep((shard, 1), tenant, of("a"), 3);
        assert_eq!(recent.get(&index, tenant, of("a")), Some(3));
    }

    #[test]
    fn names_that_meet_are_kept_beside_each_other() {
        let (index, container) = (Index::new(1), ContainerName::new("some-name").unwrap());
        let one_set = WAYS * Recent::<usize>::SLOT_BYTES;
        let recent = Recent::new(Budget::new(SHARE * one_set as u64));
        assert_eq!(recent.sets.borrow().len(), 1);
        let names: Vec<String> = (0..2 * WAYS).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let of = |name| Target { container: &container, key: ArtifactKey::new(name).unwrap() };
        let known = || {
            let found = names.iter().map(|name| recent.get(&index, TenantId::DEFAULT, of(name)));
            found.flatten().collect::<Vec<_>>()
        };
        for (number, name) in names.iter().enumerate().take(WAYS) {
            recent.keep((0, 0), TenantId::DEFAULT, of(name), number);
            recent.keep((0, 0), TenantId::DEFAULT, of(name), number);
        }
        assert_eq!(known(), (0..WAYS).collect::<Vec<_>>());
        for (number, name) in names.iter().enumerate().skip(WAYS) {
            recent.keep((0, 0), TenantId::DEFAULT, of(name), number);
        }
        assert_eq!(known(), (WAYS..2 * WAYS).collect::<Vec<_>>());
    }

    #[test]
    fn it_pays_for_what_it_keeps() {
        let (index, container) = (Index::new(1), ContainerName::new("some-name").unwrap());
        let budget = Budget::new(700);
        let recent = Recent::new(budget.clone());
        for number in 0..100 {
            let name = number.to_string();
            let target = Target { container: &container, key: ArtifactKey::new(&name).unwrap() };
            recent.keep((0, 0), TenantId::DEFAULT, target, number);
            let known = recent.get(&index, TenantId::DEFAULT, target);
            assert!(known.is_none_or(|known| known == number));
        }
        assert!(budget.in_use() > 0 && budget.in_use() <= 700);
        drop(recent);
        assert_eq!(budget.in_use(), 0);
    }
}
