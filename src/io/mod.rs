//! Everything that touches the disk, the clock and the kernel goes through here.
//!
//! The traits [`Disk`], [`DiskFile`] and [`Clock`] are what the storage code is written against, so
//! that a seeded simulation can stand in for the machine. [`uring`] is the real backend.

pub mod budget;
pub mod buffer;
pub mod clock;
pub mod folder;
pub mod lending;
pub mod pool;
pub mod residency;
#[cfg(any(test, feature = "testing"))]
pub mod sim;
pub mod socket;
#[cfg(test)]
pub mod testing;
pub mod uring;
mod whole;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use buffer::AlignedBuffer;

use crate::context::Monotonic;

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Open for writing as well as reading.
    pub write: bool,
    /// Create it; an error if it exists. The directory is not synced: see [`Disk::sync_directory`].
    pub create_new: bool,
    /// Bypass the page cache: offsets, lengths and memory are aligned to [`buffer::ALIGNMENT`].
    pub direct: bool,
    /// Every write returns only when it is durable (O_DSYNC).
    pub durable_writes: bool,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name in the directory.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
}

/// A file system, seen from one core.
///
/// Every operation but [`DiskFile`]'s reads, writes and syncs runs on the blocking pool, for it may
/// wait for the journal.
pub trait Disk: Clone + 'static {
    /// An open file.
    type File: DiskFile;

    /// Opens or creates a file.
    fn open(
        &self,
        path: &Path,
        options: OpenOptions,
    ) -> impl Future<Output = io::Result<Self::File>>;

    /// Creates a directory and those above it.
    fn create_directory(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// Lists the regular files of a directory, in no order.
    fn list_directory(&self, path: &Path) -> impl Future<Output = io::Result<Vec<DirectoryEntry>>>;

    /// Renames within one file system, replacing `to`. Durable after [`Disk::sync_directory`].
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;

    /// Unlinks a file. Durable after [`Disk::sync_directory`].
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// Unlinks a file that may be gone already. Durable after [`Disk::sync_directory`].
    fn remove_if_there(&self, path: &Path) -> impl Future<Output = io::Result<()>> {
        async {
            match self.remove(path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        }
    }

    /// Makes creations, renames and removals in a directory durable.
    fn sync_directory(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// Bytes free for us on the file system that holds `path`.
    fn free_bytes(&self, path: &Path) -> impl Future<Output = io::Result<u64>>;
}

/// An open file of one core. Clones share it.
///
/// An operation in flight owns its buffer and keeps the file open: dropping the future frees neither.
pub trait DiskFile: Clone + 'static {
    /// Reads into the buffer from `offset` until it is full (its length, not its capacity) or the file ends; returns the number of bytes.
    fn read_at(
        &self,
        buffer: AlignedBuffer,
        offset: u64,
    ) -> impl Future<Output = (io::Result<usize>, AlignedBuffer)>;

    /// Writes the whole buffer (its length) at `offset`.
    fn write_at(
        &self,
        buffer: AlignedBuffer,
        offset: u64,
    ) -> impl Future<Output = (io::Result<()>, AlignedBuffer)>;

    /// Makes all finished writes to this file durable (fdatasync). Never repeated after a failure.
    fn sync(&self) -> impl Future<Output = io::Result<()>>;

    /// Reserves space from 0 to `length` without writing it; the length of the file becomes `length`.
    fn allocate(&self, length: u64) -> impl Future<Output = io::Result<()>>;

    /// Cuts or extends the file.
    fn set_length(&self, length: u64) -> impl Future<Output = io::Result<()>>;

    /// Length in bytes.
    fn length(&self) -> impl Future<Output = io::Result<u64>>;

    /// A buffered descriptor of the same file, for sendfile; `None` where there is no such thing.
    fn descriptor(&self) -> Option<Arc<OwnedFd>>;
}

/// The clocks, seen from one core.
pub trait Clock: Clone + 'static {
    /// The monotonic clock.
    fn now(&self) -> Monotonic;

    /// Milliseconds since the epoch.
    fn wall_ms(&self) -> i64;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}
