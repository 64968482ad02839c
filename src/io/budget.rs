//! The one byte budget for everything in flight.
//!
//! Whoever needs memory for somebody else's bytes reserves it here first. When the budget is used
//! up, caches give way; then reservations wait, in the order in which they came, and are woken by
//! whoever frees enough, on whichever core that happens.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use futures_util::future::{Either, select};

use super::Clock;
use crate::context::Monotonic;

/// Longest wait for memory, where the operation's deadline is not nearer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// No memory became free in time, or more was asked for than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory budget is exhausted")]
pub struct Exhausted;

/// Something that keeps reserved memory only because it may be of use later.
pub trait Shrink: Send + Sync {
    /// Gives memory back, `bytes` of it if that much is kept. Called from any core, while that core
    /// wants memory; it must not wait and must not reserve.
    fn shrink(&self, bytes: u64);
}

/// A number of bytes that all reservations together never exceed. Clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    total: u64,
    used: AtomicU64,
    /// Length of `queue`, to be read without the lock.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<Arc<Waiter>>>,
    caches: Mutex<Vec<Weak<dyn Shrink>>>,
}

struct Waiter {
    bytes: u64,
    granted: AtomicBool,
    waker: AtomicWaker,
}

/// Our state is whole at every unlock, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Inner {
            total: bytes,
            used: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
            caches: Mutex::default(),
        }))
    }

    /// Bytes reserved now, caches included.
    #[must_use]
    pub fn in_use(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The whole of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.total
    }

    /// Whether somebody waits for memory, so that caches should keep none.
    #[must_use]
    pub fn is_contended(&self) -> bool {
        self.0.waiting.load(Ordering::SeqCst) > 0
    }

    /// Whether at most a quarter of it is reserved, caches included.
    #[must_use]
    pub fn is_little_used(&self) -> bool {
        self.in_use() <= self.total() / 4
    }

    /// Names a cache that is asked to shrink before anybody is made to wait. It is forgotten when
    /// its last strong reference goes.
    pub fn register_cache(&self, cache: Weak<dyn Shrink>) {
        let mut caches = lock(&self.0.caches);
        caches.retain(|known| known.strong_count() > 0);
        caches.push(cache);
    }

    /// Reserves at once or not at all. Never overtakes those who wait.
    #[must_use]
    pub fn try_reserve(&self, bytes: u64) -> Option<Reservation> {
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            return None;
        }
        if self.0.take(bytes) || (self.shrink_caches(bytes) && self.0.take(bytes)) {
            Some(Reservation { budget: self.clone(), bytes })
        } else {
            None
        }
    }

    /// As [`Budget::reserve`], waiting at most [`PATIENCE`] or until the deadline.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn reserve_until(
        &self,
        bytes: u64,
        deadline: Monotonic,
        clock: &impl Clock,
    ) -> Result<Reservation, Exhausted> {
        let left = Duration::from_nanos(deadline.since(clock.now()));
        self.reserve(bytes, left.min(PATIENCE), clock).await
    }

    /// Reserves, waiting at most `patience`, in the order in which the calls came.
    ///
    /// # Errors
    /// [`Exhausted`] when the time is over, and at once if `bytes` exceeds the whole budget.
    ///
    /// # Cancel safety
    /// Dropping the future gives the place in the queue up and reserves nothing.
    pub async fn reserve(
        &self,
        bytes: u64,
        patience: Duration,
        clock: &impl Clock,
    ) -> Result<Reservation, Exhausted> {
        if let Some(reservation) = self.try_reserve(bytes) {
            return Ok(reservation);
        }
        if bytes > self.0.total {
            return Err(Exhausted);
        }
        let ticket = self.join_queue(bytes);
        self.shrink_caches(bytes);
        let granted = std::future::poll_fn(|cx| {
            ticket.waiter.waker.register(cx.waker());
            if ticket.waiter.granted.load(Ordering::Acquire) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        let timed_out =
            matches!(select(pin!(granted), pin!(clock.sleep(patience))).await, Either::Right(_));
        if timed_out && !ticket.waiter.granted.load(Ordering::Acquire) {
            return Err(Exhausted);
        }
        Ok(ticket.redeem())
    }

    fn join_queue(&self, bytes: u64) -> Ticket {
        let waiter =
            Arc::new(Waiter { bytes, granted: AtomicBool::new(false), waker: AtomicWaker::new() });
        let mut queue = lock(&self.0.queue);
        queue.push_back(Arc::clone(&waiter));
        // Before the look at `used` in `grant`: a release either sees us waiting or is seen by us.
        self.0.waiting.store(queue.len(), Ordering::SeqCst);
        self.0.grant(&mut queue);
        drop(queue);
        Ticket { budget: self.clone(), waiter, redeemed: false }
    }

    /// Asks the caches for the bytes that are missing; false if nothing is missing or there is no cache.
    fn shrink_caches(&self, bytes: u64) -> bool {
        let caches: Vec<_> = lock(&self.0.caches).iter().filter_map(Weak::upgrade).collect();
        let mut asked = false;
        for cache in caches {
            let missing = (self.in_use().saturating_add(bytes)).saturating_sub(self.0.total);
            if missing == 0 {
                return asked;
            }
            asked = true;
            cache.shrink(missing);
        }
        asked
    }
}

impl Inner {
    fn take(&self, bytes: u64) -> bool {
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
                used.checked_add(bytes).filter(|&sum| sum <= self.total)
            })
            .is_ok()
    }

    fn release(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::SeqCst);
        debug_assert!(before >= bytes, "nothing is released twice");
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.grant(&mut lock(&self.queue));
        }
    }

    /// Serves the queue from its front for as long as there is room.
    fn grant(&self, queue: &mut VecDeque<Arc<Waiter>>) {
        while let Some(first) = queue.front() {
            if !self.take(first.bytes) {
                break;
            }
            if let Some(first) = queue.pop_front() {
                first.granted.store(true, Ordering::Release);
                first.waker.wake();
            }
        }
        self.waiting.store(queue.len(), Ordering::SeqCst);
    }
}

/// A place in the queue.
struct Ticket {
    budget: Budget,
    waiter: Arc<Waiter>,
    redeemed: bool,
}

impl Ticket {
    fn redeem(mut self) -> Reservation {
        self.redeemed = true;
        Reservation { budget: self.budget.clone(), bytes: self.waiter.bytes }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.redeemed {
            return;
        }
        let inner = &self.budget.0;
        let mut queue = lock(&inner.queue);
        if self.waiter.granted.load(Ordering::Acquire) {
            inner.used.fetch_sub(self.waiter.bytes, Ordering::SeqCst);
        } else {
            queue.retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
        }
        // Those behind may fit now.
        inner.grant(&mut queue);
    }
}

/// Reserved bytes, free again when it is dropped, on whichever core.
#[must_use = "a dropped reservation reserves nothing"]
pub struct Reservation {
    budget: Budget,
    bytes: u64,
}

impl Reservation {
    /// How much is reserved.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it is a part of.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Whether somebody waits for memory of the same budget.
    #[must_use]
    pub fn is_contended(&self) -> bool {
        self.budget.is_contended()
    }

    /// Frees all but `bytes`; nothing happens if that is not less.
    pub fn shrink_to(&mut self, bytes: u64) {
        if bytes < self.bytes {
            let freed = self.bytes - bytes;
            self.bytes = bytes;
            self.budget.0.release(freed);
        }
    }

    /// Takes `bytes` out into a reservation of its own; all that there is if that is less.
    pub fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: self.budget.clone(), bytes }
    }

    /// Adds another reservation to this one.
    ///
    /// # Panics
    /// If it is of another budget.
    pub fn merge(&mut self, mut other: Self) {
        assert!(Arc::ptr_eq(&self.budget.0, &other.budget.0), "reservations of one budget");
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.0.release(self.bytes);
        }
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation").field("bytes", &self.bytes).finish()
    }
}

#[cfg(test)]
mod tests;
