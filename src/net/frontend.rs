//! What all connections of one core share, and the tasks that tend them.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use monoio::net::TcpStream;

use super::choir::Choir;
use super::listener::{self, Lobby};
use super::pulse::{Ward, Watched};
use super::transport::Transport;
use super::{Handler, connection};
use crate::config::Limits;
use crate::context::{Context, Monotonic, RequestId, Stage};
use crate::event::{Emitter, Outcome, Record};
use crate::http::response::DateCache;
use crate::io::Clock;
use crate::io::clock::SystemClock;
use crate::io::lending::{Lender, Terms};
use crate::runtime;
use crate::runtime::spin::Spin;
use crate::s3::Outline;

/// Sweeps over the connections happen at least this often.
const SWEEP_MAX: Duration = Duration::from_millis(250);

/// The wall clock is read this often, in nanoseconds.
const WALL_READ_NS: u64 = 50_000_000;

/// Connections over the limit that are told so at the same time.
const REFUSED_MAX: usize = 64;

/// Unique numbers of this core's requests, from a random start.
#[derive(Debug)]
struct RequestIds(Cell<u64>);

impl RequestIds {
    fn new() -> Self {
        Self(Cell::new(RandomState::new().build_hasher().finish()))
    }

    fn next(&self) -> RequestId {
        let number = self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.set(number);
        // Any mixing that can be undone keeps them different from each other.
        let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        RequestId(mixed ^ (mixed >> 27))
    }
}

/// What all connections of one core share.
pub struct Frontend<H> {
    /// Answers requests.
    pub handler: H,
    /// Limits of connections and requests.
    pub limits: Limits,
    /// The `Date` field.
    pub date: DateCache,
    ward: Rc<Ward>,
    emitter: Emitter,
    ids: RequestIds,
    lobby: Arc<Lobby>,
    core: usize,
    accepting: Cell<bool>,
    refused: Rc<Ward>,
    /// A look at both clocks.
    wall: Cell<(Monotonic, i64)>,
    choir: Rc<Choir>,
    spin: Rc<Spin>,
    lender: Rc<Lender>,
}

impl<H: Handler> Frontend<H> {
    /// The front end of core number `core`, which stays awake for `spin` after each request.
    #[must_use]
    pub fn new(
        core: usize,
        handler: H,
        limits: Limits,
        lobby: Arc<Lobby>,
        emitter: Emitter,
        spin: Duration,
        terms: Terms,
    ) -> Rc<Self> {
        Rc::new(Self {
            handler,
            limits,
            date: DateCache::default(),
            ward: Rc::default(),
            emitter,
            ids: RequestIds::new(),
            lobby,
            core,
            accepting: Cell::new(true),
            refused: Rc::default(),
            wall: Cell::default(),
            choir: Rc::default(),
            spin: Spin::new(spin),
            lender: Rc::new(Lender::new(terms)),
        })
    }

    /// Begins to accept connections, here and from other cores.
    ///
    /// # Errors
    /// If the listener cannot be given to the executor.
    pub fn open(self: &Rc<Self>, listener: TcpListener) -> std::io::Result<()> {
        let acceptor = listener::Acceptor::new(listener)?;
        let watched = self.ward.admit(SystemClock.now());
        let this = self.clone();
        runtime::spawn(async move { acceptor.run(this, watched).await });
        // These never end by themselves, and must not keep what they tend.
        let choir = self.choir.clone();
        runtime::spawn(async move { choir.conduct().await });
        runtime::spawn(self.spin.clone().run(|| SystemClock.now()));
        let (this, lobby, core) = (Rc::downgrade(self), self.lobby.clone(), self.core);
        runtime::spawn(async move {
            loop {
                let arrival = lobby.arrival(core).await;
                let Some(this) = this.upgrade() else { return };
                this.welcome(arrival);
            }
        });
        let (this, interval) = (Rc::downgrade(self), self.sweep_interval());
        runtime::spawn(async move {
            loop {
                runtime::sleep(interval).await;
                let Some(this) = this.upgrade() else { return };
                this.ward.sweep(SystemClock.now(), &this.limits);
                this.refused.sweep(SystemClock.now(), &this.limits);
                this.lender.collect();
            }
        });
        Ok(())
    }

    /// Serves a connection until it ends.
    pub(super) fn welcome(self: &Rc<Self>, arrival: listener::Arrival) {
        let this = self.clone();
        let watched = self.ward.admit(SystemClock.now());
        runtime::spawn(async move {
            // A socket that died on the way here is no news.
            let Ok(stream) = monoio::net::TcpStream::from_std(arrival.stream) else { return };
            let transport = this.transport(stream, &watched);
            connection::serve(&this, transport).await;
            drop((watched, arrival.load));
        });
    }

    /// What moves the bytes of a connection.
    pub(super) fn transport(&self, stream: TcpStream, watched: &Watched) -> Transport {
        Transport::new(stream, watched.pulse().clone(), Rc::clone(&self.lender))
    }

    fn sweep_interval(&self) -> Duration {
        let limits = &self.limits;
        let shortest = limits.idle.min(limits.head).min(limits.body_idle).min(limits.request);
        (shortest / 8).clamp(Duration::from_millis(1), SWEEP_MAX)
    }

    /// Watches over a connection that is told that it is one too many; `None` if even those are too many.
    pub(super) fn admit_refused(&self) -> Option<Watched> {
        (self.refused.len() < REFUSED_MAX).then(|| self.refused.admit(SystemClock.now()))
    }

    /// Stops accepting, closes idle connections, and lets the others end with their present request.
    pub fn close(&self) {
        self.accepting.set(false);
        self.ward.drain(SystemClock.now(), &self.limits);
    }

    /// Waits for the last connection to end, but gives up those that are left after `patience`.
    pub async fn drained(&self, patience: Duration) {
        if runtime::timeout(patience, self.ward.emptied()).await.is_none() {
            tracing::warn!(left = self.ward.len(), "requests did not finish in time");
            self.ward.abort();
            // What does not even notice that is not worth waiting for.
            let _ = runtime::timeout(Duration::from_secs(1), self.ward.emptied()).await;
        }
    }

    /// Whether new connections are taken.
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        self.accepting.get()
    }

    /// Whether connections end with their present request.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.ward.is_draining()
    }

    /// The cores' shared entrance.
    #[must_use]
    pub fn lobby(&self) -> &Lobby {
        &self.lobby
    }

    /// Where answers wait to be sent together.
    #[must_use]
    pub(super) fn choir(&self) -> &Choir {
        &self.choir
    }

    /// This core's number.
    #[must_use]
    pub fn core(&self) -> usize {
        self.core
    }

    /// A context for a request that began at `began` on the connection of `transport`.
    #[must_use]
    pub fn context(&self, transport: &Transport, began: Monotonic) -> Context {
        self.spin.touch(began);
        let deadline = began.after(self.limits.request);
        let pulse = transport.pulse();
        pulse.set_deadline(deadline);
        Context::new(
            crate::model::TenantId::DEFAULT,
            self.ids.next(),
            deadline,
            pulse.cancellation().clone(),
        )
    }

    /// Milliseconds since the epoch at the moment `now`. The wall clock is read a few times a second, and followed by
    /// the monotonic one in between.
    pub fn wall_ms(&self, now: Monotonic) -> i64 {
        let (mut read, mut wall_ms) = self.wall.get();
        let passed = now.since(read);
        if read == Monotonic::default() || passed >= WALL_READ_NS {
            (read, wall_ms) = (now, SystemClock.wall_ms());
            self.wall.set((read, wall_ms));
        }
        wall_ms.saturating_add(i64::try_from(now.since(read) / 1_000_000).unwrap_or(i64::MAX))
    }

    /// Leaves the one record of a request, and returns when that ended.
    pub fn report(
        &self,
        ctx: &Context,
        transport: &Transport,
        outline: &Outline,
        measured: &Measured,
    ) -> Monotonic {
        let trace = ctx.trace();
        let ended = SystemClock.now();
        self.spin.touch(ended);
        trace.add(Stage::Send, ended.since(measured.send_began));
        let range = outline.range.map_or((0, 0), |range| (range.offset, range.length));
        self.emitter.emit(Record {
            ended_ms: self.wall_ms(ended),
            request_id: ctx.request_id(),
            tenant: ctx.tenant(),
            operation: outline.operation,
            outcome: outline.outcome,
            core: self.emitter.core(),
            status: measured.status,
            error_code: outline.error_code,
            container_hash: outline.container_hash,
            key_hash: outline.key_hash,
            bytes_in: measured.bytes_in,
            bytes_out: measured.bytes_out,
            range_offset: range.0,
            range_length: range.1,
            total_ns: ended.since(measured.began),
            stages_ns: trace.stages_ns(),
            cpu_ns: transport.pulse().busy_ns(ended),
            batch_id: trace.batch_id.get(),
            queue_depth: trace.queue_depth.get(),
            cache_hit: trace.cache_hit.get(),
        });
        ended
    }
}

/// What a connection measured of one request.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// When its first byte was seen.
    pub began: Monotonic,
    /// When sending began.
    pub send_began: Monotonic,
    /// Status of the answer; 0 if none was sent.
    pub status: u16,
    /// Body bytes received.
    pub bytes_in: u64,
    /// Body bytes sent.
    pub bytes_out: u64,
}

/// What is recorded of a request that the connection itself refused.
pub(super) fn refusal_outline(outcome: Outcome, error_code: &'static str) -> Outline {
    Outline {
        operation: crate::event::Operation::Unknown,
        outcome,
        error_code,
        container_hash: 0,
        key_hash: 0,
        range: None,
    }
}
