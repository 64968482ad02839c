//! Artifacts that lie in runs, or are on their way there, are as those in memory; and a start from checkpoints is as one
//! from all logs.

use std::collections::BTreeMap;

mod ends;

use super::super::relocate::Lot;
use super::*;
use crate::shard::freeze::freeze;

/// Nothing is done for the index but what a test asks for.
const SIZES: Sizes = {
    let sizes = Sizes::STANDARD;
    Sizes {
        log_segment: 12 << 20,
        tables: 1 << 20,
        table_min: 0,
        index_period_ms: 86_400_000,
        ..sizes
    }
};

fn open_checked(path: &Path, cores: usize) -> Result<Arc<LocalVolume>, OpenError> {
    let upkeep = UpkeepOptions { scrub: None, uploads_expire: None, sorted_runs: true };
    let options = LocalOptions { sizes: SIZES, upkeep, recount: true, ..LocalOptions::default() };
    LocalVolume::open_on(&SystemFolder, path, cores, Budget::new(64 << 20), options)
}

/// Runs a test on one core, and stops as a crash would. The books of the segments are compared with a recount.
fn on_runs<T>(path: &Path, test: impl AsyncFnOnce(LocalDriver) -> T) -> T {
    on_volume(open_checked(path, 1).unwrap(), test)
}

/// Makes a checkpoint, in which all artifacts go to runs.
pub(super) async fn checkpoint(driver: &LocalDriver) {
    let core = &driver.0;
    // More than once, if records are being written again because their log segment goes.
    for _ in 0..100 {
        core.shared.checkpoints.want(core.core);
        core.keeper.tick(&SystemClock).await;
        assert!(!core.shared.checkpoints.is_given_up());
        if core.keeper.table_bytes() == 0 {
            return;
        }
    }
    panic!("not all artifacts are in runs");
}

/// Freezes the shard of the container; the next checkpoint flushes it.
fn freeze_box(driver: &LocalDriver) {
    let shard = shard_of(TenantId::DEFAULT, &name("box"));
    driver.0.keeper.stall(freeze(&driver.0.shared, shard, 0, None));
}

fn files(path: &Path, kind: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(path.join("index"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == kind))
        .collect();
    files.sort();
    files
}

/// Takes away what checkpoints know.
fn forget_index(path: &Path) {
    for entry in std::fs::read_dir(path.join("index")).unwrap() {
        rustix::fs::unlink(entry.unwrap().path()).unwrap();
    }
}

/// A folder with artifacts in runs.
pub(super) fn fill(path: &Path) {
    on_runs(path, async |driver| layer(&driver, async |_| checkpoint(&driver).await).await);
}

async fn put_small(driver: &LocalDriver, to: &str, seed: u64) {
    put(driver, to, Given::new(body(100, seed))).await.unwrap();
}

async fn assert_small(driver: &LocalDriver, from: &str, seed: u64) {
    assert_eq!(get(driver, from).await.unwrap(), body(100, seed), "{from}");
}

async fn assert_absent(driver: &LocalDriver, from: &str) {
    let got = get(driver, from).await;
    assert!(matches!(got, Err(DriverError::NoSuchArtifact)), "{from}: {got:?}");
}

async fn rolled(driver: &LocalDriver, prefix: &str) -> Vec<String> {
    let (delimiter, prefix) = ("/".into(), prefix.into());
    let query = ListQuery { limit: 1000, delimiter, prefix, ..ListQuery::default() };
    let page = driver.list(&ctx(), &name("box"), &query).await.unwrap();
    page.entries.iter().map(|entry| entry.name().to_owned()).collect()
}

/// The same pages of two entries each.
async fn paged(driver: &LocalDriver) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let query = ListQuery { limit: 2, after: all.last().cloned(), ..ListQuery::default() };
        let page = driver.list(&ctx(), &name("box"), &query).await.unwrap();
        all.extend(page.entries.iter().map(|entry| entry.name().to_owned()));
        if !page.truncated {
            return all;
        }
    }
}

/// What [`layer`] has left.
async fn check_layers(driver: &LocalDriver) {
    assert_eq!(keys(driver).await, ["a", "b", "d/1", "d/3", "e"]);
    assert_eq!(paged(driver).await, ["a", "b", "d/1", "d/3", "e"]);
    assert_eq!(rolled(driver, "").await, ["a", "b", "d/", "e"]);
    assert_eq!(rolled(driver, "d/").await, ["d/1", "d/3"]);
    for (of, seed) in [("a", 1), ("b", 12), ("d/1", 24), ("d/3", 13), ("e", 25)] {
        assert_small(driver, of, seed).await;
    }
    for gone in ["c", "d/2", "f/1", "f/2", "g"] {
        assert_absent(driver, gone).await;
    }
}

/// Puts artifacts, and replaces and removes some of them in two more rounds; `sink` follows the first two.
async fn layer(driver: &LocalDriver, sink: impl AsyncFn(usize)) {
    create(driver).await;
    for (seed, to) in (1..).zip(["a", "b", "c", "d/1", "d/2", "f/1", "f/2"]) {
        put_small(driver, to, seed).await;
    }
    sink(0).await;
    for (seed, to) in [(12, "b"), (13, "d/3"), (14, "d/1"), (15, "g")] {
        put_small(driver, to, seed).await;
    }
    delete(driver, &["c", "f/1"]).await;
    sink(1).await;
    for (seed, to) in [(24, "d/1"), (25, "e")] {
        put_small(driver, to, seed).await;
    }
    delete(driver, &["d/2", "f/2", "g"]).await;
}

#[test]
fn a_table_that_became_a_run_is_freed_by_its_keeper_and_not_by_a_reader() {
    let folder = tempfile::tempdir().unwrap();
    on_runs(folder.path(), async |driver| {
        create(&driver).await;
        for number in 0..100 {
            put_small(&driver, &format!("key{number}"), number).await;
        }
        let shard = shard_of(TenantId::DEFAULT, &name("box"));
        let reader = Arc::clone(&driver.0.shared.index.shard(shard).view().active);
        let table = Arc::downgrade(&reader);
        checkpoint(&driver).await;
        driver.0.keeper.tick(&SystemClock).await;
        assert_eq!(reader.table.len(), 100);
        drop(reader);
        assert!(table.upgrade().is_some());
        driver.0.keeper.tick(&SystemClock).await;
        assert!(table.upgrade().is_none());
    });
}

#[test]
fn tables_and_runs_are_seen_as_one() {
    let flush = async |driver: &LocalDriver| checkpoint(driver).await;
    for kind in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        on_runs(folder.path(), async |driver| {
            let sink = async |round| match (kind, round) {
                (0, _) | (1, 0) | (3, 0) => flush(&driver).await,
                (1, _) | (2, 0) => freeze_box(&driver),
                _ => {}
            };
            layer(&driver, sink).await;
            let runs = files(folder.path(), "run").len();
            assert_eq!(runs, [2, 1, 0, 1][kind], "kind {kind}");
            check_layers(&driver).await;
            // What was replaced and removed under way is counted once.
            checkpoint(&driver).await;
            check_layers(&driver).await;
            while driver.0.keeper.merge().await {}
            check_layers(&driver).await;
        });
        on_runs(folder.path(), async |driver| check_layers(&driver).await);
        forget_index(folder.path());
        on_runs(folder.path(), async |driver| check_layers(&driver).await);
    }
}

#[test]
fn conditions_hold_against_what_is_in_a_run() {
    let folder = tempfile::tempdir().unwrap();
    on_runs(folder.path(), async |driver| {
        create(&driver).await;
        let tag = put(&driver, "a", Given::new(body(100, 1))).await.unwrap().etag;
        let gone = put(&driver, "gone", Given::new(body(100, 2))).await.unwrap().etag;
        checkpoint(&driver).await;
        delete(&driver, &["gone"]).await;
        checkpoint(&driver).await;
        let attempt = async |to, condition| {
            put_if(&driver, to, Given::new(body(100, 3)), condition)
                .await
                .map(|receipt| receipt.etag)
        };
        use WriteCondition::{Absent, Matches, Present};
        let failed = |got| matches!(got, Err(DriverError::PreconditionFailed));
        assert!(failed(attempt("a", Absent).await));
        assert!(failed(attempt("a", Matches(gone)).await));
        let absent = |got| matches!(got, Err(DriverError::NoSuchArtifact));
        assert!(absent(attempt("gone", Present).await));
        assert!(absent(attempt("gone", Matches(gone)).await));
        assert_small(&driver, "a", 1).await;
        attempt("a", Matches(tag)).await.unwrap();
        assert_small(&driver, "a", 3).await;
        attempt("gone", Absent).await.unwrap();
        assert!(failed(attempt("gone", Absent).await));
    });
}

#[test]
fn a_container_goes_when_nothing_in_it_is_left_in_runs() {
    let folder = tempfile::tempdir().unwrap();
    let container = name("box");
    on_runs(folder.path(), async |driver| {
        create(&driver).await;
        put_small(&driver, "a", 1).await;
        put_small(&driver, "b", 2).await;
        checkpoint(&driver).await;
        let refused = driver.delete_container(&ctx(), &container).await;
        assert!(matches!(refused, Err(DriverError::ContainerNotEmpty)));
        delete(&driver, &["a"]).await;
        let refused = driver.delete_container(&ctx(), &container).await;
        assert!(matches!(refused, Err(DriverError::ContainerNotEmpty)));
        // Both are decided in one batch, or one after the other.
        let deletions = [Deletion { key: key("b"), condition: WriteCondition::None }];
        let both = futures_util::future::join(
            async { driver.delete(&ctx(), &container, &deletions).await.unwrap() },
            async { driver.delete_container(&ctx(), &container).await },
        );
        both.await.1.unwrap();
        create(&driver).await;
        assert_eq!(keys(&driver).await, [""; 0]);
        checkpoint(&driver).await;
        assert_eq!(keys(&driver).await, [""; 0]);
        driver.delete_container(&ctx(), &container).await.unwrap();
    });
    on_runs(folder.path(), async |driver| {
        create(&driver).await;
        assert_eq!(keys(&driver).await, [""; 0]);
    });
}

#[test]
fn what_was_removed_stays_removed_when_the_log_of_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let logs = || {
        let names = std::fs::read_dir(folder.path().join("log")).unwrap();
        names.map(|entry| entry.unwrap().file_name()).collect::<std::collections::HashSet<_>>()
    };
    on_runs(folder.path(), async |driver| {
        create(&driver).await;
        put_small(&driver, "gone", 1).await;
        put_small(&driver, "kept", 2).await;
        checkpoint(&driver).await;
        delete(&driver, &["gone"]).await;
        let before = logs();
        let mut round = 0;
        // Until the segments of the first records, and of the removal, are gone.
        while logs().intersection(&before).count() > 0 {
            round += 1;
            assert!(round < 200, "no log segment goes");
            for number in 0..64 {
                let source = Given::new(body(32 << 10, round * 100 + number));
                put(&driver, &format!("hot{number}"), source).await.unwrap();
            }
            // They wait for a checkpoint, and ask for it.
            driver.0.keeper.tick(&SystemClock).await;
        }
        assert_absent(&driver, "gone").await;
    });
    on_runs(folder.path(), async |driver| {
        assert_absent(&driver, "gone").await;
        assert_small(&driver, "kept", 2).await;
        assert_eq!(keys(&driver).await.len(), 65);
    });
    forget_index(folder.path());
    on_runs(folder.path(), async |driver| {
        assert_absent(&driver, "gone").await;
        assert_small(&driver, "kept", 2).await;
    });
}

#[test]
fn nothing_is_lost_with_a_damaged_or_missing_index() {
    for kind in ["run", "checkpoint", "mark"] {
        for missing in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            on_runs(folder.path(), async |driver| {
                layer(&driver, async |_| checkpoint(&driver).await).await;
            });
            let victim = files(folder.path(), kind).swap_remove(0);
            if missing {
                rustix::fs::unlink(&victim).unwrap();
            } else {
                // Of a run this is the footer's page: the start reads it.
                let length = std::fs::metadata(&victim).unwrap().len();
                let offset = if kind == "run" { length - 4096 } else { 40 };
                super::integrity::damage(&victim, offset);
            }
            on_runs(folder.path(), async |driver| {
                check_layers(&driver).await;
                assert!(missing && kind == "mark" || files(folder.path(), "run").is_empty());
                checkpoint(&driver).await;
                check_layers(&driver).await;
            });
            on_runs(folder.path(), async |driver| check_layers(&driver).await);
        }
    }
}

#[test]
fn a_block_that_is_damaged_is_an_error_until_the_next_start_builds_it_again() {
    let folder = tempfile::tempdir().unwrap();
    on_runs(folder.path(), async |driver| {
        create(&driver).await;
        put_small(&driver, "a", 1).await;
        checkpoint(&driver).await;
    });
    super::integrity::damage(&files(folder.path(), "run")[0], 20);
    on_runs_unchecked(folder.path(), async |driver| {
        assert!(matches!(get(&driver, "a").await, Err(DriverError::Corrupt)));
        let refused = put(&driver, "a", Given::new(body(100, 2))).await;
        assert!(matches!(refused, Err(DriverError::Corrupt)));
        driver.0.keeper.tick(&SystemClock).await;
        assert!(files(folder.path(), "mark").is_empty());
    });
    on_runs(folder.path(), async |driver| {
        assert_small(&driver, "a", 1).await;
        put_small(&driver, "a", 2).await;
    });
}

/// As [`on_runs`], without a recount, which would meet the damage first.
fn on_runs_unchecked<T>(path: &Path, test: impl AsyncFnOnce(LocalDriver) -> T) -> T {
    let volume = open_sized(
        path,
        SIZES,
        UpkeepOptions { scrub: None, uploads_expire: None, sorted_runs: true },
    );
    on_volume(volume, test)
}

#[test]
fn checkpoints_serve_whatever_number_of_cores_starts_next() {
    let folder = tempfile::tempdir().unwrap();
    let containers = (0..12).map(|number| format!("box{number}")).collect::<Vec<_>>();
    let mut expected: Vec<u64> = vec![0; containers.len()];
    for (round, cores) in (1..).zip([1, 3, 2, 3, 1]) {
        let volume = open_checked(folder.path(), cores).unwrap();
        let (finished, checked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for core in 0..cores {
                let volume = Arc::clone(&volume);
                let (containers, expected) = (&containers, &expected);
                let (finished, checked) = (&finished, &checked);
                scope.spawn(move || {
                    run(async move {
                        let driver = LocalDriver::start(volume, core).await.unwrap();
                        for (container, round) in containers.iter().zip(expected) {
                            let container = name(container);
                            let target = Target { container: &container, key: key("k") };
                            if *round == 0 {
                                continue;
                            }
                            let open = driver.open(&ctx(), target).await.unwrap();
                            let got = read(open, ByteRange::whole(100)).await.unwrap();
                            assert_eq!(got, body(100, *round));
                        }
                        checked.fetch_add(1, Ordering::SeqCst);
                        until(|| checked.load(Ordering::SeqCst) == cores).await;
                        if core == 0 {
                            for container in containers {
                                let container = name(container);
                                if round == 1 {
                                    driver.create_container(&ctx(), &container).await.unwrap();
                                }
                                let target = Target { container: &container, key: key("k") };
                                let mut source = Given::new(body(100, round));
                                let spec = WriteSpec::default();
                                driver.put(&ctx(), target, spec, &mut source).await.unwrap();
                            }
                            finished.fetch_add(1, Ordering::SeqCst);
                        }
                        until(|| finished.load(Ordering::SeqCst) > 0).await;
                        // In some rounds only some cores make a checkpoint, and then not the first.
                        if round % 2 == 1 || core > 0 {
                            checkpoint(&driver).await;
                        }
                        finished.fetch_add(1, Ordering::SeqCst);
                        until(|| finished.load(Ordering::SeqCst) > cores).await;
                        crash(&driver).await;
                    });
                });
            }
        });
        expected.fill(round);
    }
}

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// Random work with checkpoints, merges and frozen tables in between, then a crash. Each start counts from scratch what
/// the segments hold and compares it with the books.
#[test]
fn the_books_are_as_a_recount_after_any_work() {
    for seed in 1..=3 {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed);
        let mut expected: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for life in 0..4 {
            if life == 3 {
                forget_index(folder.path());
            }
            on_runs(folder.path(), async |driver| {
                if life == 0 {
                    create(&driver).await;
                }
                assert!(keys(&driver).await.iter().eq(expected.keys()), "seed {seed} life {life}");
                for (of, bytes) in &expected {
                    assert!(get(&driver, of).await.unwrap() == *bytes, "{of}");
                }
                for _ in 0..40 {
                    work(&driver, &mut random, &mut expected).await;
                }
                if random.below(2) == 0 {
                    checkpoint(&driver).await;
                }
            });
        }
    }
}

async fn work(driver: &LocalDriver, random: &mut Random, expected: &mut BTreeMap<String, Vec<u8>>) {
    let of = format!("k{}", random.below(8));
    let seed = random.below(1 << 40);
    match random.below(16) {
        kind @ 0..=7 => {
            let bytes =
                body([100, 40_000, 50_000][usize::from(kind > 4) + usize::from(kind > 6)], seed);
            let source = match kind {
                7 => Given::unsized_(bytes.clone()),
                _ => Given::new(bytes.clone()),
            };
            put(driver, &of, source).await.unwrap();
            expected.insert(of, bytes);
        }
        8 | 9 => {
            delete(driver, &[of.as_str()]).await;
            expected.remove(&of);
        }
        10 | 11 => {
            let (id, parts) = upload(driver, &of, &[40_000, 300, 10]).await;
            let container = name("box");
            let target = Target { container: &container, key: key(&of) };
            if random.below(4) == 0 {
                return driver.abort_upload(&ctx(), target, id).await.unwrap();
            }
            driver.complete_upload(&ctx(), target, id, &completion(&parts)).await.unwrap();
            let bytes = get(driver, &of).await.unwrap();
            expected.insert(of, bytes);
        }
        12 => {
            // Records are written again, as when a log segment is emptied.
            // A segment may go under the listing, or under the walk; then it had nothing that is alive.
            let Ok(logs) = super::super::records::logs(&driver.0).await else { return };
            let full = logs.into_iter().find(|log| !driver.0.shared.is_being_written(log.segment));
            if let Some(log) = full {
                let Ok(mut lot) = Lot::of(&driver.0, &log).await else { return };
                let _ = lot.go_on(&driver.0, u64::MAX).await;
            }
        }
        13 if driver.0.keeper.is_calm() => freeze_box(driver),
        14 => checkpoint(driver).await,
        15 => drop(driver.0.keeper.merge().await),
        _ => {}
    }
}
