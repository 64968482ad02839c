//! `vaultaire-load`: a load generator for S3 servers, thread per core on monoio.
//!
//! Closed loop by default: every connection sends its next request when it has the last answer. With `--rate` open
//! loop: requests begin at fixed times, and latency counts from the intended begin, so that a server that stalls
//! cannot hide it (no coordinated omission). Requests are signed with SigV4, the day's key cached.

#![expect(clippy::disallowed_methods, reason = "a tool of its own, outside the server's seams")]

mod args;
mod client;
mod keys;
mod report;
mod sign;
mod worker;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Parser;

use args::{Args, Operation};
use report::{Report, ServerUse};
use worker::{Phase, Shared};

fn main() -> ExitCode {
    let args = Arc::new(Args::parse());
    match run(&args) {
        Ok(report) => {
            println!("{}", report.line(&args));
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
    worker::create_container(args)?;
    if args.operation.reads() && !args.prepared {
        let all = Phase::Fill { keys: args.keys };
        let filled = drive(args, all)?;
        if filled.errors > 0 {
            return Err(format!("{} errors while filling: {}", filled.errors, filled.first_error));
        }
        eprintln!("filled {} keys", filled.operations);
    }
    if args.operation == Operation::Fill {
        return drive(args, Phase::Fill { keys: args.keys });
    }
    if args.warm_up_s > 0 {
        drive(args, Phase::Timed { duration: Duration::from_secs(args.warm_up_s) })?;
    }
    drive(args, Phase::Timed { duration: Duration::from_secs(args.duration_s) })
}

/// Runs one phase on all threads and joins their reports.
fn drive(args: &Arc<Args>, phase: Phase) -> Result<Report, String> {
    let shared = Arc::new(Shared::default());
    let before = args.server_pid.map(ServerUse::read).transpose()?;
    let begin = Instant::now();
    let threads: Vec<_> = (0..args.threads)
        .map(|thread| {
            let (args, shared) = (args.clone(), shared.clone());
            std::thread::spawn(move || worker::run_thread(&args, &shared, phase, thread, begin))
        })
        .collect();
    if args.progress {
        while threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_secs(1));
            eprint!(
                "\r{:>4} s {:>10} done {:>6} errors ",
                begin.elapsed().as_secs(),
                shared.operations.load(Ordering::Relaxed),
                shared.errors.load(Ordering::Relaxed)
            );
        }
        eprintln!();
    }
    let mut report = Report::default();
    for thread in threads {
        report.join(thread.join().map_err(|_| "a load thread panicked".to_owned())??);
    }
    report.elapsed = begin.elapsed();
    if let (Some(pid), Some(before)) = (args.server_pid, before) {
        report.server = Some(ServerUse::read(pid)?.since(before));
    }
    Ok(report)
}
