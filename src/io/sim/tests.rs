use super::*;
use crate::io::testing::drive;

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
