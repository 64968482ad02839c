//! A folder of every format that there ever was is read and written on. The fixtures were written by the version of
//! their time and never change; a new format adds one.

use super::*;
use crate::model::UploadEntry;
use crate::shard::check;
use crate::shard::volume::FORMAT_VERSION;

const UPKEEP: UpkeepOptions =
    UpkeepOptions { scrub: None, uploads_expire: None, sorted_runs: true };

/// Name, length and seed of what was put, in order; the last of a name is current.
const PUTS: [(&str, usize, u64); 9] = [
    ("empty", 0, 1),
    ("extent", 10_000, 2),
    ("gone", 900, 3),
    ("inline", 1000, 4),
    ("own file", 20_001, 5),
    ("replaced", 1000, 6),
    ("replaced extent", 5000, 7),
    ("replaced", 5000, 8),
    ("replaced extent", 70, 9),
];

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

async fn with_metadata(driver: &LocalDriver) {
    let container = name("box");
    let target = Target { container: &container, key: key("long metadata") };
    let metadata = reclaim::long_metadata();
    let spec = WriteSpec { metadata, ..WriteSpec::default() };
    driver.put(&ctx(), target, spec, &mut Given::new(body(11, 10))).await.unwrap();
}

async fn whole(driver: &LocalDriver, sizes: &[usize]) {
    let container = name("box");
    let target = Target { container: &container, key: key("whole") };
    let (upload, parts) = upload(driver, "whole", sizes).await;
    driver.complete_upload(&ctx(), target, upload, &completion(&parts)).await.unwrap();
}

/// That all is there which [`a_folder_of_this_format_is_kept`] wrote.
async fn check_content(driver: &LocalDriver) {
    let expected =
        ["empty", "extent", "inline", "long metadata", "own file", "replaced", "replaced extent"];
    let found = keys(driver).await;
    assert_eq!(
        found.iter().filter(|key| *key != "new").collect::<Vec<_>>(),
        [&expected[..], &["whole"]].concat()
    );
    for (at, length, seed) in PUTS {
        let is_current = PUTS.iter().rfind(|(other, ..)| *other == at).unwrap().2 == seed;
        if is_current && at != "gone" {
            assert!(get(driver, at).await.unwrap() == body(length, seed), "{at}");
        }
    }
    assert!(matches!(get(driver, "gone").await, Err(DriverError::NoSuchArtifact)));
    let parts = [body(15_000, 1), body(300, 2), body(7000, 3)].concat();
    assert!(get(driver, "whole").await.unwrap() == parts);
    assert!(get_range(driver, "whole", 14_999, 302).await.unwrap() == parts[14_999..15_301]);
    let container = name("box");
    let long = Target { container: &container, key: key("long metadata") };
    let open = driver.open(&ctx(), long).await.unwrap();
    assert_eq!(open.info().metadata, reclaim::long_metadata());
    let query = UploadQuery { limit: 10, ..UploadQuery::default() };
    let uploads = driver.list_uploads(&ctx(), &container, &query).await.unwrap();
    let [UploadEntry::Upload { key: to, id, .. }] = &uploads.entries[..] else {
        panic!("{uploads:?}");
    };
    assert_eq!(to, "pending");
    let target = Target { container: &container, key: key("pending") };
    let query = PartQuery { after: 0, limit: 10 };
    let page = driver.list_parts(&ctx(), target, *id, query).await.unwrap();
    assert_eq!(page.parts.iter().map(|part| part.size).collect::<Vec<_>>(), [500, 13_000]);
    driver.head_container(&ctx(), &name("empty-box")).await.unwrap();
}

#[test]
fn every_format_is_read_and_written_on() {
    let mut formats = 0;
    for entry in std::fs::read_dir(fixtures()).unwrap() {
        let fixture = entry.unwrap().path();
        let folder = tempfile::tempdir().unwrap();
        copy(&fixture, folder.path());
        let at_rest = check::open(folder.path()).unwrap();
        let said = run(async {
            let mut said = Vec::new();
            let mut say = |finding: check::Finding| said.push(finding.to_string());
            let disk = crate::io::uring::UringDisk;
            let clock = crate::io::clock::SystemClock;
            let summary =
                check::check(&disk, &clock, &at_rest, check::Changes::default(), &mut say)
                    .await
                    .unwrap();
            (summary.damaged, said)
        });
        assert_eq!(said.0, 0, "{}: {:?}", fixture.display(), said.1);
        drop(at_rest);
        for start in 0..2 {
            let volume = open_sized(folder.path(), Sizes::default(), UPKEEP);
            run(async {
                let driver = LocalDriver::start(volume, 0).await.unwrap();
                check_content(&driver).await;
                if start == 1 {
                    assert_eq!(get(&driver, "new").await.unwrap(), body(300, 11));
                }
                put(&driver, "new", Given::new(body(300, 11))).await.unwrap();
                crash(&driver).await;
            });
        }
        formats += 1;
    }
    assert_eq!(formats, FORMAT_VERSION, "a fixture of each format");
}

/// Writes the fixture of the present format, where there is none: two starts, one stopped in order and one that
/// crashed.
#[test]
#[ignore = "writes tests/fixtures, once for each format"]
fn a_folder_of_this_format_is_kept() {
    let folder = fixtures().join(format!("format-{FORMAT_VERSION}"));
    if folder.exists() {
        return;
    }
    std::fs::create_dir_all(&folder).unwrap();
    let (first, second) = PUTS.split_at(7);
    for start in 0..2 {
        let volume = open_sized(&folder, SMALL, UPKEEP);
        run(async {
            let driver = LocalDriver::start(volume, 0).await.unwrap();
            if start == 0 {
                create(&driver).await;
                driver.create_container(&ctx(), &name("empty-box")).await.unwrap();
                upload(&driver, "pending", &[500, 13_000]).await;
            }
            for (to, length, seed) in if start == 0 { first } else { second } {
                put(&driver, to, Given::new(body(*length, *seed))).await.unwrap();
            }
            if start == 0 {
                with_metadata(&driver).await;
                whole(&driver, &[15_000, 300, 7000]).await;
                driver.shutdown().await;
                until(|| Rc::strong_count(&driver.0) == 1).await;
            } else {
                delete(&driver, &["gone"]).await;
                crash(&driver).await;
            }
        });
    }
    let bytes: u64 = walk(&folder).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes < 1 << 20, "a fixture is small: {bytes}");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
