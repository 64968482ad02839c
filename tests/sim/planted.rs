//! Bugs on purpose: each must be seen, and soon.

use std::process::{Command, ExitCode, Stdio};

use vaultaire::io::Clock as _;
use vaultaire::io::clock::SystemClock;
use vaultaire::shard::planted::names;

/// How long to look for each: a tenth of what the simulation has in CI.
pub(crate) const SECONDS: u64 = 9;

/// Crash points of a world: few, for many kinds of worlds.
const WORLD: u64 = 150;

/// Runs with one bug, or with all in turn, each in a process of its own.
pub(crate) fn run(name: &str, seed: u64, seconds: u64) -> ExitCode {
    let bugs: Vec<_> = names().filter(|known| name == "all" || *known == name).collect();
    if bugs.is_empty() {
        println!("no such bug; there are: {}", names().collect::<Vec<_>>().join(" "));
        return ExitCode::FAILURE;
    }
    let unseen = bugs.iter().filter(|bug| !is_seen(bug, seed, seconds)).count();
    println!("planted={} seen={} unseen={unseen}", bugs.len(), bugs.len() - unseen);
    if unseen == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_seen(bug: &str, seed: u64, seconds: u64) -> bool {
    let began = SystemClock.now();
    let Ok(program) = std::env::current_exe() else { return false };
    let run = Command::new(program)
        .args(["--points", "1000000000", "--seconds", &seconds.to_string()])
        .args(["--world", &WORLD.to_string(), "--seed", &seed.to_string()])
        .env("VAULTAIRE_PLANTED", bug)
        .stderr(Stdio::null())
        .output();
    let Ok(output) = run else { return false };
    let ms = SystemClock.now().since(began) / 1_000_000;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = |start: &str| text.lines().rfind(|line| line.starts_with(start));
    let points = line("points=").unwrap_or("points=?");
    let points = points.split(' ').next().unwrap_or_default();
    let again = line("reproduce: ").and_then(|line| line.strip_prefix("reproduce: "));
    match again {
        Some(again) if !output.status.success() => {
            let what = text.lines().next().unwrap_or_default();
            println!("{bug}: seen, {points} ms={ms} | VAULTAIRE_PLANTED={bug} {again} | {what}");
            true
        }
        _ => {
            println!("{bug}: NOT SEEN, {points} ms={ms}");
            false
        }
    }
}
