//! Tests of the local driver, on the real disk.

mod ahead;
mod empty;
mod flips;
mod formats;
mod full;
mod integrity;
mod losses;
mod recent;
mod reclaim;
mod runs;
mod spill;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::*;
use crate::driver::{BodyError, Chunk, OpenArtifact, Reader};
use crate::io::budget::Budget;
use crate::io::folder::SystemFolder;
use crate::io::testing::run;
use crate::model::{
    ArtifactKey, ByteRange, CompletePart, Digests, ETag, ListEntry, Metadata, MetadataBuilder,
    MetadataField, TenantId, WriteCondition,
};
use crate::shard::sizes::Sizes;
use crate::stdx::md5::Md5;

const MIB: usize = 1 << 20;

/// Of so small parts that a folder with something of everything is small too.
const SMALL: Sizes = Sizes {
    log_segment: 64 << 10,
    batch: 20 << 10,
    data_segment: 64 << 10,
    data_segment_min: 32 << 10,
    inline_max: 1 << 10,
    extent_max: 12 << 10,
    mailbox: 64,
    tables: 1 << 20,
    table_min: 0,
    closing_rounds: 1,
    ..Sizes::STANDARD
};

fn ctx() -> Context {
    Context::internal(TenantId::DEFAULT)
}

fn name(text: &str) -> ContainerName {
    ContainerName::new(text).unwrap()
}

fn key(text: &str) -> ArtifactKey<'_> {
    ArtifactKey::new(text).unwrap()
}

/// Bytes that differ from block to block.
fn body(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A body in memory that may end badly.
struct Given {
    bytes: Bytes,
    size: Option<u64>,
    end: Result<(), BodyError>,
    md5: Md5,
}

impl Given {
    fn new(bytes: Vec<u8>) -> Self {
        let size = Some(bytes.len() as u64);
        Self { bytes: bytes.into(), size, end: Ok(()), md5: Md5::default() }
    }

    fn unsized_(bytes: Vec<u8>) -> Self {
        Self { size: None, ..Self::new(bytes) }
    }

    fn broken(bytes: Vec<u8>) -> Self {
        let size = Some(bytes.len() as u64 + 1);
        Self { size, end: Err(BodyError::Disconnected), ..Self::new(bytes) }
    }
}

impl Source for Given {
    fn size(&self) -> Option<u64> {
        self.size
    }

    async fn read(&mut self, _ctx: &Context, buffer: &mut [u8]) -> Result<usize, BodyError> {
        let count = buffer.len().min(self.bytes.len()).min(100_000);
        if count == 0 && !buffer.is_empty() {
            self.end.clone()?;
        }
        let some = self.bytes.split_to(count);
        buffer[..count].copy_from_slice(&some);
        self.md5.update(&some);
        Ok(count)
    }

    async fn finish(&mut self, _ctx: &Context) -> Result<Digests, BodyError> {
        let hash = std::mem::take(&mut self.md5).finish();
        Ok(Digests { etag: ETag { hash, parts: 0 }, checksum: None })
    }
}

fn open_volume(path: &Path, cores: usize) -> Arc<LocalVolume> {
    LocalVolume::open(path, cores, Budget::new(64 << 20)).unwrap()
}

/// The same for one core, with parts of other sizes.
fn open_sized(path: &Path, sizes: Sizes, upkeep: UpkeepOptions) -> Arc<LocalVolume> {
    let options = LocalOptions { sizes, upkeep, ..LocalOptions::default() };
    LocalVolume::open_on(&SystemFolder, path, 1, Budget::new(64 << 20), options).unwrap()
}

/// Runs a test on one core, and stops as a crash would.
fn on_one_core<T>(path: &Path, test: impl AsyncFnOnce(LocalDriver) -> T) -> T {
    on_volume(open_volume(path, 1), test)
}

/// The same on a volume of one core.
fn on_volume<T>(volume: Arc<LocalVolume>, test: impl AsyncFnOnce(LocalDriver) -> T) -> T {
    run(async {
        let driver = LocalDriver::start(volume, 0).await.unwrap();
        let done = test(driver.clone()).await;
        crash(&driver).await;
        done
    })
}

/// Leaves a core as a crash would, but for the memory, which it frees.
async fn crash(driver: &LocalDriver) {
    driver.0.shared.abandon();
    driver.0.stopping.set(true);
    driver.0.shared.mailboxes[driver.0.core].close();
    drop(driver.0.running.wait().await);
    // Housekeeping and the log's background work end too.
    until(|| Rc::strong_count(&driver.0) == 1).await;
    until(|| Arc::strong_count(&driver.0.shared.volume) == 1).await;
}

/// Runs a test on each of some cores.
fn on_cores<T: Send>(
    path: &Path,
    cores: usize,
    test: impl AsyncFn(usize, LocalDriver) -> T + Sync,
) -> Vec<T> {
    let volume = open_volume(path, cores);
    let finished = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let start = |core| {
            let (volume, test, finished) = (Arc::clone(&volume), &test, &finished);
            scope.spawn(move || {
                run(async move {
                    let driver = LocalDriver::start(volume, core).await.unwrap();
                    let done = test(core, driver.clone()).await;
                    // Nobody stops while another may still commit here.
                    finished.fetch_add(1, Ordering::SeqCst);
                    until(|| finished.load(Ordering::SeqCst) == cores).await;
                    crash(&driver).await;
                    done
                })
            })
        };
        let threads: Vec<_> = (0..cores).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

async fn put(driver: &LocalDriver, to: &str, source: Given) -> Result<WriteReceipt, DriverError> {
    put_if(driver, to, source, WriteCondition::None).await
}

async fn put_if(
    driver: &LocalDriver,
    to: &str,
    mut source: Given,
    condition: WriteCondition,
) -> Result<WriteReceipt, DriverError> {
    let spec = WriteSpec { condition, metadata: Metadata::default() };
    let target = Target { container: &name("box"), key: key(to) };
    driver.put(&ctx(), target, spec, &mut source).await
}

async fn get(driver: &LocalDriver, from: &str) -> Result<Vec<u8>, DriverError> {
    let target = Target { container: &name("box"), key: key(from) };
    let open = driver.open(&ctx(), target).await?;
    let range = ByteRange::whole(open.info().size);
    read(open, range).await
}

async fn get_range(
    driver: &LocalDriver,
    from: &str,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, DriverError> {
    let target = Target { container: &name("box"), key: key(from) };
    let open = driver.open(&ctx(), target).await?;
    read(open, ByteRange { offset, length }).await
}

async fn read(
    open: <LocalDriver as Driver>::Open,
    range: ByteRange,
) -> Result<Vec<u8>, DriverError> {
    let ctx = ctx();
    let mut reader = open.read(&ctx, range).await?;
    let mut all = Vec::new();
    while let Some(chunk) = reader.next(&ctx).await? {
        match chunk {
            Chunk::Memory(bytes) => all.extend_from_slice(&bytes),
            Chunk::File { file, offset, length } => {
                let mut bytes = vec![0; usize::try_from(length).unwrap()];
                let count = rustix::io::pread(&*file, &mut bytes, offset).unwrap();
                assert_eq!(count, bytes.len());
                all.extend_from_slice(&bytes);
            }
        }
    }
    assert_eq!(all.len() as u64, range.length);
    Ok(all)
}

async fn delete(driver: &LocalDriver, keys: &[&str]) {
    let deletions: Vec<_> = keys
        .iter()
        .map(|text| Deletion { key: key(text), condition: WriteCondition::None })
        .collect();
    for result in driver.delete(&ctx(), &name("box"), &deletions).await.unwrap() {
        result.unwrap();
    }
}

async fn keys(driver: &LocalDriver) -> Vec<String> {
    let query = ListQuery { limit: 1000, ..ListQuery::default() };
    let page = driver.list(&ctx(), &name("box"), &query).await.unwrap();
    page.entries.iter().map(|entry: &ListEntry| entry.name().to_owned()).collect()
}

async fn create(driver: &LocalDriver) {
    driver.create_container(&ctx(), &name("box")).await.unwrap();
}

fn data_files(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(path.join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Waits until housekeeping has come to it; the limit only ends a test that hangs.
async fn until(what: impl Fn() -> bool) {
    for _ in 0..3000 {
        if what() {
            return;
        }
        crate::runtime::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it never came to that");
}

#[test]
fn it_conforms() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| crate::driver::conformance::run(&driver).await);
}

#[test]
fn what_was_acknowledged_survives_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let large = body(3 * MIB + 77, 1);
    let own = body(9 * MIB + 1, 2);
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        for (to, length) in [("empty", 0), ("one", 1), ("inline", 32 << 10), ("gone", 10)] {
            put(&driver, to, Given::new(body(length, 9))).await.unwrap();
        }
        put(&driver, "extent", Given::new(large.clone())).await.unwrap();
        put(&driver, "own", Given::new(own.clone())).await.unwrap();
        put(&driver, "stream", Given::unsized_(large.clone())).await.unwrap();
        put(&driver, "short stream", Given::unsized_(body(100, 3))).await.unwrap();
        put(&driver, "one", Given::new(body(2, 4))).await.unwrap();
        delete(&driver, &["gone", "never was"]).await;
    });
    for _ in 0..2 {
        on_one_core(folder.path(), async |driver| {
            let all = ["empty", "extent", "inline", "one", "own", "short stream", "stream"];
            assert_eq!(keys(&driver).await, all);
            assert_eq!(get(&driver, "empty").await.unwrap(), []);
            assert_eq!(get(&driver, "one").await.unwrap(), body(2, 4));
            assert_eq!(get(&driver, "inline").await.unwrap(), body(32 << 10, 9));
            assert_eq!(get(&driver, "short stream").await.unwrap(), body(100, 3));
            assert!(get(&driver, "extent").await.unwrap() == large);
            assert!(get(&driver, "stream").await.unwrap() == large);
            assert!(get(&driver, "own").await.unwrap() == own);
            assert!(matches!(get(&driver, "gone").await, Err(DriverError::NoSuchArtifact)));
            let again = driver.create_container(&ctx(), &name("box")).await;
            assert!(matches!(again, Err(DriverError::ContainerExists)));
        });
    }
}

#[test]
fn an_orderly_stop_leaves_everything_too() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        put(&driver, "a", Given::new(body(100, 1))).await.unwrap();
        put(&driver, "b", Given::new(body(100_000, 2))).await.unwrap();
        driver.shutdown().await;
    });
    on_one_core(folder.path(), async |driver| {
        assert_eq!(get(&driver, "a").await.unwrap(), body(100, 1));
        assert_eq!(get(&driver, "b").await.unwrap(), body(100_000, 2));
        put(&driver, "c", Given::new(body(100, 3))).await.unwrap();
        assert_eq!(keys(&driver).await, ["a", "b", "c"]);
    });
}

#[test]
fn ranges_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        for length in [1000, 65_536, 65_537, 2 * MIB + 4095, 70 * MIB] {
            let whole = body(length, length as u64);
            put(&driver, "a", Given::new(whole.clone())).await.unwrap();
            let mid = length / 2;
            let ranges = [
                (0, 1),
                (length - 1, 1),
                (mid, length - mid),
                (mid, 1),
                (0, length),
                (1, length - 2),
            ];
            for (offset, count) in ranges {
                let got = get_range(&driver, "a", offset as u64, count as u64).await.unwrap();
                assert!(got == whole[offset..offset + count], "{length} {offset} {count}");
            }
        }
    });
}

#[test]
fn what_is_read_again_is_sent_from_the_page_cache() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        for length in [100_000, 3 * MIB + 5, 9 * MIB + 5] {
            let whole = body(length, 1);
            put(&driver, "a", Given::new(whole.clone())).await.unwrap();
            let container = name("box");
            let mut sent = Vec::new();
            for _ in 0..4 {
                let ctx = ctx();
                let target = Target { container: &container, key: key("a") };
                let open = driver.open(&ctx, target).await.unwrap();
                assert!(read(open, ByteRange::whole(length as u64)).await.unwrap() == whole);
                let got = get_range(&driver, "a", 70_000, 20_000).await.unwrap();
                assert!(got == whole[70_000..90_000]);
                let open = driver.open(&ctx, target).await.unwrap();
                let range = ByteRange::whole(length as u64);
                let mut reader = open.read(&ctx, range).await.unwrap();
                let chunk = reader.next(&ctx).await.unwrap().unwrap();
                sent.push(matches!(chunk, Chunk::File { .. }));
            }
            // The first of all reads was direct; the others brought it into the cache.
            assert!(sent[3], "{length}: {sent:?}");
        }
    });
}

#[test]
fn what_others_brought_into_the_page_cache_is_looked_at() {
    use std::os::unix::fs::FileExt;
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        let whole = body(9 * MIB, 1);
        put(&driver, "a", Given::new(whole.clone())).await.unwrap();
        assert!(get(&driver, "a").await.unwrap() == whole, "read past the cache");
        let files = data_files(folder.path());
        let file = files.iter().find(|file| file.ends_with(".artifact")).unwrap();
        let path = folder.path().join("data").join(file);
        // All of it, so that all of it is resident.
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes[5 * MIB] ^= 1;
        file.write_all_at(&bytes, 0).unwrap();
        assert!(matches!(get(&driver, "a").await, Err(DriverError::Corrupt)));
    });
}

#[test]
fn a_failed_upload_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        put(&driver, "a", Given::new(body(10, 1))).await.unwrap();
        for length in [100, 100_000, 9 * MIB] {
            let failed = put(&driver, "a", Given::broken(body(length, 2))).await;
            assert!(matches!(failed, Err(DriverError::Body(BodyError::Disconnected))));
        }
        let stream = Given { size: None, ..Given::broken(body(MIB, 2)) };
        assert!(put(&driver, "b", stream).await.is_err());
        let refused =
            put_if(&driver, "a", Given::new(body(9 * MIB, 1)), WriteCondition::Absent).await;
        assert!(matches!(refused, Err(DriverError::PreconditionFailed)));
        assert_eq!(keys(&driver).await, ["a"]);
        assert_eq!(get(&driver, "a").await.unwrap(), body(10, 1));
        until(|| !data_files(folder.path()).iter().any(|file| file.ends_with(".artifact"))).await;
    });
}

#[test]
fn what_a_crash_left_half_written_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        put(&driver, "kept", Given::new(body(9 * MIB, 1))).await.unwrap();
        put(&driver, "kept extent", Given::new(body(MIB, 2))).await.unwrap();
        // Written and durable, but never committed: as a crash between the two leaves it.
        let own = driver.0.data.own_file(Some(9 << 20)).await.unwrap();
        driver.0.data.sync(own).await.unwrap().keep();
    });
    assert_eq!(data_files(folder.path()).len(), 3);
    on_one_core(folder.path(), async |driver| {
        assert_eq!(data_files(folder.path()).len(), 2);
        assert!(get(&driver, "kept").await.unwrap() == body(9 * MIB, 1));
        assert!(get(&driver, "kept extent").await.unwrap() == body(MIB, 2));
    });
}

#[test]
fn dead_files_and_segments_are_unlinked_but_not_under_a_reader() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        put(&driver, "own", Given::new(body(9 * MIB, 1))).await.unwrap();
        put(&driver, "extent", Given::new(body(MIB, 2))).await.unwrap();
    });
    on_one_core(folder.path(), async |driver| {
        let ctx = ctx();
        let target = |text| (name("box"), key(text));
        let mut readers = Vec::new();
        for text in ["own", "extent"] {
            let (container, key) = target(text);
            let open = driver.open(&ctx, Target { container: &container, key }).await.unwrap();
            let range = ByteRange::whole(open.info().size);
            readers.push((open, range));
        }
        put(&driver, "own", Given::new(body(1, 3))).await.unwrap();
        delete(&driver, &["extent"]).await;
        crate::runtime::sleep(std::time::Duration::from_millis(500)).await;
        assert_eq!(data_files(folder.path()).len(), 2);
        let (open, range) = readers.remove(0);
        assert!(read(open, range).await.unwrap() == body(9 * MIB, 1));
        let (open, range) = readers.remove(0);
        assert!(read(open, range).await.unwrap() == body(MIB, 2));
        until(|| data_files(folder.path()).is_empty()).await;
        assert_eq!(get(&driver, "own").await.unwrap(), body(1, 3));
    });
}

#[test]
fn damage_is_an_error_before_the_first_wrong_byte() {
    use std::os::unix::fs::FileExt;
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        put(&driver, "a", Given::new(body(9 * MIB, 1))).await.unwrap();
        put(&driver, "b", Given::new(body(3 * MIB, 1))).await.unwrap();
        driver.shutdown().await;
    });
    for file in data_files(folder.path()) {
        let path = folder.path().join("data").join(file);
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(b"damage", (2 * MIB + 10) as u64).unwrap();
    }
    on_one_core(folder.path(), async |driver| {
        for from in ["a", "b"] {
            assert!(matches!(get(&driver, from).await, Err(DriverError::Corrupt)));
            let before = get_range(&driver, from, 0, 2 << 20).await.unwrap();
            assert!(before == body(9 * MIB, 1)[..2 * MIB]);
            let behind = get_range(&driver, from, 5 << 19, 1000).await.unwrap();
            assert!(behind == body(9 * MIB, 1)[5 << 19..(5 << 19) + 1000]);
        }
    });
}

#[test]
fn one_of_many_concurrent_writers_wins_over_all_cores() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| create(&driver).await);
    let won = on_cores(folder.path(), 2, async |core, driver| {
        let writers = (0..32).map(|number| {
            let driver = &driver;
            async move {
                let source = Given::new(body(100, (core * 100 + number) as u64));
                let result = put_if(driver, "key", source, WriteCondition::Absent).await;
                match result {
                    Ok(receipt) => Some(receipt.etag),
                    Err(DriverError::PreconditionFailed) => {
                        // Whoever is told that he lost can read what won.
                        assert!(get(driver, "key").await.is_ok());
                        None
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let results = futures_util::future::join_all(writers).await;
        results.into_iter().flatten().collect::<Vec<_>>()
    });
    let won: Vec<_> = won.concat();
    assert_eq!(won.len(), 1);
    on_one_core(folder.path(), async |driver| {
        let bytes = get(&driver, "key").await.unwrap();
        assert_eq!(crate::stdx::md5::digest(&bytes), won[0].hash);
    });
}

#[test]
fn every_core_reads_what_any_core_wrote() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| create(&driver).await);
    on_cores(folder.path(), 2, async |core, driver| {
        let own = [("inline", 1000), ("extent", 200_000), ("own", 9 * MIB)];
        for (kind, length) in own {
            let to = format!("{kind}{core}");
            put(&driver, &to, Given::new(body(length, core as u64))).await.unwrap();
        }
        let other = 1 - core;
        for (kind, length) in own {
            let from = format!("{kind}{other}");
            let mut got = get(&driver, &from).await;
            for _ in 0..3000 {
                if got.is_ok() {
                    break;
                }
                crate::runtime::sleep(std::time::Duration::from_millis(20)).await;
                got = get(&driver, &from).await;
            }
            assert!(got.unwrap() == body(length, other as u64), "{from}");
        }
    });
    // Another number of cores, and each shard still has one owner.
    on_cores(folder.path(), 3, async |core, driver| {
        assert!(get(&driver, "extent1").await.unwrap() == body(200_000, 1));
        put(&driver, &format!("more{core}"), Given::new(body(10, 1))).await.unwrap();
    });
    on_one_core(folder.path(), async |driver| assert_eq!(keys(&driver).await.len(), 9));
}

#[test]
fn long_metadata_stays_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut builder = MetadataBuilder::default();
    assert!(builder.push(MetadataField::User("long"), &"v".repeat(2000)));
    let metadata = builder.finish();
    let container = name("box");
    let target = Target { container: &container, key: key("a") };
    let check = async |driver: &LocalDriver, length: usize| {
        let open = driver.open(&ctx(), target).await.unwrap();
        assert_eq!(open.info().metadata, metadata);
        let range = ByteRange::whole(length as u64);
        assert!(read(open, range).await.unwrap() == body(length, 1));
    };
    for length in [0, 5, 100_000] {
        on_one_core(folder.path(), async |driver| {
            let _ = driver.create_container(&ctx(), &container).await;
            let spec = WriteSpec { metadata: metadata.clone(), ..WriteSpec::default() };
            let mut source = Given::new(body(length, 1));
            driver.put(&ctx(), target, spec, &mut source).await.unwrap();
            check(&driver, length).await;
        });
        on_one_core(folder.path(), async |driver| check(&driver, length).await);
    }
}

async fn upload(driver: &LocalDriver, to: &str, sizes: &[usize]) -> (UploadId, Vec<CompletePart>) {
    let container = name("box");
    let target = Target { container: &container, key: key(to) };
    let upload = driver.create_upload(&ctx(), target, UploadSpec::default()).await.unwrap();
    let mut parts = Vec::new();
    for (number, size) in (1..).zip(sizes) {
        let mut source = Given::new(body(*size, u64::from(number)));
        let info = driver.put_part(&ctx(), target, upload, number, &mut source).await.unwrap();
        parts.push(CompletePart { number, etag: info.etag, checksum: None });
    }
    (upload, parts)
}

fn completion(parts: &[CompletePart]) -> Completion<'_> {
    Completion {
        parts,
        condition: WriteCondition::None,
        checksum: None,
        size: None,
        part_size_min: 0,
    }
}

#[test]
fn an_upload_becomes_an_artifact_without_copying_and_survives() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [9 * MIB, 100_000, 10, 20, 9 * MIB];
    let container = name("box");
    let target = Target { container: &container, key: key("whole") };
    // The third part is left out.
    let expected: Vec<u8> =
        [1, 2, 4].iter().flat_map(|number| body(sizes[number - 1], *number as u64)).collect();
    let check = async |driver: &LocalDriver| {
        assert!(get(driver, "whole").await.unwrap() == expected);
        let open = driver.open(&ctx(), target).await.unwrap();
        assert_eq!(open.part_count(), Some(3));
        let third = open.part(&ctx(), 3).await.unwrap().unwrap().range;
        assert_eq!((third.offset, third.length), ((9 * MIB + 100_000) as u64, 20));
        assert!(open.part(&ctx(), 4).await.unwrap().is_none());
        assert!(open.part(&ctx(), 0).await.unwrap().is_none());
        let across = (9 * MIB - 5) as u64;
        let got = get_range(driver, "whole", across, 100_010).await.unwrap();
        assert!(got == expected[9 * MIB - 5..9 * MIB + 100_005]);
    };
    let (id, parts) = on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        let (id, mut parts) = upload(&driver, "whole", &sizes).await;
        assert!(keys(&driver).await.is_empty());
        parts.remove(4);
        parts.remove(2);
        let first = driver.complete_upload(&ctx(), target, id, &completion(&parts)).await.unwrap();
        let again = driver.complete_upload(&ctx(), target, id, &completion(&parts)).await.unwrap();
        assert_eq!(first, again);
        assert_eq!((first.size, first.etag.parts), (expected.len() as u64, 3));
        let gone = driver.head_upload(&ctx(), target, id).await;
        assert!(matches!(gone, Err(DriverError::NoSuchUpload)));
        check(&driver).await;
        until(|| data_files(folder.path()).len() == 2).await;
        (id, parts)
    });
    on_one_core(folder.path(), async |driver| {
        check(&driver).await;
        assert!(driver.complete_upload(&ctx(), target, id, &completion(&parts)).await.is_ok());
        assert_eq!(data_files(folder.path()).len(), 2);
        delete(&driver, &["whole"]).await;
        until(|| data_files(folder.path()).is_empty()).await;
    });
}

#[test]
fn uploads_survive_and_end() {
    let folder = tempfile::tempdir().unwrap();
    let container = name("box");
    let target = Target { container: &container, key: key("u") };
    let (id, parts) = on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        upload(&driver, "u", &[9 * MIB, 10]).await
    });
    on_one_core(folder.path(), async |driver| {
        let query = PartQuery { after: 0, limit: 10 };
        let page = driver.list_parts(&ctx(), target, id, query).await.unwrap();
        assert_eq!(
            page.parts.iter().map(|part| part.etag).collect::<Vec<_>>(),
            [parts[0].etag, parts[1].etag]
        );
        assert_eq!(data_files(folder.path()).len(), 2);
        driver.abort_upload(&ctx(), target, id).await.unwrap();
        until(|| data_files(folder.path()).is_empty()).await;
        upload(&driver, "u", &[9 * MIB]).await;
        driver.delete_container(&ctx(), &container).await.unwrap();
        until(|| data_files(folder.path()).is_empty()).await;
    });
    on_one_core(folder.path(), async |driver| {
        let gone = driver.head_container(&ctx(), &container).await;
        assert!(matches!(gone, Err(DriverError::NoSuchContainer)));
        create(&driver).await;
        assert!(keys(&driver).await.is_empty());
    });
}

#[test]
fn a_sync_lies_between_write_and_acknowledgement() {
    use crate::io::uring::counters;
    let durable = || {
        let now = counters();
        now.syncs + now.durable_writes
    };
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        create(&driver).await;
        for length in [100, 100_000] {
            let before = durable();
            put(&driver, "a", Given::new(body(length, 1))).await.unwrap();
            // A body of its own place is made durable before the record that names it.
            assert!(durable() - before > u64::from(length > 50_000), "{length} bytes");
            let before = durable();
            delete(&driver, &["a"]).await;
            assert!(durable() > before, "a deletion");
        }
    });
}
