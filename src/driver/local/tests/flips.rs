//! Every bit of a folder at rest counts: one that is turned over is found.

use super::*;
use crate::io::sim::SimDisk;
use crate::io::testing::drive;
use crate::shard::check;

type SimDriver = Local<SimDisk, SystemClock>;

/// A folder whose superblock is on the real disk, and whose logs and data are in memory.
struct Bench {
    folder: tempfile::TempDir,
    disk: SimDisk,
}

async fn put_on(driver: &SimDriver, to: &str, mut source: Given) {
    let target = Target { container: &name("box"), key: key(to) };
    driver.put(&ctx(), target, WriteSpec::default(), &mut source).await.unwrap();
}

impl Bench {
    /// Two starts, each stopped in order, with an artifact of each kind, overwritten and deleted ones.
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap(), disk: SimDisk::new() };
        for start in 0..2 {
            let upkeep = UpkeepOptions { scrub: None, uploads_expire: None, sorted_runs: false };
            let volume = open_sized(bench.folder.path(), SMALL, upkeep);
            run(async {
                let disk = bench.disk.clone();
                let driver = SimDriver::start_on(volume, 0, disk, SystemClock).await.unwrap();
                if start == 0 {
                    driver.create_container(&ctx(), &name("box")).await.unwrap();
                }
                put_on(&driver, "inline", Given::new(body(1000, 1))).await;
                put_on(&driver, &format!("extent{start}"), Given::new(body(10_000, 2))).await;
                put_on(&driver, &format!("own{start}"), Given::new(body(20_001, 3))).await;
                put_on(&driver, &format!("stream{start}"), Given::unsized_(body(15_000, 5))).await;
                let container = name("box");
                let target = Target { container: &container, key: key("whole") };
                let upload =
                    driver.create_upload(&ctx(), target, UploadSpec::default()).await.unwrap();
                let mut part = Given::new(body(7000, 4));
                let info = driver.put_part(&ctx(), target, upload, 1, &mut part).await.unwrap();
                let parts = [CompletePart { number: 1, etag: info.etag, checksum: None }];
                if start == 0 {
                    let completion = completion(&parts);
                    driver.complete_upload(&ctx(), target, upload, &completion).await.unwrap();
                }
                driver.shutdown().await;
                until(|| Rc::strong_count(&driver.0) == 1).await;
            });
        }
        bench
    }

    /// Files with their lengths.
    fn files(&self) -> Vec<(std::path::PathBuf, u64)> {
        let mut files = Vec::new();
        for folder in ["log", "data"] {
            let folder = self.folder.path().join(folder);
            for entry in drive(self.disk.list_directory(&folder)).unwrap() {
                files.push((folder.join(entry.name), entry.length));
            }
        }
        files.sort();
        files
    }

    fn damaged(&self, at_rest: &check::AtRest) -> u64 {
        drive(check::check(
            &self.disk,
            &SystemClock,
            at_rest,
            check::Changes::default(),
            &mut |_| (),
        ))
        .unwrap()
        .damaged
    }
}

/// Turns bits over, one at a time, and returns those that nobody missed.
fn missed(bench: &Bench, bits: impl Iterator<Item = u64>) -> Vec<String> {
    let at_rest = check::open(bench.folder.path()).unwrap();
    assert_eq!(bench.damaged(&at_rest), 0, "intact at first");
    let files = bench.files();
    assert!(files.len() >= 6, "{files:?}");
    let mut missed = Vec::new();
    for bit in bits {
        let mut offset = bit / 8;
        let Some((path, _)) = files.iter().find(|(_, length)| {
            let here = offset < *length;
            offset -= if here { 0 } else { *length };
            here
        }) else {
            break;
        };
        let mask = 1 << (bit % 8);
        bench.disk.flip(path, offset, mask).unwrap();
        if bench.damaged(&at_rest) == 0 {
            missed.push(format!("{} offset {offset} mask {mask}", path.display()));
        }
        bench.disk.flip(path, offset, mask).unwrap();
    }
    assert_eq!(bench.damaged(&at_rest), 0, "intact again");
    missed
}

fn bits_of(bench: &Bench) -> u64 {
    bench.files().iter().map(|(_, length)| length * 8).sum()
}

/// A sample of them; all with `VAULTAIRE_FLIPS=all` in the environment, which takes minutes in a release build.
#[test]
fn a_bit_turned_over_anywhere_is_found() {
    let bench = Bench::new();
    let all = bits_of(&bench);
    if std::env::var("VAULTAIRE_FLIPS").is_ok_and(|flips| flips == "all") {
        eprintln!("{all} bits");
        assert_eq!(missed(&bench, 0..all), [""; 0]);
        return;
    }
    // Some of every file: steps that share no factor with the structures.
    let step = all / 300;
    assert_eq!(missed(&bench, (0..300).map(|n| n * step + n * 7919 % step)), [""; 0]);
}
