//! Keeps a core awake between requests, where that is wanted.
//!
//! A core without work sleeps in its ring, and its CPU goes idle. To wake it takes microseconds, and tens of them on a
//! virtual machine, whose host has taken the CPU back meanwhile; each request waits for that once or twice. A core that
//! spins enters its ring without sleeping for a while after the last request, as Seastar (`--idle-poll-time-us`) and
//! glommio (`spin_before_park`) do: latency for CPU time.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::turn::Ready;
use crate::context::Monotonic;

/// One core's wish to stay awake.
#[derive(Debug)]
pub struct Spin {
    limit: Duration,
    until: Cell<Monotonic>,
    sleeper: RefCell<Option<Waker>>,
}

impl Spin {
    /// Stays awake for `limit` after each [`Spin::touch`]; never if that is zero.
    #[must_use]
    pub fn new(limit: Duration) -> Rc<Self> {
        Rc::new(Self { limit, until: Cell::default(), sleeper: RefCell::default() })
    }

    /// A request begins or ends `now`.
    pub fn touch(&self, now: Monotonic) {
        if self.limit.is_zero() {
            return;
        }
        self.until.set(now.after(self.limit));
        if let Some(waker) = self.sleeper.take() {
            waker.wake();
        }
    }

    fn is_wanted(&self, now: Monotonic) -> bool {
        now < self.until.get()
    }

    /// Waits until the core is to be awake.
    async fn wanted(&self, now: &impl Fn() -> Monotonic) {
        poll_fn(|cx| {
            if self.is_wanted(now()) {
                return Poll::Ready(());
            }
            *self.sleeper.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Keeps the core awake; to be spawned once on it, which must have a ring: on epoll it would keep all others from
    /// running. Ends only if the limit is zero, or if the executor refuses what
    /// it needs, which is logged.
    pub async fn run(self: Rc<Self>, now: impl Fn() -> Monotonic) {
        if self.limit.is_zero() {
            return;
        }
        // The executor goes through its ring and its timers, and comes back at once.
        let ready = match Ready::new() {
            Ok(ready) => ready,
            Err(error) => return tracing::warn!(%error, "the core does not spin"),
        };
        loop {
            self.wanted(&now).await;
            if let Err(error) = ready.pass().await {
                return tracing::warn!(%error, "the core does not spin any more");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::core::{Backend, BlockingPool, block_on};
    use crate::runtime::{sleep, spawn, yield_now};

    #[test]
    fn it_is_wanted_for_so_long_after_the_last_touch() {
        let spin = Spin::new(Duration::from_nanos(10));
        assert!(!spin.is_wanted(Monotonic(0)));
        spin.touch(Monotonic(100));
        spin.touch(Monotonic(105));
        assert!(spin.is_wanted(Monotonic(114)));
        assert!(!spin.is_wanted(Monotonic(115)));
        let never = Spin::new(Duration::ZERO);
        never.touch(Monotonic(100));
        assert!(!never.is_wanted(Monotonic(100)));
    }

    fn on_a_ring(test: impl AsyncFn()) {
        block_on(Backend::Uring, &BlockingPool::new(1), test()).unwrap();
    }

    #[test]
    fn tasks_and_timers_go_on_while_it_spins() {
        on_a_ring(async || {
            let spin = Spin::new(Duration::from_secs(1));
            // Time stands still: it is wanted for ever.
            spin.touch(Monotonic(0));
            spawn(Rc::clone(&spin).run(|| Monotonic(0)));
            sleep(Duration::from_millis(1)).await;
            spawn(async {}).await;
        });
    }

    #[test]
    fn it_sleeps_when_it_is_not_wanted_and_begins_again() {
        on_a_ring(async || {
            let looks = Rc::new(Cell::new(0));
            let counted = looks.clone();
            // A clock that goes a nanosecond at each look.
            let now = move || Monotonic(counted.replace(counted.get() + 1));
            let spin = Spin::new(Duration::from_nanos(100));
            spawn(Rc::clone(&spin).run(now));
            for _ in 0..3 {
                let before = looks.get();
                spin.touch(Monotonic(before));
                while looks.get() <= before + 100 {
                    yield_now().await;
                }
                let after = looks.get();
                for _ in 0..100 {
                    yield_now().await;
                }
                assert_eq!(looks.get(), after, "nobody looks at the clock");
            }
        });
    }
}
