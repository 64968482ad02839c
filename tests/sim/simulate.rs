//! Simulates the local driver over disks that lose power at any moment, and compares what is left with what must be.
//!
//! `scripts/sim` builds and runs it. All that happens in a world follows from its seed.

mod cluster;
mod content;
mod model;
mod observe;
mod register;
mod workload;
mod world;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;

use self::world::{Tally, World};

/// Cuts the power of simulated machines.
#[derive(Parser)]
struct Args {
    /// Stop after so many crash points.
    #[arg(long, default_value_t = 20_000)]
    points: u64,
    /// The first world's seed; the next ones follow it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; 0 for one on each CPU.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Most crash points of one world.
    #[arg(long, default_value_t = 1500)]
    world: u64,
    /// Say what happens in each life.
    #[arg(long)]
    talk: bool,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.points += other.points;
        self.lost += other.lost;
        self.phantom += other.phantom;
        self.wrong += other.wrong;
        self.in_recovery += other.in_recovery;
        self.lives += other.lives;
        self.operations += other.operations;
        self.errors += other.errors;
        self.texts.extend(other.texts.iter().cloned());
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let threads = match args.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let (next, points) = (AtomicU64::new(args.seed), AtomicU64::new(0));
    let total = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while points.load(Ordering::Relaxed) < args.points {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let mut tally = go(seed, &args);
                    points.fetch_add(tally.points, Ordering::Relaxed);
                    if !tally.is_good() {
                        // Enough is known.
                        points.fetch_add(args.points, Ordering::Relaxed);
                        let again =
                            format!("reproduce: scripts/sim --points 1 --threads 1 --seed {seed}");
                        tally.texts.push(again);
                    }
                    if let Ok(mut total) = total.lock() {
                        total.add(&tally);
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_default();
    for text in &total.texts {
        println!("{text}");
    }
    println!(
        "lives={} operations={} in_recovery={} errors={}",
        total.lives, total.operations, total.in_recovery, total.errors
    );
    println!(
        "points={} lost={} phantom={} wrong={}",
        total.points, total.lost, total.phantom, total.wrong
    );
    if total.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One world; a panic in it is something wrong.
fn go(seed: u64, args: &Args) -> Tally {
    let live = || World::live(seed, args.world, args.talk);
    std::panic::catch_unwind(live).unwrap_or_else(|_| {
        let texts = vec![format!("wrong: a panic in world {seed}")];
        Tally { wrong: 1, texts, ..Tally::default() }
    })
}
