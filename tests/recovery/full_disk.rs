//! A disk that is full: writes are refused in so many words, reads and deletes go on, and what was deleted can be
//! written to again without a restart.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::device::{Disk, LOOP_DEVICE, Mount, ShutDownDisk, lacks};
use crate::ledger::{Draw, body, target};
use crate::load::create_container;
use crate::server::{Options, Server};

/// Longest time for deleted space to come back.
const PATIENCE: Duration = Duration::from_secs(60);
/// Length of the log's segments where the disk is small.
const LOG_SEGMENT: u64 = 16 << 20;
/// What little things may add.
const SLACK: u64 = 1 << 20;
/// So many refusals in a row, and the disk counts as full.
const REFUSALS: usize = 20;

struct Stored {
    key: String,
    seed: u64,
    size: usize,
}

/// Sizes of all kinds.
fn mixed(draw: &mut Draw) -> usize {
    match draw.below(10) {
        0..4 => draw.below(30_000),
        4..9 => 40_000 + draw.below(2 << 20),
        _ => (8 << 20) + draw.below(4 << 20),
    }
}

/// Writes until the disk is full; every refusal must be the right one.
fn fill(
    client: &mut Client,
    draw: &mut Draw,
    prefix: &str,
    size: impl Fn(&mut Draw) -> usize,
) -> Vec<Stored> {
    let mut stored = Vec::new();
    let mut refusals = 0;
    for step in 0_u64.. {
        let size = size(draw);
        let one = Stored { key: format!("{prefix}/{step}"), seed: draw.next(), size };
        let bytes = body(one.seed, one.size);
        let answer = client.send("PUT", &target(&one.key), &[], &bytes).expect("an answer");
        match answer.status {
            200 => {
                stored.push(one);
                refusals = 0;
            }
            507 => {
                assert_eq!(answer.element("Code").as_deref(), Some("InsufficientStorage"));
                refusals += 1;
                if refusals == REFUSALS {
                    return stored;
                }
            }
            status => panic!("{status}: {}", answer.text()),
        }
    }
    stored
}

/// Bytes that the files of a folder take on the disk.
fn disk_usage(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let metadata = entry.metadata().ok()?;
            Some(if metadata.is_dir() {
                disk_usage(&entry.path())
            } else {
                metadata.blocks() * 512
            })
        })
        .sum()
}

fn read_all(client: &mut Client, stored: &[Stored]) {
    for one in stored {
        let answer = client.send("GET", &target(&one.key), &[], &[]).expect("an answer");
        assert_eq!(answer.status, 200, "a full disk is read: {}", answer.text());
        assert!(answer.body == body(one.seed, one.size), "{}", one.key);
    }
}

fn delete_all(client: &mut Client, stored: &[Stored]) {
    for one in stored {
        let answer = client.send("DELETE", &target(&one.key), &[], &[]).expect("an answer");
        assert_eq!(answer.status, 204, "a full disk takes deletes: {}", answer.text());
    }
}

/// Fills the disk under `root` and deletes everything, `rounds` times, on one server.
fn fill_and_delete(root: &Path, rounds: u64) {
    let data = root.join("data");
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
    let options = Options { cores: Some(["0", "0,1"][cores - 1]), ..Options::default() };
    let server = Server::start(&data, &options);
    let mut client = server.client();
    create_container(&mut client);
    // Of each core the log segment that is written, the next one, and one to be used again.
    let empty = cores as u64 * 3 * LOG_SEGMENT + SLACK;
    let mut draw = Draw(crate::number("SEED", 1));
    let mut first = 0;
    for round in 0..rounds {
        let stored = fill(&mut client, &mut draw, &format!("r{round}"), mixed);
        let live: u64 = stored.iter().map(|one| one.size as u64).sum();
        let used = disk_usage(&data);
        if round == 0 {
            first = live;
        }
        read_all(&mut client, &stored);
        delete_all(&mut client, &stored);
        // Space comes back in the background.
        let patience = Instant::now() + PATIENCE;
        while disk_usage(&data) > empty {
            assert!(
                Instant::now() < patience,
                "{} bytes are in use with nothing stored; log: {}",
                disk_usage(&data),
                server.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        println!(
            "round {round}: {} stored, {live} bytes live, {used} in use, {} after deleting",
            stored.len(),
            disk_usage(&data)
        );
        assert!(live * 3 > first * 2, "less and less fits: {live} bytes after {first}");
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
#[ignore = "needs root: mounts a tmpfs"]
fn a_full_tmpfs_is_filled_and_emptied_again_and_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let _mount = Mount::tmpfs(folder.path(), 200);
    fill_and_delete(folder.path(), crate::number("FILLS", 2));
}

#[test]
#[ignore = "needs root: mounts a loop device"]
fn a_full_ext4_is_filled_and_emptied_again_and_again() {
    if lacks(&[LOOP_DEVICE]) {
        return;
    }
    let disk = ShutDownDisk::new(220 << 20);
    fill_and_delete(&disk.root(), crate::number("FILLS", 2).div_ceil(4));
}

#[test]
#[ignore = "needs root: mounts a tmpfs"]
fn a_small_disk_serves_and_a_full_one_is_started_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let _mount = Mount::tmpfs(folder.path(), 300);
    let data = folder.path().join("data");
    let mut server = Server::start(&data, &Options::default());
    let mut client = server.client();
    create_container(&mut client);
    let mut draw = Draw(crate::number("SEED", 1));
    // What has no room any more in a file of its own has some in the log.
    let mut stored = fill(&mut client, &mut draw, "large", |draw| (8 << 20) + draw.below(4 << 20));
    stored.extend(fill(&mut client, &mut draw, "small", |draw| draw.below(30_000)));
    let live: usize = stored.iter().map(|one| one.size).sum();
    println!("{} stored, {live} bytes", stored.len());
    assert!(live > 150 << 20, "much of the disk is not for artifacts: only {live} bytes are");

    server.kill_and_wait();
    let mut server = Server::start(&data, &Options::default());
    let mut client = server.client();
    read_all(&mut client, &stored);
    assert_eq!(server.terminate(), Some(0));
    let server = Server::start(&data, &Options::default());
    let mut client = server.client();
    read_all(&mut client, &stored);
    delete_all(&mut client, &stored);
    let patience = Instant::now() + PATIENCE;
    loop {
        let again = body(1, 12 << 20);
        let answer = client.send("PUT", &target("again"), &[], &again).expect("an answer");
        if answer.status == 200 {
            break;
        }
        assert!(answer.status == 507 && Instant::now() < patience, "{}", answer.text());
        std::thread::sleep(Duration::from_millis(20));
    }
}
