//! A small facade over the executor, so that it can be replaced.
//!
//! One executor is pinned to each core. Tasks are not `Send`; they stay on the core that spawned them.

pub mod core;
pub mod placement;
pub mod rendezvous;
#[cfg(any(test, feature = "testing"))]
pub mod simulated;
pub mod spin;
mod turn;

use std::cell::Cell;
use std::time::Duration;

#[cfg(not(any(test, feature = "testing")))]
pub use monoio::task::JoinHandle;

/// The result of a task to be.
#[cfg(any(test, feature = "testing"))]
pub type JoinHandle<T> =
    futures_util::future::Either<monoio::task::JoinHandle<T>, simulated::JoinHandle<T>>;

/// Starts a task on this core. Dropping the handle does not stop it.
#[cfg(not(any(test, feature = "testing")))]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    monoio::spawn(future)
}

/// Starts a task on this core, or in the simulation that runs on this thread. Dropping the handle does not stop it.
#[cfg(any(test, feature = "testing"))]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    match simulated::try_spawn(future) {
        Ok(handle) => futures_util::future::Either::Right(handle),
        Err(future) => futures_util::future::Either::Left(monoio::spawn(future)),
    }
}

/// Waits, in a simulation until its own time has passed.
pub async fn sleep(duration: Duration) {
    #[cfg(any(test, feature = "testing"))]
    if let Some(clock) = simulated::clock() {
        return clock.sleep(duration).await;
    }
    monoio::time::sleep(duration).await;
}

/// Runs `future` for at most `duration`; `None` if it was not finished by then. The future is dropped.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    monoio::time::timeout(duration, future).await.ok()
}

/// Runs a closure that may block on the blocking pool.
///
/// # Panics
/// If the closure panicked.
pub async fn unblock<T, F>(work: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // A panic that the pool's thread swallowed would leave us waiting for ever.
    let guarded = move || std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    match monoio::spawn_blocking(guarded).await {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => panic!("the blocking pool dropped its work: {error:?}"),
    }
}

/// Lets the other tasks of this core run once, and those that are woken by what has happened meanwhile.
pub async fn yield_now() {
    // A simulation chooses among all that are ready.
    #[cfg(any(test, feature = "testing"))]
    if simulated::is_running() {
        return simulated::yield_now().await;
    }
    turn::end().await;
}

/// Lets the other tasks of this core run now and then while a long loop goes on.
#[derive(Debug)]
pub struct Pauses {
    every: usize,
    steps: Cell<usize>,
}

impl Pauses {
    /// The others run each time that so many steps were counted, or a few more.
    #[must_use]
    pub const fn after(every: usize) -> Self {
        Self { every, steps: Cell::new(0) }
    }

    /// Counts steps that were made.
    ///
    /// # Cancel safety
    /// The steps are counted when the future is first polled.
    pub async fn count(&self, steps: usize) {
        self.steps.set(self.steps.get() + steps);
        if self.steps.get() >= self.every {
            self.steps.set(0);
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Instant;

    use super::core::{Backend, BlockingPool, block_on};
    use super::*;

    #[test]
    fn a_task_that_yields_lets_the_others_run() {
        for backend in [Backend::Uring, Backend::Legacy] {
            let run = block_on(backend, &BlockingPool::new(1), async {
                let turns = Rc::new(Cell::new(0));
                let others = turns.clone();
                spawn(async move {
                    for turn in 1..=3 {
                        others.set(turn);
                        yield_now().await;
                    }
                });
                for turn in 1..=3 {
                    yield_now().await;
                    assert_eq!(turns.get(), turn, "{backend:?}");
                }
            });
            run.unwrap();
        }
    }

    #[test]
    fn others_run_each_time_that_so_many_steps_were_counted() {
        let run = block_on(Backend::Uring, &BlockingPool::new(1), async {
            let turns = Rc::new(Cell::new(0));
            let others = turns.clone();
            spawn(async move {
                for turn in 1.. {
                    others.set(turn);
                    yield_now().await;
                }
            });
            let pauses = Pauses::after(3);
            for (steps, expected) in [(1, 0), (1, 0), (1, 1), (2, 1), (5, 2), (2, 2), (3, 3)] {
                pauses.count(steps).await;
                assert_eq!(turns.get(), expected);
            }
        });
        run.unwrap();
    }

    /// It would wait for as long as there is always a task to run.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "timers wait for the same")]
    fn what_another_thread_finished_is_noticed_while_tasks_yield() {
        for backend in [Backend::Uring, Backend::Legacy] {
            let run = block_on(backend, &BlockingPool::new(1), async {
                let done = Rc::new(Cell::new(false));
                let seen = done.clone();
                let busy = spawn(async move {
                    let began = Instant::now();
                    while !seen.get() && began.elapsed() < Duration::from_secs(20) {
                        yield_now().await;
                    }
                    seen.get()
                });
                spawn(async move {
                    unblock(|| ()).await;
                    done.set(true);
                });
                busy.await
            });
            assert!(run.unwrap(), "{backend:?}");
        }
    }
}
