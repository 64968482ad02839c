//! What keeps bytes from being freed under a reader.
//!
//! A reader pins the current epoch before its look-up and until its last byte was handed on. What is to be freed
//! was taken out of the index first; it is stamped with the epoch, which then moves on, and is freed when no core
//! has a pin of that epoch or an earlier one. So whoever could have found it in the index has let go of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::stdx::sync::{AtomicU64, fence};

/// Stands for "no pin".
const NONE: u64 = u64::MAX;

/// The epochs of all cores.
#[derive(Debug)]
pub(crate) struct Epochs {
    current: AtomicU64,
    /// The oldest pinned epoch of each core.
    oldest: Box<[AtomicU64]>,
}

impl Epochs {
    /// For so many cores.
    pub(crate) fn new(cores: usize) -> Self {
        Self {
            current: AtomicU64::new(1),
            oldest: (0..cores).map(|_| AtomicU64::new(NONE)).collect(),
        }
    }

    /// Stamps what was taken out of the index before this call.
    pub(crate) fn stamp(&self) -> u64 {
        self.current.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether what has this stamp may be freed.
    pub(crate) fn is_free(&self, stamp: u64) -> bool {
        fence(Ordering::SeqCst);
        self.oldest.iter().all(|oldest| oldest.load(Ordering::SeqCst) > stamp)
    }
}

/// One core's pins.
#[derive(Debug)]
pub(crate) struct CorePins {
    epochs: Arc<Epochs>,
    core: usize,
    /// Pinned epochs, ascending, with the number of their pins.
    pinned: RefCell<VecDeque<(u64, usize)>>,
}

impl CorePins {
    pub(crate) fn new(epochs: Arc<Epochs>, core: usize) -> Rc<Self> {
        Rc::new(Self { epochs, core, pinned: RefCell::default() })
    }

    /// Pins what the index shows from now on.
    pub(crate) fn pin(self: &Rc<Self>) -> Pin {
        let epoch = self.epochs.current.load(Ordering::SeqCst);
        let mut pinned = self.pinned.borrow_mut();
        match pinned.back_mut() {
            Some((newest, count)) if *newest == epoch => *count += 1,
            newest => {
                let first = newest.is_none();
                pinned.push_back((epoch, 1));
                if first {
                    self.epochs.oldest[self.core].store(epoch, Ordering::SeqCst);
                    // Whoever frees and does not see the store has taken everything out of the index that our
                    // look-up could find.
                    fence(Ordering::SeqCst);
                }
            }
        }
        Pin { core: Rc::clone(self), epoch }
    }

    fn unpin(&self, epoch: u64) {
        let mut pinned = self.pinned.borrow_mut();
        if let Ok(at) = pinned.binary_search_by_key(&epoch, |(epoch, _)| *epoch) {
            pinned[at].1 -= 1;
        }
        let before = pinned.len();
        while pinned.front().is_some_and(|(_, count)| *count == 0) {
            pinned.pop_front();
        }
        if pinned.len() < before {
            let oldest = pinned.front().map_or(NONE, |(epoch, _)| *epoch);
            self.epochs.oldest[self.core].store(oldest, Ordering::SeqCst);
        }
    }
}

/// Nothing that the index showed since this was made is freed while it lives.
#[derive(Debug)]
pub(crate) struct Pin {
    core: Rc<CorePins>,
    epoch: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.core.unpin(self.epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_freed_under_a_pin_that_could_have_seen_it() {
        let epochs = Arc::new(Epochs::new(2));
        let (one, two) =
            (CorePins::new(Arc::clone(&epochs), 0), CorePins::new(Arc::clone(&epochs), 1));
        let early = one.pin();
        let stamp = epochs.stamp();
        assert!(!epochs.is_free(stamp));
        let late = two.pin();
        let late_here = one.pin();
        drop(early);
        assert!(epochs.is_free(stamp), "later pins cannot have seen it");
        let next = epochs.stamp();
        drop(late);
        assert!(!epochs.is_free(next));
        drop(late_here);
        assert!(epochs.is_free(next));
    }

    #[test]
    fn pins_may_end_in_any_order() {
        let epochs = Arc::new(Epochs::new(1));
        let core = CorePins::new(Arc::clone(&epochs), 0);
        let first = core.pin();
        let stamp = epochs.stamp();
        let second = core.pin();
        let later = epochs.stamp();
        drop(second);
        assert!(!epochs.is_free(later) && !epochs.is_free(stamp));
        drop(first);
        assert!(epochs.is_free(later) && epochs.is_free(stamp));
    }
}
