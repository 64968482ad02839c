//! Blocks of runs, kept in memory for all cores.

use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::block::Block;
use crate::io::budget::{Budget, Reservation, Shrink};

/// What a block costs besides its bytes.
const OVERHEAD: usize = 192;

/// A cache of blocks, by run and number. It pays from the byte budget and gives way to requests.
///
/// Its locks are held for a look at a table, never while anything is read.
pub(crate) struct BlockCache {
    budget: Budget,
    cache: Cache<(u64, u32), Cached, Weight, BuildHasherDefault<Mixer>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Clone)]
struct Cached {
    block: Arc<Block>,
    reservation: Arc<Reservation>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<(u64, u32), Cached> for Weight {
    fn weight(&self, _block: &(u64, u32), cached: &Cached) -> u64 {
        cached.reservation.bytes()
    }
}

/// Mixes the two numbers of a key; nobody from outside chooses them.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(26) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl BlockCache {
    /// A cache of at most so many bytes.
    pub(crate) fn new(budget: Budget, bytes_max: u64) -> Arc<Self> {
        let block = (super::block::TARGET + OVERHEAD) as u64;
        let typical = usize::try_from(bytes_max / block).unwrap_or(usize::MAX).max(16);
        let cache = Cache::with(
            typical,
            bytes_max,
            Weight,
            BuildHasherDefault::default(),
            quick_cache::sync::DefaultLifecycle::default(),
        );
        let (hits, misses) = Default::default();
        let cache = Arc::new(Self { budget, cache, hits, misses });
        let weak: std::sync::Weak<Self> = Arc::downgrade(&cache);
        cache.budget.register_cache(weak);
        cache
    }

    pub(super) fn get(&self, run: u64, number: u32) -> Option<Arc<Block>> {
        let found = self.cache.get(&(run, number)).map(|cached| cached.block);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps a block if there is memory for it.
    pub(super) fn insert(&self, run: u64, number: u32, block: &Arc<Block>) {
        // Before any lock: the budget may ask this very cache to shrink.
        let bytes = (block.memory_bytes() + OVERHEAD) as u64;
        let Some(reservation) = self.budget.try_reserve(bytes) else { return };
        let (block, reservation) = (Arc::clone(block), Arc::new(reservation));
        self.cache.insert((run, number), Cached { block, reservation });
    }

    /// Forgets the blocks of a run whose file goes.
    pub(crate) fn forget(&self, run: u64) {
        self.cache.retain(|(of, _), _| *of != run);
    }

    /// Blocks that were found here, since the start.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Blocks that were not found here, since the start.
    pub(crate) fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// Bytes that it keeps.
    pub(crate) fn bytes(&self) -> u64 {
        self.cache.weight()
    }
}

impl Shrink for BlockCache {
    fn shrink(&self, bytes: u64) {
        let capacity = self.cache.capacity();
        self.cache.set_capacity(self.cache.weight().saturating_sub(bytes));
        self.cache.set_capacity(capacity);
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("BlockCache").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
