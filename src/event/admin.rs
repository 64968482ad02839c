//! The administration port: `/metrics`, `/healthz` and `/readyz` over plain HTTP.
//!
//! A few threads of their own answer, one connection each at a time and one request per connection;
//! no data core is touched. There is no authentication: the port is for loopback or a private network.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::aggregate::{Shared, now, yield_to_executors};
use super::exposition::CONTENT_TYPE;
use super::state::Unready;

/// Threads that answer: so many slow clients do not keep the next one waiting.
const WORKERS: usize = 4;
/// Longest request head, in bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// Longest time for a request to arrive, and for its answer to leave.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest time that a closing connection is read on, so that the client sees the answer.
const LINGER: Duration = Duration::from_millis(200);

/// The administration port cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there.
    #[error(
        "the administration port {0} is in use by another process; choose another with --admin"
    )]
    InUse(SocketAddr),
    /// The kernel refuses for another reason.
    #[error("the administration port {0} cannot be opened: {1}")]
    Failed(SocketAddr, io::Error),
}

/// Takes the administration port. Done early in the start, before anything else is touched.
///
/// # Errors
/// [`BindError`].
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        _ => BindError::Failed(address, error),
    })
}

/// The running threads.
pub(super) struct AdminHandle {
    address: SocketAddr,
    workers: Vec<JoinHandle<()>>,
}

impl AdminHandle {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Wakes and joins the threads; the stop flag is set already.
    pub(super) fn shutdown(self) {
        let loopback = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let address = SocketAddr::new(loopback, self.address.port());
        for _ in &self.workers {
            // A thread that is not reached stays in accept and ends with the process.
            if TcpStream::connect_timeout(&address, LINGER).is_err() {
                return;
            }
        }
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a thread of the administration port panicked");
            }
        }
    }
}

/// Starts the threads.
pub(super) fn start(listener: TcpListener, shared: &Arc<Shared>) -> io::Result<AdminHandle> {
    let address = listener.local_addr()?;
    let mut workers = Vec::with_capacity(WORKERS);
    for _ in 0..WORKERS {
        let (listener, shared) = (listener.try_clone()?, shared.clone());
        let run = move || {
            yield_to_executors();
            accept(&listener, &shared);
        };
        workers.push(Builder::new().name("admin".to_owned()).spawn(run)?);
    }
    Ok(AdminHandle { address, workers })
}

fn accept(listener: &TcpListener, shared: &Shared) {
    while !shared.is_stopped() {
        match listener.accept() {
            Ok(_) if shared.is_stopped() => return,
            Ok((stream, _)) => {
                // A client that went away is nobody's business.
                let _ = serve(stream, shared);
            }
            Err(error) => {
                tracing::warn!("the administration port cannot accept: {error}");
                std::thread::park_timeout(LINGER);
            }
        }
    }
}

/// An answer.
struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

impl Answer {
    fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let deadline = now() + PATIENCE;
    let head = read_head(&mut stream, deadline)?;
    let (answer, with_body) = match head.as_deref().map(parse) {
        None => (Answer::text("431 Request Header Fields Too Large", "too large\n"), true),
        Some(None) => (Answer::text("400 Bad Request", "not HTTP\n"), true),
        Some(Some(("GET", path))) => (answer(path, shared), true),
        Some(Some(("HEAD", path))) => (answer(path, shared), false),
        Some(Some(_)) => (Answer::text("405 Method Not Allowed", "GET or HEAD\n"), true),
    };
    let mut text = format!(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        answer.status,
        answer.content_type,
        answer.body.len()
    );
    if with_body {
        text.push_str(&answer.body);
    }
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(text.as_bytes())?;
    linger(&mut stream)
}

/// The method and the path without its query, if the head is one.
fn parse(head: &[u8]) -> Option<(&str, &str)> {
    let line = std::str::from_utf8(head).ok()?.split("\r\n").next()?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let fits = words.next().is_none() && version.starts_with("HTTP/1.") && target.starts_with('/');
    fits.then(|| (method, target.split('?').next().unwrap_or(target)))
}

fn answer(path: &str, shared: &Shared) -> Answer {
    match path {
        "/metrics" => {
            Answer { status: "200 OK", content_type: CONTENT_TYPE, body: shared.expose() }
        }
        "/healthz" => match shared.state().stuck(now()) {
            None => Answer::text("200 OK", "ok\n"),
            Some(core) => unavailable(Unready::Stuck(core)),
        },
        "/readyz" => match shared.state().readiness(now()) {
            Ok(()) => Answer::text("200 OK", "ready\n"),
            Err(unready) => unavailable(unready),
        },
        _ => Answer::text("404 Not Found", "there are /metrics, /healthz and /readyz\n"),
    }
}

fn unavailable(unready: Unready) -> Answer {
    let body = match unready {
        Unready::Starting => "starting\n".to_owned(),
        Unready::Draining => "draining\n".to_owned(),
        Unready::ReadOnly => "writes are refused after a failure or for want of space\n".to_owned(),
        Unready::Stuck(core) => format!("core {core} shows no sign of life\n"),
    };
    Answer::text("503 Service Unavailable", body)
}

/// Reads up to the empty line; `None` if that does not come within [`HEAD_BYTES_MAX`].
fn read_head(stream: &mut TcpStream, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::with_capacity(1024);
    let mut piece = [0; 1024];
    while head.len() <= HEAD_BYTES_MAX {
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The end may lie across two pieces.
        let from = head.len().saturating_sub(3);
        head.extend_from_slice(&piece[..count]);
        if head[from..].windows(4).any(|window| window == b"\r\n\r\n") {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// Reads what the client still sends for a moment: closing over unread bytes would reset the
/// connection, and the answer with it.
fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = now() + LINGER;
    let mut piece = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if stream.read(&mut piece)? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
