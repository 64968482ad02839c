//! What is dead in data segments does not stay on the disk, and what is alive in them is not lost.

use super::integrity::check_folder;
use super::*;

const SEGMENT: u64 = 4 << 20;
const KEYS: u64 = 120;

fn data_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = data_files(path).into_iter();
    // What `du` counts.
    files
        .filter_map(|name| Some(path.join("data").join(name).metadata().ok()?.blocks() * 512))
        .sum()
}

fn on_short_segments<T>(path: &Path, test: impl AsyncFnOnce(LocalDriver) -> T) -> T {
    let sizes = Sizes { data_segment: SEGMENT, ..Sizes::default() };
    let volume = open_sized(path, sizes, UpkeepOptions::default());
    run(async {
        let driver = LocalDriver::start(volume, 0).await.unwrap();
        let done = test(driver.clone()).await;
        crash(&driver).await;
        done
    })
}

fn length(number: u64) -> usize {
    40_000 + usize::try_from(number).unwrap() * 1571 % 180_000
}

fn seed(round: u64, number: u64) -> u64 {
    round * 1000 + number
}

/// What each key holds: its round, or none.
struct Expected(Vec<Option<u64>>);

impl Expected {
    fn live_bytes(&self) -> u64 {
        let live = (0..).zip(&self.0).filter(|(_, round)| round.is_some());
        live.map(|(number, _)| length(number) as u64).sum()
    }

    async fn check(&self, driver: &LocalDriver) {
        for (number, round) in (0..).zip(&self.0) {
            let got = get(driver, &format!("k{number}")).await;
            match round {
                Some(round) => assert!(got.unwrap() == body(length(number), seed(*round, number))),
                None => assert!(matches!(got, Err(DriverError::NoSuchArtifact))),
            }
        }
        assert!(get(driver, "whole").await.unwrap() == whole());
        let open = driver
            .open(&ctx(), Target { container: &name("box"), key: key("long") })
            .await
            .unwrap();
        assert_eq!(open.info().metadata, super::reclaim::long_metadata());
        assert!(read(open, ByteRange::whole(50_000)).await.unwrap() == body(50_000, 4));
    }
}

const PARTS: [usize; 3] = [100_000, 200_000, 70_000];

fn whole() -> Vec<u8> {
    (1..).zip(PARTS).flat_map(|(number, size)| body(size, number)).collect()
}

/// Writes, overwrites and deletes, so that every segment is mostly dead and something of each kind lives in the first.
async fn churn(driver: &LocalDriver) -> Expected {
    let container = name("box");
    let (id, parts) = upload(driver, "whole", &PARTS).await;
    let target = Target { container: &container, key: key("whole") };
    driver.complete_upload(&ctx(), target, id, &completion(&parts)).await.unwrap();
    let spec = WriteSpec { metadata: super::reclaim::long_metadata(), ..WriteSpec::default() };
    let long = Target { container: &container, key: key("long") };
    driver.put(&ctx(), long, spec, &mut Given::new(body(50_000, 4))).await.unwrap();
    let mut expected = Expected(vec![None; usize::try_from(KEYS).unwrap()]);
    for round in 1..=3 {
        for number in 0..KEYS {
            // Later rounds write some of the keys, so that what lives is spread over all segments.
            if number % round == 0 {
                let source = Given::new(body(length(number), seed(round, number)));
                put(driver, &format!("k{number}"), source).await.unwrap();
                expected.0[usize::try_from(number).unwrap()] = Some(round);
            }
        }
    }
    for number in (0..KEYS).filter(|number| number % 5 == 1) {
        delete(driver, &[&format!("k{number}")]).await;
        expected.0[usize::try_from(number).unwrap()] = None;
    }
    expected
}

#[test]
fn space_in_use_comes_near_the_live_bytes_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (expected, pending) = on_short_segments(folder.path(), async |driver| {
        create(&driver).await;
        let pending = upload(&driver, "pending", &PARTS).await;
        let container = name("box");
        let target = Target { container: &container, key: key("whole") };
        let expected = churn(&driver).await;
        let held = driver.open(&ctx(), target).await.unwrap();
        let live = expected.live_bytes() + 2 * whole().len() as u64 + 50_000;
        // The segment that is being filled is not full, and what lies in it may be dead.
        let limit = live * 13 / 10 + SEGMENT;
        // A reader keeps what it opened, wherever it has moved meanwhile.
        until(|| driver.0.shared.segments.worth_emptying(1).is_empty()).await;
        assert!(read(held, ByteRange::whole(370_000)).await.unwrap() == whole());
        until(|| data_bytes(folder.path()) <= limit).await;
        expected.check(&driver).await;
        (expected, pending)
    });
    assert_eq!(check_folder(folder.path()).damaged, 0);
    on_short_segments(folder.path(), async |driver| {
        expected.check(&driver).await;
        // The parts of an upload move too.
        let container = name("box");
        let target = Target { container: &container, key: key("pending") };
        driver.complete_upload(&ctx(), target, pending.0, &completion(&pending.1)).await.unwrap();
        assert!(get(&driver, "pending").await.unwrap() == whole());
        let all: Vec<String> = keys(&driver).await;
        delete(&driver, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
        until(|| data_bytes(folder.path()) <= SEGMENT).await;
    });
}

#[test]
fn what_changes_while_it_is_moved_keeps_its_newest_version() {
    let folder = tempfile::tempdir().unwrap();
    let expected = on_short_segments(folder.path(), async |driver| {
        create(&driver).await;
        let mut expected = churn(&driver).await;
        for round in 4..30 {
            let puts = (0..KEYS).filter(|number| number % 7 == round % 7).map(|number| {
                let driver = &driver;
                async move {
                    let source = Given::new(body(length(number), seed(round, number)));
                    put(driver, &format!("k{number}"), source).await.unwrap();
                    number
                }
            });
            for number in futures_util::future::join_all(puts).await {
                expected.0[usize::try_from(number).unwrap()] = Some(round);
            }
            expected.check(&driver).await;
        }
        expected
    });
    on_short_segments(folder.path(), async |driver| expected.check(&driver).await);
    assert_eq!(check_folder(folder.path()).damaged, 0);
}
