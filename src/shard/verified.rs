//! Which blocks were verified since they came into the page cache.
//!
//! What is resident may be sent without being looked at only if it was: the kernel's read-ahead, a reader that gave
//! up, or another program may have brought it there. A reader says what it verified, and takes back what lies from a
//! place on before it brings something in there, for read-ahead only goes forward.
//!
//! One table serves all cores without a lock. Blocks that fall on the same slot displace each other, which costs a
//! second look. A page that is evicted between two looks can still slip through, as it can between any look and the
//! sending.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Blocks that are known: 32 GiB of the page cache, in 4 MiB of memory once anything is verified.
const SLOTS: usize = 1 << 19;

/// Blocks that read-ahead reaches at most: 256 MiB, far above any device's setting.
const AHEAD_MAX: usize = 1 << 12;

/// The verified blocks of a data folder.
#[derive(Debug, Default)]
pub(crate) struct Verified(OnceLock<Box<[AtomicU64]>>);

impl Verified {
    /// Whether all these blocks of an extent were verified since they came into the page cache.
    pub(crate) fn holds(&self, id: u64, mut blocks: Range<u64>) -> bool {
        let Some(slots) = self.0.get() else { return false };
        blocks.all(|block| slots[slot(id, block)].load(Ordering::Relaxed) == tag(id, block))
    }

    /// Notes that a block was verified as it lay in the page cache.
    pub(crate) fn note(&self, id: u64, block: u64) {
        let slots = self.0.get_or_init(|| (0..SLOTS).map(|_| AtomicU64::new(0)).collect());
        slots[slot(id, block)].store(tag(id, block), Ordering::Relaxed);
    }

    /// Takes back what was noted of these blocks, the first of which are not in the page cache.
    pub(crate) fn forget(&self, id: u64, blocks: Range<u64>) {
        let Some(slots) = self.0.get() else { return };
        for block in blocks.take(AHEAD_MAX) {
            // What else fell on the same slot stays.
            let known = tag(id, block);
            let slot = &slots[slot(id, block)];
            let _ = slot.compare_exchange(known, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Blocks of one extent are neighbours.
fn slot(id: u64, block: u64) -> usize {
    let slots = SLOTS as u64;
    usize::try_from(mixed(id).wrapping_add(block) % slots).unwrap_or(0)
}

/// Never 0, which is an empty slot.
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
}
