//! A disk in memory that knows what a power cut would leave, and that fails on request.
//!
//! Files are kept as blocks, and blocks of zeros not at all. A write changes what is read at once, and
//! is remembered until a sync makes it durable; so are creations, renames and removals until their
//! directory is synced. Every operation lets other tasks run before it takes effect.
//!
//! A disk with a seed ([`SimDisk::with_seed`]) also fails by chance, takes its time, keeps track of directories, and
//! keeps snapshots of itself from which disks after a power cut at that moment are made.

mod content;
mod crash;
mod faults;
mod folder;
mod state;

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use self::content::{BLOCK, Content};
use self::faults::Chance;
pub use self::faults::{Faults, Misdeed};
use self::state::{Change, Name, NameChange, State, missing, parent, text};
use super::buffer::AlignedBuffer;
use super::{DirectoryEntry, Disk, DiskFile, OpenOptions};
use crate::runtime::simulated::Random;

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
    state: State,
    events: Vec<SimEvent>,
    /// Counts writes and syncs, for [`SimDisk::fail_after`].
    operations: u64,
    failures: Vec<(u64, i32)>,
    /// Bytes that may still be taken by files; `None` for no limit.
    free: Option<u64>,
    chance: Option<Box<Chance>>,
}

/// A moment of a disk's life.
#[derive(Clone)]
pub struct Snapshot {
    /// What [`SimDisk::mark`] had been told.
    pub mark: usize,
    state: State,
}

impl Snapshot {
    /// A disk as it would be after a power cut at this moment.
    #[must_use]
    pub fn after_power_cut(&self, random: &mut Random) -> SimDisk {
        SimDisk::seeded_state(crash::after_power_cut(&self.state, random), random.number())
    }

    /// Whether there is anything that a power cut could take.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.state.changes.is_empty()
            && self.state.files.iter().all(|file| file.pending.is_empty() && file.hidden.is_empty())
    }
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
        let more = length.saturating_sub(self.state.file(file).now.length);
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

    /// Whether a directory may have files.
    fn has_directory(&self, path: &str) -> bool {
        self.chance.is_none() || self.state.names.get(path) == Some(&Name::Directory)
    }

    fn file_named(&mut self, path: &str, create_new: bool) -> io::Result<usize> {
        match (self.state.find(path), create_new) {
            (Ok(_), true) => Err(io::ErrorKind::AlreadyExists.into()),
            (Err(_), true) if self.has_directory(parent(path)) => Ok(self.state.new_file(path)),
            (found, _) => found,
        }
    }

    fn change_length(&mut self, index: usize, length: u64) {
        let number = self.state.change(index, Change::Length(length));
        self.state.finish(index, number, false);
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
        let State { files, names, durable_names, changes, .. } = &mut world.state;
        *names = Rc::clone(durable_names);
        changes.clear();
        for (index, file) in files.iter_mut().enumerate() {
            let file = Rc::make_mut(file);
            for pending in std::mem::take(&mut file.pending) {
                let Change::Blocks { first, blocks, .. } = &pending.change else { continue };
                let mut bytes = Vec::new();
                for block in blocks {
                    bytes.extend_from_slice(block.as_deref().unwrap_or(&[0; 4096]));
                }
                let count = keep(bytes.len()).min(bytes.len()) / SECTOR * SECTOR;
                file.durable.write(&bytes[..count], first * BLOCK);
            }
            let kept = names.values().any(|name| *name == Name::File(index));
            file.now = if kept { file.durable.clone() } else { Content::default() };
        }
        world.failures.clear();
    }

    /// Turns bits over in a file, on the medium and in what is read.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let index = world.state.find(text(path))?;
        let file = world.state.file_mut(index);
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
        let content = &world.state.file(world.state.find(text(path))?).now;
        let mut bytes = vec![0; usize::try_from(content.length).map_err(io::Error::other)?];
        content.read(&mut bytes, 0);
        Ok(bytes)
    }

    /// The names of all files, in order, with their lengths.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u64)> {
        let world = self.0.borrow();
        let names = world.state.names.iter();
        names
            .filter_map(|(name, target)| match target {
                Name::File(index) => Some((name.to_string(), world.state.file(*index).now.length)),
                Name::Directory => None,
            })
            .collect()
    }

    /// Lets other tasks run, for how long is the seed's business.
    async fn pause(&self) {
        let times = match &mut self.0.borrow_mut().chance {
            Some(chance) => 1 + chance.random.below(3),
            None => 1,
        };
        for _ in 0..times {
            pause().await;
        }
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    async fn open(&self, path: &Path, options: OpenOptions) -> io::Result<SimFile> {
        pause().await;
        let mut world = self.0.borrow_mut();
        if options.create_new {
            world.step();
        }
        let index = world.file_named(text(path), options.create_new)?;
        let (durable, direct) = (options.durable_writes, options.direct);
        Ok(SimFile { disk: self.clone(), index, path: Rc::from(path), durable, direct })
    }

    async fn create_directory(&self, path: &Path) -> io::Result<()> {
        pause().await;
        super::folder::Folder::create(self, path)
    }

    async fn list_directory(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        pause().await;
        let world = self.0.borrow();
        if !world.has_directory(text(path)) {
            return Err(missing(text(path)));
        }
        let entry =
            |(name, index)| DirectoryEntry { name, length: world.state.file(index).now.length };
        Ok(world.state.files_in(text(path)).into_iter().map(entry).collect())
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pause().await;
        let mut world = self.0.borrow_mut();
        world.step();
        let (from, to) = (text(from), text(to));
        let index = world.state.find(from)?;
        world.state.change_name(NameChange::Rename(from.into(), to.into(), index));
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.pause().await;
        let mut world = self.0.borrow_mut();
        world.step();
        let index = world.state.find(text(path))?;
        let length = world.state.file(index).now.length;
        world.state.change_name(NameChange::Remove(text(path).into()));
        world.shrink(length);
        Ok(())
    }

    async fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.pause().await;
        let mut world = self.0.borrow_mut();
        world.step();
        world.state.sync_names(text(path));
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
    direct: bool,
}

impl DiskFile for SimFile {
    async fn read_at(
        &self,
        mut buffer: AlignedBuffer,
        offset: u64,
    ) -> (io::Result<usize>, AlignedBuffer) {
        self.disk.pause().await;
        let read = self.disk.0.borrow_mut().read(self.index, &mut buffer, offset, self.direct);
        (read, buffer)
    }

    async fn write_at(
        &self,
        buffer: AlignedBuffer,
        offset: u64,
    ) -> (io::Result<()>, AlignedBuffer) {
        pause().await;
        let written = self.disk.0.borrow_mut().write(self, &buffer, offset);
        let number = match written {
            Ok(number) => number,
            Err(error) => return (Err(error), buffer),
        };
        let mut flight = faults::Flight { file: self, number, ended: false };
        if self.disk.0.borrow().chance.is_some() {
            self.disk.pause().await;
        }
        flight.ended = true;
        let finished = self.disk.0.borrow_mut().finish(self, number);
        (finished, buffer)
    }

    async fn sync(&self) -> io::Result<()> {
        pause().await;
        let changes = self.disk.0.borrow_mut().begin_sync(self.index);
        if self.disk.0.borrow().chance.is_some() {
            self.disk.pause().await;
        }
        let mut world = self.disk.0.borrow_mut();
        world.end_sync(self.index, &changes)?;
        if world.chance.is_none() {
            world.events.push(SimEvent::Sync { path: self.path.to_path_buf() });
        }
        Ok(())
    }

    async fn allocate(&self, length: u64) -> io::Result<()> {
        self.disk.pause().await;
        let mut world = self.disk.0.borrow_mut();
        world.step();
        world.grow(self.index, length)?;
        if world.state.file(self.index).now.length < length {
            world.change_length(self.index, length);
        }
        Ok(())
    }

    async fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.pause().await;
        let mut world = self.disk.0.borrow_mut();
        world.step();
        world.grow(self.index, length)?;
        let before = world.state.file(self.index).now.length;
        world.change_length(self.index, length);
        world.shrink(before.saturating_sub(length));
        Ok(())
    }

    async fn length(&self) -> io::Result<u64> {
        pause().await;
        Ok(self.disk.0.borrow().state.file(self.index).now.length)
    }

    fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        None
    }
}

#[cfg(test)]
mod tests;
