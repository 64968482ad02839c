//! What every operation is given first: who asks, under which id, until when, and whether
//! anybody still waits for the answer.
//!
//! A [`Context`] is made once per request by the connection and passed down by reference,
//! never through task-local state. It stays on the core that made it; what crosses to another
//! core carries the values that it needs.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

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

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
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
pub struct Cancellation(Rc<Cell<bool>>);

impl Cancellation {
    /// Gives the operation up at its next check.
    pub fn cancel(&self) {
        self.0.set(true);
    }

    /// Whether it was given up.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.get()
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
