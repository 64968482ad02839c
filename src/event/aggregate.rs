//! The aggregator: one thread of low priority that turns records into metrics and access log lines.
//!
//! It is not pinned, for every CPU has an executor, and it yields to them.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::admin::{self, AdminHandle};
use super::exposition::Exposition;
use super::metrics::Metrics;
use super::ring::Collector;
use super::{access_log, process};
use crate::event::AdminState;

/// How much nicer it is than the executors: they leave it a tenth of a CPU that they could use whole. More, and a core
/// that is always busy would starve it, and its events be lost.
const NICER: i32 = 10;
/// Shortest pause between two looks at the rings.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Longest pause, and so the age of what `/metrics` shows.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// So many records in one look mean that the next one should come soon.
const BUSY: usize = 256;
/// Pause between two looks at whether the cores live.
const WATCH: Duration = Duration::from_secs(1);
/// Memory that the access log keeps between two writes, in bytes.
const LINES_KEPT: usize = 1 << 20;

/// What the aggregator and the administration port share.
pub(super) struct Shared {
    metrics: Mutex<Metrics>,
    state: Arc<AdminState>,
    stop: AtomicBool,
}

impl Shared {
    fn metrics(&self) -> MutexGuard<'_, Metrics> {
        // Counters are usable after a panic, too.
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> &AdminState {
        &self.state
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The text of `/metrics`.
    pub(super) fn expose(&self) -> String {
        let mut text = Exposition::new();
        self.metrics().expose(&mut text);
        self.state.expose(&mut text, now());
        process::expose(&mut text);
        text.finish()
    }
}

/// Ends the aggregator and the administration port.
pub struct AggregatorHandle {
    shared: Arc<Shared>,
    aggregator: JoinHandle<()>,
    admin: AdminHandle,
}

impl AggregatorHandle {
    /// Where the administration port answers.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Counts and logs what the rings still hold, then ends the threads. Call it when the cores
    /// have ended.
    pub fn shutdown(self) {
        self.shared.stop.store(true, Ordering::Release);
        let thread: &Thread = self.aggregator.thread();
        thread.unpark();
        if self.aggregator.join().is_err() {
            tracing::error!("the event aggregator panicked");
        }
        self.admin.shutdown();
    }
}

/// Starts the aggregator, and the administration port on `admin` (see [`admin::bind`]). With
/// `access_log` every event becomes a line on stderr.
///
/// # Errors
/// A thread could not be started.
pub fn start(
    collector: Collector,
    admin: TcpListener,
    state: Arc<AdminState>,
    access_log: bool,
) -> io::Result<AggregatorHandle> {
    let log: Option<Box<dyn Write + Send>> =
        if access_log { Some(Box::new(io::stderr())) } else { None };
    start_with(collector, admin, state, log)
}

fn start_with(
    collector: Collector,
    admin: TcpListener,
    state: Arc<AdminState>,
    log: Option<Box<dyn Write + Send>>,
) -> io::Result<AggregatorHandle> {
    let metrics = Mutex::new(Metrics::new(collector.cores()));
    let shared = Arc::new(Shared { metrics, state, stop: AtomicBool::new(false) });
    let admin = admin::start(admin, &shared)?;
    let aggregator = Aggregator { shared: shared.clone(), collector, log, lines: String::new() };
    let aggregator = Builder::new().name("events".to_owned()).spawn(move || aggregator.run())?;
    Ok(AggregatorHandle { shared, aggregator, admin })
}

struct Aggregator {
    shared: Arc<Shared>,
    collector: Collector,
    log: Option<Box<dyn Write + Send>>,
    lines: String,
}

impl Aggregator {
    fn run(mut self) {
        yield_to_executors();
        let (mut pause, mut watched) = (PAUSE_MIN, now());
        loop {
            // Read before the rings are: what was pushed before the stop is counted.
            let stop = self.shared.is_stopped();
            let count = self.drain();
            if stop && count == 0 {
                return;
            }
            if now().saturating_duration_since(watched) >= WATCH {
                watched = now();
                if let Some(core) = self.shared.state.stuck(watched) {
                    tracing::warn!(core, "a core shows no sign of life");
                }
            }
            pause = if count >= BUSY { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            if !stop {
                std::thread::park_timeout(pause);
            }
        }
    }

    fn drain(&mut self) -> usize {
        let Self { shared, collector, log, lines } = self;
        let count = {
            let mut metrics = shared.metrics();
            metrics.set_dropped(collector.dropped());
            collector.drain(|record| {
                metrics.record(&record);
                if log.is_some() {
                    access_log::line(&record, lines);
                }
            })
        };
        // Outside the lock: a reader of the log that is slow does not stop a scrape.
        if let Some(log) = log
            && !lines.is_empty()
        {
            // Nobody is left to be told that the log cannot be written.
            let _ = log.write_all(lines.as_bytes());
            lines.clear();
            lines.shrink_to(LINES_KEPT);
        }
        count
    }
}

/// Lowers the priority of this thread.
pub(super) fn yield_to_executors() {
    // On Linux the value belongs to the calling thread alone. Without it everything still works.
    if let Ok(nice) = rustix::process::getpriority_process(None) {
        let _ = rustix::process::setpriority_process(None, nice + NICER);
    }
}

/// The monotonic clock, for patience with scrapers and cores. No simulation runs this thread.
#[expect(clippy::disallowed_methods, reason = "nothing here is on a data path or simulated")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
