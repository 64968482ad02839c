//! What is dead does not stay on the disk.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::housekeeping::Housekeeper;
use super::*;
use crate::io::sim::SimDisk;

const SEGMENT: u64 = 12 << 20;
const HOT: u64 = 32;
const ROUNDS: u64 = 60;

fn log_bytes(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path.join("log")).unwrap();
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}

pub(super) fn long_metadata() -> Metadata {
    let mut builder = MetadataBuilder::default();
    assert!(builder.push(MetadataField::User("long"), &"v".repeat(2000)));
    builder.finish()
}

/// Runs a test on one core whose log has short segments.
fn on_short_log<T>(path: &Path, test: impl AsyncFnOnce(LocalDriver) -> T) -> T {
    let sizes = Sizes { log_segment: SEGMENT, ..Sizes::default() };
    let volume = open_sized(path, sizes, UpkeepOptions::default());
    on_volume(volume, test)
}

async fn overwrite(driver: &LocalDriver) {
    for round in 0..ROUNDS {
        let puts = (0..HOT).map(|number| async move {
            let source = Given::new(body(32 << 10, round * 100 + number));
            put(driver, &format!("hot{number}"), source).await.unwrap()
        });
        futures_util::future::join_all(puts).await;
    }
}

async fn check_all(driver: &LocalDriver, pending: UploadId) {
    assert_eq!(keys(driver).await.len(), 35);
    assert_eq!(get(driver, "inline").await.unwrap(), body(1000, 1));
    let hot = get(driver, "hot31").await.unwrap();
    assert!(hot == body(32 << 10, (ROUNDS - 1) * 100 + 31));
    assert_eq!(get(driver, "whole").await.unwrap(), [body(10, 1), body(20, 2)].concat());
    let container = name("box");
    let long = Target { container: &container, key: key("long") };
    let open = driver.open(&ctx(), long).await.unwrap();
    assert_eq!(open.info().metadata, long_metadata());
    assert_eq!(read(open, ByteRange::whole(1001)).await.unwrap(), body(1001, 1));
    let target = Target { container: &container, key: key("pending") };
    let query = PartQuery { after: 0, limit: 10 };
    let page = driver.list_parts(&ctx(), target, pending, query).await.unwrap();
    assert_eq!(page.parts.iter().map(|part| part.size).collect::<Vec<_>>(), [0, 100]);
}

#[test]
fn the_log_does_not_grow_with_what_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let container = name("box");
    let whole = Target { container: &container, key: key("whole") };
    let (first, last) = on_short_log(folder.path(), async |driver| {
        create(&driver).await;
        // What stays alive lies in the oldest segment, one of each kind.
        let first = upload(&driver, "whole", &[10, 20]).await;
        let pending = upload(&driver, "pending", &[0, 100]).await;
        driver.complete_upload(&ctx(), whole, first.0, &completion(&first.1)).await.unwrap();
        put(&driver, "inline", Given::new(body(1000, 1))).await.unwrap();
        let spec = WriteSpec { metadata: long_metadata(), ..WriteSpec::default() };
        let long = Target { container: &container, key: key("long") };
        driver.put(&ctx(), long, spec, &mut Given::new(body(1001, 1))).await.unwrap();
        overwrite(&driver).await;
        // Two that are being filled or just were, a spare and one to be recycled.
        until(|| log_bytes(folder.path()) <= 4 * SEGMENT).await;
        check_all(&driver, pending.0).await;
        (first, pending)
    });
    for _ in 0..3 {
        on_short_log(folder.path(), async |driver| {
            check_all(&driver, last.0).await;
            driver.complete_upload(&ctx(), whole, first.0, &completion(&first.1)).await.unwrap();
            until(|| log_bytes(folder.path()) <= 3 * SEGMENT).await;
            check_all(&driver, last.0).await;
        });
    }
    on_short_log(folder.path(), async |driver| {
        let target = Target { container: &container, key: key("pending") };
        driver.complete_upload(&ctx(), target, last.0, &completion(&last.1)).await.unwrap();
        assert_eq!(get(&driver, "pending").await.unwrap(), body(100, 2));
        delete(&driver, &["pending", "whole"]).await;
        until(|| data_files(folder.path()).len() <= 1).await;
    });
}

#[test]
fn little_of_the_log_stays_dead_when_nobody_writes_any_more() {
    const KEYS: u64 = 2000;
    let folder = tempfile::tempdir().unwrap();
    on_short_log(folder.path(), async |driver| {
        create(&driver).await;
        let write = async |numbers: &mut dyn Iterator<Item = u64>| {
            let numbers: Vec<_> = numbers.collect();
            for some in numbers.chunks(64) {
                let puts = some.iter().map(|&number| {
                    let driver = &driver;
                    async move {
                        let source = Given::new(body(30 << 10, number));
                        put(driver, &format!("key{number}"), source).await.unwrap();
                    }
                });
                futures_util::future::join_all(puts).await;
            }
        };
        write(&mut (0..KEYS)).await;
        // A third of each segment dies: neither half of one nor half of all.
        write(&mut (0..KEYS).step_by(3)).await;
        let live = KEYS * (30 << 10);
        // A sixteenth, what stands around the bodies, one that is being filled, a spare, and one to be recycled.
        until(|| log_bytes(folder.path()) <= live + live / 8 + 3 * SEGMENT).await;
        for number in 0..KEYS {
            assert!(get(&driver, &format!("key{number}")).await.unwrap() == body(30 << 10, number));
        }
    });
}

#[test]
fn what_was_committed_alone_takes_little_more_room_than_it_needs_before_long() {
    const KEYS: u64 = 150;
    let disk = SimDisk::with_seed(1);
    full::live(&disk, false, async |driver, clock| {
        let container = name("box");
        driver.create_container(&ctx(), &container).await.unwrap();
        for number in 0..KEYS {
            let key_text = format!("key{number}");
            let target = Target { container: &container, key: key(&key_text) };
            let source = &mut Given::new(body(500, number));
            driver.put(&ctx(), target, WriteSpec::default(), source).await.unwrap();
        }
        let log_bytes = || {
            let files = driver.0.disk.files().into_iter();
            files.filter(|(path, _)| path.ends_with(".log")).map(|(_, length)| length).sum::<u64>()
        };
        assert!(log_bytes() >= KEYS << 12, "each takes a block: {}", log_bytes());
        let length = driver.0.shared.log_length();
        let mut rounds = 0;
        // A third, one that is being filled, a spare, and one to be recycled.
        while log_bytes() > (KEYS << 12) / 3 + 3 * length {
            rounds += 1;
            assert!(rounds < 1000, "{:?}", driver.0.disk.files());
            Clock::sleep(&clock, Duration::from_millis(200)).await;
        }
        // It comes to an end.
        let moved = || driver.0.shared.segments.records_of(&driver.0.shared.segments.logs()).0;
        let before = moved();
        for _ in 0..100 {
            Clock::sleep(&clock, Duration::from_millis(200)).await;
        }
        assert_eq!(moved(), before);
    });
}

#[test]
fn a_data_segment_that_nobody_fills_any_more_gives_its_room_back() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        for to in ["a", "b", "c"] {
            put(&driver, to, Given::new(body(1 << 20, 1))).await.unwrap();
        }
        let before = data_files(folder.path());
        assert_eq!(before.len(), 1);
        // Two thirds are dead: what lives moves, and the segment goes with all that it had reserved.
        delete(&driver, &["a", "b"]).await;
        until(|| data_files(folder.path()).iter().all(|file| !before.contains(file))).await;
        assert_eq!(get(&driver, "c").await.unwrap(), body(1 << 20, 1));
        delete(&driver, &["c"]).await;
        until(|| data_files(folder.path()).is_empty()).await;
        // The next one goes to a new segment.
        put(&driver, "d", Given::new(body(1 << 20, 2))).await.unwrap();
        assert_eq!(get(&driver, "d").await.unwrap(), body(1 << 20, 2));
    });
}

#[test]
fn what_follows_a_log_segment_that_could_not_be_retired_stays() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        let core = &driver.0;
        let layout = core.shared.volume.layout();
        let (first, second) = (1, 2);
        // What cannot be unlinked.
        let keys = layout.keys_path(first);
        std::fs::create_dir(&keys).unwrap();
        let path = layout.segment_path(second);
        std::fs::OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
        let mut keeper = Housekeeper::new(VecDeque::new(), false);
        keeper.closing_logs.push(first, 1);
        keeper.closing_logs.push(second, 1);
        keeper.retire_closed(core).await;
        assert!(path.exists());
        // Whether it is there at the next start is not known, so it helps nothing that it can be unlinked now.
        std::fs::remove_dir(&keys).unwrap();
        keeper.retire_closed(core).await;
        assert!(path.exists());
    });
}
