//! Keeps background work from taking more than its share.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::Core;
use crate::context::Monotonic;
use crate::io::{Clock, Disk};

/// Work that is not further ahead than this goes on at once.
const SLACK_NS: u64 = 20_000_000;

/// Longest sleep before it is looked whether the driver stops.
const NAP_NS: u64 = 100_000_000;

/// Spreads bytes over time.
pub(super) struct Pace<D: Disk, C: Clock> {
    core: Rc<Core<D, C>>,
    bytes_a_second: u64,
    began: Monotonic,
    /// When, in nanoseconds since then, all that was spent is paid for.
    paid_until: Cell<u64>,
}

impl<D: Disk, C: Clock> Pace<D, C> {
    pub(super) fn new(core: &Rc<Core<D, C>>, bytes_a_second: u64) -> Self {
        let (core, began) = (Rc::clone(core), core.clock.now());
        Self { core, bytes_a_second: bytes_a_second.max(1), began, paid_until: Cell::new(0) }
    }

    /// Counts bytes, and waits if there have been too many of late; not when the driver stops.
    pub(super) async fn spend(&self, bytes: u64) {
        let clock = &self.core.clock;
        let now = clock.now().since(self.began);
        let cost = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_a_second);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        // What was not used in time is lost.
        let until = self.paid_until.get().max(now).saturating_add(cost);
        self.paid_until.set(until);
        let mut ahead = until - now;
        while ahead > SLACK_NS && !self.core.stopping.get() {
            let nap = ahead.min(NAP_NS);
            clock.sleep(Duration::from_nanos(nap)).await;
            ahead -= nap;
        }
    }
}
