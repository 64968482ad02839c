//! A disk that fails: after a failed write or flush nothing more is acknowledged until the next start, reads go on,
//! and what was acknowledged before is there.

use crate::device::{Disk, FUSE, LOOP_DEVICE, lacks};
use crate::ledger::{Content, Draw, Ledger, matches, target, verify};
use crate::load;
use crate::server::{Options, Server};
use crate::volatile::VolatileDisk;

const DISK_BYTES: usize = 512 << 20;
const WORKERS: usize = 6;

/// What fails.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Writes,
    Flushes,
}

fn set(disk: &VolatileDisk, fault: Fault, fail: bool) {
    match fault {
        Fault::Writes => disk.fail_writes(fail),
        Fault::Flushes => disk.fail_flushes(fail),
    }
}

fn survives(fault: Fault, rounds: u64) {
    let mut disk = VolatileDisk::new(DISK_BYTES);
    let mut draw = Draw(crate::number("SEED", 1));
    for round in 0..rounds {
        disk.format();
        let mut ledgers: Vec<Ledger> = (0..WORKERS).map(|_| Ledger::default()).collect();
        let mut server = Server::start(&disk.root().join("data"), &Options::default());
        load::create_container(&mut server.client());
        let changes = 20 + draw.next() % 100;
        load::run(&server.address.clone(), &mut ledgers, draw.next(), |progress| {
            progress.wait_for(changes, WORKERS);
            set(&disk, fault, true);
            // Each of them meets a write that fails. What is acknowledged meanwhile counts.
            progress.wait_for(u64::MAX, WORKERS);
            // As a disk that came back: a server that tried again now would believe it.
            set(&disk, fault, false);
        });
        let mut client = server.client();
        let refused = client.send("PUT", &target("later"), &[], b"bytes").expect("an answer");
        assert!(refused.status >= 500, "{fault:?} {round}: acknowledged after a failure");
        let mut read = 0;
        for (key, account) in ledgers.iter().flat_map(|ledger| &ledger.accounts) {
            // What is in doubt may be either.
            if account.unknown.is_empty() && account.acknowledged != Content::Absent {
                let answer = client.send("GET", &target(key), &[], &[]).expect("an answer");
                assert!(
                    matches(&answer, account.acknowledged),
                    "{fault:?} {round}: {key} is not read: {}",
                    answer.status
                );
                read += 1;
            }
        }
        server.kill_and_wait();
        disk.revive();
        let server = Server::start(&disk.root().join("data"), &Options::default());
        let verdict = verify(&server.address, &mut ledgers);
        println!("{fault:?} {round}: {read} read while refusing, then {} checked", verdict.checked);
        assert!(verdict.is_clean(), "{fault:?} {round}: {:#?}", verdict.notes);
        let mut client = server.client();
        let taken = client.send("PUT", &target("later"), &[], b"bytes").expect("an answer");
        assert_eq!(taken.status, 200, "a restart is the way back: {}", taken.text());
    }
}

#[test]
#[ignore = "needs root: mounts a loop device over FUSE"]
fn nothing_is_acknowledged_after_a_failed_write() {
    if lacks(&[FUSE, LOOP_DEVICE]) {
        return;
    }
    survives(Fault::Writes, crate::number("EIOS", 3));
}

#[test]
#[ignore = "needs root: mounts a loop device over FUSE"]
fn nothing_is_acknowledged_after_a_failed_flush() {
    if lacks(&[FUSE, LOOP_DEVICE]) {
        return;
    }
    survives(Fault::Flushes, crate::number("EIOS", 3));
}
