//! What every operation is given first: who asks, under which id, until when, and whether
//! anybody still waits for the answer.
//!
//! A [`Context`] is made once per request by the connection and passed down by reference,
//! never through task-local state. It stays on the core that made it; what crosses to another
//! core carries the values that it needs.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::model::TenantId;

/// Nanoseconds on the monotonic clock of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// A moment that is never reached.
    pub const NEVER: Self = Self(u64::MAX);

    /// Nanoseconds since `earlier`; 0 if that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment this long after.
    #[must_use]
    pub fn after(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Identifies a request: 16 upper-case hexadecimal digits on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl RequestId {
    /// Its text.
    #[must_use]
    pub fn text(self) -> [u8; 16] {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let mut rest = self.0;
        std::array::from_fn(|_| {
            rest = rest.rotate_left(4);
            DIGITS[(rest & 15) as usize]
        })
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

/// Why an operation was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The client went away, or the server stops.
    #[error("the request was cancelled")]
    Cancelled,
    /// The request's time is over.
    #[error("the request ran out of time")]
    DeadlineExceeded,
}

/// Set once when nobody waits for the answer any more. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Rc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    set: Cell<bool>,
    /// Of whoever is in [`Cancellation::guard`].
    waker: RefCell<Option<Waker>>,
}

impl Cancellation {
    /// Gives the operation up: at its next check, or at once where it is guarded.
    pub fn cancel(&self) {
        self.0.set.set(true);
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }

    /// Whether it was given up.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.set.get()
    }

    /// Runs `work` to its end, unless the operation is given up meanwhile. For one task at a time; `work` is
    /// borrowed, so that it need not be moved.
    ///
    /// # Errors
    /// [`Interrupted::Cancelled`]; the caller then drops `work`, which is not polled again.
    pub async fn guard<F: Future>(&self, mut work: Pin<&mut F>) -> Result<F::Output, Interrupted> {
        poll_fn(|cx| {
            if self.is_cancelled() {
                return Poll::Ready(Err(Interrupted::Cancelled));
            }
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            let mut waker = self.0.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            // The work itself may have given it up.
            if self.is_cancelled() {
                Poll::Ready(Err(Interrupted::Cancelled))
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

/// The stages of an operation whose time is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// From accept, or from the first byte of the request, to the start of parsing.
    Wait = 0,
    /// Parsing of the head.
    Parse = 1,
    /// Authentication.
    Auth = 2,
    /// Look-ups in the index.
    Index = 3,
    /// Reads and writes of bytes.
    Disk = 4,
    /// From the queueing of a commit to its durability.
    SyncWait = 5,
    /// From the first byte of the answer to the last handed to the kernel.
    Send = 6,
}

/// Number of [`Stage`]s.
pub const STAGES: usize = 7;

/// Measurements that the layers leave behind for the operation's event.
#[derive(Debug, Default)]
pub struct Trace {
    stages_ns: [Cell<u64>; STAGES],
    /// When the stage that was last timed ended.
    last: Cell<Monotonic>,
    /// Whether the bytes came from a cache.
    pub cache_hit: Cell<bool>,
    /// The commit batch that made it durable; 0 for none.
    pub batch_id: Cell<u64>,
    /// Depth of the commit queue when it was joined.
    pub queue_depth: Cell<u32>,
}

impl Trace {
    /// Adds time to a stage.
    pub fn add(&self, stage: Stage, ns: u64) {
        let cell = &self.stages_ns[stage as usize];
        cell.set(cell.get().saturating_add(ns));
    }

    /// Notes a moment from which the next stage may be timed.
    pub fn mark(&self, now: Monotonic) {
        self.last.set(now);
    }

    /// Adds the time since the last mark to a stage, and marks its end: one look at the clock between two stages.
    pub fn lap(&self, stage: Stage, now: Monotonic) {
        self.add(stage, now.since(self.last.replace(now)));
    }

    /// Nanoseconds per stage, in the order of [`Stage`].
    #[must_use]
    pub fn stages_ns(&self) -> [u64; STAGES] {
        std::array::from_fn(|index| self.stages_ns[index].get())
    }
}

/// The first argument of every operation.
#[derive(Debug)]
pub struct Context {
    tenant: TenantId,
    request_id: RequestId,
    deadline: Monotonic,
    cancellation: Cancellation,
    trace: Trace,
}

impl Context {
    /// A context for one request.
    #[must_use]
    pub fn new(
        tenant: TenantId,
        request_id: RequestId,
        deadline: Monotonic,
        cancellation: Cancellation,
    ) -> Self {
        Self { tenant, request_id, deadline, cancellation, trace: Trace::default() }
    }

    /// A context for work of the server's own: no deadline, not cancelled.
    #[must_use]
    pub fn internal(tenant: TenantId) -> Self {
        Self::new(tenant, RequestId(0), Monotonic::NEVER, Cancellation::default())
    }

    /// The same request for an authenticated tenant. Authentication ends by calling this;
    /// until then the tenant is [`TenantId::DEFAULT`] and no operation is begun.
    #[must_use]
    pub fn with_tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = tenant;
        self
    }

    /// Who asks.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The request's id.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// When the answer is worthless.
    #[must_use]
    pub fn deadline(&self) -> Monotonic {
        self.deadline
    }

    /// Where layers leave their measurements.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The flag that gives the operation up.
    #[must_use]
    pub fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// Call before each further step of a long operation.
    ///
    /// # Errors
    /// [`Interrupted`] once nobody waits for the answer.
    pub fn check(&self, now: Monotonic) -> Result<(), Interrupted> {
        if self.cancellation.is_cancelled() {
            Err(Interrupted::Cancelled)
        } else if now >= self.deadline {
            Err(Interrupted::DeadlineExceeded)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guarded_work_ends_when_it_is_given_up() {
        let mut cx = std::task::Context::from_waker(Waker::noop());
        let cancellation = Cancellation::default();
        let mut ready = std::pin::pin!(std::future::ready(7));
        let mut guarded = std::pin::pin!(cancellation.guard(ready.as_mut()));
        assert_eq!(guarded.as_mut().poll(&mut cx), Poll::Ready(Ok(7)));
        let mut never = std::pin::pin!(std::future::pending::<()>());
        let mut guarded = std::pin::pin!(cancellation.guard(never.as_mut()));
        assert_eq!(guarded.as_mut().poll(&mut cx), Poll::Pending);
        cancellation.clone().cancel();
        let cancelled = Poll::Ready(Err(Interrupted::Cancelled));
        assert_eq!(guarded.as_mut().poll(&mut cx), cancelled);
    }

    #[test]
    fn laps_share_their_ends() {
        let trace = Trace::default();
        trace.mark(Monotonic(100));
        trace.lap(Stage::Parse, Monotonic(130));
        trace.lap(Stage::Auth, Monotonic(170));
        let stages = trace.stages_ns();
        assert_eq!((stages[Stage::Parse as usize], stages[Stage::Auth as usize]), (30, 40));
    }

    #[test]
    fn request_ids_have_sixteen_digits() {
        assert_eq!(RequestId(0xab).to_string(), "00000000000000AB");
        assert_eq!(RequestId(0xFEDC_BA98_7654_3210).to_string(), "FEDCBA9876543210");
    }
}
