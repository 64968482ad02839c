//! Counters and histograms of all operations, kept by the aggregator and written as Prometheus text.
//!
//! Memory is bounded: labels come from closed enums and static tables, never from a request.

use std::collections::{BTreeMap, HashSet, VecDeque};

use hdrhistogram::Histogram;

use super::exposition::{Exposition, Kind};
use super::{Operation, Outcome, Record};
use crate::context::{STAGES, Stage};

/// Upper bounds of the duration classes, in nanoseconds.
const BOUNDS_NS: [u64; 20] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
    60_000_000_000,
    600_000_000_000,
];
/// Quantiles that are shown.
const QUANTILES: [(f64, &str); 4] = [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99"), (0.999, "0.999")];
/// Times up to this are told apart; longer ones count as this.
const TIME_NS_MAX: u64 = 2 * 3_600_000_000_000;
/// Commit batches that are remembered so as to count each once.
const BATCHES_REMEMBERED: usize = 4096;
/// The status of an answer that was not sent, or is none.
const STATUS_NONE: u16 = 0;

const OPERATIONS: usize = Operation::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();
const STAGE_NAMES: [(Stage, &str); STAGES] = [
    (Stage::Wait, "wait"),
    (Stage::Parse, "parse"),
    (Stage::Auth, "auth"),
    (Stage::Index, "index"),
    (Stage::Disk, "disk"),
    (Stage::SyncWait, "sync_wait"),
    (Stage::Send, "send"),
];

/// Times of one kind: quantiles to about one percent, and their exact sum.
struct Times {
    histogram: Histogram<u64>,
    sum_ns: u64,
}

impl Times {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(64, TIME_NS_MAX, 2)
            .expect("the bounds are constants that fit");
        Self { histogram, sum_ns: 0 }
    }

    fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }
}

/// What is kept of one operation.
#[derive(Default)]
struct OperationMetrics {
    outcomes: [u64; OUTCOMES],
    bytes_in: u64,
    bytes_out: u64,
    cache_hits: u64,
    cpu_ns: u64,
    /// Per bound the operations that took longer than the one before and no longer than it; the last is for all above.
    classes: [u64; BOUNDS_NS.len() + 1],
    // Made at the first use: most operations of most servers are never asked for.
    total: Option<Box<Times>>,
    stages: [Option<Box<Times>>; STAGES],
}

/// All metrics of all operations.
pub struct Metrics {
    operations: [OperationMetrics; OPERATIONS],
    statuses: BTreeMap<u16, u64>,
    errors: BTreeMap<&'static str, u64>,
    cores: Vec<u64>,
    events: u64,
    dropped: u64,
    commits: u64,
    batches: u64,
    batches_known: HashSet<u64>,
    batches_order: VecDeque<u64>,
    queue_depth_sum: u64,
    queue_depth_max: u32,
}

impl Metrics {
    /// Nothing counted yet, for this many cores.
    #[must_use]
    pub fn new(cores: u16) -> Self {
        Self {
            operations: std::array::from_fn(|_| OperationMetrics::default()),
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            cores: vec![0; usize::from(cores)],
            events: 0,
            dropped: 0,
            commits: 0,
            batches: 0,
            batches_known: HashSet::new(),
            batches_order: VecDeque::new(),
            queue_depth_sum: 0,
            queue_depth_max: 0,
        }
    }

    /// Counts one operation.
    pub fn record(&mut self, record: &Record) {
        self.events += 1;
        let status = if (100..600).contains(&record.status) { record.status } else { STATUS_NONE };
        *self.statuses.entry(status).or_default() += 1;
        if !record.error_code.is_empty() {
            *self.errors.entry(record.error_code).or_default() += 1;
        }
        if let Some(count) = self.cores.get_mut(usize::from(record.core)) {
            *count += 1;
        }
        if record.batch_id != 0 {
            self.commit(record);
        }
        let operation = &mut self.operations[record.operation as usize];
        operation.outcomes[record.outcome as usize] += 1;
        operation.bytes_in += record.bytes_in;
        operation.bytes_out += record.bytes_out;
        operation.cache_hits += u64::from(record.cache_hit);
        operation.cpu_ns = operation.cpu_ns.saturating_add(record.cpu_ns);
        operation.classes[BOUNDS_NS.partition_point(|&bound| bound < record.total_ns)] += 1;
        operation.total.get_or_insert_with(|| Box::new(Times::new())).record(record.total_ns);
        for (times, &ns) in operation.stages.iter_mut().zip(&record.stages_ns) {
            // A stage that an operation does not pass through is no time of zero.
            if ns > 0 {
                times.get_or_insert_with(|| Box::new(Times::new())).record(ns);
            }
        }
    }

    /// Sets how many records were lost before they got here.
    pub fn set_dropped(&mut self, dropped: u64) {
        self.dropped = dropped;
    }

    fn commit(&mut self, record: &Record) {
        self.commits += 1;
        self.queue_depth_sum += u64::from(record.queue_depth);
        self.queue_depth_max = self.queue_depth_max.max(record.queue_depth);
        if self.batches_known.insert(record.batch_id) {
            self.batches += 1;
            self.batches_order.push_back(record.batch_id);
            if self.batches_order.len() > BATCHES_REMEMBERED
                && let Some(oldest) = self.batches_order.pop_front()
            {
                self.batches_known.remove(&oldest);
            }
        }
    }

    /// Writes all of them.
    pub(super) fn expose(&self, text: &mut Exposition) {
        self.expose_counts(text);
        self.expose_operations(text);
        self.expose_durations(text);
        self.expose_stages(text);
        self.expose_commits(text);
    }

    fn expose_counts(&self, text: &mut Exposition) {
        text.family("requests_total", Kind::Counter, "Operations by how they ended.");
        for (operation, metrics) in self.each() {
            for outcome in Outcome::ALL {
                let labels = [("operation", operation.name()), ("outcome", outcome.name())];
                text.sample(&labels, metrics.outcomes[outcome as usize]);
            }
        }
        text.family(
            "responses_total",
            Kind::Counter,
            "Answers by status; 0 where none could be sent.",
        );
        for (status, count) in &self.statuses {
            text.sample(&[("status", &status.to_string())], *count);
        }
        text.family("errors_total", Kind::Counter, "Errors by the code in the answer.");
        for (code, count) in &self.errors {
            text.sample(&[("code", code)], *count);
        }
        text.family("core_requests_total", Kind::Counter, "Operations by the core that served.");
        for (core, count) in self.cores.iter().enumerate() {
            text.sample(&[("core", &core.to_string())], *count);
        }
        text.family("events_total", Kind::Counter, "Event records that were counted.");
        text.sample(&[], self.events);
        text.family("events_dropped_total", Kind::Counter, "Event records lost to a full ring.");
        text.sample(&[], self.dropped);
    }

    fn expose_operations(&self, text: &mut Exposition) {
        let mut counter = |name, help, value: fn(&OperationMetrics) -> u64| {
            text.family(name, Kind::Counter, help);
            for (operation, metrics) in self.each().filter(|(_, metrics)| metrics.total.is_some()) {
                text.sample(&[("operation", operation.name())], value(metrics));
            }
        };
        counter("received_bytes_total", "Body bytes received.", |metrics| metrics.bytes_in);
        counter("sent_bytes_total", "Body bytes sent.", |metrics| metrics.bytes_out);
        counter("cache_hits_total", "Operations whose bytes came from a cache.", |metrics| {
            metrics.cache_hits
        });
        text.family("request_cpu_seconds_total", Kind::Counter, "CPU time spent, where measured.");
        for (operation, metrics) in self.each().filter(|(_, metrics)| metrics.total.is_some()) {
            text.seconds(&[("operation", operation.name())], metrics.cpu_ns);
        }
    }

    fn expose_durations(&self, text: &mut Exposition) {
        text.family(
            "request_duration_seconds",
            Kind::Histogram,
            "From the first byte of a request to the last of its answer.",
        );
        for (operation, metrics) in self.each() {
            let Some(total) = &metrics.total else { continue };
            let name = operation.name();
            let mut count = 0;
            for (bound, more) in BOUNDS_NS.iter().zip(&metrics.classes) {
                count += more;
                let bound = super::exposition::seconds(*bound);
                text.suffixed("_bucket", &[("operation", name), ("le", &bound)], count);
            }
            count += metrics.classes[BOUNDS_NS.len()];
            text.suffixed("_bucket", &[("operation", name), ("le", "+Inf")], count);
            text.suffixed_seconds("_sum", &[("operation", name)], total.sum_ns);
            text.suffixed("_count", &[("operation", name)], count);
        }
        text.family(
            "request_quantiles_seconds",
            Kind::Summary,
            "Quantiles of request_duration_seconds since the start.",
        );
        for (operation, metrics) in self.each() {
            if let Some(total) = &metrics.total {
                summary(text, &[("operation", operation.name())], total);
            }
        }
    }

    fn expose_stages(&self, text: &mut Exposition) {
        text.family(
            "stage_duration_seconds",
            Kind::Summary,
            "Time that operations spent in a stage, of those that passed through it.",
        );
        for (operation, metrics) in self.each() {
            for (stage, name) in STAGE_NAMES {
                if let Some(times) = &metrics.stages[stage as usize] {
                    summary(text, &[("operation", operation.name()), ("stage", name)], times);
                }
            }
        }
    }

    fn expose_commits(&self, text: &mut Exposition) {
        text.family("commits_total", Kind::Counter, "Operations made durable by a commit batch.");
        text.sample(&[], self.commits);
        text.family("commit_batches_total", Kind::Counter, "Commit batches that these shared.");
        text.sample(&[], self.batches);
        text.family(
            "commit_queue_depth_sum",
            Kind::Counter,
            "Depth of the commit queue at joining it, summed over commits.",
        );
        text.sample(&[], self.queue_depth_sum);
        text.family("commit_queue_depth_max", Kind::Gauge, "Greatest depth of the commit queue.");
        text.sample(&[], u64::from(self.queue_depth_max));
    }

    fn each(&self) -> impl Iterator<Item = (Operation, &OperationMetrics)> {
        Operation::ALL.into_iter().zip(&self.operations)
    }
}

fn summary(text: &mut Exposition, labels: &[(&str, &str)], times: &Times) {
    for (quantile, name) in QUANTILES {
        let labels = [labels, &[("quantile", name)]].concat();
        text.seconds(&labels, times.histogram.value_at_quantile(quantile));
    }
    text.suffixed_seconds("_sum", labels, times.sum_ns);
    text.suffixed("_count", labels, times.histogram.len());
}

/// Name of a stage in metrics and logs, by its number.
pub(super) fn stage_names() -> impl Iterator<Item = &'static str> {
    STAGE_NAMES.into_iter().map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
