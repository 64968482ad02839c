//! A disk in memory that knows what a power cut would leave, and that fails on request.
//!
//! Files are kept as blocks, and blocks of zeros not at all. A write changes what is read at once, and
//! is remembered until a sync makes it durable; so are creations, renames and removals until their
//! directory is synced. Every operation lets other tasks run once before it takes effect.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::buffer::AlignedBuffer;
use super::{DirectoryEntry, Disk, DiskFile, OpenOptions};

const BLOCK: u64 = 4096;
const BLOCK_BYTES: usize = 4096;
/// What a disk writes whole or not at all, in bytes.
pub const SECTOR: usize = 512;

/// What has happened on the disk, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimEvent {
    /// Bytes were written; durable only after a sync, unless `durable`.
    Write {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// How many.
        length: usize,
        /// The file was opened with `durable_writes`.
        durable: bool,
    },
    /// A file's writes became durable.
    Sync {
        /// The file.
        path: PathBuf,
    },
}

/// A disk in memory. Clones share it. It stays on its thread.
#[derive(Clone, Default)]
pub struct SimDisk(Rc<RefCell<World>>);

#[derive(Default)]
struct World {
    files: Vec<FileState>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    events: Vec<SimEvent>,
    /// Counts writes and syncs, for [`SimDisk::fail_after`].
    operations: u64,
    failures: Vec<(u64, i32)>,
    /// Bytes that may still be taken by files; `None` for no limit.
    free: Option<u64>,
}

#[derive(Clone, Default)]
struct Content {
    blocks: BTreeMap<u64, Box<[u8; BLOCK_BYTES]>>,
    length: u64,
}

#[derive(Default)]
struct FileState {
    now: Content,
    durable: Content,
    /// Writes since the last sync.
    pending: Vec<(u64, Vec<u8>)>,
}

impl Content {
    fn read(&self, mut bytes: &mut [u8], mut offset: u64) -> usize {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = bytes.len().min(left);
        bytes = &mut bytes[..count];
        while !bytes.is_empty() {
            let (block, at) = place(offset);
            let piece = bytes.len().min(BLOCK_BYTES - at);
            let (head, rest) = bytes.split_at_mut(piece);
            match self.blocks.get(&block) {
                Some(block) => head.copy_from_slice(&block[at..at + piece]),
                None => head.fill(0),
            }
            bytes = rest;
            offset += piece as u64;
        }
        count
    }

    fn write(&mut self, mut bytes: &[u8], mut offset: u64) {
        self.length = self.length.max(offset + bytes.len() as u64);
        while !bytes.is_empty() {
            let (block, at) = place(offset);
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - at));
            if head == [0; BLOCK_BYTES] {
                self.blocks.remove(&block);
            } else {
                let stored = self.blocks.entry(block).or_insert_with(|| Box::new([0; BLOCK_BYTES]));
                stored[at..at + head.len()].copy_from_slice(head);
            }
            offset += head.len() as u64;
            bytes = rest;
        }
    }

    fn set_length(&mut self, length: u64) {
        let (block, at) = place(length);
        if length < self.length {
            self.blocks.split_off(&length.div_ceil(BLOCK));
            if let Some(last) = self.blocks.get_mut(&block) {
                last[at..].fill(0);
            }
        }
        self.length = length;
    }
}

/// Block number, and offset in the block.
fn place(offset: u64) -> (u64, usize) {
    (offset / BLOCK, usize::try_from(offset % BLOCK).unwrap_or_default())
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

/// Lets other tasks run once.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|cx| {
        if paused {
            return Poll::Ready(());
        }
        paused = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl World {
    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| missing(path))
    }

    /// Counts an operation that may be told to fail.
    fn count(&mut self) -> io::Result<()> {
        self.operations += 1;
        let operations = self.operations;
        match self.failures.iter().position(|&(at, _)| at == operations) {
            Some(index) => Err(io::Error::from_raw_os_error(self.failures.remove(index).1)),
            None => Ok(()),
        }
    }

    /// Takes space for a file to grow.
    fn grow(&mut self, file: usize, length: u64) -> io::Result<()> {
        let more = length.saturating_sub(self.files[file].now.length);
        match &mut self.free {
            Some(free) if *free < more => Err(io::ErrorKind::StorageFull.into()),
            Some(free) => {
                *free -= more;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn shrink(&mut self, bytes: u64) {
        if let Some(free) = &mut self.free {
            *free += bytes;
        }
    }
}

impl SimDisk {
    /// An empty disk without a limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What has been written and synced so far.
    #[must_use]
    pub fn events(&self) -> Vec<SimEvent> {
        self.0.borrow().events.clone()
    }

    /// How many writes and syncs there have been.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// Makes the `n`-th write or sync from now fail (1 is the next) with this error number. A failed
    /// sync leaves it open which of the writes before it are durable.
    pub fn fail_after(&self, n: u64, errno: i32) {
        let mut world = self.0.borrow_mut();
        let at = world.operations + n;
        world.failures.push((at, errno));
    }

    /// Limits the bytes by which files may still grow; `None` lifts the limit.
    pub fn set_free(&self, bytes: Option<u64>) {
        self.0.borrow_mut().free = bytes;
    }

    /// The power goes and comes back: all that was not synced is lost, except what `keep` says. It is
    /// asked for every unsynced write, in order, with its length, and answers how many of its bytes,
    /// in whole sectors, have reached the medium. Open files must not be used any more.
    pub fn power_cut(&self, mut keep: impl FnMut(usize) -> usize) {
        let mut world = self.0.borrow_mut();
        world.names = world.durable_names.clone();
        let kept: BTreeSet<usize> = world.names.values().copied().collect();
        for (index, file) in world.files.iter_mut().enumerate() {
            for (offset, bytes) in std::mem::take(&mut file.pending) {
                let count = keep(bytes.len()).min(bytes.len()) / SECTOR * SECTOR;
                file.durable.write(&bytes[..count], offset);
            }
            file.now =
                if kept.contains(&index) { file.durable.clone() } else { Content::default() };
        }
        world.failures.clear();
    }

    /// Turns bits over in a file, on the medium and in what is read.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let file = world.find(path)?;
        let file = &mut world.files[file];
        for content in [&mut file.now, &mut file.durable] {
            let mut byte = [0];
            content.read(&mut byte, offset);
            content.write(&[byte[0] ^ mask], offset);
        }
        Ok(())
    }

    /// The bytes of a file as they would be read now.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn content(&self, path: &Path) -> io::Result<Vec<u8>> {
        let world = self.0.borrow();
        let content = &world.files[world.find(path)?].now;
        let mut bytes = vec![0; usize::try_from(content.length).map_err(io::Error::other)?];
        content.read(&mut bytes, 0);
        Ok(bytes)
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    async fn open(&self, path: &Path, options: OpenOptions) -> io::Result<SimFile> {
        pause().await;
        let mut world = self.0.borrow_mut();
        let index = match (world.names.get(path).copied(), options.create_new) {
            (Some(_), true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(index), false) => index,
            (None, false) => return Err(missing(path)),
            (None, true) => {
                world.files.push(FileState::default());
                let index = world.files.len() - 1;
                world.names.insert(path.to_path_buf(), index);
                index
            }
        };
        let durable = options.durable_writes;
        Ok(SimFile { disk: self.clone(), index, path: Rc::from(path), durable })
    }

    async fn create_directory(&self, _path: &Path) -> io::Result<()> {
        pause().await;
        Ok(())
    }

    async fn list_directory(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        pause().await;
        let world = self.0.borrow();
        let entries = world.names.iter().filter(|(name, _)| name.parent() == Some(path));
        Ok(entries
            .filter_map(|(name, &index)| {
                let name = name.file_name()?.to_str()?.to_owned();
                Some(DirectoryEntry { name, length: world.files[index].now.length })
            })
            .collect())
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        pause().await;
        let mut world = self.0.borrow_mut();
        let index = world.names.remove(from).ok_or_else(|| missing(from))?;
        world.names.insert(to.to_path_buf(), index);
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        pause().await;
        let mut world = self.0.borrow_mut();
        let index = world.names.remove(path).ok_or_else(|| missing(path))?;
        let length = world.files[index].now.length;
        world.shrink(length);
        Ok(())
    }

    async fn sync_directory(&self, path: &Path) -> io::Result<()> {
        pause().await;
        let mut world = self.0.borrow_mut();
        let world = &mut *world;
        world.durable_names.retain(|name, _| name.parent() != Some(path));
        let names = world.names.iter().filter(|(name, _)| name.parent() == Some(path));
        world.durable_names.extend(names.map(|(name, &index)| (name.clone(), index)));
        Ok(())
    }

    async fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        pause().await;
        Ok(self.0.borrow().free.unwrap_or(u64::MAX))
    }
}

/// An open file of a [`SimDisk`].
#[derive(Clone)]
pub struct SimFile {
    disk: SimDisk,
    index: usize,
    path: Rc<Path>,
    durable: bool,
}

impl DiskFile for SimFile {
    async fn read_at(
        &self,
        mut buffer: AlignedBuffer,
        offset: u64,
    ) -> (io::Result<usize>, AlignedBuffer) {
        pause().await;
        let count = self.disk.0.borrow().files[self.index].now.read(&mut buffer, offset);
        (Ok(count), buffer)
    }

    async fn write_at(
        &self,
        buffer: AlignedBuffer,
        offset: u64,
    ) -> (io::Result<()>, AlignedBuffer) {
        pause().await;
        let mut world = self.disk.0.borrow_mut();
        let room = world
            .count()
            .and_then(|()| world.grow(self.index, offset.saturating_add(buffer.len() as u64)));
        if let Err(error) = room {
            return (Err(error), buffer);
        }
        let (path, length) = (self.path.to_path_buf(), buffer.len());
        world.events.push(SimEvent::Write { path, offset, length, durable: self.durable });
        let file = &mut world.files[self.index];
        file.now.write(&buffer, offset);
        if self.durable {
            file.durable.write(&buffer, offset);
        } else {
            file.pending.push((offset, buffer.to_vec()));
        }
        (Ok(()), buffer)
    }

    async fn sync(&self) -> io::Result<()> {
        pause().await;
        let mut world = self.disk.0.borrow_mut();
        world.count()?;
        world.events.push(SimEvent::Sync { path: self.path.to_path_buf() });
        let file = &mut world.files[self.index];
        for (offset, bytes) in std::mem::take(&mut file.pending) {
            file.durable.write(&bytes, offset);
        }
        file.durable.set_length(file.now.length);
        Ok(())
    }

    async fn allocate(&self, length: u64) -> io::Result<()> {
        pause().await;
        let mut world = self.disk.0.borrow_mut();
        world.grow(self.index, length)?;
        let file = &mut world.files[self.index];
        file.now.set_length(length.max(file.now.length));
        Ok(())
    }

    async fn set_length(&self, length: u64) -> io::Result<()> {
        pause().await;
        let mut world = self.disk.0.borrow_mut();
        world.grow(self.index, length)?;
        let before = world.files[self.index].now.length;
        world.files[self.index].now.set_length(length);
        world.shrink(before.saturating_sub(length));
        Ok(())
    }

    async fn length(&self) -> io::Result<u64> {
        pause().await;
        Ok(self.disk.0.borrow().files[self.index].now.length)
    }

    fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        None
    }
}

#[cfg(test)]
mod tests;
