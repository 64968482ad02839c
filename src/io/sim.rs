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
mod file;
mod folder;
mod snapshot;
mod state;

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Poll;

use self::content::{BLOCK, Content};
use self::faults::Chance;
pub use self::faults::{Faults, Misdeed};
pub use self::file::SimFile;
pub use self::snapshot::Snapshot;
use self::state::{Change, Name, NameChange, State, missing, parent, text};
use super::{DirectoryEntry, Disk, OpenOptions};

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
    /// Reads that have begun.
    reads: u64,
    failures: Vec<(u64, i32)>,
    /// Bytes that may still be taken by files; `None` for no limit.
    free: Option<u64>,
    chance: Option<Box<Chance>>,
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

    /// How many reads have begun.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.0.borrow().reads
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

    /// Limits the bytes of all files; what is there already may be more. `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        let used: u64 = self.files().iter().map(|(_, length)| length).sum();
        self.set_free(bytes.map(|bytes| bytes.saturating_sub(used)));
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

    /// Puts other bytes into a file, on the medium and into what is read. Its length stays.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn spoil(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let index = world.state.find(text(path))?;
        let file = world.state.file_mut(index);
        for content in [&mut file.now, &mut file.durable] {
            let length = content.length;
            content.write(bytes, offset);
            content.set_length(length);
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
        if let Ok(replaced) = world.state.find(to) {
            let length = world.state.file(replaced).now.length;
            world.shrink(length);
        }
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
        world.sync_names(text(path))
    }

    async fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        pause().await;
        Ok(self.0.borrow().free.unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
