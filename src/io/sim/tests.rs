use super::*;
use crate::io::DiskFile;
use crate::io::buffer::AlignedBuffer;
use crate::io::testing::drive;
use crate::runtime::simulated::Random;

const CREATE: OpenOptions =
    OpenOptions { write: true, create_new: true, direct: true, durable_writes: false };

fn filled(byte: u8, length: usize) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::with_capacity(length);
    buffer.set_length(length);
    buffer.fill(byte);
    buffer
}

#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let disk = SimDisk::new();
    let (kept, lost) = (Path::new("/d/kept"), Path::new("/d/lost"));
    drive(async {
        let file = disk.open(kept, CREATE).await.unwrap();
        file.write_at(filled(1, 4096), 0).await.0.unwrap();
        file.sync().await.unwrap();
        disk.sync_directory(Path::new("/d")).await.unwrap();
        file.write_at(filled(2, 8192), 0).await.0.unwrap();
        disk.open(lost, CREATE).await.unwrap();
    });
    assert_eq!(disk.content(kept).unwrap(), [2; 8192]);
    disk.power_cut(|_| 1023);
    assert!(disk.content(lost).is_err());
    let content = disk.content(kept).unwrap();
    assert_eq!((content[511], content[512], content.len()), (2, 1, 4096));
}

#[test]
fn failures_and_limits() {
    let disk = SimDisk::new();
    drive(async {
        let file = disk.open(Path::new("/d/a"), CREATE).await.unwrap();
        disk.fail_after(2, libc::EIO);
        file.write_at(filled(1, 4096), 0).await.0.unwrap();
        assert_eq!(file.sync().await.unwrap_err().raw_os_error(), Some(libc::EIO));
        file.sync().await.unwrap();
        disk.set_free(Some(4096));
        file.write_at(filled(1, 4096), 4096).await.0.unwrap();
        let error = file.write_at(filled(1, 4096), 8192).await.0.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        disk.remove(Path::new("/d/a")).await.unwrap();
        assert_eq!(disk.free_bytes(Path::new("/d")).await.unwrap(), 8192);
    });
}

/// What a read shows past the cache, and through it.
async fn shown(disk: &SimDisk, path: &Path, length: usize) -> [Vec<u8>; 2] {
    let mut shown = [Vec::new(), Vec::new()];
    for (direct, bytes) in [true, false].into_iter().zip(&mut shown) {
        let file = disk.open(path, OpenOptions { direct, ..OpenOptions::default() }).await.unwrap();
        let (read, buffer) = file.read_at(filled(0, length), 0).await;
        *bytes = buffer[..read.unwrap()].to_vec();
    }
    shown
}

#[test]
fn after_a_failed_sync_the_cache_shows_what_the_next_sync_does_not_make_durable() {
    let mut lost = 0;
    for seed in 0..20 {
        let disk = SimDisk::with_seed(seed);
        let path = Path::new("/d/a");
        drive(async {
            disk.create_directory(Path::new("/d")).await.unwrap();
            let file = disk.open(path, CREATE).await.unwrap();
            disk.sync_directory(Path::new("/d")).await.unwrap();
            file.write_at(filled(1, 4096), 0).await.0.unwrap();
            disk.set_faults(Faults { sync_error: 1, ..Faults::default() });
            assert_eq!(file.sync().await.unwrap_err().raw_os_error(), Some(libc::EIO));
            disk.set_faults(Faults::default());
            file.sync().await.unwrap();
            let [_, cached] = shown(&disk, path, 4096).await;
            assert_eq!(cached, [1; 4096]);
        });
        let left = disk.snapshot().after_power_cut(&mut Random::new(seed));
        lost += u32::from(left.content(path).unwrap() != [1; 4096]);
    }
    assert!((1..20).contains(&lost), "{lost}");
}

#[test]
fn what_stops_short_is_done_in_the_end() {
    let disk = SimDisk::with_seed(3);
    disk.set_faults(Faults { short: 2, ..Faults::default() });
    let path = Path::new("/d/a");
    drive(async {
        disk.create_directory(Path::new("/d")).await.unwrap();
        let file = disk.open(path, CREATE).await.unwrap();
        file.write_at(filled(7, 40 << 10), 4096).await.0.unwrap();
        let bytes = [vec![0; 4096], vec![7; 40 << 10]].concat();
        assert_eq!(shown(&disk, path, 60 << 10).await, [bytes.clone(), bytes]);
    });
}

#[test]
fn a_write_is_lost_once() {
    let lost = Faults { lost: 1, ..Faults::default() };
    let disk = SimDisk::with_seed(5);
    let path = Path::new("/d/a");
    drive(async {
        disk.create_directory(Path::new("/d")).await.unwrap();
        let file = disk.open(path, CREATE).await.unwrap();
        disk.set_faults(lost);
        file.write_at(filled(9, 4096), 0).await.0.unwrap();
        file.write_at(filled(8, 4096), 4096).await.0.unwrap();
        let expected = [vec![0; 4096], vec![8; 4096]].concat();
        assert_eq!(disk.content(path).unwrap(), expected, "the second is done");
    });
    let first = Misdeed { path: "/d/a".to_owned(), offset: 0, length: 4096 };
    assert_eq!(disk.misdeeds(), [first]);
}

#[test]
fn a_write_goes_elsewhere() {
    let disk = SimDisk::with_seed(4);
    let path = Path::new("/d/a");
    drive(async {
        disk.create_directory(Path::new("/d")).await.unwrap();
        let file = disk.open(path, CREATE).await.unwrap();
        file.allocate(64 * 4096).await.unwrap();
        file.sync().await.unwrap();
        disk.sync_directory(Path::new("/d")).await.unwrap();
        disk.set_faults(Faults { misdirected: 1, ..Faults::default() });
        file.write_at(filled(9, 4096), 4096).await.0.unwrap();
    });
    let [meant, met] = &disk.misdeeds()[..] else { panic!("{:?}", disk.misdeeds()) };
    assert_eq!((meant.offset, met.length), (4096, 4096));
    let left = disk.snapshot().after_power_cut(&mut Random::new(1)).content(path).unwrap();
    let start = usize::try_from(met.offset).unwrap();
    assert_eq!(left.iter().filter(|byte| **byte == 9).count(), 4096);
    assert_eq!(left[start..start + 4096], [9; 4096]);
}
