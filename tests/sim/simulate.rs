//! Simulates the local driver over disks that lose power at any moment, fail, are full and rot, and compares what is
//! left with what must be.
//!
//! `scripts/sim` builds and runs it. All that happens in a world follows from its seed.

mod cluster;
mod content;
mod full;
mod logs;
mod model;
mod observe;
mod perils;
#[cfg(feature = "planted")]
mod planted;
mod register;
mod rot;
mod sum;
mod tally;
mod workload;
mod world;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use vaultaire::io::Clock as _;
use vaultaire::io::clock::SystemClock;

use self::tally::Tally;
use self::world::World;

/// A fifth of the time was the system's allocator's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Most crash points of one world, if nothing else is asked for.
const WORLD: u64 = 400;

/// Cuts the power of simulated machines.
#[derive(Parser)]
struct Args {
    /// Stop after so many crash points, before each of which something was acknowledged since the one before it.
    #[arg(long, default_value_t = 20_000)]
    points: u64,
    /// Stop after so many seconds, too.
    #[arg(long)]
    seconds: Option<u64>,
    /// The first world's seed; the next ones follow it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; 0 for one on each CPU.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Most crash points of one world.
    #[arg(long, default_value_t = WORLD)]
    world: u64,
    /// Say what happens in each life.
    #[arg(long)]
    talk: bool,
    /// Run with this bug in the driver, or with one after the other if it is `all`, each for `--seconds`. Fails if one
    /// is not seen.
    #[cfg(feature = "planted")]
    #[arg(long)]
    planted: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    #[cfg(feature = "planted")]
    if let Some(name) = &args.planted {
        return planted::run(name, args.seed, args.seconds.unwrap_or(planted::SECONDS));
    }
    let total = simulate(&args);
    for text in &total.texts {
        println!("{text}");
    }
    println!("{}", total.lines());
    if total.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn simulate(args: &Args) -> Tally {
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let began = SystemClock.now();
    let is_over = || {
        let ns = SystemClock.now().since(began);
        args.seconds.is_some_and(|seconds| ns / 1_000_000_000 >= seconds)
    };
    let (next, points) = (AtomicU64::new(args.seed), AtomicU64::new(0));
    let total = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while points.load(Ordering::Relaxed) < args.points && !is_over() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let mut tally = go(seed, args);
                    points.fetch_add(tally.points, Ordering::Relaxed);
                    if !tally.is_good() {
                        // Enough is known.
                        points.fetch_add(args.points, Ordering::Relaxed);
                        tally.texts.push(again(seed, args));
                    }
                    if let Ok(mut total) = total.lock() {
                        total.add(&tally);
                    }
                }
            });
        }
    });
    total.into_inner().unwrap_or_default()
}

/// The command that shows a world again.
fn again(seed: u64, args: &Args) -> String {
    let mut line = String::from("reproduce: scripts/sim --points 1 --threads 1");
    if args.world != WORLD {
        line += &format!(" --world {}", args.world);
    }
    line + &format!(" --seed {seed}")
}

/// One world; a panic in it is something wrong.
fn go(seed: u64, args: &Args) -> Tally {
    let live = || World::live(seed, args.world, args.talk);
    std::panic::catch_unwind(live).unwrap_or_else(|_| {
        let texts = vec![format!("wrong: a panic in world {seed}")];
        Tally { wrong: 1, texts, ..Tally::default() }
    })
}
