//! What the cores share of checkpoints: what is durable of each shard, and which log segments are covered.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::index::SHARDS;
use super::index::checkpoint::Accounts;

/// What is durable of a shard.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// The sequence of its checkpoint; 0 if it has none.
    pub(crate) sequence: u64,
    /// What the entries of its runs hold that no newer run hides.
    pub(crate) accounts: Accounts,
}

/// The checkpoints of a data folder.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    books: Box<[Mutex<Book>]>,
    /// Whether there is a checkpoint or a mark.
    any: AtomicBool,
    /// Checkpoints that are being made.
    attempts: AtomicUsize,
    /// There was no room for one: none is made until there is some.
    resting: AtomicBool,
    /// A dead log segment waits for one.
    waited_for: AtomicBool,
    /// Artifacts that were refused for want of room.
    refusals: AtomicU64,
    /// None is ever made.
    off: bool,
    /// No more are made in this start.
    given_up: AtomicBool,
    damaged: AtomicBool,
    /// This start has found damage in the logs of earlier ones, and later ones are to find it too.
    log_damaged: AtomicBool,
    /// By core: the position before which its log of this start is covered, once it has a mark.
    positions: Box<[AtomicU32]>,
    /// Log segments of earlier starts that were covered when we started.
    covered: Mutex<HashSet<u64>>,
    /// Cores that are to make a checkpoint soon.
    wanted: Box<[AtomicBool]>,
    /// Runs that some core may read.
    runs: Mutex<HashSet<u64>>,
    pub(crate) counters: Counters,
}

/// What was done since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) flushes: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    /// Runs of what the start did not keep in memory while it replayed logs.
    pub(crate) spills: AtomicU64,
}

/// A checkpoint that is being made.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    checkpoints: &'a Checkpoints,
    weight: usize,
}

/// So many attempts stand for one that is alone.
const ALONE: usize = usize::MAX;

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.checkpoints.attempts.fetch_sub(self.weight, Ordering::SeqCst);
    }
}

/// Stands for "no mark yet".
const NONE: u32 = u32::MAX;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Checkpoints {
    /// For so many cores; without `sorted_runs` none is ever made.
    pub(crate) fn new(cores: usize, sorted_runs: bool) -> Self {
        Self {
            books: (0..SHARDS).map(|_| Mutex::default()).collect(),
            any: AtomicBool::new(false),
            attempts: AtomicUsize::new(0),
            resting: AtomicBool::new(false),
            waited_for: AtomicBool::new(false),
            refusals: AtomicU64::new(0),
            off: !sorted_runs,
            given_up: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            log_damaged: AtomicBool::new(false),
            positions: (0..cores).map(|_| AtomicU32::new(NONE)).collect(),
            covered: Mutex::default(),
            wanted: (0..cores).map(|_| AtomicBool::new(false)).collect(),
            runs: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// A shard's book. For its owner.
    pub(crate) fn book(&self, shard: u8) -> MutexGuard<'_, Book> {
        lock(&self.books[usize::from(shard)])
    }

    /// A checkpoint is being made for as long as the attempt lives: meanwhile only covered log segments go. `None` while
    /// all are being given up.
    pub(crate) fn attempt(&self) -> Option<Attempt<'_>> {
        let more = |attempts: usize| attempts.checked_add(1).filter(|more| *more < ALONE);
        let begun = self.attempts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        begun.is_ok().then(|| Attempt { checkpoints: self, weight: 1 })
    }

    /// Keeps everybody from making one; `None` if somebody does.
    pub(crate) fn alone(&self) -> Option<Attempt<'_>> {
        let order = Ordering::SeqCst;
        let begun = self.attempts.compare_exchange(0, ALONE, order, order);
        begun.is_ok().then(|| Attempt { checkpoints: self, weight: ALONE })
    }

    /// There is no checkpoint any more, and the runs have what they had: the next checkpoints are of everything. None is
    /// made before [`Checkpoints::wake`]: if one core made one, what is dead would wait for the others again.
    pub(crate) fn begin_again(&self) {
        self.resting.store(true, Ordering::SeqCst);
        for book in &self.books {
            lock(book).sequence = 0;
        }
        for position in &self.positions {
            position.store(NONE, Ordering::SeqCst);
        }
        lock(&self.covered).clear();
        self.waited_for.store(false, Ordering::SeqCst);
        self.any.store(false, Ordering::SeqCst);
    }

    /// Whether checkpoints wait for room.
    pub(crate) fn is_resting(&self) -> bool {
        self.resting.load(Ordering::SeqCst)
    }

    /// There is room.
    pub(crate) fn wake(&self) {
        self.resting.store(false, Ordering::SeqCst);
    }

    /// Whether there is a checkpoint or a mark.
    pub(crate) fn is_any(&self) -> bool {
        self.any.load(Ordering::SeqCst)
    }

    /// Whether only covered log segments may go.
    fn is_strict(&self) -> bool {
        self.any.load(Ordering::SeqCst) || self.attempts.load(Ordering::SeqCst) > 0
    }

    /// There is a checkpoint, or is about to be: from now on only covered log segments go.
    pub(crate) fn set_any(&self) {
        self.any.store(true, Ordering::SeqCst);
    }

    /// Makes no more checkpoints in this start. Says so once.
    pub(crate) fn give_up(&self, why: &str) {
        if !self.given_up.swap(true, Ordering::SeqCst) {
            tracing::error!(
                why,
                "the index cannot be written: no more checkpoints until the next start"
            );
        }
    }

    /// Whether none is ever made, because runs are not wanted.
    pub(crate) fn is_off(&self) -> bool {
        self.off
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.off || self.given_up.load(Ordering::SeqCst)
    }

    /// Something of the index is damaged: the next start is to build it again from the logs.
    pub(crate) fn note_damage(&self, what: &str) {
        if !self.damaged.swap(true, Ordering::SeqCst) {
            tracing::error!(
                what,
                "the index is damaged: the next start builds it again from the logs"
            );
        }
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// The logs of earlier starts are damaged: they are to be replayed until that is accepted.
    pub(crate) fn set_log_damaged(&self) {
        self.log_damaged.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_log_damaged(&self) -> bool {
        self.log_damaged.load(Ordering::SeqCst)
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::SeqCst)
    }

    /// A mark of this start is durable.
    pub(crate) fn marked(&self, core: usize, position: u32) {
        self.positions[core].store(position, Ordering::SeqCst);
        self.waited_for.store(false, Ordering::SeqCst);
    }

    /// The position up to which a core's log is marked.
    pub(crate) fn position(&self, core: usize) -> Option<u32> {
        Some(self.positions[core].load(Ordering::SeqCst)).filter(|position| *position != NONE)
    }

    /// Whether all cores of this start have a mark, which covers all earlier starts.
    pub(crate) fn all_marked(&self) -> bool {
        self.positions.iter().all(|position| position.load(Ordering::SeqCst) != NONE)
    }

    /// Log segments of earlier starts that need not be replayed.
    pub(crate) fn set_covered(&self, segments: impl IntoIterator<Item = u64>) {
        lock(&self.covered).extend(segments);
    }

    /// Whether a dead log segment of this start may go; if not, a checkpoint is made soon.
    pub(crate) fn may_retire(&self, core: usize, position: u32) -> bool {
        let covered =
            !self.is_strict() || self.position(core).is_some_and(|before| position < before);
        if !covered {
            self.waited_for.store(true, Ordering::SeqCst);
            self.want(core);
        }
        covered
    }

    /// The same for one of an earlier start.
    pub(crate) fn may_retire_old(&self, segment: u64) -> bool {
        let covered =
            !self.is_strict() || lock(&self.covered).contains(&segment) || self.all_marked();
        if !covered {
            self.waited_for.store(true, Ordering::SeqCst);
            let missing = (0..self.positions.len()).filter(|&core| self.position(core).is_none());
            missing.for_each(|core| self.want(core));
        }
        covered
    }

    /// Whether a dead log segment waited for a checkpoint, and none was made since.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waited_for.load(Ordering::SeqCst)
    }

    /// An artifact was refused for want of room.
    pub(crate) fn note_refusal(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were refused so far.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Asks a core for a checkpoint.
    pub(crate) fn want(&self, core: usize) {
        self.wanted[core].store(true, Ordering::SeqCst);
    }

    /// Whether a core was asked since the last call.
    pub(crate) fn take_wanted(&self, core: usize) -> bool {
        self.wanted[core].swap(false, Ordering::SeqCst)
    }

    /// A run is in use.
    pub(crate) fn add_run(&self, run: u64) {
        lock(&self.runs).insert(run);
    }

    /// A run's file goes.
    pub(crate) fn drop_run(&self, run: u64) {
        lock(&self.runs).remove(&run);
    }

    /// Whether a run's file may still be read.
    pub(crate) fn has_run(&self, run: u64) -> bool {
        lock(&self.runs).contains(&run)
    }

    /// Forgets what was read of a shard.
    pub(crate) fn reset(&self, shard: u8) {
        *self.book(shard) = Book::default();
    }

    /// There is no checkpoint any more.
    pub(crate) fn reset_all(&self) {
        self.any.store(false, Ordering::SeqCst);
        lock(&self.covered).clear();
        lock(&self.runs).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_is_refused_changes_nothing() {
        let checkpoints = Checkpoints::new(1, true);
        let attempt = checkpoints.attempt();
        assert!(attempt.is_some() && checkpoints.alone().is_none());
        drop(attempt);
        assert!(!checkpoints.is_strict());
        let alone = checkpoints.alone();
        assert!(alone.is_some() && checkpoints.attempt().is_none());
        drop(alone);
        assert!(!checkpoints.is_strict());
        assert!(checkpoints.alone().is_some());
    }
}
