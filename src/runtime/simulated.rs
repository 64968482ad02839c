//! An executor that a seed decides: on one thread, with the tasks of all cores of a simulation, in an order that is
//! chosen at random and always the same for the same seed. Time passes only when nothing else can happen, or when the
//! seed says so.
//!
//! While one runs, [`runtime::spawn`](super::spawn) and [`SimulatedClock`] belong to it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Random numbers of a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the numbers below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % (limit as u64)).unwrap_or_default()
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.number().is_multiple_of(times)
    }
}

/// Nothing can happen any more, or far too much has happened, and what was waited for has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a simulation does not come to its end")]
pub struct Stuck;

/// An executor with its tasks and its time.
pub struct Simulation(Rc<Inner>);

struct Inner {
    tasks: RefCell<Vec<Option<Task>>>,
    ready: Arc<Ready>,
    timers: RefCell<BTreeMap<(u64, u64), Waker>>,
    timers_made: Cell<u64>,
    now_ns: Cell<u64>,
    random: RefCell<Random>,
}

struct Task {
    /// Taken out while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Arc<TaskWaker>,
}

#[derive(Default)]
struct Ready(Mutex<Vec<usize>>);

impl Ready {
    fn lock(&self) -> MutexGuard<'_, Vec<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct TaskWaker {
    ready: Arc<Ready>,
    task: usize,
    queued: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().push(self.task);
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Inner>>> = const { RefCell::new(None) };
}

/// Makes an executor this thread's for as long as it lives.
struct Entered(Option<Rc<Inner>>);

impl Entered {
    fn new(inner: &Rc<Inner>) -> Self {
        Self(CURRENT.replace(Some(Rc::clone(inner))))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Whether a simulation runs on this thread.
#[must_use]
pub fn is_running() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Lets the simulation choose again among all tasks that are ready.
pub(super) async fn yield_now() {
    super::turn::wait_once(Waker::wake_by_ref).await;
}

/// The clock of the simulation that runs on this thread.
pub(super) fn clock() -> Option<SimulatedClock> {
    CURRENT.with_borrow(Clone::clone).map(SimulatedClock)
}

/// Starts a task, if a simulation runs on this thread; else gives the future back.
pub(super) fn try_spawn<F>(future: F) -> Result<JoinHandle<F::Output>, F>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let Some(inner) = CURRENT.with_borrow(Clone::clone) else { return Err(future) };
    Ok(inner.spawn(future))
}

/// The result of a task to be.
pub struct JoinHandle<T>(Rc<Joined<T>>);

struct Joined<T> {
    result: Cell<Option<T>>,
    waiting: Cell<Option<Waker>>,
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match self.0.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                self.0.waiting.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Inner {
    fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let joined = Rc::new(Joined { result: Cell::new(None), waiting: Cell::new(None) });
        let theirs = Rc::clone(&joined);
        let future = Box::pin(async move {
            let result = future.await;
            theirs.result.set(Some(result));
            if let Some(waiting) = theirs.waiting.take() {
                waiting.wake();
            }
        });
        let mut tasks = self.tasks.borrow_mut();
        let id = tasks.len();
        let ready = Arc::clone(&self.ready);
        let waker = Arc::new(TaskWaker { ready, task: id, queued: AtomicBool::new(true) });
        tasks.push(Some(Task { future: Some(future), waker }));
        self.ready.lock().push(id);
        JoinHandle(joined)
    }

    /// Polls one task that is ready, or lets time pass; false if neither can be done.
    fn step(&self) -> bool {
        let mut random = self.random.borrow_mut();
        self.now_ns.set(self.now_ns.get() + random.number() % 4096);
        let chosen = {
            let mut ready = self.ready.lock();
            let early = random.one_in(512) && !self.timers.borrow().is_empty();
            let count = ready.len();
            if count == 0 || early { None } else { Some(ready.swap_remove(random.below(count))) }
        };
        drop(random);
        match chosen {
            Some(task) => self.poll(task),
            None => return self.pass_time(),
        }
        true
    }

    fn poll(&self, id: usize) {
        let (mut future, waker) = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = &mut tasks[id] else { return };
            task.waker.queued.store(false, Ordering::Relaxed);
            let Some(future) = task.future.take() else { return };
            (future, Arc::clone(&task.waker))
        };
        let waker = Waker::from(waker);
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                if let Some(task) = &mut self.tasks.borrow_mut()[id] {
                    task.future = Some(future);
                }
            }
            Poll::Ready(()) => {
                drop(future);
                // Its number is not given again: a waker that somebody kept would wake another.
                self.tasks.borrow_mut()[id] = None;
            }
        }
    }

    fn pass_time(&self) -> bool {
        let Some(((at, _), waker)) = self.timers.borrow_mut().pop_first() else { return false };
        self.now_ns.set(self.now_ns.get().max(at));
        waker.wake();
        true
    }
}

impl Simulation {
    /// An executor for this seed, whose clock begins at `now_ns`.
    #[must_use]
    pub fn new(seed: u64, now_ns: u64) -> Self {
        Self(Rc::new(Inner {
            tasks: RefCell::default(),
            ready: Arc::default(),
            timers: RefCell::default(),
            timers_made: Cell::new(0),
            now_ns: Cell::new(now_ns),
            random: RefCell::new(Random::new(seed)),
        }))
    }

    /// Runs a future as one of the tasks until it is finished, in at most so many steps.
    ///
    /// # Errors
    /// [`Stuck`]
    pub fn run<F>(&self, steps_max: u64, future: F) -> Result<F::Output, Stuck>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let _entered = Entered::new(&self.0);
        let main = self.0.spawn(future);
        for _ in 0..steps_max {
            if let Some(output) = main.0.result.take() {
                return Ok(output);
            }
            if !self.0.step() {
                return Err(Stuck);
            }
        }
        Err(Stuck)
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> SimulatedClock {
        SimulatedClock(Rc::clone(&self.0))
    }

    /// Nanoseconds on its clock.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.0.now_ns.get()
    }
}

impl Drop for Simulation {
    /// Everything stops where it is, as at a power cut.
    fn drop(&mut self) {
        let _entered = Entered::new(&self.0);
        // A task that is dropped may wake or even start others.
        loop {
            let tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
            if tasks.is_empty() {
                break;
            }
            drop(tasks);
        }
        self.0.timers.borrow_mut().clear();
    }
}

/// The clock of a [`Simulation`].
#[derive(Clone)]
pub struct SimulatedClock(Rc<Inner>);

impl SimulatedClock {
    /// Nanoseconds since some moment.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.0.now_ns.get()
    }

    /// Waits.
    pub async fn sleep(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let mut timer = Timer { inner: &self.0, key: None };
        let at = self.now_ns().saturating_add(ns);
        poll_fn(|context| {
            if self.now_ns() >= at {
                return Poll::Ready(());
            }
            timer.set(at, context.waker());
            Poll::Pending
        })
        .await;
    }
}

/// An entry among the timers, which goes with it.
struct Timer<'s> {
    inner: &'s Inner,
    key: Option<(u64, u64)>,
}

impl Timer<'_> {
    fn set(&mut self, at: u64, waker: &Waker) {
        let key = *self.key.get_or_insert_with(|| {
            self.inner.timers_made.set(self.inner.timers_made.get() + 1);
            (at, self.inner.timers_made.get())
        });
        self.inner.timers.borrow_mut().insert(key, waker.clone());
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.inner.timers.borrow_mut().remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime;

    /// The order in which ten tasks came to each of three steps, and when.
    fn order(seed: u64) -> (Vec<(usize, usize)>, u64) {
        let simulation = Simulation::new(seed, 1);
        let clock = simulation.clock();
        let met = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&met);
        let run = simulation.run(10_000, async move {
            let tasks: Vec<_> = (0..10)
                .map(|task| {
                    let (met, clock) = (Rc::clone(&met), clock.clone());
                    runtime::spawn(async move {
                        for step in 0..3 {
                            met.borrow_mut().push((task, step));
                            clock.sleep(Duration::from_millis(task as u64 % 3)).await;
                            runtime::yield_now().await;
                        }
                        task
                    })
                })
                .collect();
            for (number, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await, number);
            }
        });
        run.unwrap();
        (seen.take(), simulation.now_ns())
    }

    #[test]
    fn a_seed_decides_everything() {
        assert_eq!(order(7), order(7));
        assert_ne!(order(7).0, order(8).0);
    }

    #[test]
    fn whoever_waits_for_nothing_is_stuck_and_is_dropped_with_it() {
        struct Dropped(Rc<Cell<bool>>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let dropped = Rc::new(Cell::new(false));
        let held = Dropped(Rc::clone(&dropped));
        let simulation = Simulation::new(1, 1);
        let run = simulation.run(1000, async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        assert_eq!(run, Err(Stuck));
        assert!(!dropped.get());
        drop(simulation);
        assert!(dropped.get() && !is_running());
    }
}
