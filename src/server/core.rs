//! The life of one core: start its share of the storage, serve, drain, stop.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::{Arc, mpsc};

use futures_channel::oneshot;

use super::ServerError;
use super::storage::Storage;
use crate::config::{ContainerRule, Limits};
use crate::engine::{DriverRules, Engine};
use crate::event::Emitter;
use crate::net::Handler;
use crate::net::frontend::Frontend;
use crate::net::listener::Lobby;
use crate::runtime::rendezvous::Rendezvous;

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
    pub(super) meeting: Rendezvous,
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
    let engine = Rc::new(Engine::new(DriverRules::new(storage.drivers(), seat.rules)));
    let handler = (seat.make_handler)(engine);
    let patience = seat.limits.drain;
    let frontend = Frontend::new(seat.core, handler, seat.limits, seat.lobby, seat.emitter);
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
