//! What the administration port tells of the server besides its operations.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::exposition::{Exposition, Kind};

/// A core that has shown no life for this long is stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);

/// Whether the server serves, and its gauges. Shared by all cores; they only store into atomics.
pub struct AdminState {
    ready: AtomicBool,
    draining: AtomicBool,
    cores: Vec<CoreState>,
    gauges: Vec<Gauge>,
    /// Per core its beats when they last changed, and when that was seen.
    seen: Mutex<Vec<Option<(u64, Instant)>>>,
}

#[derive(Default)]
struct CoreState {
    beats: AtomicU64,
    read_only: AtomicBool,
}

struct Gauge {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Why the server does not take requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unready {
    Starting,
    Draining,
    ReadOnly,
    Stuck(usize),
}

impl AdminState {
    /// For this many cores: not ready yet.
    #[must_use]
    pub fn new(cores: u16) -> Self {
        Self {
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            cores: (0..cores).map(|_| CoreState::default()).collect(),
            gauges: Vec::new(),
            seen: Mutex::new(vec![None; usize::from(cores)]),
        }
    }

    /// Adds the metric `vaultaire_NAME`, which may fall. `read` is called by a scrape, on a thread
    /// of its own: it loads atomics and waits for nothing. Usual names: `connections`,
    /// `memory_in_use_bytes`, `memory_total_bytes`.
    #[must_use]
    pub fn with_gauge(
        self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        self.with(Gauge { name, kind: Kind::Gauge, help, read: Box::new(read) })
    }

    /// As [`AdminState::with_gauge`], for a number that only grows; its name ends in `_total`.
    #[must_use]
    pub fn with_counter(
        self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        self.with(Gauge { name, kind: Kind::Counter, help, read: Box::new(read) })
    }

    fn with(mut self, gauge: Gauge) -> Self {
        self.gauges.push(gauge);
        self
    }

    /// All cores serve.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The server stops: requests under way are finished, new ones belong elsewhere.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the writes of a core are refused, because a sync failed or a disk is full.
    pub fn set_read_only(&self, core: u16, read_only: bool) {
        if let Some(core) = self.cores.get(usize::from(core)) {
            core.read_only.store(read_only, Ordering::Relaxed);
        }
    }

    /// A sign of life of a core, at least once a second. One that has never given a sign is not
    /// missed; one that stops giving them is stuck after [`STUCK_AFTER`].
    pub fn beat(&self, core: u16) {
        if let Some(core) = self.cores.get(usize::from(core)) {
            core.beats.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes the beats so far. Returns a core whose beats were last seen to change too long ago.
    pub(super) fn stuck(&self, now: Instant) -> Option<usize> {
        // A poisoned lock still holds plain numbers.
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut stuck = None;
        for (index, (core, seen)) in self.cores.iter().zip(seen.iter_mut()).enumerate() {
            let beats = core.beats.load(Ordering::Relaxed);
            match seen {
                Some((last, since)) if *last == beats => {
                    if now.saturating_duration_since(*since) >= STUCK_AFTER {
                        stuck = stuck.or(Some(index));
                    }
                }
                _ if beats == 0 => {}
                _ => *seen = Some((beats, now)),
            }
        }
        stuck
    }

    /// Whether requests should come here.
    pub(super) fn readiness(&self, now: Instant) -> Result<(), Unready> {
        if self.draining.load(Ordering::Acquire) {
            Err(Unready::Draining)
        } else if !self.ready.load(Ordering::Acquire) {
            Err(Unready::Starting)
        } else if let Some(core) = self.stuck(now) {
            Err(Unready::Stuck(core))
        } else if self.cores.iter().any(|core| core.read_only.load(Ordering::Relaxed)) {
            Err(Unready::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// Writes the gauges.
    pub(super) fn expose(&self, text: &mut Exposition, now: Instant) {
        text.family("build_info", Kind::Gauge, "Always 1; the version is a label.");
        text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.family("ready", Kind::Gauge, "1 while requests are welcome.");
        text.sample(&[], u64::from(self.readiness(now).is_ok()));
        for gauge in &self.gauges {
            text.family(gauge.name, gauge.kind, gauge.help);
            text.sample(&[], (gauge.read)());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::aggregate::now;

    #[test]
    fn readiness() {
        let (state, now) = (AdminState::new(2), now());
        assert_eq!(state.readiness(now), Err(Unready::Starting));
        state.set_ready();
        assert_eq!(state.readiness(now), Ok(()));
        state.set_read_only(1, true);
        assert_eq!(state.readiness(now), Err(Unready::ReadOnly));
        state.set_read_only(1, false);
        assert_eq!(state.readiness(now), Ok(()));
        state.set_draining();
        assert_eq!(state.readiness(now), Err(Unready::Draining));
    }

    #[test]
    fn a_core_that_stops_beating_is_stuck() {
        let (state, start) = (AdminState::new(2), now());
        state.set_ready();
        state.beat(1);
        assert_eq!(state.stuck(start), None);
        assert_eq!(state.stuck(start + STUCK_AFTER / 2), None);
        state.beat(1);
        assert_eq!(state.stuck(start + STUCK_AFTER), None, "it has beaten");
        // Core 0 never gave a sign, so it is not missed.
        assert_eq!(state.stuck(start + STUCK_AFTER * 2), Some(1));
        assert_eq!(state.readiness(start + STUCK_AFTER * 2), Err(Unready::Stuck(1)));
        state.beat(1);
        assert_eq!(state.readiness(start + STUCK_AFTER * 3), Ok(()));
    }

    #[test]
    fn a_core_that_is_not_there_does_no_harm() {
        let state = AdminState::new(1);
        state.beat(7);
        state.set_read_only(7, true);
        state.set_ready();
        assert_eq!(state.readiness(now()), Ok(()));
    }
}
