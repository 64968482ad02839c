//! kill -9 in the middle of mixed work: what the kernel was given stays, and that must be all that was acknowledged.

use std::sync::Arc;

use crate::ledger::{Draw, Ledger, Verdict, verify};
use crate::load;
use crate::server::{Options, Server};

const WORKERS: usize = 6;

/// Kills a server `cycles` times, or until something is wrong; returns the verdict and the acknowledged changes.
fn campaign(options: &Options, cycles: u64, seed: u64) -> (Verdict, u64) {
    let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
    let data = folder.path().join("data");
    let mut draw = Draw(seed);
    let mut ledgers: Vec<Ledger> = (0..WORKERS).map(|_| Ledger::default()).collect();
    let (mut verdict, mut acknowledged) = (Verdict::default(), 0);
    for _ in 0..cycles {
        let cores = (draw.below(3) == 0).then_some("0");
        let mut server = match Server::try_start(&data, &Options { cores, ..options.clone() }) {
            Ok(server) => server,
            Err(refusal) => {
                verdict.wrong += 1;
                verdict.notes.push(format!("no start after a kill: {refusal:?}"));
                return (verdict, acknowledged);
            }
        };
        load::create_container(&mut server.client());
        verdict.add(verify(&server.address, &mut ledgers));
        if !verdict.is_clean() {
            return (verdict, acknowledged);
        }
        let changes = 1 + draw.next() % 150;
        acknowledged += load::run(&server.address.clone(), &mut ledgers, draw.next(), |progress| {
            progress.wait_for(changes, WORKERS);
            progress.begin_cut();
            server.kill();
        });
        server.kill_and_wait();
    }
    let server = Server::start(&data, options);
    verdict.add(verify(&server.address, &mut ledgers));
    (verdict, acknowledged)
}

#[test]
fn a_server_that_is_killed_loses_nothing_acknowledged() {
    let (cycles, seed) = (crate::number("KILLS", 6), crate::number("SEED", 1));
    let (verdict, acknowledged) = campaign(&Options::default(), cycles, seed);
    println!(
        "kills={cycles} acknowledged={acknowledged} checked={} lost={} phantom={} wrong={}",
        verdict.checked, verdict.lost, verdict.phantom, verdict.wrong
    );
    assert!(verdict.is_clean(), "seed {seed}: {:#?}", verdict.notes);
}

#[cfg(feature = "planted")]
#[test]
fn a_planted_bug_is_seen_by_killing() {
    let options = Options { planted: Some("acknowledge-before-write"), ..Options::default() };
    let (verdict, _) = campaign(&options, 40, 7);
    println!("acknowledge-before-write: {:?}", verdict.notes.first());
    assert!(!verdict.is_clean(), "what was acknowledged too early was not missed");
}
