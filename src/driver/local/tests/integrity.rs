//! Damage is found, told, noted, and hides nothing else.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::*;
use crate::shard::check::{self, Changes, Finding, Severity, Summary};
use crate::shard::log::Place;
use crate::shard::log::replay::list_segments;

/// Checks a folder at rest.
pub(super) fn check_folder(path: &Path) -> Summary {
    checked(path, false).0
}

fn checked(path: &Path, note: bool) -> (Summary, Vec<Finding>) {
    checked_with(path, Changes { note, ..Changes::default() })
}

pub(super) fn checked_with(path: &Path, changes: Changes) -> (Summary, Vec<Finding>) {
    let folder = check::open(path).unwrap();
    let mut found = Vec::new();
    let mut say = |finding| found.push(finding);
    let summary =
        run(async { check::check(&UringDisk, &SystemClock, &folder, changes, &mut say).await });
    (summary.unwrap(), found)
}

fn damaged(found: &[Finding]) -> Vec<String> {
    let damaged = found.iter().filter(|finding| finding.severity == Severity::Damaged);
    damaged.map(|finding| format!("{}: {}", finding.file, finding.what)).collect()
}

/// Turns a byte over in a file.
pub(super) fn damage(path: &Path, offset: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], offset).unwrap();
}

fn file_of(path: &Path, folder: &str, kind: &str) -> std::path::PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(path.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == kind))
        .collect();
    files.sort();
    files.swap_remove(0)
}

/// A folder with an artifact of each kind, stopped in order.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        put(&driver, "own", Given::new(body(9 * MIB, 1))).await.unwrap();
        put(&driver, "extent", Given::new(body(MIB, 2))).await.unwrap();
        put(&driver, "inline", Given::new(body(1000, 3))).await.unwrap();
        let (id, parts) = upload(&driver, "whole", &[100_000, 50_000]).await;
        let container = name("box");
        let target = Target { container: &container, key: key("whole") };
        driver.complete_upload(&ctx(), target, id, &completion(&parts)).await.unwrap();
        driver.shutdown().await;
    });
    folder
}

fn scrubbed_every(path: &Path, scrub: Duration) -> Arc<LocalVolume> {
    let upkeep = UpkeepOptions { scrub: Some(scrub), ..UpkeepOptions::default() };
    LocalVolume::open_with(path, 1, Budget::new(64 << 20), upkeep).unwrap()
}

#[test]
fn a_check_reads_everything_changes_nothing_and_waits_for_no_server() {
    let folder = filled();
    let listed = |folder: &str| {
        let entries = std::fs::read_dir(path_of(folder)).unwrap();
        let mut all: Vec<_> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap()))
            .collect();
        all.sort();
        all
    };
    fn path_of(folder: &str) -> &Path {
        Path::new(folder)
    }
    let root = folder.path().to_str().unwrap();
    let before =
        [root.to_owned(), format!("{root}/log"), format!("{root}/data")].map(|one| listed(&one));
    let (summary, found) = checked(folder.path(), true);
    assert_eq!(damaged(&found), [""; 0]);
    assert_eq!((summary.extents, summary.own_files), (3, 1));
    assert_eq!(summary.bytes, (10 * MIB + 150_000) as u64);
    let after =
        [root.to_owned(), format!("{root}/log"), format!("{root}/data")].map(|one| listed(&one));
    assert_eq!(before, after);
    let in_use = open_volume(folder.path(), 1);
    let refused = check::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("in use"), "{refused}");
    drop(in_use);
    let nowhere = tempfile::tempdir().unwrap();
    assert!(check::open(nowhere.path()).is_err());
    assert_eq!(std::fs::read_dir(nowhere.path()).unwrap().count(), 0);
}

#[test]
fn a_check_names_what_is_damaged_and_its_notes_refuse_reads_at_once() {
    let folder = filled();
    let path = folder.path();
    damage(&file_of(path, "data", "artifact"), 5 * MIB as u64);
    damage(&file_of(path, "data", "segment"), 70_000);
    damage(&path.join("superblock.1"), 20);
    std::fs::File::create_new(path.join("data/stray")).unwrap();
    let (summary, found) = checked(path, true);
    let told = damaged(&found).join("\n");
    assert_eq!(summary.damaged, 3, "{told}");
    assert_eq!((summary.noted, summary.unreferenced), (2, 1));
    for expected in
        ["\"own\" in container box", "\"extent\" in container box", "superblock.1: copy 0"]
    {
        assert!(told.contains(expected), "{told}");
    }
    assert!(told.contains("bytes 65536 to 131071"), "{told}");
    on_one_core(path, async |driver| {
        for from in ["own", "extent"] {
            let container = name("box");
            let target = Target { container: &container, key: key(from) };
            let open = driver.open(&ctx(), target).await.unwrap();
            let range = ByteRange::whole(open.info().size);
            assert!(matches!(open.read(&ctx(), range).await, Err(DriverError::Corrupt)), "{from}");
        }
        let before = get_range(&driver, "own", 0, 4 << 20).await.unwrap();
        assert!(before == body(9 * MIB, 1)[..4 * MIB]);
        assert!(
            get(&driver, "whole").await.unwrap() == [body(100_000, 1), body(50_000, 2)].concat()
        );
        assert_eq!(get(&driver, "inline").await.unwrap(), body(1000, 3));
    });
}

#[test]
fn the_scrub_finds_damage_and_forgets_what_is_gone() {
    let folder = filled();
    let path = folder.path();
    damage(&file_of(path, "data", "artifact"), 5 * MIB as u64);
    damage(&file_of(path, "data", "segment"), 70_000);
    let volume = scrubbed_every(path, Duration::from_secs(2));
    run(async {
        let driver = LocalDriver::start(Arc::clone(&volume), 0).await.unwrap();
        until(|| volume.damaged() == 2).await;
        let container = name("box");
        let target = Target { container: &container, key: key("own") };
        let open = driver.open(&ctx(), target).await.unwrap();
        let range = ByteRange::whole(open.info().size);
        assert!(matches!(open.read(&ctx(), range).await, Err(DriverError::Corrupt)));
        put(&driver, "own", Given::new(body(9 * MIB, 7))).await.unwrap();
        assert!(get(&driver, "own").await.unwrap() == body(9 * MIB, 7));
        until(|| volume.damaged() == 1).await;
        crash(&driver).await;
    });
    drop(volume);
    // What was noted survives; the damage of the other is still there.
    on_one_core(path, async |driver| {
        let range = ByteRange::whole(MIB as u64);
        let container = name("box");
        let target = Target { container: &container, key: key("extent") };
        let open = driver.open(&ctx(), target).await.unwrap();
        assert!(matches!(open.read(&ctx(), range).await, Err(DriverError::Corrupt)));
        assert_eq!(driver.0.shared.integrity.damaged(), 1);
    });
}

#[test]
fn a_read_that_meets_damage_has_it_noted() {
    let folder = filled();
    let path = folder.path();
    damage(&file_of(path, "data", "segment"), 70_000);
    on_one_core(path, async |driver| {
        // Before the scrub comes to it, or after: never the bytes.
        assert!(matches!(get(&driver, "extent").await, Err(DriverError::Corrupt)));
        until(|| driver.0.shared.integrity.damaged() == 1).await;
    });
}

#[test]
fn a_log_segment_with_a_damaged_header_keeps_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    on_one_core(path, async |driver| {
        create(&driver).await;
        put(&driver, "inline", Given::new(body(1000, 3))).await.unwrap();
    });
    for copy in [20, 2048 + 20] {
        damage(&file_of(path, "log", "log"), copy);
    }
    let (summary, found) = checked(path, false);
    assert_eq!(summary.damaged, 1, "{:?}", damaged(&found));
    for _ in 0..2 {
        on_one_core(path, async |driver| {
            assert_eq!(get(&driver, "inline").await.unwrap(), body(1000, 3));
            assert!(!driver.0.shared.segments.has_log(0));
        });
    }
}

#[test]
fn uploads_that_were_given_up_expire_where_that_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let expire = Some(Duration::from_secs(2));
    let upkeep = UpkeepOptions { uploads_expire: expire, ..UpkeepOptions::default() };
    let volume = LocalVolume::open_with(folder.path(), 1, Budget::new(64 << 20), upkeep).unwrap();
    run(async {
        let driver = LocalDriver::start(volume, 0).await.unwrap();
        create(&driver).await;
        let (id, _) = upload(&driver, "old", &[9 * MIB]).await;
        until(|| data_files(folder.path()).is_empty()).await;
        let container = name("box");
        let target = Target { container: &container, key: key("old") };
        let gone = driver.head_upload(&ctx(), target, id).await;
        assert!(matches!(gone, Err(DriverError::NoSuchUpload)));
        crash(&driver).await;
    });
}

#[test]
fn damage_of_the_index_is_told_apart() {
    for (kind, offset) in [("run", 20), ("checkpoint", 40), ("mark", 40)] {
        let folder = tempfile::tempdir().unwrap();
        super::runs::fill(folder.path());
        let (summary, found) = checked(folder.path(), false);
        assert_eq!(
            (summary.damaged, summary.derived, summary.unreferenced),
            (0, 0, 0),
            "{found:?}"
        );
        assert!(summary.runs > 0 && summary.checkpoints > 0);
        let victim = file_of(folder.path(), "index", kind);
        damage(&victim, offset);
        let (summary, found) = checked(folder.path(), false);
        assert_eq!((summary.damaged, summary.derived), (0, 1), "{kind}: {found:?}");
        rustix::fs::unlink(&victim).unwrap();
        let (summary, found) = checked(folder.path(), false);
        // A mark that is not there is only a start that takes longer.
        let expected = u64::from(kind != "mark");
        assert_eq!((summary.damaged, summary.derived), (0, expected), "{kind}: {found:?}");
    }
}

#[test]
fn what_the_page_cache_shows_wrong_of_a_log_is_read_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        let core = &driver.0;
        let layout = core.shared.volume.layout();
        let logs = list_segments(&core.disk, layout).await.unwrap();
        let segment = logs.iter().find(|log| core.shared.segments.has_log(log.segment)).unwrap();
        let place = Place { segment: segment.segment, offset: 0, length: 4096 };
        let on_disk = core.read_log(&ctx(), place).await.unwrap();
        let mut looks = 0;
        let mut second = |_: &[u8]| {
            looks += 1;
            looks == 2
        };
        assert_eq!(core.read_intact(&ctx(), place, &mut second).await.unwrap(), on_disk);
        let never = core.read_intact(&ctx(), place, |_| false).await;
        assert!(matches!(never, Err(DriverError::Corrupt)), "{never:?}");
    });
}
