//! The machine's clocks.

#![expect(clippy::disallowed_methods, reason = "this is the seam that the lint points to")]

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use super::Clock;
use crate::context::Monotonic;

/// The kernel's monotonic and wall clocks, and this core's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// Nanoseconds that the kernel's monotonic clock shows.
fn since_boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// What [`Monotonic`] counts from: a second before the first look, so that 0 is in the past.
fn origin_ns() -> u64 {
    static ORIGIN_NS: OnceLock<u64> = OnceLock::new();
    *ORIGIN_NS.get_or_init(|| since_boot_ns().saturating_sub(1_000_000_000))
}

impl Clock for SystemClock {
    fn now(&self) -> Monotonic {
        let origin_ns = origin_ns();
        Monotonic(since_boot_ns().saturating_sub(origin_ns))
    }

    fn wall_ms(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        }
    }

    async fn sleep(&self, duration: Duration) {
        monoio::time::sleep(duration).await;
    }
}

/// A simulation's clock; its wall clock began at some moment of 2026.
#[cfg(any(test, feature = "testing"))]
impl Clock for crate::runtime::simulated::SimulatedClock {
    fn now(&self) -> Monotonic {
        Monotonic(self.now_ns())
    }

    fn wall_ms(&self) -> i64 {
        i64::try_from(1_780_000_000_000 + self.now_ns() / 1_000_000).unwrap_or(i64::MAX)
    }

    async fn sleep(&self, duration: Duration) {
        Self::sleep(self, duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_never_goes_back() {
        let first = SystemClock.now();
        assert!(first > Monotonic(0));
        assert!(SystemClock.now() >= first);
        assert!(SystemClock.wall_ms() > 1_600_000_000_000);
    }
}
