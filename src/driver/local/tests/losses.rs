//! What a log has lost keeps everything where it is, until somebody accepts it.

use std::os::unix::fs::FileExt;

use super::integrity::{checked_with, damage};
use super::*;
use crate::shard::check::{Changes, Finding, Severity};
use crate::shard::index::key::name_of as key_of;
use crate::shard::log::replay::{SegmentRef, list_segments, read_segment};
use crate::shard::log::{Layout, ReplayedRecord};
use crate::shard::record::decode_meta;

/// Of its own file.
const LARGE: usize = 20_000;

const ACCEPT: Changes = Changes { note: false, accept_loss: true };

fn on_small_core(path: &Path, test: impl AsyncFnOnce(LocalDriver)) {
    on_volume(open_sized(path, SMALL, UpkeepOptions::default()), test);
}

/// The segments of all logs.
fn segments(path: &Path) -> Vec<SegmentRef> {
    run(list_segments(&UringDisk, &Layout { root: path.to_path_buf() })).unwrap()
}

/// Spoils the frame with the record of an artifact.
fn lose(path: &Path, artifact: &str) {
    let layout = Layout { root: path.to_path_buf() };
    let mut places = Vec::new();
    run(async {
        for segment in list_segments(&UringDisk, &layout).await.unwrap() {
            let mut visit = |record: ReplayedRecord<'_>| {
                let (stem, _) = decode_meta(record.meta).unwrap();
                if key_of(stem) == Some(artifact) {
                    places.push((segment.path.clone(), record.place.offset));
                }
            };
            let _ = read_segment(&UringDisk, &segment, &mut visit).await;
        }
    });
    let [(file, offset)] = &places[..] else { panic!("{artifact} is at {places:?}") };
    // The end of the frame's table.
    damage(file, u64::from(*offset) - 1);
}

/// What one start says: whether there is damage, and which of these artifacts there are.
fn start(path: &Path, artifacts: &[&str]) -> (bool, Vec<bool>) {
    let volume = open_sized(path, SMALL, UpkeepOptions::default());
    let there = on_volume(Arc::clone(&volume), async |driver| {
        let mut there = Vec::new();
        for artifact in artifacts {
            there.push(get(&driver, artifact).await.is_ok());
        }
        there
    });
    (volume.is_damaged(), there)
}

fn damaged(path: &Path, changes: Changes) -> u64 {
    checked_with(path, changes).0.damaged
}

#[test]
fn a_loss_keeps_everything_where_it_is_until_it_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    on_small_core(path, async |driver| {
        create(&driver).await;
        for (artifact, size) in [("before", 100), ("lost", LARGE), ("after", 100)] {
            put(&driver, artifact, Given::new(body(size, 1))).await.unwrap();
        }
    });
    lose(path, "lost");
    let all = ["before", "lost", "after"];
    for _ in 0..3 {
        assert_eq!(start(path, &all), (true, vec![true, false, true]));
        assert_eq!(data_files(path).len(), 1, "somebody may find out what it was");
        // What is derived without it does not hide it.
        on_small_core(path, async |driver| super::runs::checkpoint(&driver).await);
    }
    assert_eq!(damaged(path, Changes::default()), 1);
    assert!(start(path, &all).0, "looking accepts nothing");

    assert_eq!(damaged(path, ACCEPT), 1);
    for _ in 0..3 {
        assert_eq!(start(path, &all), (false, vec![true, false, true]));
        assert_eq!(data_files(path).len(), 0, "nothing names it");
    }
    let (summary, found) = checked_with(path, Changes::default());
    assert_eq!(summary.damaged, 0, "{found:?}");
    let accepted = |one: &&Finding| one.what.ends_with("(accepted as lost)");
    let told = found.iter().find(accepted).expect("it is still told");
    assert_eq!(told.severity, Severity::Note);

    // Whatever is lost later was not accepted.
    on_small_core(path, async |driver| {
        for artifact in ["new", "last"] {
            put(&driver, artifact, Given::new(body(100, 1))).await.unwrap();
        }
    });
    lose(path, "new");
    assert_eq!(start(path, &["after", "new", "last"]), (true, vec![true, false, true]));
    assert_eq!(damaged(path, Changes::default()), 1);
}

#[test]
fn what_the_index_knew_besides_is_missed_when_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    on_small_core(path, async |driver| {
        create(&driver).await;
        put(&driver, "lost", Given::new(body(LARGE, 1))).await.unwrap();
        super::runs::checkpoint(&driver).await;
        put(&driver, "after", Given::new(body(100, 1))).await.unwrap();
    });
    lose(path, "lost");
    let all = ["lost", "after"];
    assert_eq!(start(path, &all), (true, vec![true, true]));
    damaged(path, ACCEPT);
    assert_eq!(start(path, &all), (false, vec![true, true]));
    let files = std::fs::read_dir(path.join("index")).unwrap();
    files.for_each(|file| damage(&file.unwrap().path(), 40));
    for _ in 0..2 {
        assert_eq!(start(path, &all), (true, vec![false, true]));
        on_small_core(path, async |driver| super::runs::checkpoint(&driver).await);
        assert_eq!(data_files(path).len(), 1);
    }
    damaged(path, ACCEPT);
    assert_eq!(start(path, &all), (false, vec![false, true]));
    assert_eq!(data_files(path).len(), 0);
}

#[test]
fn what_only_the_index_knew_is_missed_when_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    on_small_core(path, async |driver| {
        create(&driver).await;
        put(&driver, "lost", Given::new(body(LARGE, 1))).await.unwrap();
        super::runs::checkpoint(&driver).await;
    });
    let segments = segments(path);
    rustix::fs::unlink(&segments[0].path).unwrap();
    assert!(start(path, &["lost"]).0);
    assert_eq!(damaged(path, ACCEPT), 1);
    assert_eq!(start(path, &["lost"]), (false, vec![true]), "it is not of the log that it lies in");
    assert_eq!(damaged(path, Changes::default()), 0);
    let without = UpkeepOptions { sorted_runs: false, ..UpkeepOptions::default() };
    for _ in 0..2 {
        let volume = open_sized(path, SMALL, without);
        on_volume(Arc::clone(&volume), async |_| ());
        assert!(volume.is_damaged());
        assert_eq!(data_files(path).len(), 1);
    }
    assert_eq!(start(path, &["lost"]), (true, vec![false]));
    assert_eq!(damaged(path, ACCEPT), 1);
    for _ in 0..2 {
        assert_eq!(start(path, &["lost"]), (false, vec![false]));
    }
    assert_eq!(data_files(path).len(), 0);
    assert_eq!(damaged(path, Changes::default()), 0);
}

#[test]
fn a_segment_that_went_in_order_is_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    on_small_core(path, async |driver| {
        create(&driver).await;
        for artifact in ["replaced", "removed", "left"] {
            put(&driver, artifact, Given::new(body(500, 1))).await.unwrap();
        }
        super::runs::checkpoint(&driver).await;
    });
    let first = &segments(path)[0].path;
    on_small_core(path, async |driver| {
        put(&driver, "replaced", Given::new(body(500, 2))).await.unwrap();
        delete(&driver, &["removed"]).await;
        // What is left is moved.
        until(|| !first.exists()).await;
    });
    let (summary, found) = checked_with(path, Changes::default());
    assert!(summary.checkpoints > 0 && summary.damaged == 0, "{found:?}");
    assert_eq!(start(path, &["replaced", "removed", "left"]), (false, vec![true, false, true]));
}

#[test]
fn a_log_that_has_accepted_losses_is_recycled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    on_small_core(path, async |driver| {
        create(&driver).await;
        for artifact in ["lost", "left"] {
            put(&driver, artifact, Given::new(body(500, 1))).await.unwrap();
        }
    });
    lose(path, "lost");
    let first = &segments(path)[0].path;
    assert_eq!(damaged(path, ACCEPT), 1);
    on_small_core(path, async |driver| {
        put(&driver, "left", Given::new(body(500, 2))).await.unwrap();
        until(|| !first.exists()).await;
        assert_eq!(get(&driver, "left").await.unwrap(), body(500, 2));
    });
    assert_eq!(start(path, &["lost", "left"]), (false, vec![false, true]));
}

#[test]
fn a_segment_of_which_nothing_can_be_read_goes_once_that_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    super::runs::fill(path);
    let segments = segments(path);
    let file = &segments[0].path;
    let rubbish = vec![0xa5; usize::try_from(segments[0].length).unwrap()];
    let opened = std::fs::OpenOptions::new().write(true).open(file);
    opened.unwrap().write_all_at(&rubbish, 0).unwrap();
    for _ in 0..2 {
        assert!(start(path, &[]).0 && file.exists());
    }
    damaged(path, ACCEPT);
    for _ in 0..2 {
        assert!(!start(path, &[]).0 && !file.exists());
    }
    assert_eq!(damaged(path, Changes::default()), 0);
}

#[test]
fn a_segment_that_is_missing_is_accepted_like_any_other_loss() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    super::runs::fill(path);
    let segments = segments(path);
    rustix::fs::unlink(&segments[0].path).unwrap();
    let damage_found = || {
        let (_, mut found) = checked_with(path, Changes::default());
        found.retain(|one| one.severity == Severity::Damaged);
        found
    };
    let found = damage_found();
    let [Finding { file, what, .. }] = &found[..] else { panic!("{found:?}") };
    assert!(segments[0].path.ends_with(file) && what.starts_with("missing"), "{found:?}");
    for _ in 0..2 {
        assert!(start(path, &[]).0);
        // An end of a log is told besides, for this may have been one.
        assert!(damage_found().contains(&found[0]));
    }
    assert!(damaged(path, ACCEPT) > 0);
    for _ in 0..3 {
        assert!(!start(path, &[]).0);
        assert_eq!(damaged(path, Changes::default()), 0);
    }
}
