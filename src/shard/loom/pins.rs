use std::sync::Arc as Shared;
use std::sync::atomic::Ordering::{Acquire, Release};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::model;
use crate::shard::pins::{CorePins, Epochs};

/// Something that the index shows until it is taken out, and whose space is used for something else once it is free.
/// Loom sees to it that nobody reads it while it is overwritten or after.
struct Kept {
    shown: AtomicBool,
    bytes: UnsafeCell<u32>,
    overwritten: AtomicBool,
}

impl Kept {
    fn new() -> Self {
        Self {
            shown: AtomicBool::new(true),
            bytes: UnsafeCell::new(1),
            overwritten: AtomicBool::new(false),
        }
    }

    /// What a reader does under a pin.
    fn read_if_shown(&self) {
        if self.shown.load(Acquire) {
            self.bytes.with(|_| ());
            assert!(!self.overwritten.load(Acquire), "it was freed under a pin");
        }
    }

    /// What the owner does: take it out, and once nobody can have it any more use its space.
    fn free(&self, epochs: &Epochs) -> bool {
        self.shown.store(false, Release);
        let stamp = epochs.stamp();
        let is_free = epochs.is_free(stamp);
        if is_free {
            self.overwritten.store(true, Release);
            self.bytes.with_mut(|_| ());
        }
        is_free
    }
}

#[test]
fn nothing_is_freed_under_a_pin() {
    model(5, || {
        let (epochs, kept) = (Shared::new(Epochs::new(2)), Arc::new(Kept::new()));
        let reader = thread::spawn({
            let (epochs, kept) = (Shared::clone(&epochs), Arc::clone(&kept));
            move || {
                let pins = CorePins::new(epochs, 1);
                for _ in 0..2 {
                    let pin = pins.pin();
                    kept.read_if_shown();
                    drop(pin);
                }
            }
        });
        kept.free(&epochs);
        reader.join().expect("it ends");
    });
}

#[test]
fn pins_that_overlap_keep_what_each_may_have_seen() {
    model(5, || {
        let (epochs, kept) = (Shared::new(Epochs::new(2)), Arc::new(Kept::new()));
        let reader = thread::spawn({
            let (epochs, kept) = (Shared::clone(&epochs), Arc::clone(&kept));
            move || {
                let pins = CorePins::new(epochs, 1);
                let first = pins.pin();
                let second = pins.pin();
                drop(first);
                kept.read_if_shown();
                drop(second);
            }
        });
        kept.free(&epochs);
        reader.join().expect("it ends");
    });
}

#[test]
fn two_cores_that_free_and_read_each_others_do_not_meet() {
    model(3, || {
        let epochs = Shared::new(Epochs::new(2));
        let both = Arc::new([Kept::new(), Kept::new()]);
        let other = thread::spawn({
            let (epochs, both) = (Shared::clone(&epochs), Arc::clone(&both));
            move || {
                let pins = CorePins::new(Shared::clone(&epochs), 1);
                let pin = pins.pin();
                both[0].read_if_shown();
                drop(pin);
                both[1].free(&epochs);
            }
        });
        let pins = CorePins::new(Shared::clone(&epochs), 0);
        let pin = pins.pin();
        both[1].read_if_shown();
        drop(pin);
        both[0].free(&epochs);
        other.join().expect("it ends");
    });
}

#[test]
fn what_nobody_pins_is_free() {
    model(5, || {
        let (epochs, kept) = (Shared::new(Epochs::new(2)), Kept::new());
        let pins = CorePins::new(Shared::clone(&epochs), 0);
        let pin = pins.pin();
        kept.read_if_shown();
        drop(pin);
        assert!(kept.free(&epochs), "an old pin keeps nothing");
    });
}
