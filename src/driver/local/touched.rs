//! What was read lately, so that only what is read again goes through the page cache.

use std::cell::RefCell;

use quick_cache::unsync::Cache;

use crate::shard::files::Access;

/// Extents that are remembered on a core.
const EXTENTS_MAX: usize = 32 << 10;

/// The ids of the extents that one core has read lately.
pub(super) struct Touched(RefCell<Cache<u64, ()>>);

impl Touched {
    pub(super) fn new() -> Self {
        Self(RefCell::new(Cache::new(EXTENTS_MAX)))
    }

    /// How to read an extent now, and notes that it is read.
    pub(super) fn access(&self, id: u64) -> Access {
        let mut touched = self.0.borrow_mut();
        if touched.get(&id).is_some() {
            return Access::Cached;
        }
        touched.insert(id, ());
        Access::Direct
    }
}
