//! The power goes in the middle of mixed work, again and again, and everything acknowledged is there afterwards.
//!
//! Two disks: an ext4 that the kernel shuts down at once (its page cache and the journal's memory are gone), and an
//! ext4 on a disk with a volatile cache (unflushed sectors are gone or torn, direct writes too). That they see
//! something is shown by a build that does not sync: it must lose data in the same harness.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::Client;
use crate::device::{Disk, FUSE, LOOP_DEVICE, ShutDownDisk, lacks};
use crate::ledger::{Draw, Ledger, Verdict, body, target, verify};
use crate::load;
use crate::server::{Options, Server};
use crate::volatile::VolatileDisk;

const DISK_BYTES: usize = 512 << 20;
const WORKERS: usize = 6;
/// A new file system after so many cuts, or when there is little room.
const CUTS_PER_LIFE: u64 = 25;
const ROOM_MIN: u64 = 200 << 20;

/// What a campaign came to.
#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    acknowledged: u64,
    verdict: Verdict,
}

/// Cuts the power `cuts` times, or until something is wrong.
fn campaign(disk: &mut impl Disk, options: &Options, cuts: u64, seed: u64) -> Tally {
    let mut draw = Draw(seed);
    let mut tally = Tally::default();
    let mut ledgers: Vec<Ledger> = Vec::new();
    while tally.cuts < cuts && tally.verdict.is_clean() {
        if tally.cuts % CUTS_PER_LIFE == 0 || disk.free() < ROOM_MIN {
            disk.format();
            ledgers = (0..WORKERS).map(|_| Ledger::default()).collect();
        }
        // By turns one core and all of them, so that logs are taken over by other cores.
        let cores = (draw.below(3) == 0).then_some("0");
        let options = Options { cores, ..options.clone() };
        let mut server = match Server::try_start(&disk.root().join("data"), &options) {
            Ok(server) => server,
            Err(refusal) => {
                tally.verdict.wrong += 1;
                tally.verdict.notes.push(format!("no start after a cut: {refusal:?}"));
                return tally;
            }
        };
        if !ledgers.iter().all(|ledger| ledger.accounts.is_empty()) {
            tally.verdict.add(verify(&server.address, &mut ledgers));
        }
        if !tally.verdict.is_clean() {
            return tally;
        }
        load::create_container(&mut server.client());
        let changes = 1 + draw.next() % 150;
        let seed = draw.next();
        tally.acknowledged += load::run(&server.address.clone(), &mut ledgers, seed, |progress| {
            progress.wait_for(changes, WORKERS);
            progress.begin_cut();
            disk.cut(seed);
            server.kill();
        });
        server.kill_and_wait();
        disk.revive();
        tally.cuts += 1;
    }
    if tally.verdict.is_clean() {
        let server = Server::start(&disk.root().join("data"), options);
        tally.verdict.add(verify(&server.address, &mut ledgers));
    }
    tally
}

/// Runs campaigns side by side, one for each disk.
fn campaigns<D: Disk + Send>(disks: Vec<D>, cuts: u64) {
    let seed = crate::number("SEED", 1);
    let share = cuts.div_ceil(disks.len() as u64);
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(disks)
            .map(|(lane, mut disk)| {
                scope.spawn(move || {
                    campaign(&mut disk, &Options::default(), share, seed << 8 | lane)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a campaign")).collect()
    });
    let mut all = Tally::default();
    for tally in tallies {
        all.cuts += tally.cuts;
        all.acknowledged += tally.acknowledged;
        all.verdict.add(tally.verdict);
    }
    let Tally { cuts, acknowledged, verdict } = &all;
    println!(
        "cuts={cuts} acknowledged={acknowledged} checked={} lost={} phantom={} wrong={}",
        verdict.checked, verdict.lost, verdict.phantom, verdict.wrong
    );
    assert!(verdict.is_clean(), "seed {seed}: {:#?}", verdict.notes);
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_file_system_that_is_shut_down_loses_nothing_acknowledged() {
    if lacks(&[LOOP_DEVICE]) {
        return;
    }
    let disks = (0..2).map(|_| ShutDownDisk::new(DISK_BYTES as u64)).collect();
    campaigns(disks, crate::number("CUTS", 50));
}

#[test]
#[ignore = "needs root: mounts a loop device over FUSE"]
fn a_disk_that_loses_its_cache_loses_nothing_acknowledged() {
    if lacks(&[FUSE, LOOP_DEVICE]) {
        return;
    }
    let disks = (0..2).map(|_| VolatileDisk::new(DISK_BYTES)).collect();
    campaigns(disks, crate::number("CUTS", 50));
}

/// A build that does not sync must be seen within so many cuts.
#[cfg(feature = "planted")]
const SEEN_WITHIN: u64 = 40;

#[cfg(feature = "planted")]
fn assert_seen(disk: &mut impl Disk, bug: &'static str) {
    let options = Options { planted: Some(bug), ..Options::default() };
    let tally = campaign(disk, &options, SEEN_WITHIN, 7);
    println!("{bug}: seen after {} cuts: {:?}", tally.cuts, tally.verdict.notes.first());
    assert!(!tally.verdict.is_clean(), "{bug} was not seen in {SEEN_WITHIN} cuts");
}

#[cfg(feature = "planted")]
#[test]
#[ignore = "needs root: mounts a loop device"]
fn planted_bugs_are_seen_by_the_disk_that_is_shut_down() {
    if lacks(&[LOOP_DEVICE]) {
        return;
    }
    assert_seen(&mut ShutDownDisk::new(DISK_BYTES as u64), "extent-not-synced");
}

#[cfg(feature = "planted")]
#[test]
#[ignore = "needs root: mounts a loop device over FUSE"]
fn planted_bugs_are_seen_by_the_disk_that_loses_its_cache() {
    if lacks(&[FUSE, LOOP_DEVICE]) {
        return;
    }
    for bug in ["log-not-synced", "extent-not-synced"] {
        assert_seen(&mut VolatileDisk::new(DISK_BYTES), bug);
    }
}

/// 64 writers of one new key, the power cut as soon as the first of them is told that he lost: the winner that he was
/// told of must be there afterwards. Returns whether it once was not.
fn is_a_loser_told_too_early(disk: &mut VolatileDisk, options: &Options, rounds: u64) -> bool {
    for round in 0..rounds {
        let server = Server::try_start(&disk.root().join("data"), options);
        let Ok(mut server) = server else { return true };
        load::create_container(&mut server.client());
        let place = target(&format!("round-{round}"));
        let told = AtomicBool::new(false);
        let (address, told, place) = (&server.address.clone(), &told, &place);
        let (wins, told) = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..64)
                .map(|writer: u64| {
                    scope.spawn(move || {
                        let bytes = body(writer, 100);
                        let headers = [("if-none-match", "*")];
                        let mut client = Client::new(address);
                        let answer = client.send("PUT", place, &headers, &bytes);
                        let status = answer.map_or(0, |answer| answer.status);
                        if status == 412 {
                            told.store(true, Ordering::SeqCst);
                        }
                        (status == 200).then_some(writer)
                    })
                })
                .collect();
            while !told.load(Ordering::SeqCst)
                && !writers.iter().all(std::thread::ScopedJoinHandle::is_finished)
            {
                std::thread::yield_now();
            }
            disk.cut(round);
            server.kill();
            let wins: Vec<u64> =
                writers.into_iter().filter_map(|writer| writer.join().expect("no panic")).collect();
            (wins, told.load(Ordering::SeqCst))
        });
        assert!(wins.len() <= 1, "more than one won: {wins:?}");
        server.kill_and_wait();
        disk.revive();
        let Ok(server) = Server::try_start(&disk.root().join("data"), options) else {
            return true;
        };
        let answer = server.client().send("GET", place, &[], &[]).expect("an answer");
        let is_there =
            answer.status == 200 && wins.iter().all(|winner| answer.body == body(*winner, 100));
        if told && !is_there {
            return true;
        }
    }
    false
}

#[test]
#[ignore = "needs root: mounts a loop device over FUSE"]
fn no_loser_is_told_before_the_winner_is_durable() {
    if lacks(&[FUSE, LOOP_DEVICE]) {
        return;
    }
    let mut disk = VolatileDisk::new(DISK_BYTES);
    assert!(!is_a_loser_told_too_early(&mut disk, &Options::default(), 12));
}

#[cfg(feature = "planted")]
#[test]
#[ignore = "needs root: mounts a loop device over FUSE"]
fn a_loser_that_is_told_too_early_is_seen() {
    if lacks(&[FUSE, LOOP_DEVICE]) {
        return;
    }
    let mut disk = VolatileDisk::new(DISK_BYTES);
    let options = Options { planted: Some("log-not-synced"), ..Options::default() };
    assert!(is_a_loser_told_too_early(&mut disk, &options, SEEN_WITHIN));
}

/// One change after the other: between each request and its answer the disk must have seen a flush. Returns how often
/// it had not.
fn answers_without_flush(options: &Options) -> usize {
    let disk = VolatileDisk::new(DISK_BYTES);
    let server = Server::start(&disk.root().join("data"), options);
    let mut client = server.client();
    load::create_container(&mut client);
    let mut without = 0;
    for (step, size) in [100, 20_000, 100_000, 9 << 20].into_iter().cycle().take(100).enumerate() {
        // Each third request deletes what the one before has written.
        let place = target(&format!("k{}", step - usize::from(step % 3 == 2)));
        let (method, bytes, good) = match step % 3 {
            2 => ("DELETE", Vec::new(), 204),
            _ => ("PUT", body(step as u64, size), 200),
        };
        // Housekeeping flushes too, but rarely: not between each request and its answer.
        let before = disk.flushes();
        let answer = client.send(method, &place, &[], &bytes).expect("an answer");
        assert_eq!(answer.status, good, "{}", answer.text());
        without += usize::from(disk.flushes() == before);
    }
    without
}

#[test]
#[ignore = "needs root: mounts a loop device over FUSE"]
fn a_flush_lies_between_every_change_and_its_answer() {
    if lacks(&[FUSE, LOOP_DEVICE]) {
        return;
    }
    assert_eq!(answers_without_flush(&Options::default()), 0);
}

#[cfg(feature = "planted")]
#[test]
#[ignore = "needs root: mounts a loop device over FUSE"]
fn an_answer_without_a_flush_is_seen() {
    if lacks(&[FUSE, LOOP_DEVICE]) {
        return;
    }
    let options = Options { planted: Some("log-not-synced"), ..Options::default() };
    assert!(answers_without_flush(&options) > 0);
}
