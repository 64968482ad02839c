//! The data folder: its lock, its superblock, its start number, its ids.
//!
//! The superblock exists in four copies over two files; two that agree are believed. It is written
//! once per start, one file after the other, and that whose copies agree is the last, so that a power cut at any
//! moment, also of one start after another, leaves two copies of the old or of the new one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::index::run::directory;
use super::log::Layout;
use super::log::format::{BLOCK, is_unused};
use super::log::recycled::Recycled;
use crate::io::folder::{Folder, FolderLock, SystemFolder};

/// The newest on-disk format that this code reads, and the one it writes.
pub const FORMAT_VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"VAULTSB1";
/// Bytes of one copy; two copies make a file.
const COPY_LENGTH: usize = 4096;
const FILES: [&str; 2] = ["superblock.0", "superblock.1"];
const LOCK: &str = "lock";

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Another server uses it.
    #[error("the data folder {} is in use by another server", path.display())]
    Held {
        /// The folder.
        path: PathBuf,
    },
    /// We may not read and write there.
    #[error("no permission for {}: it must be readable and writable for the user that runs the server", path.display())]
    Denied {
        /// What could not be used.
        path: PathBuf,
    },
    /// A newer server has written it.
    #[error("the data folder {} has format {found}, and this server knows formats up to {FORMAT_VERSION}: use the newer server", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Fewer than two copies of the superblock agree, though there is data.
    #[error("the data folder {} has no two superblock copies that agree: restore superblock.0 or superblock.1 from a backup", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
    },
    /// There is no data folder.
    #[error("{} is no data folder of this server: it has no file `{LOCK}`", path.display())]
    Missing {
        /// What was looked at.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl VolumeError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            _ => Self::Io { path, source },
        }
    }
}

/// An open data folder. Only one process has it open at a time.
#[derive(Debug)]
pub struct Volume {
    layout: Layout,
    superblock: Superblock,
    /// The next id's low half.
    next: AtomicU64,
    pub(crate) recycled: Recycled,
    _lock: FolderLock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Superblock {
    uuid: [u8; 16],
    start: u32,
}

impl Volume {
    /// Opens or creates a data folder: locks it, checks its superblock, and counts one more start,
    /// which is durable on return. Removes files that an earlier start left unused. Blocks; to be
    /// called before the executors run.
    ///
    /// # Errors
    /// [`VolumeError`], which names the folder.
    pub fn open(root: &Path) -> Result<Self, VolumeError> {
        Self::open_on(&SystemFolder, root)
    }

    /// As [`Volume::open`], on another file system.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(folder: &impl Folder, root: &Path) -> Result<Self, VolumeError> {
        let layout = Layout { root: root.to_path_buf() };
        folder.create(root).map_err(VolumeError::at(root))?;
        let lock_path = root.join(LOCK);
        let lock = folder
            .lock(&lock_path)
            .map_err(VolumeError::at(&lock_path))?
            .ok_or_else(|| VolumeError::Held { path: root.to_path_buf() })?;
        for path in [layout.log(), layout.data(), directory(&layout)] {
            folder.create(&path).map_err(VolumeError::at(&path))?;
        }

        let old = read(folder, root, &layout)?;
        let superblock = match old {
            Some(Agreed { superblock: old, .. }) => {
                Superblock { start: old.start.saturating_add(1), ..old }
            }
            None => Superblock { uuid: new_uuid().map_err(VolumeError::at(root))?, start: 1 },
        };
        write(folder, root, old, superblock)?;
        remove_unused(folder, &layout)?;
        let (next, recycled) = (AtomicU64::new(1), Recycled::default());
        Ok(Self { layout, superblock, next, recycled, _lock: lock })
    }

    /// The number of this start, from 1; one more than at the last.
    #[must_use]
    pub fn start(&self) -> u32 {
        self.superblock.start
    }

    /// Names the data folder for ever.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        self.superblock.uuid
    }

    /// Where things lie.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// An id for a segment or a file, never given before and never again in this data folder: the
    /// start number, then a count.
    ///
    /// # Panics
    /// After four thousand million ids in one start.
    #[must_use]
    pub fn next_segment_id(&self) -> u64 {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        assert!(u32::try_from(count).is_ok(), "ids of one start are used up: restart the server");
        (u64::from(self.superblock.start) << 32) | count
    }
}

/// A data folder at rest, locked and unchanged.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) layout: Layout,
    pub(crate) uuid: [u8; 16],
    /// Copies of the superblock that are damaged or older than the others: file and number.
    pub(crate) bad_copies: Vec<(&'static str, usize)>,
    _lock: FolderLock,
}

impl Inspected {
    /// Locks a data folder and reads its superblock; writes nothing. Blocks.
    ///
    /// # Errors
    /// [`VolumeError`], as [`Volume::open`], and if there is no folder or no superblock.
    pub(crate) fn open(folder: &impl Folder, root: &Path) -> Result<Self, VolumeError> {
        let layout = Layout { root: root.to_path_buf() };
        let lock_path = root.join(LOCK);
        let lock = match folder.lock_existing(&lock_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(VolumeError::Missing { path: root.to_path_buf() });
            }
            lock => lock.map_err(VolumeError::at(&lock_path))?,
        };
        let lock = lock.ok_or_else(|| VolumeError::Held { path: root.to_path_buf() })?;
        let agreed = read(folder, root, &layout)?;
        let Agreed { superblock: Superblock { uuid, start }, .. } =
            agreed.ok_or_else(|| VolumeError::Damaged { path: root.to_path_buf() })?;
        let mut bad_copies = Vec::new();
        for name in FILES {
            let path = root.join(name);
            let bytes =
                folder.read_start(&path, 2 * COPY_LENGTH).map_err(VolumeError::at(&path))?;
            let bytes = bytes.unwrap_or_default();
            for number in 0..2 {
                let copy = bytes.get(number * COPY_LENGTH..(number + 1) * COPY_LENGTH);
                let good = copy.is_some_and(
                    |copy| matches!(decode(copy), Copy::Valid(found) if found.start == start),
                );
                if !good {
                    bad_copies.push((name, number));
                }
            }
        }
        Ok(Self { layout, uuid, bad_copies, _lock: lock })
    }
}

/// Whether the superblock of a folder at rest is to be believed.
///
/// # Errors
/// As [`Volume::open`].
#[cfg(any(test, feature = "testing"))]
pub(crate) fn is_agreed(folder: &impl Folder, root: &Path) -> Result<bool, VolumeError> {
    let layout = Layout { root: root.to_path_buf() };
    Ok(read(folder, root, &layout)?.is_some())
}

/// Removes segments that were written ahead and never used, and files that were not finished.
fn remove_unused(folder: &impl Folder, layout: &Layout) -> Result<(), VolumeError> {
    let log = layout.log();
    for name in folder.list(&log).map_err(VolumeError::at(&log))? {
        let path = log.join(&name);
        let unused = match name.strip_suffix(".log").map(|id| u64::from_str_radix(id, 16)) {
            Some(Ok(segment)) => {
                let start = folder.read_start(&path, 2 * BLOCK).map_err(VolumeError::at(&path))?;
                start.is_some_and(|start| is_unused(segment, &start))
            }
            _ => name.ends_with(".tmp"),
        };
        if unused {
            folder.remove(&path).map_err(VolumeError::at(&path))?;
        }
    }
    folder.sync(&log).map_err(VolumeError::at(&log))
}

fn new_uuid() -> io::Result<[u8; 16]> {
    let mut uuid = [0; 16];
    aws_lc_rs::rand::fill(&mut uuid).map_err(|_| io::Error::other("no random numbers"))?;
    // Version 4, variant 1 (RFC 9562).
    uuid[6] = (uuid[6] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    Ok(uuid)
}

/// What two copies say.
#[derive(Clone, Copy)]
struct Agreed {
    superblock: Superblock,
    /// Of each file, whether both of its copies say it.
    whole: [bool; 2],
}

/// What two copies agree on; `None` for a folder that was never used.
fn read(folder: &impl Folder, root: &Path, layout: &Layout) -> Result<Option<Agreed>, VolumeError> {
    let mut copies = Vec::new();
    let mut newest_format = 0;
    for (file, name) in FILES.into_iter().enumerate() {
        let path = root.join(name);
        let bytes = folder.read_start(&path, 2 * COPY_LENGTH).map_err(VolumeError::at(&path))?;
        for copy in bytes.unwrap_or_default().chunks_exact(COPY_LENGTH) {
            match decode(copy) {
                Copy::Valid(superblock) => copies.push((file, superblock)),
                Copy::Newer(format) => newest_format = newest_format.max(format),
                Copy::Damaged => {}
            }
        }
    }
    if newest_format > FORMAT_VERSION {
        return Err(VolumeError::Newer { path: root.to_path_buf(), found: newest_format });
    }
    let count = |superblock: &Superblock, file: Option<usize>| {
        let same = |copy: &&(usize, Superblock)| {
            copy.1 == *superblock && file.is_none_or(|file| file == copy.0)
        };
        copies.iter().filter(same).count()
    };
    let agreed = copies
        .iter()
        .map(|(_, superblock)| superblock)
        .filter(|superblock| count(superblock, None) >= 2)
        .max_by_key(|superblock| superblock.start);
    if let Some(superblock) = agreed {
        let whole = [0, 1].map(|file| count(superblock, Some(file)) == 2);
        return Ok(Some(Agreed { superblock: *superblock, whole }));
    }
    // A first start that was cut short leaves no data behind.
    for path in [layout.log(), layout.data()] {
        if !folder.list(&path).map_err(VolumeError::at(&path))?.is_empty() {
            return Err(VolumeError::Damaged { path: root.to_path_buf() });
        }
    }
    Ok(None)
}

/// Replaces the superblock by a new one.
fn write(
    folder: &impl Folder,
    root: &Path,
    old: Option<Agreed>,
    new: Superblock,
) -> Result<(), VolumeError> {
    let put = |name: &str, superblock: Superblock| {
        let copy = encode(superblock);
        let path = root.join(name);
        folder
            .write_start_durably(&path, &[copy, copy].concat())
            .map_err(VolumeError::at(&path))?;
        folder.sync(root).map_err(VolumeError::at(root))
    };
    let [first, second] = FILES;
    // A write that is cut short spoils both copies of a file, so both of the other must be good.
    let order = match old {
        None | Some(Agreed { whole: [_, true], .. }) => [first, second],
        Some(Agreed { superblock, whole: [is_whole, false] }) => {
            if !is_whole {
                // Its good copy is written over with the same bytes.
                put(first, superblock)?;
            }
            [second, first]
        }
    };
    order.into_iter().try_for_each(|name| put(name, new))
}

enum Copy {
    Valid(Superblock),
    Newer(u32),
    Damaged,
}

/// Magic, format (u32), start (u32), uuid, zeros, and the CRC32C of all before it; little-endian.
fn encode(superblock: Superblock) -> [u8; COPY_LENGTH] {
    let mut copy = [0; COPY_LENGTH];
    copy[..8].copy_from_slice(MAGIC);
    copy[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    copy[12..16].copy_from_slice(&superblock.start.to_le_bytes());
    copy[16..32].copy_from_slice(&superblock.uuid);
    let crc = crc_fast::crc32_iscsi(&copy[..COPY_LENGTH - 4]);
    copy[COPY_LENGTH - 4..].copy_from_slice(&crc.to_le_bytes());
    copy
}

fn decode(copy: &[u8]) -> Copy {
    let u32_at =
        |at: usize| u32::from_le_bytes([copy[at], copy[at + 1], copy[at + 2], copy[at + 3]]);
    if copy[..8] != MAGIC[..]
        || crc_fast::crc32_iscsi(&copy[..COPY_LENGTH - 4]) != u32_at(COPY_LENGTH - 4)
    {
        return Copy::Damaged;
    }
    let format = u32_at(8);
    if format > FORMAT_VERSION {
        return Copy::Newer(format);
    }
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&copy[16..32]);
    Copy::Valid(Superblock { uuid, start: u32_at(12) })
}

#[cfg(test)]
mod tests;
