//! Which core a connection, a thread belongs to.
#![expect(unsafe_code, reason = "an empty cpu_set_t can only be made from zeros")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs that this process may run on, in ascending order.
///
/// # Errors
/// As sched_getaffinity(2).
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    let mask = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| mask.is_set(cpu)).collect())
}

/// Pins the calling thread to one CPU. Threads that it starts later inherit that.
///
/// # Errors
/// If the process may not run on `cpu`.
pub fn pin_thread(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut mask = CpuSet::new();
    mask.set(cpu);
    Ok(sched_setaffinity(None, &mask)?)
}

/// A mask of one CPU, for the kernel's own workers.
pub(super) fn mask_of(cpu: usize) -> libc::cpu_set_t {
    // SAFETY: cpu_set_t is an array of integers; all zeros is the empty set.
    let mut mask: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if cpu < CpuSet::MAX_CPU {
        // SAFETY: within the set, as just checked.
        unsafe { libc::CPU_SET(cpu, &mut mask) };
    }
    mask
}

/// Keeps cores from sharing a cache line.
#[repr(align(128))]
#[derive(Default)]
struct Count(AtomicUsize);

struct Shared {
    counts: Box<[Count]>,
    limit: usize,
}

/// How many connections each core has, seen by all cores.
#[derive(Clone)]
pub struct Loads(Arc<Shared>);

/// A connection that counts on its core until this is dropped.
pub struct Load {
    shared: Arc<Shared>,
    core: usize,
}

impl Loads {
    /// No connections on any of `cores` cores, and at most about `limit` over all.
    #[must_use]
    pub fn new(cores: usize, limit: usize) -> Self {
        let counts = (0..cores).map(|_| Count::default()).collect();
        Self(Arc::new(Shared { counts, limit }))
    }

    /// Connections of one core.
    #[must_use]
    pub fn of(&self, core: usize) -> usize {
        self.0.counts[core].0.load(Ordering::Relaxed)
    }

    /// Connections of all cores.
    #[must_use]
    pub fn total(&self) -> usize {
        (0..self.0.counts.len()).map(|core| self.of(core)).sum()
    }

    /// Counts a new connection on the least loaded core, which is `here` unless another has fewer;
    /// `None` if there are too many. Cores that accept at the same moment may overshoot by one each.
    #[must_use]
    pub fn place(&self, here: usize) -> Option<Load> {
        if self.total() >= self.0.limit {
            return None;
        }
        let mut core = here;
        for other in 0..self.0.counts.len() {
            if self.of(other) < self.of(core) {
                core = other;
            }
        }
        self.0.counts[core].0.fetch_add(1, Ordering::Relaxed);
        Some(Load { shared: self.0.clone(), core })
    }
}

impl Load {
    /// The core it counts on.
    #[must_use]
    pub fn core(&self) -> usize {
        self.core
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.counts[self.core].0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_to_the_least_loaded_core() {
        let loads = Loads::new(3, 100);
        let held: Vec<_> = (0..9).map(|_| loads.place(0).unwrap()).collect();
        assert_eq!([loads.of(0), loads.of(1), loads.of(2)], [3, 3, 3]);
        drop(held);
        assert_eq!(loads.total(), 0);
    }

    #[test]
    fn the_accepting_core_keeps_what_is_even() {
        let loads = Loads::new(4, 100);
        assert_eq!(loads.place(2).unwrap().core(), 2);
    }

    #[test]
    fn the_limit_is_over_all_cores() {
        let loads = Loads::new(2, 3);
        let held: Vec<_> = (0..3).map(|_| loads.place(1).unwrap()).collect();
        assert!(loads.place(1).is_none());
        drop(held);
        assert!(loads.place(1).is_some());
    }

    #[test]
    fn a_pinned_thread_runs_where_it_was_told() {
        let cpus = allowed_cpus().unwrap();
        let last = *cpus.last().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pin_thread(last).unwrap();
                assert_eq!(allowed_cpus().unwrap(), [last]);
            });
        });
        assert!(pin_thread(CpuSet::MAX_CPU).is_err());
    }
}
