//! The per-core ring between a core and the aggregator.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use super::Record;

/// A core's end: pushes and never waits, whatever the aggregator is doing.
pub struct Emitter {
    core: u16,
    ring: RefCell<Producer<Record>>,
    dropped: Arc<AtomicU64>,
}

/// The aggregator's end of all rings.
pub struct Collector(Vec<End>);

struct End {
    ring: Consumer<Record>,
    dropped: Arc<AtomicU64>,
}

/// One ring per core, each for `capacity` records.
#[must_use]
pub fn rings(cores: u16, capacity: usize) -> (Vec<Emitter>, Collector) {
    let ring = |core| {
        let (producer, consumer) = RingBuffer::new(capacity);
        let dropped = Arc::new(AtomicU64::new(0));
        let emitter = Emitter { core, ring: producer.into(), dropped: Arc::clone(&dropped) };
        (emitter, End { ring: consumer, dropped })
    };
    let (emitters, ends) = (0..cores).map(ring).unzip();
    (emitters, Collector(ends))
}

impl Emitter {
    /// The core it belongs to.
    #[must_use]
    pub fn core(&self) -> u16 {
        self.core
    }

    /// Leaves a record. A full ring counts the loss, which is on `/metrics`.
    pub fn emit(&self, record: Record) {
        if self.ring.borrow_mut().push(record).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
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
    pub fn drain(&mut self, mut each: impl FnMut(Record)) -> usize {
        let mut count = 0;
        for end in &mut self.0 {
            // What is there now, so that one busy core does not hide the others.
            for _ in 0..end.ring.slots() {
                let Ok(record) = end.ring.pop() else { break };
                each(record);
                count += 1;
            }
        }
        count
    }

    /// Records lost to full rings since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.iter().map(|end| end.dropped.load(Ordering::Relaxed)).sum()
    }
}
