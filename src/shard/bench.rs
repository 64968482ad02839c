//! What benchmarks need of this layer's inside.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_skiplist::SkipMap;
use futures_util::FutureExt;

use super::index::run::{
    BlockCache, Merge, Probe, Reader, Run, RunCursor, RunError, RunFiles, RunWriter, Version,
    get_newest,
};
use super::log::Place;
use super::mailbox::Mailbox;
use crate::io::budget::Budget;
use crate::io::clock::SystemClock;
use crate::io::uring::{UringDisk, UringFile};
use crate::io::{Disk, OpenOptions};
use crate::runtime::core::{Backend, BackendError, BlockingPool, block_on};

/// Sends messages and receives each at once, on this thread.
///
/// # Panics
/// If the mailbox refuses one.
pub fn mail_here(messages: u64) -> u64 {
    let mailbox = Mailbox::new(64);
    let mut sum = 0;
    for message in 0..messages {
        let sent = mailbox.send(message, &SystemClock).now_or_never();
        assert!(matches!(sent, Some(Ok(()))), "there was room");
        sum += mailbox.try_receive().unwrap_or_default();
    }
    sum
}

/// Sends messages to another thread and waits for its answers, `in_flight` at a time. Each side has an executor.
///
/// # Errors
/// If an executor cannot start.
pub fn mail_across(messages: u64, in_flight: u64) -> Result<u64, BackendError> {
    let there = Arc::new(Mailbox::new(1024));
    let back = Arc::new(Mailbox::new(1024));
    let pool = BlockingPool::new(1);
    std::thread::scope(|scope| {
        let answering = scope.spawn(|| {
            block_on(Backend::Uring, &BlockingPool::new(1), async {
                while there.ready().await {
                    while let Some(message) = there.try_receive() {
                        if back.send(message, &SystemClock).await.is_err() {
                            return;
                        }
                    }
                }
            })
        });
        let sum = block_on(Backend::Uring, &pool, async {
            let (mut sent, mut received, mut sum) = (0, 0, 0);
            while received < messages {
                while sent < messages && sent - received < in_flight {
                    if there.send(sent, &SystemClock).await.is_err() {
                        return sum;
                    }
                    sent += 1;
                }
                back.ready().await;
                while let Some(answer) = back.try_receive() {
                    received += 1;
                    sum += answer;
                }
            }
            sum
        });
        there.close();
        let answered = answering.join();
        debug_assert!(answered.is_ok(), "the other thread ends");
        sum
    })
}

/// A store of sorted runs with a memtable, as one core would use them. For an executor's thread.
pub struct Runs {
    files: Files,
    cache: Arc<BlockCache>,
    memtable: SkipMap<Box<[u8]>, Box<[u8]>>,
    /// The newest first.
    runs: Vec<Arc<Run>>,
    next: u64,
}

struct Files {
    folder: PathBuf,
    open: RefCell<HashMap<u64, UringFile>>,
}

impl Files {
    fn path(&self, run: u64) -> PathBuf {
        self.folder.join(format!("{run:016x}.run"))
    }
}

impl RunFiles for Files {
    type File = UringFile;

    async fn file(&self, run: u64, _keep: bool) -> io::Result<UringFile> {
        if let Some(file) = self.open.borrow().get(&run) {
            return Ok(file.clone());
        }
        let options = OpenOptions { direct: true, ..OpenOptions::default() };
        let file = UringDisk.open(&self.path(run), options).await?;
        self.open.borrow_mut().insert(run, file.clone());
        Ok(file)
    }
}

impl Runs {
    /// An empty one in a folder that exists, with a cache of so many bytes.
    #[must_use]
    pub fn new(folder: &Path, cache_bytes: u64) -> Self {
        let files = Files { folder: folder.to_path_buf(), open: RefCell::default() };
        let cache = BlockCache::new(Budget::new(2 * cache_bytes), cache_bytes);
        Self { files, cache, memtable: SkipMap::new(), runs: Vec::new(), next: 1 }
    }

    /// Inserts into the memtable.
    pub fn insert(&self, stem: &[u8], value: &[u8]) {
        self.memtable.insert(stem.into(), value.into());
    }

    /// Writes the memtable to a run; durable on return.
    ///
    /// # Errors
    /// As the disk says.
    pub async fn flush(&mut self) -> io::Result<()> {
        let mut writer = self.writer(self.memtable.len() as u64).await?;
        for (sequence, entry) in (1..).zip(self.memtable.iter()) {
            writer.push(entry.key(), sequence, Place::default(), entry.value()).await?;
        }
        self.memtable = SkipMap::new();
        self.runs.insert(0, Arc::new(writer.finish().await.map_err(io_error)?));
        UringDisk.sync_directory(&self.files.folder).await
    }

    /// Makes one run of all; durable on return. The old files stay.
    ///
    /// # Errors
    /// As the disk says.
    pub async fn merge(&mut self) -> io::Result<()> {
        let stems = self.runs.iter().map(|run| run.entries()).sum();
        let mut writer = self.writer(stems).await?;
        let mut merge = self.walk(false);
        let reader = self.reader();
        loop {
            if !merge.try_ready(reader.cache).map_err(io_error)? {
                merge.ready(reader).await.map_err(io_error)?;
            }
            let Some(Version { stem, sequence, place, value }) = merge.peek() else { break };
            writer.push(stem, sequence, place, value).await?;
            merge.next().map_err(io_error)?;
        }
        self.runs = vec![Arc::new(writer.finish().await.map_err(io_error)?)];
        UringDisk.sync_directory(&self.files.folder).await
    }

    /// Opens its runs again, with nothing cached.
    ///
    /// # Errors
    /// As the disk says.
    pub async fn reopen(&mut self) -> io::Result<()> {
        self.files.open.borrow_mut().clear();
        let mut runs = Vec::new();
        for run in &self.runs {
            self.cache.forget(run.id());
            let file = self.files.file(run.id(), false).await?;
            runs.push(Arc::new(Run::open(&file, run.id()).await.map_err(io_error)?));
        }
        self.runs = runs;
        Ok(())
    }

    /// The length of a stem's value.
    ///
    /// # Errors
    /// As the disk says.
    pub async fn get(&self, stem: &[u8]) -> io::Result<Option<usize>> {
        let found = get_newest(&self.runs, self.reader(), &Probe::new(stem)).await;
        Ok(found.map_err(io_error)?.map(|found| found.value().len()))
    }

    /// Bytes of the stems and values of the next `count` entries from a stem on.
    ///
    /// # Errors
    /// As the disk says.
    pub async fn scan(&self, from: &[u8], count: usize) -> io::Result<usize> {
        let (mut merge, reader) = (self.walk(true), self.reader());
        merge.seek(from);
        let mut bytes = 0;
        for _ in 0..count {
            if !merge.try_ready(reader.cache).map_err(io_error)? {
                merge.ready(reader).await.map_err(io_error)?;
            }
            let Some(version) = merge.peek() else { break };
            bytes += version.stem.len() + version.value.len();
            merge.next().map_err(io_error)?;
        }
        Ok(bytes)
    }

    /// Number of runs, and bytes of their files.
    #[must_use]
    pub fn size(&self) -> (usize, u64) {
        (self.runs.len(), self.runs.iter().map(|run| run.length()).sum())
    }

    fn reader(&self) -> Reader<'_, Files> {
        Reader { files: &self.files, cache: &self.cache }
    }

    fn walk(&self, keep: bool) -> Merge<RunCursor> {
        Merge::new(self.runs.iter().map(|run| RunCursor::new(Arc::clone(run), keep)))
    }

    async fn writer(&mut self, stems: u64) -> io::Result<RunWriter<UringFile>> {
        let id = self.next;
        self.next += 1;
        RunWriter::create(&UringDisk, &self.files.path(id), id, 0, stems).await
    }
}

fn io_error(error: RunError) -> io::Error {
    match error {
        RunError::Io(error) => error,
        damaged @ RunError::Damaged { .. } => io::Error::other(damaged),
    }
}
