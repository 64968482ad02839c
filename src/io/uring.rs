//! The real disk: monoio's ring for reads, writes and syncs, the blocking pool for the rest.

#![expect(clippy::disallowed_methods, reason = "this is the seam that the lint points to")]
#![expect(unsafe_code, reason = "borrows the descriptor of a file that monoio owns")]

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use monoio::buf::{Slice, SliceMut};
use rustix::fs::{FallocateFlags, Mode, OFlags};

use super::buffer::AlignedBuffer;
use super::{DirectoryEntry, Disk, DiskFile, OpenOptions, whole};
use crate::runtime::unblock;

/// How many operations of each kind have succeeded since the process began, over all cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of [`DiskFile::read_at`].
    pub reads: u64,
    /// Calls of [`DiskFile::write_at`] on files without `durable_writes`.
    pub writes: u64,
    /// Calls of [`DiskFile::write_at`] on files with `durable_writes`: each a write and a sync.
    pub durable_writes: u64,
    /// Calls of [`DiskFile::sync`].
    pub syncs: u64,
}

static READS: AtomicU64 = AtomicU64::new(0);
static WRITES: AtomicU64 = AtomicU64::new(0);
static DURABLE_WRITES: AtomicU64 = AtomicU64::new(0);
static SYNCS: AtomicU64 = AtomicU64::new(0);

/// The counters now.
#[must_use]
pub fn counters() -> Counters {
    Counters {
        reads: READS.load(Ordering::SeqCst),
        writes: WRITES.load(Ordering::SeqCst),
        durable_writes: DURABLE_WRITES.load(Ordering::SeqCst),
        syncs: SYNCS.load(Ordering::SeqCst),
    }
}

/// The machine's file system, through this core's ring.
#[derive(Clone, Copy, Debug, Default)]
pub struct UringDisk;

/// An open file of this core.
#[derive(Clone)]
pub struct UringFile(Rc<Inner>);

struct Inner {
    file: monoio::fs::File,
    options: OpenOptions,
    buffered: OnceCell<Option<Arc<OwnedFd>>>,
}

fn open_blocking(path: &Path, options: OpenOptions) -> io::Result<std::fs::File> {
    // Not rustix' DSYNC, which is O_SYNC (1.1): each write with a new time of change would commit the journal.
    let flags = if options.durable_writes { libc::O_DSYNC } else { 0 };
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(options.write || options.create_new)
        .create_new(options.create_new)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)?;
    if options.direct {
        // Set afterwards: where a file system knows no direct I/O (an older tmpfs), an open with the
        // flag fails after it has created the file. There the page cache has to do.
        match rustix::fs::fcntl_setfl(&file, rustix::fs::fcntl_getfl(&file)? | OFlags::DIRECT) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        if options.write {
            // What the page cache still holds would have to go page by page, before each write. Advice may fail.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }
    Ok(file)
}

impl Disk for UringDisk {
    type File = UringFile;

    async fn open(&self, path: &Path, options: OpenOptions) -> io::Result<UringFile> {
        let path = path.to_path_buf();
        let file = unblock(move || open_blocking(&path, options)).await?;
        let file = monoio::fs::File::from_std(file)?;
        Ok(UringFile(Rc::new(Inner { file, options, buffered: OnceCell::new() })))
    }

    async fn create_directory(&self, path: &Path) -> io::Result<()> {
        let path = path.to_path_buf();
        unblock(move || std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)).await
    }

    async fn list_directory(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let path = path.to_path_buf();
        unblock(move || {
            let mut entries = Vec::new();
            for entry in std::fs::read_dir(path)? {
                let entry = entry?;
                // Names that are not UTF-8 are none of ours.
                let Ok(name) = entry.file_name().into_string() else { continue };
                match entry.metadata() {
                    Ok(metadata) if metadata.is_file() => {
                        entries.push(DirectoryEntry { name, length: metadata.len() });
                    }
                    Ok(_) => {}
                    // Removed meanwhile, by another core.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(entries)
        })
        .await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        unblock(move || std::fs::rename(from, to)).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let path = path.to_path_buf();
        unblock(move || std::fs::remove_file(path)).await
    }

    async fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let path = path.to_path_buf();
        unblock(move || std::fs::File::open(path)?.sync_all()).await
    }

    async fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let path = path.to_path_buf();
        unblock(move || {
            let statistics = rustix::fs::statvfs(&path)?;
            Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
        })
        .await
    }
}

impl UringFile {
    fn borrow(&self) -> BorrowedFd<'_> {
        // SAFETY: the file stays open for as long as `self` lives.
        unsafe { BorrowedFd::borrow_raw(self.0.file.as_raw_fd()) }
    }

    /// Runs a call that may block, on a descriptor of its own: the file may be closed meanwhile.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(OwnedFd) -> rustix::io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let descriptor = rustix::io::fcntl_dupfd_cloexec(self.borrow(), 0)?;
        Ok(unblock(move || call(descriptor)).await?)
    }

    fn open_buffered(&self) -> Option<Arc<OwnedFd>> {
        let own = self.borrow();
        let descriptor = if self.0.options.direct {
            let path = format!("/proc/self/fd/{}", own.as_raw_fd());
            rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        } else {
            rustix::io::fcntl_dupfd_cloexec(own, 0)
        };
        descriptor.ok().map(Arc::new)
    }
}

impl DiskFile for UringFile {
    async fn read_at(
        &self,
        buffer: AlignedBuffer,
        offset: u64,
    ) -> (io::Result<usize>, AlignedBuffer) {
        let wanted = buffer.len();
        let read = whole::read(buffer, self.0.options.direct, async |buffer, filled| {
            let piece = SliceMut::new(buffer, filled, wanted);
            let (result, piece) = self.0.file.read_at(piece, offset + filled as u64).await;
            (result, piece.into_inner())
        });
        let (result, buffer) = read.await;
        if result.is_ok() {
            READS.fetch_add(1, Ordering::Relaxed);
        }
        (result, buffer)
    }

    async fn write_at(
        &self,
        buffer: AlignedBuffer,
        offset: u64,
    ) -> (io::Result<()>, AlignedBuffer) {
        let wanted = buffer.len();
        let write = whole::write(buffer, async |buffer, written| {
            let piece = Slice::new(buffer, written, wanted);
            let (result, piece) = self.0.file.write_at(piece, offset + written as u64).await;
            (result, piece.into_inner())
        });
        let (result, buffer) = write.await;
        if result.is_ok() {
            let counter = if self.0.options.durable_writes { &DURABLE_WRITES } else { &WRITES };
            counter.fetch_add(1, Ordering::SeqCst);
        }
        (result, buffer)
    }

    async fn sync(&self) -> io::Result<()> {
        self.0.file.sync_data().await?;
        SYNCS.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn allocate(&self, length: u64) -> io::Result<()> {
        self.blocking(move |file| rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length))
            .await
    }

    async fn set_length(&self, length: u64) -> io::Result<()> {
        self.blocking(move |file| rustix::fs::ftruncate(file, length)).await
    }

    async fn length(&self) -> io::Result<u64> {
        let length = self.blocking(|file| Ok(rustix::fs::fstat(file)?.st_size)).await?;
        u64::try_from(length).map_err(io::Error::other)
    }

    fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        self.0.buffered.get_or_init(|| self.open_buffered()).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::run;

    fn filled(length: usize, byte: u8) -> AlignedBuffer {
        let mut buffer = AlignedBuffer::with_capacity(length);
        buffer.set_length(length);
        buffer.fill(byte);
        buffer
    }

    #[test]
    fn a_durable_write_syncs_what_its_bytes_need_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions {
            write: true,
            create_new: true,
            durable_writes: true,
            ..OpenOptions::default()
        };
        let file = open_blocking(&folder.path().join("file"), options).unwrap();
        let flags = rustix::fs::fcntl_getfl(&file).unwrap().bits().cast_signed();
        assert_eq!(flags & libc::O_SYNC, libc::O_DSYNC);
    }

    #[test]
    fn direct_and_durable_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        run(async {
            UringDisk.create_directory(path.parent().unwrap()).await.unwrap();
            for (index, durable_writes) in [false, true].into_iter().enumerate() {
                let path = path.with_extension(index.to_string());
                let options =
                    OpenOptions { write: true, create_new: true, direct: true, durable_writes };
                let before = counters();
                let file = UringDisk.open(&path, options).await.unwrap();
                let (result, _) = file.write_at(filled(8192, 7), 4096).await;
                result.unwrap();
                file.sync().await.unwrap();
                assert_eq!(file.length().await.unwrap(), 12288);
                let (result, bytes) = file.read_at(filled(16384, 1), 0).await;
                assert_eq!(result.unwrap(), 12288);
                assert!(bytes[..4096].iter().all(|&byte| byte == 0));
                assert!(bytes[4096..12288].iter().all(|&byte| byte == 7));
                let after = counters();
                assert!(after.syncs > before.syncs);
                let written = if durable_writes {
                    after.durable_writes - before.durable_writes
                } else {
                    after.writes - before.writes
                };
                assert!(written >= 1);
                assert!(UringDisk.open(&path, options).await.is_err(), "create_new");

                let mut unaligned = [0; 3];
                let descriptor = file.descriptor().unwrap();
                rustix::io::pread(&descriptor, &mut unaligned, 4097).unwrap();
                assert_eq!(unaligned, [7; 3]);
            }
        });
    }

    #[test]
    fn names_change() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        run(async {
            let options = OpenOptions { write: true, create_new: true, ..OpenOptions::default() };
            let file = UringDisk.open(&root.join("one"), options).await.unwrap();
            file.allocate(8192).await.unwrap();
            file.set_length(5000).await.unwrap();
            UringDisk.rename(&root.join("one"), &root.join("two")).await.unwrap();
            UringDisk.sync_directory(root).await.unwrap();
            let entries = UringDisk.list_directory(root).await.unwrap();
            assert_eq!(entries, [DirectoryEntry { name: "two".into(), length: 5000 }]);
            assert!(UringDisk.free_bytes(root).await.unwrap() > 0);
            UringDisk.remove(&root.join("two")).await.unwrap();
            let missing = UringDisk.open(&root.join("two"), OpenOptions::default()).await;
            assert_eq!(missing.err().unwrap().kind(), io::ErrorKind::NotFound);
        });
    }
}
