//! Start, drain, stop.
//!
//! Everything that can be refused is refused before the first core starts: a port in use, io_uring
//! that is missing, a data folder that another server holds. `ready` is printed when every core
//! serves. At SIGTERM or SIGINT the cores stop accepting, finish their requests, seal their logs, and
//! the process ends with 0; a second signal ends it at once.

mod check;
mod core;
mod credentials;
mod storage;

pub use check::check_folder;
pub use credentials::CredentialError;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_channel::oneshot;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::config::{Config, DriverKind, ZeroCopy};
use crate::driver::local::{LocalVolume, OpenError};
use crate::engine::Engine;
use crate::engine::tenant::{Credential, Tenants};
use crate::event::admin::{self, BindError};
use crate::event::aggregate::{self, AggregatorHandle};
use crate::event::{self, AdminState};
use crate::io::budget::Budget;
use crate::io::clock::SystemClock;
use crate::io::lending::Terms;
use crate::net::Handler;
use crate::net::listener::{self, Lobby};
use crate::runtime::core::{
    Backend, BackendError, BlockingPool, probe, raise_open_files, spawn_core,
};
use crate::runtime::rendezvous::Rendezvous;
use crate::s3::{Service, ServiceConfig};
use crate::shard::check::CheckError;

use self::core::Seat;
use storage::Storage;

/// Events of one core that wait for the aggregator.
const EVENTS_PER_CORE: usize = 16 << 10;
/// Open files that are not connections: the storage's, the rings, the listeners.
const OTHER_FILES: u64 = 1024;

/// Why the server did not start, or did not stop in order.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The executors cannot run here.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Somebody else listens there.
    #[error("cannot listen on {0}: it is in use by another process; choose another with --listen")]
    InUse(SocketAddr),
    /// The address is not ours.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// A listener was lost.
    #[error("a core cannot listen: {0}")]
    Listener(io::Error),
    /// There is no access key.
    #[error("the access key: {0}")]
    Credentials(#[from] CredentialError),
    /// A data folder cannot be used, or not be recovered.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// The administration port is not ours or is in use.
    #[error(transparent)]
    Admin(#[from] BindError),
    /// The system refuses something else.
    #[error("the server cannot start: {0}")]
    System(#[from] io::Error),
    /// A data folder could not be checked.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A core ended by itself.
    #[error("a core ended before it was told to")]
    CoreLost,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// It did not start, or did not stop in order.
pub fn run(config: Config) -> Result<(), ServerError> {
    let server = Server::start(config)?;
    let hurried = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // Ends the process at once, but only when it has been told before.
        signal_hook::flag::register_conditional_shutdown(signal, 1, hurried.clone())?;
    }
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    let mut out = io::stdout().lock();
    // Nobody may be reading, which is no reason not to serve.
    let _ = writeln!(out, "ready http://{}", server.address()).and_then(|()| out.flush());
    drop(out);

    let signal = signals.forever().next();
    hurried.store(true, Ordering::SeqCst);
    tracing::info!(?signal, "stopping");
    server.stop()
}

/// A running server. Stop it: dropping it leaves its cores running.
pub struct Server {
    address: SocketAddr,
    cores: Vec<JoinHandle<Result<(), BackendError>>>,
    stops: Vec<oneshot::Sender<()>>,
    state: Arc<AdminState>,
    events: AggregatorHandle,
}

impl Server {
    /// Starts all cores and returns when every one of them serves.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is served then, and the process should end.
    pub fn start(config: Config) -> Result<Self, ServerError> {
        let prepared = Prepared::new(&config)?;
        let service = ServiceConfig {
            region: config.region.clone(),
            domains: config.domains.clone(),
            tenants: tenants(&config, prepared.address)?,
            body_bytes_max: config.limits.body_bytes,
        };
        let budget = prepared.budget.clone();
        Self::start_with(&config, prepared, |engine| {
            Service::new(service, engine, budget, SystemClock)
        })
    }

    /// The same with a handler of the caller's for each core.
    fn start_with<H, M>(
        config: &Config,
        prepared: Prepared,
        make_handler: M,
    ) -> Result<Self, ServerError>
    where
        H: Handler,
        M: FnOnce(Rc<Engine>) -> H + Clone + Send + 'static,
    {
        let Prepared { backend, address, listeners, admin, budget, storage } = prepared;
        let count = config.cores.len();
        let lobby = Arc::new(Lobby::new(count, config.limits.connections));
        let has_ring = backend == Backend::Uring;
        let zero_copy = if has_ring { config.zero_copy } else { ZeroCopy::Never };
        let number = u16::try_from(count).unwrap_or(u16::MAX);
        let (emitters, collector) = event::rings(number, EVENTS_PER_CORE);
        let terms = Terms::new(zero_copy, budget.clone(), count);
        let state = Arc::new(gauges(number, &lobby, budget, &storage));
        // Before the cores: who asks meanwhile is told that they start.
        let events = aggregate::start(collector, admin, state.clone(), config.access_log)?;
        let pool = BlockingPool::new((2 * count).clamp(4, 32));
        let meeting = Rendezvous::new(count);
        let (ready, readiness) = mpsc::channel();
        let (mut cores, mut stops) = (Vec::new(), Vec::new());
        let places = config.cores.iter().zip(listeners).zip(emitters).enumerate();
        for (core, ((&cpu, listener), emitter)) in places {
            let (stop, stopped) = oneshot::channel();
            stops.push(stop);
            let seat = Seat {
                core,
                listener,
                emitter,
                lobby: lobby.clone(),
                limits: config.limits.clone(),
                storage: storage.clone(),
                rules: config.rules.clone(),
                etag: config.etag,
                spin: if has_ring { config.spin } else { Duration::ZERO },
                terms: terms.clone(),
                meeting: meeting.clone(),
                state: state.clone(),
                ready: ready.clone(),
                stop: stopped,
                make_handler: make_handler.clone(),
            };
            let life = move || self::core::live(seat);
            cores.push(spawn_core(core, cpu, backend, pool.clone(), life)?);
        }
        drop(ready);
        let mut refused = None;
        for _ in 0..count {
            match readiness.recv() {
                Ok(Ok(())) => (),
                // All are heard out: the one that knows why may not be the first, and others clean up.
                Ok(Err(ServerError::Storage(OpenError::OtherCore))) if refused.is_some() => (),
                Ok(Err(error)) => refused = Some(error),
                // Nobody is left to say anything: the executors themselves did not start.
                Err(_) => return Err(join(cores).err().unwrap_or(ServerError::CoreLost)),
            }
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        state.set_ready();
        Ok(Self { address, cores, stops, state, events })
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and health are served.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.events.admin_address()
    }

    /// Stops accepting, finishes requests within the limit, seals the storage.
    ///
    /// # Errors
    /// If a core did not end in order.
    pub fn stop(self) -> Result<(), ServerError> {
        self.state.set_draining();
        for stop in self.stops {
            // A core that is gone already is found below.
            let _ = stop.send(());
        }
        let ended = join(self.cores);
        self.events.shutdown();
        ended
    }
}

/// What the administration port shows besides operations.
fn gauges(cores: u16, lobby: &Arc<Lobby>, budget: Budget, storage: &Storage) -> AdminState {
    let (lobby, total) = (lobby.clone(), budget.total());
    let sum = |of: fn(&LocalVolume) -> u64| {
        // Not held: the folder's lock goes with the cores.
        let volumes: Vec<_> = storage.volumes().iter().map(Arc::downgrade).collect();
        move || volumes.iter().filter_map(Weak::upgrade).map(|volume| of(&volume)).sum()
    };
    AdminState::new(cores)
        .with_gauge("connections", "Open connections.", move || lobby.loads().total() as u64)
        .with_gauge("memory_in_use_bytes", "Of the byte budget, caches included.", move || {
            budget.in_use()
        })
        .with_gauge("memory_total_bytes", "The byte budget.", move || total)
        .with_gauge(
            "damaged",
            "Stored artifacts, parts and places of logs that are known to be damaged.",
            sum(LocalVolume::damaged),
        )
        .with_gauge(
            "log_damaged",
            "Data folders whose log has lost something: nothing is removed before that is accepted.",
            sum(|volume| u64::from(volume.is_damaged())),
        )
        .with_counter(
            "scrubbed_bytes_total",
            "Bytes that the scrub has read and verified.",
            sum(LocalVolume::bytes_scrubbed),
        )
        .with_counter(
            "scrub_passes_total",
            "How often the scrub has read everything, since the folder was made.",
            sum(LocalVolume::scrub_passes),
        )
        .with_gauge(
            "data_file_bytes",
            "Length of the data segments that are full.",
            sum(|volume| volume.data_bytes().0),
        )
        .with_gauge(
            "data_live_bytes",
            "Bytes of these that are in use.",
            sum(|volume| volume.data_bytes().1),
        )
        .with_counter(
            "index_flushes_total",
            "Tables of the index that were written to runs.",
            sum(|volume| volume.index_work().flushes),
        )
        .with_counter(
            "index_merges_total",
            "Merges of runs of the index.",
            sum(|volume| volume.index_work().merges),
        )
        .with_counter(
            "index_checkpoints_total",
            "Checkpoints of the index.",
            sum(|volume| volume.index_work().checkpoints),
        )
        .with_counter(
            "index_block_hits_total",
            "Blocks of runs that were found in memory.",
            sum(|volume| volume.index_work().block_hits),
        )
        .with_counter(
            "index_block_misses_total",
            "Blocks of runs that were read from the disk.",
            sum(|volume| volume.index_work().block_misses),
        )
}

fn join(cores: Vec<JoinHandle<Result<(), BackendError>>>) -> Result<(), ServerError> {
    for core in cores {
        core.join().map_err(|_| ServerError::CoreLost)??;
    }
    Ok(())
}

/// What is refused or found before the first core starts.
struct Prepared {
    backend: Backend,
    address: SocketAddr,
    listeners: Vec<std::net::TcpListener>,
    admin: std::net::TcpListener,
    budget: Budget,
    storage: Storage,
}

impl Prepared {
    fn new(config: &Config) -> Result<Self, ServerError> {
        let backend = if config.legacy_runtime { Backend::Legacy } else { Backend::Uring };
        probe(backend)?;
        let files = raise_open_files();
        let wanted = config.limits.connections as u64 + OTHER_FILES;
        if files.is_some_and(|files| files < wanted) {
            tracing::warn!(?files, wanted, "too few open files are allowed for all connections");
        }
        let (address, listeners) =
            listener::bind(config.listen, config.cores.len()).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::AddrInUse => ServerError::InUse(config.listen),
                    _ => ServerError::Listen { address: config.listen, error },
                }
            })?;
        let admin = admin::bind(config.admin)?;
        let budget = Budget::new(config.memory_bytes);
        let storage = Storage::open(&config.drivers, config.cores.len(), &budget, config.upkeep)?;
        Ok(Self { backend, address, listeners, admin, budget, storage })
    }
}

/// The configured access keys, or the generated one.
fn tenants(config: &Config, address: SocketAddr) -> Result<Tenants, ServerError> {
    if !config.credentials.is_empty() {
        return Ok(Tenants::new(config.credentials.clone()));
    }
    let folder = config.drivers.iter().find_map(|driver| match &driver.kind {
        DriverKind::Local { path } => Some(path.as_path()),
        DriverKind::Memory => None,
    });
    let (credential, is_new) = match folder {
        Some(folder) => credentials::load_or_generate(folder)?,
        // What is in memory ends with the process, and so does its key.
        None => (credentials::generate()?, true),
    };
    if is_new {
        introduce(&credential, folder, address, &config.region);
    }
    Ok(Tenants::new(vec![credential]))
}

/// Shows a new key to whoever starts the server, once.
fn introduce(credential: &Credential, folder: Option<&Path>, address: SocketAddr, region: &str) {
    let Credential { access_key_id, secret, .. } = credential;
    let kept = match folder {
        Some(folder) => format!("kept in {}", folder.display()),
        None => "gone with this process".to_owned(),
    };
    eprintln!(
        "An access key was generated ({kept}). Try it:\n\n  \
         AWS_ACCESS_KEY_ID={access_key_id} AWS_SECRET_ACCESS_KEY={secret} \
         AWS_DEFAULT_REGION={region} \\\n    aws --endpoint-url http://{address} s3 mb s3://first\n"
    );
}

#[cfg(test)]
mod tests;
