//! The life of one core: start its share of the storage, serve, drain, stop.

use std::net::TcpListener;
use std::rc::{Rc, Weak};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_channel::oneshot;

use super::ServerError;
use super::storage::Storage;
use crate::config::{ContainerRule, Limits};
use crate::context::Context;
use crate::driver::Health;
use crate::engine::{DriverRules, Engine};
use crate::event::{AdminState, Emitter};
use crate::io::lending::Terms;
use crate::model::{ETagHash, TenantId};
use crate::net::Handler;
use crate::net::frontend::Frontend;
use crate::net::listener::Lobby;
use crate::runtime;
use crate::runtime::rendezvous::Rendezvous;

/// Signs of life are this far apart.
const BEAT: Duration = Duration::from_millis(500);

/// What a core is given to live on.
pub(super) struct Seat<M> {
    /// Its number, from 0.
    pub(super) core: usize,
    pub(super) listener: TcpListener,
    pub(super) emitter: Emitter,
    pub(super) lobby: Arc<Lobby>,
    pub(super) limits: Limits,
    pub(super) storage: Storage,
    pub(super) rules: Vec<ContainerRule>,
    pub(super) etag: ETagHash,
    pub(super) spin: Duration,
    pub(super) terms: Terms,
    pub(super) meeting: Rendezvous,
    pub(super) state: Arc<AdminState>,
    /// Tells that it serves, or why not.
    pub(super) ready: mpsc::Sender<Result<(), ServerError>>,
    /// Tells it to stop; dropped, too.
    pub(super) stop: oneshot::Receiver<()>,
    /// Makes what answers its requests.
    pub(super) make_handler: M,
}

/// Serves until told to stop.
pub(super) async fn live<H, M>(seat: Seat<M>)
where
    H: Handler,
    M: FnOnce(Rc<Engine>) -> H,
{
    let storage = match seat.storage.start(seat.core).await {
        Ok(storage) => storage,
        // Whoever waits for it says why, and ends the process.
        Err(error) => return drop(seat.ready.send(Err(error))),
    };
    let engine =
        Rc::new(Engine::with_etag(DriverRules::new(storage.drivers(), seat.rules), seat.etag));
    runtime::spawn(beat(seat.emitter.core(), Rc::downgrade(&engine), seat.state));
    let handler = (seat.make_handler)(engine);
    let patience = seat.limits.drain;
    let Seat { core, limits, lobby, emitter, .. } = seat;
    let frontend = Frontend::new(core, handler, limits, lobby, emitter, seat.spin, seat.terms);
    // A request may need any core, so none is accepted before all have recovered.
    seat.meeting.wait().await;
    let opened = frontend.open(seat.listener).map_err(ServerError::Listener);
    if seat.ready.send(opened).is_err() {
        // Another core failed, and nobody waits any more.
        return;
    }

    let _ = seat.stop.await;
    frontend.close();
    frontend.drained(patience).await;
    // Another core's last requests may need this one's storage, and their end that of others.
    seat.meeting.wait().await;
    storage.shutdown().await;
    seat.meeting.wait().await;
}

/// Shows for as long as the core serves that it does, and whether it takes writes.
async fn beat(core: u16, engine: Weak<Engine>, state: Arc<AdminState>) {
    let ctx = Context::internal(TenantId::DEFAULT);
    while let Some(engine) = engine.upgrade() {
        state.beat(core);
        state.set_read_only(core, engine.health(&ctx) != Health::Ready);
        drop(engine);
        runtime::sleep(BEAT).await;
    }
}
