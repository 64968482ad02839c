//! `vaultaire-load`: a load generator for S3 servers, thread per core on monoio.
//!
//! Closed loop by default: every connection sends its next request when it has the last answer. With `--rate` open
//! loop: requests begin at fixed times, and latency counts from the intended begin, so that a server that stalls
//! cannot hide it (no coordinated omission). Requests are signed with SigV4, the day's key cached.

#![expect(clippy::disallowed_methods, reason = "a tool of its own, outside the server's seams")]

mod args;
mod body;
mod client;
mod keys;
mod mix;
mod pace;
mod report;
mod sign;
mod worker;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Parser;

use args::{Args, Operation};
use body::Block;
use keys::Draw;
use pace::Pace;
use report::{Report, ServerUse};
use worker::{Shared, Thread};

fn main() -> ExitCode {
    let args = Arc::new(Args::parse());
    match run(&args) {
        Ok(report) => {
            println!("{}", report.lines(&args));
            if let Err(error) = report.write_files(&args) {
                eprintln!("vaultaire-load: {error}");
                return ExitCode::FAILURE;
            }
            if report.errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("vaultaire-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Arc<Args>) -> Result<Report, String> {
    let block = Block::new(args.sizes.largest(), &mut Draw::new(args, 0));
    if let Some(folder) = &args.folder {
        return write_files(args, block, folder).map_err(|error| error.to_string());
    }
    if !args.unsigned {
        runtime()?.block_on(worker::create_container(args))?;
    }
    let fills = args.operation == Operation::Fill;
    if fills || args.operation.reads() && !args.prepared && !args.unsigned {
        let report = drive(args, block, true)?;
        if fills || report.errors > 0 {
            return Ok(report);
        }
        eprintln!("filled {} keys", report.operations);
    }
    drive(args, block, false)
}

/// Writes the keys as files, for a server of static files.
fn write_files(args: &Args, block: Block, folder: &Path) -> std::io::Result<Report> {
    let mut report = Report::default();
    for key in 0..args.keys {
        let mut name = format!("{}/", args.bucket);
        keys::name(&mut name, key);
        let path = folder.join(name);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, block.body(key, args.sizes.of(key)))?;
        report.operations += 1;
    }
    Ok(report)
}

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

/// Runs one phase on all threads and joins their reports.
fn drive(args: &Arc<Args>, block: Block, fills: bool) -> Result<Report, String> {
    let shared = Arc::new(Shared::default());
    let begin = Instant::now();
    let (measure_from, end) = if fills {
        (begin, begin + Duration::from_secs(86_400))
    } else {
        let measure_from = begin + seconds(args.warm_up_s)?;
        (measure_from, measure_from + seconds(args.duration_s)?)
    };
    let threads: Vec<JoinHandle<Result<Report, String>>> = (0..args.threads)
        .map(|index| {
            let (args, shared) = (args.clone(), shared.clone());
            std::thread::spawn(move || {
                run_thread(&args, &shared, fills, block, index, (begin, measure_from, end))
            })
        })
        .collect();
    let is_over = || threads.iter().all(JoinHandle::is_finished);
    let mut progress = Progress { shown: begin, operations: 0 };
    let mut wait_until = |time: Instant| {
        while Instant::now() < time && !is_over() {
            let rest = time.saturating_duration_since(Instant::now());
            std::thread::sleep(rest.min(Duration::from_millis(20)));
            if args.progress {
                progress.show(&shared, begin);
            }
        }
    };
    let server_use = || args.server_pid.map(ServerUse::read).transpose();
    wait_until(measure_from);
    let before = server_use()?;
    wait_until(end);
    let elapsed = measure_from.elapsed().min(end - measure_from);
    let after = server_use()?;
    if args.progress {
        eprintln!();
    }
    let mut report = Report::default();
    for thread in threads {
        report.join(thread.join().map_err(|_| "a load thread panicked".to_owned())??);
    }
    report.elapsed = elapsed;
    report.server = after.zip(before).map(|(after, before)| after.since(before));
    Ok(report)
}

fn run_thread(
    args: &Args,
    shared: &Shared,
    fills: bool,
    block: Block,
    index: usize,
    (begin, measure_from, end): (Instant, Instant, Instant),
) -> Result<Report, String> {
    if let Some(core) = args.cores.get(index % args.cores.len().max(1)) {
        let mut set = rustix::thread::CpuSet::new();
        set.set(*core);
        rustix::thread::sched_setaffinity(None, &set)
            .map_err(|error| format!("core {core}: {error}"))?;
    }
    runtime()?.block_on(async {
        let pace = if fills { Pace::closed(end) } else { Pace::new(args, index, begin, end)? };
        let hashes = Default::default();
        let thread = Thread { args, shared, fills, measure_from, block, pace, hashes };
        let connections = (index..args.concurrency).step_by(args.threads.max(1));
        let measuring = async {
            let wait = measure_from.saturating_duration_since(Instant::now());
            monoio::time::sleep(wait).await;
            report::thread_cpu_ns()
        };
        let (mut report, before_ns) =
            futures_util::future::join(worker::run_all(&thread, connections), measuring).await;
        report.load_cpu_ns = report::thread_cpu_ns().saturating_sub(before_ns);
        Ok(report)
    })
}

fn seconds(value: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(value).map_err(|_| format!("no time in seconds: {value}"))
}

/// The line that shows how it goes.
struct Progress {
    shown: Instant,
    operations: u64,
}

impl Progress {
    /// Shows it, unless it did less than a second ago.
    fn show(&mut self, shared: &Shared, begin: Instant) {
        let passed = self.shown.elapsed();
        if passed < Duration::from_secs(1) {
            return;
        }
        let operations = shared.operations.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let rate = (operations - self.operations) as f64 / passed.as_secs_f64();
        eprint!(
            "\r{:>4} s {operations:>11} done {rate:>9.0}/s {:>6} errors ",
            begin.elapsed().as_secs(),
            shared.errors.load(Ordering::Relaxed)
        );
        (self.shown, self.operations) = (Instant::now(), operations);
    }
}
