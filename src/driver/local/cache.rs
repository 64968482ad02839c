//! The bytes of small artifacts, kept in memory. The log is written past the page cache, so nothing else keeps them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::io::budget::{Budget, Reservation, Shrink};

/// What an entry costs besides its bytes.
const OVERHEAD: u64 = 128;

/// One core's cache, by the id of the bytes. It pays from the byte budget and gives way first.
pub(super) struct InlineCache {
    budget: Budget,
    cache: Mutex<Cache<u64, Cached, Weight>>,
}

struct Cached {
    bytes: Bytes,
    reservation: Reservation,
}

#[derive(Clone)]
struct Weight;

impl Weighter<u64, Cached> for Weight {
    fn weight(&self, _id: &u64, cached: &Cached) -> u64 {
        cached.reservation.bytes()
    }
}

impl InlineCache {
    /// A cache of at most so many bytes.
    pub(super) fn new(budget: Budget, bytes_max: u64) -> Arc<Self> {
        let typical = usize::try_from(bytes_max / (4096 + OVERHEAD)).unwrap_or(usize::MAX).max(16);
        let cache = Mutex::new(Cache::with_weighter(typical, bytes_max, Weight));
        let cache = Arc::new(Self { budget, cache });
        let weak: std::sync::Weak<Self> = Arc::downgrade(&cache);
        cache.budget.register_cache(weak);
        cache
    }

    pub(super) fn get(&self, id: u64) -> Option<Bytes> {
        self.lock().get(&id).map(|cached| cached.bytes.clone())
    }

    /// Keeps bytes if there is memory for them.
    pub(super) fn insert(&self, id: u64, bytes: Bytes) {
        // Before the lock: the budget may ask this very cache to shrink.
        let Some(reservation) = self.budget.try_reserve(bytes.len() as u64 + OVERHEAD) else {
            return;
        };
        self.lock().insert(id, Cached { bytes, reservation });
    }

    fn lock(&self) -> MutexGuard<'_, Cache<u64, Cached, Weight>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shrink for InlineCache {
    fn shrink(&self, bytes: u64) {
        let mut cache = self.lock();
        let capacity = cache.capacity();
        let weight = cache.weight();
        cache.set_capacity(weight.saturating_sub(bytes));
        cache.set_capacity(capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_pays_from_the_budget_and_gives_way() {
        let budget = Budget::new(64 << 10);
        let cache = InlineCache::new(budget.clone(), 32 << 10);
        for id in 0..100 {
            cache.insert(id, Bytes::from(vec![1; 4000]));
        }
        assert!(budget.in_use() <= 32 << 10, "{}", budget.in_use());
        assert!(budget.in_use() > 16 << 10);
        let all = budget.try_reserve(64 << 10);
        assert!(all.is_some(), "caches give way to requests");
        assert_eq!(budget.in_use(), 64 << 10);
        drop(all);
        cache.insert(1000, Bytes::from_static(b"again"));
        assert_eq!(cache.get(1000).as_deref(), Some(&b"again"[..]));
    }
}
