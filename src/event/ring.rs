//! The per-core ring between a core and the aggregator.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

use super::Record;

struct Ring {
    queue: ArrayQueue<Record>,
    dropped: AtomicU64,
}

/// A core's end: pushes and never waits.
#[derive(Clone)]
pub struct Emitter {
    core: u16,
    ring: Arc<Ring>,
}

/// The aggregator's end of all rings.
pub struct Collector(Vec<Arc<Ring>>);

/// One ring per core, each for `capacity` records.
#[must_use]
pub fn rings(cores: u16, capacity: usize) -> (Vec<Emitter>, Collector) {
    let rings: Vec<_> = (0..cores)
        .map(|_| Arc::new(Ring { queue: ArrayQueue::new(capacity), dropped: AtomicU64::new(0) }))
        .collect();
    let emitters =
        (0..cores).zip(&rings).map(|(core, ring)| Emitter { core, ring: ring.clone() }).collect();
    (emitters, Collector(rings))
}

impl Emitter {
    /// The core it belongs to.
    #[must_use]
    pub fn core(&self) -> u16 {
        self.core
    }

    /// Leaves a record. A full ring counts the loss, which is on `/metrics`.
    pub fn emit(&self, record: Record) {
        if self.ring.queue.push(record).is_err() {
            self.ring.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Collector {
    /// Number of rings.
    #[must_use]
    pub fn cores(&self) -> u16 {
        u16::try_from(self.0.len()).unwrap_or(u16::MAX)
    }

    /// Takes what has arrived, core by core, and returns how many records that were.
    pub fn drain(&self, mut each: impl FnMut(Record)) -> usize {
        let mut count = 0;
        for ring in &self.0 {
            // Bounded, so that one busy core does not hide the others.
            for _ in 0..ring.queue.capacity() {
                let Some(record) = ring.queue.pop() else { break };
                each(record);
                count += 1;
            }
        }
        count
    }

    /// Records lost to full rings since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.iter().map(|ring| ring.dropped.load(Ordering::Relaxed)).sum()
    }
}
