//! What the index knows of the ends of logs.

use super::*;
use crate::io::folder::Folder;
use crate::shard::index::checkpoint::Checkpoint;

/// Starts report damage, with the index and, once that is gone, without it.
fn assert_stays_damaged(path: &Path, look: impl AsyncFn(&LocalDriver)) {
    for without_index in [false, true, true] {
        if without_index {
            forget_index(path);
        }
        let volume = open_checked(path, 1).unwrap();
        run(async {
            let driver = LocalDriver::start(Arc::clone(&volume), 0).await.unwrap();
            assert!(volume.is_damaged(), "without its index: {without_index}");
            look(&driver).await;
            crash(&driver).await;
        });
    }
}

#[test]
fn the_end_of_a_log_that_a_checkpoint_knows_is_damaged_and_not_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let point = on_runs(path, async |driver| {
        create(&driver).await;
        put_small(&driver, "a", 1).await;
        put_small(&driver, "b", 2).await;
        checkpoint(&driver).await;
        let (disk, layout) = (&driver.0.disk, driver.0.shared.volume.layout());
        let shard = shard_of(TenantId::DEFAULT, &name("box"));
        Checkpoint::read(disk, layout, shard).await.unwrap().unwrap().point.unwrap()
    });
    // Every frame is a block, and its header is at its front.
    let log = path.join(format!("log/{:016x}.log", point.segment));
    crate::driver::local::tests::integrity::damage(&log, u64::from(point.offset) - 4096 + 20);
    assert_stays_damaged(path, async |driver| assert_small(driver, "a", 1).await);
}

#[test]
fn an_index_that_names_a_segment_that_is_no_more_tells_of_a_lost_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let logs = || {
        let of_log = |name: &String| name.ends_with(".log");
        let names = SystemFolder.list(&path.join("log")).unwrap();
        names.into_iter().filter(of_log).collect::<Vec<_>>()
    };
    on_runs(path, async |driver| {
        create(&driver).await;
        put_small(&driver, "a", 1).await;
        checkpoint(&driver).await;
    });
    let gone = logs();
    on_runs(path, async |driver| put_small(&driver, "b", 2).await);
    for name in logs().iter().filter(|name| gone.contains(name)) {
        SystemFolder.remove(&path.join("log").join(name)).unwrap();
    }
    assert_stays_damaged(path, async |_| ());
}
