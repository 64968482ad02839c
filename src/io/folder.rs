//! Blocking file-system calls for the start, before any executor runs.

#![expect(clippy::disallowed_methods, reason = "there is no executor yet whose disk could be used")]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FlockOperation;

/// Keeps a folder locked for as long as it lives, and no longer than the process does.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// Creates a directory and those above it, for our user alone; it may exist.
///
/// # Errors
/// As the kernel says.
pub fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Takes the lock that a file in the folder stands for; `None` if another process holds it.
///
/// # Errors
/// As the kernel says.
pub fn lock(path: &Path) -> io::Result<Option<FolderLock>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    hold(file)
}

/// As [`lock`], with a file that must exist and is not written to.
///
/// # Errors
/// As the kernel says.
pub fn lock_existing(path: &Path) -> io::Result<Option<FolderLock>> {
    hold(File::open(path)?)
}

fn hold(file: File) -> io::Result<Option<FolderLock>> {
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(FolderLock { _file: file })),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads up to `limit` bytes from the start of a file; `None` if there is no such file.
///
/// # Errors
/// As the kernel says.
pub fn read_start(path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
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

/// Writes the start of a file, creating it if need be, and makes it durable. Not atomic.
///
/// # Errors
/// As the kernel says.
pub fn write_start_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()
}

/// Names of the regular files of a directory, in no order.
///
/// # Errors
/// As the kernel says.
pub fn list(path: &Path) -> io::Result<Vec<String>> {
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

/// Unlinks a file.
///
/// # Errors
/// As the kernel says.
pub fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}

/// Makes creations and removals in a directory durable.
///
/// # Errors
/// As the kernel says.
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
