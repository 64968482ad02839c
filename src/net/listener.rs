//! Accepting connections, and handing each to the least loaded core.
//!
//! Every core listens on the same port. The kernel spreads new connections by hash, which is uneven
//! for a few long ones, so the accepting core gives each away once if another core has fewer.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;
use socket2::{Domain, Protocol, Socket, Type};

use super::frontend::Frontend;
use super::pulse::Watched;
use super::{Handler, connection};
use crate::io::socket;
use crate::runtime::placement::{Load, Loads};
use crate::runtime::{self, Pauses};

/// Connections that wait to be accepted, per core.
const BACKLOG: i32 = 1024;
/// Connections on their way to another core.
const QUEUE: usize = 1024;
/// Connections accepted before other tasks get their turn.
const TURN: usize = 32;

/// Binds one listener per core to the same address; port 0 becomes one free port.
///
/// # Errors
/// If the address is not ours or is in use, also by a server that would share it.
pub fn bind(address: SocketAddr, cores: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let domain = Domain::for_address(address);
    let socket = || Socket::new(domain, Type::STREAM, Some(Protocol::TCP));
    // SO_REUSEPORT would share a port with another server silently; a plain bind does not. The probe
    // holds the port until the listeners have it.
    let probe = socket()?;
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())?;
    probe.set_reuse_port(true)?;
    let bound = probe
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("the socket has no internet address"))?;
    let listeners = (0..cores)
        .map(|_| {
            let listener = socket()?;
            listener.set_reuse_address(true)?;
            listener.set_reuse_port(true)?;
            listener.set_nonblocking(true)?;
            listener.bind(&bound.into())?;
            listener.listen(BACKLOG)?;
            Ok(listener.into())
        })
        .collect::<io::Result<Vec<_>>>()?;
    Ok((bound, listeners))
}

/// A connection on its way to its core.
pub struct Arrival {
    /// Its socket, non-blocking.
    pub stream: TcpStream,
    /// Where it counts.
    pub load: Load,
}

#[derive(Default)]
struct Door {
    waker: AtomicWaker,
}

/// Where connections change cores.
pub struct Lobby {
    loads: Loads,
    queues: Box<[(ArrayQueue<Arrival>, Door)]>,
}

impl Lobby {
    /// A lobby for this many cores and connections.
    #[must_use]
    pub fn new(cores: usize, connections: usize) -> Self {
        let queues = (0..cores).map(|_| (ArrayQueue::new(QUEUE), Door::default())).collect();
        Self { loads: Loads::new(cores, connections), queues }
    }

    /// Connections of all cores.
    #[must_use]
    pub fn loads(&self) -> &Loads {
        &self.loads
    }

    /// Gives a connection to its core, or back if too many are on their way.
    fn send(&self, arrival: Arrival) -> Result<(), Arrival> {
        let (queue, door) = &self.queues[arrival.load.core()];
        queue.push(arrival)?;
        door.waker.wake();
        Ok(())
    }

    /// The next connection for a core. For one task of that core.
    pub async fn arrival(&self, core: usize) -> Arrival {
        let (queue, door) = &self.queues[core];
        poll_fn(|cx| {
            if let Some(arrival) = queue.pop() {
                return Poll::Ready(arrival);
            }
            door.waker.register(cx.waker());
            // It may have come between the two.
            queue.pop().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// The listener of one core.
pub(super) struct Acceptor {
    listener: TcpListener,
    readiness: monoio::net::TcpListener,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener) -> io::Result<Self> {
        let readiness = monoio::net::TcpListener::from_std(listener.try_clone()?)?;
        Ok(Self { listener, readiness })
    }

    /// Accepts until the front end is closed.
    pub(super) async fn run<H: Handler>(self, frontend: Rc<Frontend<H>>, watched: Watched) {
        let pauses = Pauses::after(TURN);
        while frontend.is_accepting() {
            match socket::accept(&self.listener) {
                Ok(Some(stream)) => {
                    place(&frontend, stream);
                    pauses.count(1).await;
                }
                // Not relaxed: on epoll that would return at once for ever. Idleness is no reason to
                // stop listening, so every end of the wait leads back to the question above.
                Ok(None) => drop(watched.pulse().watch(self.readiness.readable(false)).await),
                Err(error) if is_exhaustion(&error) => {
                    tracing::warn!(%error, "connections wait: none can be accepted now");
                    runtime::sleep(Duration::from_millis(100)).await;
                }
                // That client's connection failed before it was accepted.
                Err(error) => tracing::debug!(%error, "accept"),
            }
        }
    }
}

/// Gives a new connection to a core, or refuses it.
fn place<H: Handler>(frontend: &Rc<Frontend<H>>, stream: TcpStream) {
    // Without it a small answer may wait for an acknowledgement; a socket that refuses is dead.
    let _ = stream.set_nodelay(true);
    socket::unpace_if_local(&stream);
    match frontend.lobby().loads().place(frontend.core()) {
        Some(load) if load.core() == frontend.core() => {
            frontend.welcome(Arrival { stream, load });
        }
        Some(load) => {
            if let Err(arrival) = frontend.lobby().send(Arrival { stream, load }) {
                connection::turn_away(frontend, arrival.stream);
            }
        }
        None => connection::turn_away(frontend, stream),
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cores_share_one_free_port_and_nobody_else_gets_it() {
        let (address, listeners) = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_ne!(address.port(), 0);
        for listener in &listeners {
            assert_eq!(listener.local_addr().unwrap(), address);
        }
        let second = bind(address, 3).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(listeners);
        bind(address, 1).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_an_error() {
        assert!(bind("192.0.2.1:0".parse().unwrap(), 1).is_err());
    }
}
