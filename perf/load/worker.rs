//! The loop of one connection, and the threads that carry them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::args::{Args, Operation};
use crate::client::Connection;
use crate::keys::{self, Draw};
use crate::report::Report;
use crate::sign::Signer;

/// What the threads share.
#[derive(Default)]
pub(crate) struct Shared {
    next_key: AtomicU64,
    pub(crate) operations: AtomicU64,
    pub(crate) errors: AtomicU64,
}

/// What to do, until when.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// Write every key once.
    Fill { keys: u64 },
    /// Send the operation for this long.
    Timed { duration: Duration },
}

/// Errors after which a connection gives up.
const ERRORS_MAX: u64 = 20;

fn runtime() -> Result<monoio::Runtime<monoio::time::TimeDriver<monoio::IoUringDriver>>, String> {
    let mut builder = io_uring06::IoUring::builder();
    builder.setup_coop_taskrun();
    monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(1024)
        .uring_builder(builder)
        .enable_timer()
        .build()
        .map_err(|error| format!("io_uring: {error}"))
}

/// Creates the container; that it exists is fine.
pub(crate) fn create_container(args: &Args) -> Result<(), String> {
    let mut runtime = runtime()?;
    runtime.block_on(async {
        let mut connection = Connection::open(args.endpoint).await?;
        let mut request = Vec::new();
        Signer::new(args).head(&mut request, "PUT", &format!("/{}", args.bucket), "", 0);
        let (answer, _) = connection.exchange(request, false).await?;
        match answer.status {
            200 | 409 => Ok(()),
            status => Err(format!("creating the bucket: status {status}")),
        }
    })
}

/// Runs this thread's connections to the end of the phase.
pub(crate) fn run_thread(
    args: &Args,
    shared: &Shared,
    phase: Phase,
    thread: usize,
    begin: Instant,
) -> Result<Report, String> {
    let mut runtime = runtime()?;
    let report = Rc::new(RefCell::new(Report::default()));
    runtime.block_on(async {
        let connections = (thread..args.concurrency).step_by(args.threads.max(1));
        let loops = connections.map(|index| {
            let report = report.clone();
            async move {
                let mut worker = Worker::new(args, shared, phase, index, begin);
                if let Err(error) = worker.run().await {
                    worker.report.fail(error);
                    shared.errors.fetch_add(1, Ordering::Relaxed);
                }
                report.borrow_mut().join(worker.report);
            }
        });
        futures_util::future::join_all(loops).await;
    });
    drop(runtime);
    Rc::try_unwrap(report).map(RefCell::into_inner).map_err(|_| "a report is still held".into())
}

struct Worker<'a> {
    args: &'a Args,
    shared: &'a Shared,
    phase: Phase,
    begin: Instant,
    index: usize,
    draw: Draw,
    signer: Signer,
    payload: Vec<u8>,
    report: Report,
    own_key: Option<u64>,
}

impl<'a> Worker<'a> {
    fn new(args: &'a Args, shared: &'a Shared, phase: Phase, index: usize, begin: Instant) -> Self {
        let mut draw = Draw::new(args, index as u64 + 1);
        let longest = args.sizes.iter().copied().max().unwrap_or(0);
        let payload = (0..longest).map(|_| draw.next_u64().to_le_bytes()[3]).collect();
        let signer = Signer::new(args);
        let report = Report::default();
        Self { args, shared, phase, begin, index, draw, signer, payload, report, own_key: None }
    }

    async fn run(&mut self) -> Result<(), String> {
        let mut connection = Connection::open(self.args.endpoint).await?;
        let mut request = Vec::new();
        let mut sent = 0_u64;
        loop {
            let Some(intended) = self.next_begin(sent).await else { return Ok(()) };
            sent += 1;
            request.clear();
            let Some(method) = self.compose(&mut request) else { return Ok(()) };
            match connection.exchange(request, method == "HEAD").await {
                Ok((answer, buffer)) => {
                    request = buffer;
                    let expected = if method == "DELETE" { 204 } else { 200 };
                    if answer.status == expected {
                        let bytes =
                            if method == "PUT" { request.len() as u64 } else { answer.body_bytes };
                        self.report.succeed(intended.elapsed(), bytes);
                        self.shared.operations.fetch_add(1, Ordering::Relaxed);
                    } else {
                        self.fail(format!("{method}: status {}", answer.status))?;
                    }
                }
                Err(error) => {
                    self.fail(format!("{method}: {error}"))?;
                    connection = Connection::open(self.args.endpoint).await?;
                    request = Vec::new();
                }
            }
        }
    }

    fn fail(&mut self, error: String) -> Result<(), String> {
        self.shared.errors.fetch_add(1, Ordering::Relaxed);
        if self.report.errors >= ERRORS_MAX {
            return Err(error);
        }
        self.report.fail(error);
        Ok(())
    }

    /// When the next request begins, or `None` when the phase is over. Waits in open loop.
    async fn next_begin(&mut self, sent: u64) -> Option<Instant> {
        let Phase::Timed { duration } = self.phase else { return Some(Instant::now()) };
        let Some(rate) = self.args.rate else {
            let now = Instant::now();
            return (now - self.begin < duration).then_some(now);
        };
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let turn = (sent * self.args.concurrency as u64 + self.index as u64) as f64;
        let offset = Duration::from_secs_f64(turn / rate);
        if offset >= duration {
            return None;
        }
        let intended = self.begin + offset;
        if let Some(wait) = intended.checked_duration_since(Instant::now()) {
            monoio::time::sleep(wait).await;
        }
        Some(intended)
    }

    /// Writes the next request; `None` when there is none left.
    fn compose(&mut self, out: &mut Vec<u8>) -> Option<&'static str> {
        if let Phase::Fill { keys } = self.phase {
            let key = self.shared.next_key.fetch_add(1, Ordering::Relaxed);
            return (key < keys).then(|| self.put(out, key));
        }
        match self.args.operation {
            Operation::Fill | Operation::Put => {
                let key = self.draw.key();
                Some(self.put(out, key))
            }
            Operation::Get => Some(self.plain(out, "GET")),
            Operation::Head => Some(self.plain(out, "HEAD")),
            Operation::List => Some(self.list(out, self.args.page)),
            Operation::Delete => Some(match self.own_key.take() {
                None => {
                    let key = self.draw.next_u64() % 1_000_000_000_000;
                    self.own_key = Some(key);
                    self.put(out, key)
                }
                Some(key) => {
                    let path = self.path(key);
                    self.signer.head(out, "DELETE", &path, "", 0);
                    "DELETE"
                }
            }),
            Operation::Mixed => Some(match self.draw.next_u64() % 100 {
                0..45 => self.plain(out, "GET"),
                45..75 => self.plain(out, "HEAD"),
                75..90 => {
                    let key = self.draw.key();
                    self.put(out, key)
                }
                _ => self.list(out, 50),
            }),
        }
    }

    fn path(&self, key: u64) -> String {
        format!("/{}/{}", self.args.bucket, keys::name(key))
    }

    fn put(&mut self, out: &mut Vec<u8>, key: u64) -> &'static str {
        let (path, size) = (self.path(key), keys::size(self.args, key));
        self.signer.head(out, "PUT", &path, "", size);
        out.extend_from_slice(&self.payload[..size]);
        "PUT"
    }

    fn plain(&mut self, out: &mut Vec<u8>, method: &'static str) -> &'static str {
        let key = self.draw.key();
        let path = self.path(key);
        self.signer.head(out, method, &path, "", 0);
        method
    }

    fn list(&mut self, out: &mut Vec<u8>, page: u32) -> &'static str {
        let key = self.draw.key();
        let after = keys::name(key).replace('/', "%2F");
        let query = format!("list-type=2&max-keys={page}&start-after={after}");
        let path = format!("/{}", self.args.bucket);
        self.signer.head(out, "GET", &path, &query, 0);
        "GET"
    }
}
