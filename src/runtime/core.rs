//! The executor of one core: a pinned thread that runs monoio on an io_uring of its own.
//!
//! The ring is set up with COOP_TASKRUN: completions are taken when the core enters the kernel
//! anyway, not by an interrupt, which makes a small request cheaper by a third. DEFER_TASKRUN would
//! hold completions back until the core waits, and a core with runnable tasks only submits.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use io_uring06::IoUring;
use monoio::blocking::DefaultThreadPool;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{placement, turn};

/// Entries of a core's submission queue.
const RING_ENTRIES: u32 = 1024;
/// Threads that the kernel may start for one core when an operation on a file must block. Sockets never need one.
const KERNEL_WORKERS_MAX: u32 = 8;

/// What the executors stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring.
    Uring,
    /// epoll, with blocking file operations: slow, for kernels and containers without io_uring.
    Legacy,
}

/// Why executors cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The kernel has no io_uring.
    #[error(
        "this kernel has no io_uring (Linux 5.15 or later is needed). \
         `--legacy-runtime` runs without it, slowly"
    )]
    Missing,
    /// io_uring is forbidden.
    #[error(
        "io_uring is forbidden here: by the seccomp profile of a container runtime (Docker: run with \
         `--security-opt seccomp=PROFILE`, a profile that allows io_uring_setup, io_uring_enter and \
         io_uring_register) or by the sysctl kernel.io_uring_disabled. `--legacy-runtime` runs \
         without it, slowly"
    )]
    Forbidden,
    /// Not enough lockable memory.
    #[error(
        "io_uring got no memory: the limit of lockable memory is {} KiB, which is too low \
         (`ulimit -l`, or LimitMEMLOCK in a systemd unit); 64 MiB is enough",
        limit_bytes / 1024
    )]
    LockedMemory {
        /// The limit.
        limit_bytes: u64,
    },
    /// Something else.
    #[error("the executor cannot start: {0}")]
    Io(#[from] io::Error),
}

impl BackendError {
    fn of_ring(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSYS) => Self::Missing,
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden,
            Some(libc::ENOMEM) => Self::LockedMemory {
                limit_bytes: getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX),
            },
            _ => Self::Io(error),
        }
    }
}

/// Threads for work that blocks, shared by all cores.
#[derive(Clone)]
pub struct BlockingPool(DefaultThreadPool);

impl BlockingPool {
    /// A pool of this many threads. They run on the CPUs of the calling thread, so call this
    /// before it is pinned.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self(DefaultThreadPool::new(threads))
    }
}

/// Checks that the backend works, before anything else is begun.
///
/// # Errors
/// A [`BackendError`] that says what to do.
pub fn probe(backend: Backend) -> Result<(), BackendError> {
    match backend {
        Backend::Legacy => Ok(()),
        Backend::Uring => {
            ring_flags()?;
            Ok(())
        }
    }
}

/// A ring builder with the best flags that this kernel knows.
fn ring_flags() -> Result<io_uring06::Builder, BackendError> {
    let mut builder = IoUring::builder();
    builder.setup_coop_taskrun();
    match builder.build(8) {
        Ok(_) => Ok(builder),
        // Before Linux 5.19.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            let builder = IoUring::builder();
            builder.build(8).map_err(BackendError::of_ring)?;
            Ok(builder)
        }
        Err(error) => Err(BackendError::of_ring(error)),
    }
}

/// Runs a future on an executor of the calling thread.
///
/// # Errors
/// If the executor cannot start.
pub fn block_on<F: Future>(
    backend: Backend,
    pool: &BlockingPool,
    future: F,
) -> Result<F::Output, BackendError> {
    let pool = Box::new(pool.0.clone());
    match backend {
        Backend::Uring => {
            let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
                .with_entries(RING_ENTRIES)
                .uring_builder(ring_flags()?)
                .attach_thread_pool(pool)
                .enable_timer()
                .build()
                .map_err(BackendError::of_ring)?;
            let through_ring = async {
                let _end = turn::ThroughRing::begin()?;
                Ok(future.await)
            };
            runtime.block_on(through_ring)
        }
        Backend::Legacy => {
            let mut runtime = RuntimeBuilder::<LegacyDriver>::new()
                .with_entries(RING_ENTRIES)
                .attach_thread_pool(pool)
                .enable_timer()
                .build()?;
            Ok(runtime.block_on(future))
        }
    }
}

/// Starts the thread of a core, pinned to `cpu`. A panic in it ends the process: no half server goes on.
///
/// # Errors
/// If the thread cannot start. The thread's own result is what `main` returned, or why the executor
/// did not start.
pub fn spawn_core<F, M>(
    core: usize,
    cpu: usize,
    backend: Backend,
    pool: BlockingPool,
    main: M,
) -> io::Result<JoinHandle<Result<F::Output, BackendError>>>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future,
    F::Output: Send + 'static,
{
    std::thread::Builder::new().name(format!("core-{core}")).spawn(move || {
        let run = || {
            placement::pin_thread(cpu)?;
            if backend == Backend::Uring {
                bound_kernel_workers(cpu);
            }
            block_on(backend, &pool, async { main().await })
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            eprintln!("vaultaire: core {core} panicked; the whole process ends");
            std::process::abort();
        })
    })
}

/// Keeps the kernel's workers for this thread's rings few and on its CPU. They belong to the thread,
/// not to a ring, so a passing ring can tell.
fn bound_kernel_workers(cpu: usize) {
    let bounded = IoUring::new(8).and_then(|ring| {
        ring.submitter()
            .register_iowq_max_workers(&mut [KERNEL_WORKERS_MAX, KERNEL_WORKERS_MAX])?;
        ring.submitter().register_iowq_aff(&placement::mask_of(cpu))
    });
    if let Err(error) = bounded {
        // Only a matter of tidiness on older kernels.
        tracing::debug!(%error, "the kernel's workers were not bounded");
    }
}

/// Raises the limit of open files to its hard limit and returns it; `None` for no limit.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files was not raised");
        }
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_runs_its_main_where_it_was_pinned() {
        let cpu = placement::allowed_cpus().unwrap()[0];
        for backend in [Backend::Uring, Backend::Legacy] {
            let pool = BlockingPool::new(1);
            let core = spawn_core(0, cpu, backend, pool, || async {
                let here = placement::allowed_cpus().unwrap();
                let there = crate::runtime::unblock(|| placement::allowed_cpus().unwrap()).await;
                (here, there)
            });
            let (here, _) = core.unwrap().join().unwrap().unwrap();
            assert_eq!(here, [cpu]);
        }
    }

    #[test]
    fn what_the_kernel_says_becomes_advice() {
        let of = |code| BackendError::of_ring(io::Error::from_raw_os_error(code)).to_string();
        assert!(of(libc::ENOSYS).contains("--legacy-runtime"));
        assert!(of(libc::EPERM).contains("seccomp"));
        assert!(of(libc::EPERM).contains("--legacy-runtime"));
        assert!(of(libc::ENOMEM).contains("ulimit -l"));
    }

    #[test]
    fn open_files_reach_the_hard_limit() {
        raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn a_panic_on_the_blocking_pool_reaches_who_waits() {
        let run = || {
            block_on(Backend::Uring, &BlockingPool::new(1), async {
                crate::runtime::unblock(|| panic!("on purpose")).await
            })
        };
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    }
}
