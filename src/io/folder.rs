//! Blocking file-system calls for the start, before any executor runs, behind a trait of their own so that a
//! simulated disk can answer them too.

#![expect(clippy::disallowed_methods, reason = "there is no executor yet whose disk could be used")]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FlockOperation;

/// Keeps a folder locked for as long as it lives, and no longer than the process does.
#[derive(Debug)]
pub struct FolderLock {
    _file: Option<File>,
}

#[cfg(any(test, feature = "testing"))]
impl FolderLock {
    /// Of a folder that no other process can reach.
    #[must_use]
    pub(super) fn of_nobody() -> Self {
        Self { _file: None }
    }
}

/// A file system before the executors run. Every call blocks.
pub trait Folder {
    /// Creates a directory and those above it, for our user alone; it may exist. What was created is durable on
    /// return.
    ///
    /// # Errors
    /// As the kernel says.
    fn create(&self, path: &Path) -> io::Result<()>;

    /// Takes the lock that a file in the folder stands for; `None` if another process holds it.
    ///
    /// # Errors
    /// As the kernel says.
    fn lock(&self, path: &Path) -> io::Result<Option<FolderLock>>;

    /// As [`Folder::lock`], with a file that must exist and is not written to.
    ///
    /// # Errors
    /// As the kernel says.
    fn lock_existing(&self, path: &Path) -> io::Result<Option<FolderLock>>;

    /// Reads up to `limit` bytes from the start of a file; `None` if there is no such file.
    ///
    /// # Errors
    /// As the kernel says.
    fn read_start(&self, path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>>;

    /// Writes the start of a file, creating it if need be, and makes it durable. Not atomic.
    ///
    /// # Errors
    /// As the kernel says.
    fn write_start_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Names of the regular files of a directory, in no order.
    ///
    /// # Errors
    /// As the kernel says.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Unlinks a file.
    ///
    /// # Errors
    /// As the kernel says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes creations and removals in a directory durable.
    ///
    /// # Errors
    /// As the kernel says.
    fn sync(&self, path: &Path) -> io::Result<()>;
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFolder;

impl Folder for SystemFolder {
    fn create(&self, path: &Path) -> io::Result<()> {
        let above: Vec<&Path> = path.ancestors().take_while(|path| !path.is_dir()).collect();
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        // From the topmost down: none is durable before the one that it lies in.
        for parent in above.iter().rev().filter_map(|path| path.parent()) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            self.sync(parent)?;
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<FolderLock>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        hold(file)
    }

    fn lock_existing(&self, path: &Path) -> io::Result<Option<FolderLock>> {
        hold(File::open(path)?)
    }

    fn read_start(&self, path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; limit];
        let mut filled = 0;
        while filled < limit {
            match file.read_at(&mut bytes[filled..], filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(Some(bytes))
    }

    fn write_start_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

fn hold(file: File) -> io::Result<Option<FolderLock>> {
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(FolderLock { _file: Some(file) })),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
