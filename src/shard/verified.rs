//! Which blocks were verified since they came into the page cache.
//!
//! What is resident may be sent without being looked at only if it was: the kernel's read-ahead, a reader that gave
//! up, or another program may have brought it there. A reader says what it verified, and takes back what lies from a
//! place on before it brings something in there, for read-ahead only goes forward.
//!
//! One table serves all cores without a lock. It is made of sets of a cache line each, in which a block has a place
//! among others: were there one place for each, two extents that are read again and again would displace each other.
//! A page that is evicted between two looks can still slip through, as it can between any look and the sending.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Sets of the table, for 32 GiB of the page cache, in 4 MiB of memory once anything is verified.
const SETS: usize = 1 << 16;

/// Blocks of a set.
const WAYS: usize = 8;

/// Blocks that read-ahead reaches at most: 256 MiB, far above any device's setting.
const AHEAD_MAX: usize = 1 << 12;

/// Tags of blocks, or 0, in any order; one may be there twice.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

/// The verified blocks of a data folder.
#[derive(Debug, Default)]
pub(crate) struct Verified(OnceLock<Box<[Set]>>);

impl Verified {
    /// Whether all these blocks of an extent were verified since they came into the page cache.
    pub(crate) fn holds(&self, id: u64, mut blocks: Range<u64>) -> bool {
        let Some(sets) = self.0.get() else { return false };
        blocks.all(|block| sets[set(id, block)].holds(tag(id, block)))
    }

    /// Notes that a block was verified as it lay in the page cache.
    pub(crate) fn note(&self, id: u64, block: u64) {
        let sets = self.0.get_or_init(|| (0..SETS).map(|_| Set::default()).collect());
        sets[set(id, block)].note(tag(id, block));
    }

    /// Takes back what was noted of these blocks, the first of which are not in the page cache.
    pub(crate) fn forget(&self, id: u64, blocks: Range<u64>) {
        let Some(sets) = self.0.get() else { return };
        for block in blocks.take(AHEAD_MAX) {
            sets[set(id, block)].forget(tag(id, block));
        }
    }
}

impl Set {
    fn holds(&self, tag: u64) -> bool {
        self.0.iter().any(|way| way.load(Ordering::Relaxed) == tag)
    }

    /// Takes a free place, else that of another, which depends on the tag.
    fn note(&self, tag: u64) {
        if self.holds(tag) {
            return;
        }
        let take = |way: &AtomicU64| {
            way.compare_exchange(0, tag, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if !self.0.iter().any(take) {
            self.0[index(tag >> 32, WAYS)].store(tag, Ordering::Relaxed);
        }
    }

    /// What else lies in the set stays.
    fn forget(&self, tag: u64) {
        for way in &self.0 {
            let _ = way.compare_exchange(tag, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Blocks of one extent are neighbours.
fn set(id: u64, block: u64) -> usize {
    index(mixed(id).wrapping_add(block), SETS)
}

fn index(number: u64, of: usize) -> usize {
    usize::try_from(number % of as u64).unwrap_or(0)
}

/// Never 0, which is an empty place.
fn tag(id: u64, block: u64) -> u64 {
    mixed(id ^ mixed(block)) | 1
}

/// Any mixing that can be undone keeps what differs different (splitmix64).
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_noted_is_known_until_it_is_forgotten() {
        let verified = Verified::default();
        assert!(!verified.holds(7, 0..1));
        verified.forget(7, 0..9);
        (0..5).for_each(|block| verified.note(7, block));
        assert!(verified.holds(7, 0..5));
        assert!(!verified.holds(7, 0..6), "not all of it");
        assert!(!verified.holds(8, 0..1), "of another extent");
        verified.forget(8, 0..5);
        verified.forget(7, 3..100);
        assert!(verified.holds(7, 0..3));
        assert!(!verified.holds(7, 3..4));
    }

    /// As many as a server has that serves 2 GiB of them again and again.
    #[test]
    fn extents_that_are_read_in_turn_do_not_displace_each_other() {
        let verified = Verified::default();
        for id in 0..200 {
            (0..160).for_each(|block| verified.note(id, block));
        }
        let lost: Vec<_> = (0..200).filter(|id| !verified.holds(*id, 0..160)).collect();
        assert!(lost.is_empty(), "not known any more: {lost:?}");
    }

    #[test]
    fn a_full_set_takes_another_block_and_forgets_it() {
        let full = Set::default();
        (1..=WAYS as u64).for_each(|tag| full.note(tag));
        full.note(99);
        full.note(99);
        assert!(full.holds(99));
        let others = (1..=WAYS as u64).filter(|tag| full.holds(*tag)).count();
        assert_eq!(others, WAYS - 1, "one gave way");
        full.forget(99);
        assert!(!full.holds(99));
    }
}
