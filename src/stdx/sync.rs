//! What threads share data with.
//!
//! With the feature `loom` these are stand-ins, which work only within a model of loom, so that it tries every order in
//! which threads may take steps, and every value that a load may see. The queues and the waker stand for what their
//! crates promise; how those keep the promise is not looked at.

#[cfg(not(feature = "loom"))]
pub(crate) use {
    arc_swap::{ArcSwap, Guard},
    atomic_waker::AtomicWaker,
    crossbeam_queue::{ArrayQueue, SegQueue},
    crossbeam_skiplist::{SkipMap, map::Entry as SkipEntry},
    std::sync::atomic::{AtomicBool, AtomicU64, fence},
};

#[cfg(feature = "loom")]
pub(crate) use {
    loom::sync::atomic::{AtomicBool, AtomicU64, fence},
    stand_in_map::{SkipEntry, SkipMap},
    stand_ins::{ArcSwap, ArrayQueue, AtomicWaker, Guard, SegQueue},
};

#[cfg(feature = "loom")]
mod stand_in_map;

#[cfg(feature = "loom")]
mod stand_ins {
    use std::collections::VecDeque;
    use std::fmt;
    use std::ops::Deref;
    use std::sync::{Arc, PoisonError};
    use std::task::Waker;

    use loom::sync::Mutex;

    fn with<T, R>(mutex: &Mutex<T>, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut mutex.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One waker, woken at most once for each time that it is registered.
    #[derive(Debug)]
    pub(crate) struct AtomicWaker(Mutex<Option<Waker>>);

    impl AtomicWaker {
        pub(crate) fn new() -> Self {
            Self(Mutex::new(None))
        }

        pub(crate) fn register(&self, waker: &Waker) {
            with(&self.0, |kept| *kept = Some(waker.clone()));
        }

        pub(crate) fn wake(&self) {
            let waker = with(&self.0, Option::take);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// A pointer that is exchanged.
    #[derive(Debug, Default)]
    pub(crate) struct ArcSwap<T>(Mutex<Arc<T>>);

    impl<T> ArcSwap<T> {
        pub(crate) fn load(&self) -> Guard<Arc<T>> {
            Guard(self.load_full())
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            with(&self.0, |kept| Arc::clone(kept))
        }

        pub(crate) fn store(&self, next: Arc<T>) {
            with(&self.0, |kept| *kept = next);
        }
    }

    /// What was loaded.
    pub(crate) struct Guard<T>(T);

    impl<T> Guard<T> {
        pub(crate) fn into_inner(guard: Self) -> T {
            guard.0
        }
    }

    impl<T> Deref for Guard<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    /// A queue without a bound.
    pub(crate) struct SegQueue<T>(Mutex<VecDeque<T>>);

    impl<T> SegQueue<T> {
        pub(crate) fn new() -> Self {
            Self(Mutex::new(VecDeque::new()))
        }

        pub(crate) fn push(&self, item: T) {
            with(&self.0, |queue| queue.push_back(item));
        }

        pub(crate) fn pop(&self) -> Option<T> {
            with(&self.0, VecDeque::pop_front)
        }
    }

    /// A queue with a bound.
    pub(crate) struct ArrayQueue<T> {
        queue: Mutex<VecDeque<T>>,
        capacity: usize,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            Self { queue: Mutex::new(VecDeque::new()), capacity }
        }

        pub(crate) fn push(&self, item: T) -> Result<(), T> {
            with(&self.queue, |queue| {
                if queue.len() >= self.capacity {
                    return Err(item);
                }
                queue.push_back(item);
                Ok(())
            })
        }

        pub(crate) fn pop(&self) -> Option<T> {
            with(&self.queue, VecDeque::pop_front)
        }

        pub(crate) fn len(&self) -> usize {
            with(&self.queue, |queue| queue.len())
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }

    impl<T> fmt::Debug for SegQueue<T> {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("SegQueue")
        }
    }

    impl<T> fmt::Debug for ArrayQueue<T> {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("ArrayQueue")
        }
    }
}
