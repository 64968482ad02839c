//! Retired segment files that are kept to be written again, shared by the logs of one start: on a full disk, what one
//! log gives back goes to the one that has no spare, and first to one that has no room at all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Files kept for each log.
const EACH: usize = 1;

/// Files under new numbers, with their lengths.
#[derive(Debug, Default)]
pub(crate) struct Recycled {
    logs: AtomicUsize,
    /// Logs that have refused even what makes room, and have no new segment since.
    needy: AtomicUsize,
    files: Mutex<Vec<(u64, u64)>>,
}

impl Recycled {
    /// One more log may take files, and so one more is kept.
    pub(super) fn add_log(&self) {
        self.logs.fetch_add(1, Ordering::Relaxed);
    }

    /// One log more, or one less, has no room even for what makes room: until it has, the others should take none.
    pub(super) fn count_needy(&self, more: bool) {
        if more {
            self.needy.fetch_add(1, Ordering::Relaxed);
        } else {
            self.needy.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether there is such a log.
    pub(super) fn has_needy(&self) -> bool {
        self.needy.load(Ordering::Relaxed) > 0
    }

    /// Whether another file is kept.
    pub(super) fn wants_more(&self) -> bool {
        self.files().len() < EACH * self.logs.load(Ordering::Relaxed)
    }

    pub(super) fn give(&self, segment: u64, length: u64) {
        self.files().push((segment, length));
    }

    /// Whether there is a file of this length.
    pub(super) fn has(&self, length: u64) -> bool {
        self.files().iter().any(|file| file.1 == length)
    }

    /// Takes a file of this length.
    pub(super) fn take(&self, length: u64) -> Option<u64> {
        let mut files = self.files();
        let at = files.iter().position(|file| file.1 == length)?;
        Some(files.swap_remove(at).0)
    }

    /// Takes all there are: a log has ended.
    pub(super) fn take_all(&self) -> Vec<u64> {
        self.logs.store(0, Ordering::Relaxed);
        self.files().drain(..).map(|(segment, _)| segment).collect()
    }

    fn files(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
