//! The machine's clocks.

#![expect(clippy::disallowed_methods, reason = "this is the seam that the lint points to")]

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Clock;
use crate::context::Monotonic;

/// The kernel's monotonic and wall clocks, and this core's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// What [`Monotonic`] counts from: a second before the first look, so that 0 is in the past.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(|| {
        let now = Instant::now();
        now.checked_sub(Duration::from_secs(1)).unwrap_or(now)
    })
}

impl Clock for SystemClock {
    fn now(&self) -> Monotonic {
        let origin = origin();
        let elapsed = Instant::now().saturating_duration_since(origin);
        Monotonic(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
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
