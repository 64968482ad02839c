//! Patience with clients: who waits for what, since when, and who has waited long enough.
//!
//! A connection notes what it waits for in its [`Pulse`]; a sweep over all pulses of the core, a few
//! times a second, ends waits that last too long. So a request starts no timer of its own, and every
//! limit of time is in `Pulse::judge`.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::config::Limits;
use crate::context::{Cancellation, Monotonic};
use crate::io::Clock;
use crate::io::clock::SystemClock;

/// How long a closing connection is read on, so that the client sees the answer before the reset
/// that unread bytes would cause.
pub const LINGER: Duration = Duration::from_secs(2);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for a request; for a listener, for a connection.
    Idle,
    /// It reads a head that has begun.
    Head,
    /// It serves a request and waits for the client only while a body is read.
    Body,
    /// It sends an answer.
    Send,
    /// It reads what nobody wants, before it closes or goes on.
    Linger,
}

/// Why a wait was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nothing was under way.
    Idle,
    /// The client was too slow.
    Slow,
    /// The request's time is over.
    Expired,
    /// The server stops, and its patience is over.
    Aborted,
}

/// What the account of a request stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There is none.
    Untimed,
    /// The request waits.
    Paused,
    /// Its present turn began then.
    Since(Monotonic),
}

/// One connection's state, as far as patience needs it.
#[derive(Debug)]
pub struct Pulse {
    phase: Cell<Phase>,
    phase_began: Cell<Monotonic>,
    wait_began: Cell<Option<Monotonic>>,
    waited_ns: Cell<u64>,
    bytes: Cell<u64>,
    deadline: Cell<Monotonic>,
    stop: Cell<Option<Stop>>,
    waker: RefCell<Option<Waker>>,
    /// Of a request that waits for something else than the client.
    attendant: RefCell<Option<Waker>>,
    /// Whether it is time to see if the client is still there.
    look: Cell<bool>,
    turn: Cell<Turn>,
    busy_ns: Cell<u64>,
    cancellation: Cancellation,
    slot: Cell<usize>,
}

impl Pulse {
    fn new(now: Monotonic) -> Self {
        Self {
            phase: Cell::new(Phase::Idle),
            phase_began: Cell::new(now),
            wait_began: Cell::new(None),
            waited_ns: Cell::new(0),
            bytes: Cell::new(0),
            deadline: Cell::new(Monotonic::NEVER),
            stop: Cell::new(None),
            waker: RefCell::new(None),
            attendant: RefCell::new(None),
            look: Cell::new(false),
            turn: Cell::new(Turn::Untimed),
            busy_ns: Cell::new(0),
            cancellation: Cancellation::default(),
            slot: Cell::new(0),
        }
    }

    /// Enters a phase; its waiting and its bytes are counted from 0.
    pub fn enter(&self, phase: Phase, now: Monotonic) {
        self.phase.set(phase);
        self.phase_began.set(now);
        self.waited_ns.set(0);
        self.bytes.set(0);
    }

    /// When the present request ends at the latest.
    pub fn set_deadline(&self, deadline: Monotonic) {
        self.deadline.set(deadline);
    }

    /// Counts bytes moved in this phase.
    pub fn count(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_add(bytes as u64));
    }

    /// The flag that gives up whatever this connection asked for.
    #[must_use]
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// Waits for `future`, but not longer than is allowed in this phase.
    ///
    /// # Errors
    /// Why the wait was ended; the future is dropped.
    pub async fn watch<F: Future>(&self, future: F) -> Result<F::Output, Stop> {
        let mut future = pin!(future);
        let waiting = Waiting(self);
        poll_fn(move |cx| {
            let _ = &waiting;
            if let Some(stop) = self.stop.get() {
                if stop != Stop::Aborted {
                    self.stop.set(None);
                }
                return Poll::Ready(Err(stop));
            }
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            if self.wait_began.get().is_none() {
                // A connection that begins to idle does nothing else before it waits.
                let idle = self.phase.get() == Phase::Idle;
                let began = if idle { self.phase_began.get() } else { SystemClock.now() };
                self.wait_began.set(Some(began));
                *self.waker.borrow_mut() = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Runs what may wait for something else than the client, and cancels it when `has_left` finds that the client is
    /// gone. That is asked a few times a second, and only while it waits.
    pub async fn attend<F: Future>(
        &self,
        mut work: Pin<&mut F>,
        has_left: impl Fn() -> bool,
    ) -> F::Output {
        let attending = Attending(self);
        poll_fn(move |cx| {
            let _ = &attending;
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            let mut waker = self.attendant.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            drop(waker);
            if self.look.take() && has_left() {
                self.cancellation.cancel();
            }
            Poll::Pending
        })
        .await
    }

    /// Runs a connection, and keeps account of the turns on the core of each of its requests.
    pub async fn timed<F: Future>(&self, mut work: Pin<&mut F>) -> F::Output {
        poll_fn(|cx| {
            if self.turn.get() == Turn::Paused {
                self.turn.set(Turn::Since(SystemClock.now()));
            }
            let polled = work.as_mut().poll(cx);
            if self.turn.get() != Turn::Untimed && polled.is_pending() {
                self.busy_ns.set(self.busy_ns(SystemClock.now()));
                self.turn.set(Turn::Paused);
            }
            polled
        })
        .await
    }

    /// Begins the account of a request that began at `began`.
    pub fn begin_account(&self, began: Monotonic) {
        self.busy_ns.set(0);
        self.turn.set(Turn::Since(began));
    }

    /// Ends the account.
    pub fn end_account(&self) {
        self.turn.set(Turn::Untimed);
    }

    /// How long the turns of the present request were, up to `now`; 0 for one that is not timed.
    #[must_use]
    pub fn busy_ns(&self, now: Monotonic) -> u64 {
        match self.turn.get() {
            Turn::Since(began) => self.busy_ns.get() + now.since(began),
            Turn::Paused => self.busy_ns.get(),
            Turn::Untimed => 0,
        }
    }

    /// Has a request that waits see whether its client is still there.
    fn look_after(&self) {
        let waits_for_client = self.wait_began.get().is_some();
        if waits_for_client || !matches!(self.phase.get(), Phase::Body | Phase::Send) {
            return;
        }
        if let Some(waker) = self.attendant.borrow().as_ref() {
            self.look.set(true);
            waker.wake_by_ref();
        }
    }

    /// Ends the present wait, or the next one.
    fn end(&self, stop: Stop) {
        self.stop.set(Some(stop));
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Whether its wait has lasted long enough.
    fn judge(&self, now: Monotonic, limits: &Limits, draining: bool) -> Option<Stop> {
        let waited = nanoseconds(now.since(self.wait_began.get()?));
        let in_phase = nanoseconds(now.since(self.phase_began.get()));
        let expired = now >= self.deadline.get();
        match self.phase.get() {
            Phase::Idle => (draining || waited > limits.idle).then_some(Stop::Idle),
            Phase::Head => (in_phase > limits.head).then_some(Stop::Slow),
            Phase::Linger => (in_phase > LINGER).then_some(Stop::Slow),
            Phase::Body | Phase::Send if expired => Some(Stop::Expired),
            Phase::Body | Phase::Send => {
                let waited_all = nanoseconds(self.waited_ns.get()) + waited;
                let slow = waited_all > limits.body_idle && !self.keeps_rate(waited_all, limits);
                (waited > limits.body_idle || slow).then_some(Stop::Slow)
            }
        }
    }

    fn keeps_rate(&self, waited: Duration, limits: &Limits) -> bool {
        u128::from(self.bytes.get()) * 1000 >= u128::from(limits.client_rate) * waited.as_millis()
    }
}

fn nanoseconds(count: u64) -> Duration {
    Duration::from_nanos(count)
}

/// Clears the wait, also when its future is dropped halfway.
struct Waiting<'p>(&'p Pulse);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(began) = self.0.wait_began.take() {
            // Nobody adds up how long it idled.
            if self.0.phase.get() != Phase::Idle {
                let waited = SystemClock.now().since(began);
                self.0.waited_ns.set(self.0.waited_ns.get().saturating_add(waited));
            }
            *self.0.waker.borrow_mut() = None;
        }
    }
}

/// Forgets the attendant, also when its future is dropped halfway.
struct Attending<'p>(&'p Pulse);

impl Drop for Attending<'_> {
    fn drop(&mut self) {
        self.0.look.set(false);
        *self.0.attendant.borrow_mut() = None;
    }
}

/// All pulses of one core.
#[derive(Debug, Default)]
pub struct Ward {
    pulses: RefCell<Vec<Rc<Pulse>>>,
    draining: Cell<bool>,
    empty: RefCell<Option<Waker>>,
}

/// A pulse that is watched over until this is dropped.
pub struct Watched {
    ward: Rc<Ward>,
    pulse: Rc<Pulse>,
}

impl Ward {
    /// Begins to watch over a new pulse.
    #[must_use]
    pub fn admit(self: &Rc<Self>, now: Monotonic) -> Watched {
        let pulse = Rc::new(Pulse::new(now));
        let mut pulses = self.pulses.borrow_mut();
        pulse.slot.set(pulses.len());
        pulses.push(pulse.clone());
        Watched { ward: self.clone(), pulse }
    }

    /// Number of pulses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pulses.borrow().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pulses.borrow().is_empty()
    }

    /// Whether connections should end with their present request.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Ends the waits that have lasted too long.
    pub fn sweep(&self, now: Monotonic, limits: &Limits) {
        for pulse in self.pulses.borrow().iter() {
            if let Some(stop) = pulse.judge(now, limits, self.draining.get()) {
                pulse.end(stop);
            }
            pulse.look_after();
        }
    }

    /// From now on connections end with their present request; idle ones end at once.
    pub fn drain(&self, now: Monotonic, limits: &Limits) {
        self.draining.set(true);
        self.sweep(now, limits);
    }

    /// Gives everything up.
    pub fn abort(&self) {
        for pulse in self.pulses.borrow().iter() {
            pulse.cancellation.cancel();
            pulse.end(Stop::Aborted);
        }
    }

    /// Waits until no pulse is left. For one task at a time.
    pub async fn emptied(&self) {
        poll_fn(|cx| {
            if self.is_empty() {
                return Poll::Ready(());
            }
            *self.empty.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Watched {
    /// The pulse.
    #[must_use]
    pub fn pulse(&self) -> &Rc<Pulse> {
        &self.pulse
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut pulses = self.ward.pulses.borrow_mut();
        let slot = self.pulse.slot.get();
        pulses.swap_remove(slot);
        if let Some(moved) = pulses.get(slot) {
            moved.slot.set(slot);
        }
        if pulses.is_empty()
            && let Some(waker) = self.ward.empty.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Monotonic = Monotonic(1_000_000_000_000);

    fn limits() -> Limits {
        Limits {
            idle: Duration::from_secs(9),
            head: Duration::from_secs(2),
            body_idle: Duration::from_secs(4),
            client_rate: 100,
            ..Limits::default()
        }
    }

    fn later(seconds: u64) -> Monotonic {
        START.after(Duration::from_secs(seconds))
    }

    fn waiting(phase: Phase) -> Pulse {
        let pulse = Pulse::new(START);
        pulse.enter(phase, START);
        pulse.wait_began.set(Some(START));
        pulse
    }

    #[test]
    fn only_who_waits_is_judged() {
        let pulse = waiting(Phase::Send);
        pulse.wait_began.set(None);
        assert_eq!(pulse.judge(later(1000), &limits(), true), None);
    }

    #[test]
    fn every_phase_has_its_patience() {
        for (phase, patience, stop) in [
            (Phase::Idle, 9, Stop::Idle),
            (Phase::Head, 2, Stop::Slow),
            (Phase::Linger, LINGER.as_secs(), Stop::Slow),
            (Phase::Body, 4, Stop::Slow),
            (Phase::Send, 4, Stop::Slow),
        ] {
            let pulse = waiting(phase);
            assert_eq!(pulse.judge(later(patience), &limits(), false), None, "{phase:?}");
            assert_eq!(pulse.judge(later(patience + 1), &limits(), false), Some(stop), "{phase:?}");
        }
    }

    #[test]
    fn a_trickle_is_too_slow_and_a_steady_stream_is_not() {
        let pulse = waiting(Phase::Body);
        // Ten short waits were nine seconds in all, and the next has just begun.
        pulse.waited_ns.set(9_000_000_000);
        pulse.wait_began.set(Some(later(50)));
        pulse.count(899);
        assert_eq!(pulse.judge(later(50), &limits(), false), Some(Stop::Slow));
        pulse.count(1);
        assert_eq!(pulse.judge(later(50), &limits(), false), None);
    }

    #[test]
    fn a_request_has_a_deadline() {
        let pulse = waiting(Phase::Body);
        pulse.set_deadline(later(1));
        assert_eq!(pulse.judge(later(0), &limits(), false), None);
        assert_eq!(pulse.judge(later(1), &limits(), false), Some(Stop::Expired));
    }

    #[test]
    fn draining_ends_idle_connections_only() {
        assert_eq!(waiting(Phase::Idle).judge(START, &limits(), true), Some(Stop::Idle));
        assert_eq!(waiting(Phase::Head).judge(START, &limits(), true), None);
    }

    #[test]
    fn leaving_keeps_the_others_in_their_places() {
        let ward = Rc::new(Ward::default());
        let mut watched: Vec<_> = (0..4).map(|_| ward.admit(START)).collect();
        watched.remove(1);
        watched.remove(0);
        assert_eq!(ward.len(), 2);
        ward.abort();
        assert!(watched.iter().all(|one| one.pulse.cancellation.is_cancelled()));
        watched.clear();
        assert!(ward.is_empty());
    }
}
