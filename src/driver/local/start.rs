//! Opening a data folder, and starting and stopping the driver on each core.

use std::cell::Cell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cache::InlineCache;
use super::recent::Recent;
use super::touched::Touched;
use super::{Core, Local, UpkeepOptions, checkpoint, empty, housekeeping, scrub};
use crate::io::budget::Budget;
use crate::io::clock::SystemClock;
use crate::io::folder::{Folder, SystemFolder};
use crate::io::pool::BufferPool;
use crate::io::uring::UringDisk;
use crate::io::{Clock, Disk};
use crate::runtime;
use crate::shard::commit::Committer;
use crate::shard::data::DataWriter;
use crate::shard::files::Files;
use crate::shard::finder::Finder;
use crate::shard::index::run::BlockCache;
use crate::shard::integrity::Progress;
use crate::shard::keeper::Keeper;
use crate::shard::log::replay::SegmentRef;
use crate::shard::log::writer::{LogOptions, LogWriter, SyncMethod};
use crate::shard::pins::CorePins;
#[cfg(any(test, feature = "testing"))]
use crate::shard::recover::recount::recount;
use crate::shard::recover::{RecoverError, Recovered, Recovery};
use crate::shard::shared::Shared;
use crate::shard::sizes::Sizes;
use crate::shard::turn::Turn;
use crate::shard::volume::{Volume, VolumeError};

/// The share of the byte budget that caches may have: one in so many.
const CACHE_SHARE: u64 = 4;

/// The share that artifacts may have which are in no run yet.
const TABLES_SHARE: usize = 16;

/// The share that records may have while logs are replayed, when nobody else wants any.
const REPLAY_SHARE: usize = 4;

/// Why the driver could not start. The message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// What it holds cannot be read.
    #[error("recovery failed: {0}")]
    Recovery(String),
    /// There is no room for the log, without which nothing can be deleted either.
    #[error("the disk of the data folder {} is full: make {} MiB of room for its log, then start again", path.display(), bytes >> 20)]
    Full {
        /// The folder.
        path: PathBuf,
        /// What the logs of all cores need at least.
        bytes: u64,
    },
    /// It cannot be written.
    #[error("the log cannot be written: {0}")]
    Log(#[from] std::io::Error),
    /// Another core says why.
    #[error("another core could not start")]
    OtherCore,
}

impl From<RecoverError> for OpenError {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::OtherCore => Self::OtherCore,
            error => Self::Recovery(error.to_string()),
        }
    }
}

/// What a data folder may be told when it is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalOptions {
    /// How large things are.
    pub sizes: Sizes,
    /// How the log's appends become durable; `None` for a short measurement.
    pub sync_method: Option<SyncMethod>,
    /// What is done in the background.
    pub upkeep: UpkeepOptions,
    /// Counts from scratch at the start what each segment holds, and refuses to start if the books say something else.
    /// For tests: it reads the whole index.
    #[cfg(any(test, feature = "testing"))]
    pub recount: bool,
}

/// What was done for the index, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexWork {
    /// Tables that became runs.
    pub flushes: u64,
    /// Merges of runs.
    pub merges: u64,
    /// Checkpoints of a core's shards.
    pub checkpoints: u64,
    /// Runs of what the start did not keep in memory while it replayed logs.
    pub spills: u64,
    /// Blocks of runs that were found in memory.
    pub block_hits: u64,
    /// Blocks of runs that were not.
    pub block_misses: u64,
}

/// A data folder, open for the cores of this process.
pub struct LocalVolume {
    shared: Arc<Shared>,
    budget: Budget,
    recovery: Recovery,
    sync_method: Option<SyncMethod>,
    upkeep: UpkeepOptions,
    #[cfg(any(test, feature = "testing"))]
    recount: bool,
}

impl LocalVolume {
    /// Opens or creates a data folder, whose lock is held while the value lives. Blocks: call it before the
    /// executors start, then [`LocalDriver::start`](super::LocalDriver) on each of `cores` cores.
    ///
    /// # Errors
    /// [`OpenError::Volume`].
    pub fn open(path: &Path, cores: usize, budget: Budget) -> Result<Arc<Self>, OpenError> {
        Self::open_with(path, cores, budget, UpkeepOptions::default())
    }

    /// As [`LocalVolume::open`], saying what is to be done in the background.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(
        path: &Path,
        cores: usize,
        budget: Budget,
        upkeep: UpkeepOptions,
    ) -> Result<Arc<Self>, OpenError> {
        let options = LocalOptions { upkeep, ..LocalOptions::default() };
        Self::open_on(&SystemFolder, path, cores, budget, options)
    }

    /// As [`LocalVolume::open`], on another file system and with all options.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(
        folder: &impl Folder,
        path: &Path,
        cores: usize,
        budget: Budget,
        options: LocalOptions,
    ) -> Result<Arc<Self>, OpenError> {
        let cores = cores.max(1);
        let volume = Arc::new(Volume::open_on(folder, path)?);
        let blocks = BlockCache::new(budget.clone(), budget.total() / CACHE_SHARE);
        let shared =
            Arc::new(Shared::new(volume, cores, options.sizes, options.upkeep.sorted_runs, blocks));
        let total = usize::try_from(budget.total()).unwrap_or(usize::MAX);
        let replay = options.sizes.replay.min(total / REPLAY_SHARE / cores);
        let recovery = Recovery::new(cores, replay);
        let LocalOptions { sync_method, upkeep, .. } = options;
        Ok(Arc::new(Self {
            shared,
            budget,
            recovery,
            sync_method,
            upkeep,
            #[cfg(any(test, feature = "testing"))]
            recount: options.recount,
        }))
    }

    /// Artifacts, parts and places of the log that are known to be damaged.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.shared.integrity.damaged()
    }

    /// Bytes that the scrub has read and verified since the start.
    #[must_use]
    pub fn bytes_scrubbed(&self) -> u64 {
        self.shared.integrity.bytes_scrubbed()
    }

    /// How often the scrub has read everything since the folder was made.
    #[must_use]
    pub fn scrub_passes(&self) -> u64 {
        self.shared.integrity.passes()
    }

    /// Bytes of the sealed data segments' files, and how many of them are live.
    #[must_use]
    pub fn data_bytes(&self) -> (u64, u64) {
        self.shared.segments.data_bytes()
    }

    /// What was done for the index since the start.
    #[must_use]
    pub fn index_work(&self) -> IndexWork {
        let (counters, blocks) = (&self.shared.checkpoints.counters, &self.shared.blocks);
        IndexWork {
            flushes: counters.flushes.load(Ordering::Relaxed),
            merges: counters.merges.load(Ordering::Relaxed),
            checkpoints: counters.checkpoints.load(Ordering::Relaxed),
            spills: counters.spills.load(Ordering::Relaxed),
            block_hits: blocks.hits(),
            block_misses: blocks.misses(),
        }
    }

    /// Whether the last start found committed records that it could not read, which were not accepted as lost. What
    /// could be read is served, and nothing was removed.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.recovery.is_damaged()
    }

    /// Recovers and opens the log of one core.
    async fn open_log<D: Disk, C: Clock>(
        &self,
        core: usize,
        disk: &D,
        clock: &C,
        finder: &Finder<D>,
    ) -> Result<Opened<D>, OpenError> {
        let shared = &self.shared;
        let began = clock.now();
        let Recovered { ends, segments, replayed, damaged, progress } =
            self.recovery.run(shared, core, disk, finder).await?;
        if damaged {
            shared.checkpoints.set_log_damaged();
            if core == 0 {
                tracing::error!(
                    "the log has lost records: what can be read is served, but nothing is removed and no space of the \
                     log is given back before `vaultaire check --accept-loss FOLDER`"
                );
            }
        }
        if replayed > shared.sizes.checkpoint_segments as usize {
            shared.checkpoints.want(core);
        }
        #[cfg(any(test, feature = "testing"))]
        if core == 0
            && self.recount
            && !damaged
            && let Some(difference) = recount(shared, disk, finder).await
        {
            return Err(OpenError::Recovery(difference));
        }
        if core == 0 {
            let ms = clock.now().since(began) / 1_000_000;
            tracing::info!(segments = segments.len(), ms, "recovered");
        }
        let log_volume = Arc::clone(&shared.volume);
        let number = u16::try_from(core).unwrap_or(u16::MAX);
        let free = disk.free_bytes(&log_volume.layout().log()).await?;
        let (sync_method, segment_length) = (self.sync_method, shared.sizes.log_segment);
        let options = LogOptions { sync_method, segment_length }.fitting(free, shared.cores());
        shared.set_log_length(options.segment_length);
        let log = LogWriter::open(disk.clone(), log_volume, number, ends, options);
        let log = log.await.map_err(|error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                let path = shared.volume.layout().root.clone();
                OpenError::Full { path, bytes: options.segment_length * shared.cores() as u64 }
            }
            _ => OpenError::Log(error),
        })?;
        Ok(Opened { segments, damaged, progress, log })
    }
}

/// What one core has when its log is open.
struct Opened<D: Disk> {
    /// The segments of earlier starts, in the order of their logs.
    segments: Vec<SegmentRef>,
    /// Whether all segments are to be kept.
    damaged: bool,
    progress: Progress,
    log: LogWriter<D>,
}

impl Local<UringDisk, SystemClock> {
    /// Starts the driver on one core, numbered from 0; all cores of the volume must be started, for they recover
    /// together. Spawns the core's commit loop.
    ///
    /// # Errors
    /// [`OpenError`], on every core if it fails on one.
    pub async fn start(volume: Arc<LocalVolume>, core: usize) -> Result<Self, OpenError> {
        Self::start_on(volume, core, UringDisk, SystemClock).await
    }
}

impl<D: Disk, C: Clock> Local<D, C> {
    /// As [`start`](Local::start), on another disk and clock.
    ///
    /// # Errors
    /// As there.
    pub async fn start_on(
        volume: Arc<LocalVolume>,
        core: usize,
        disk: D,
        clock: C,
    ) -> Result<Self, OpenError> {
        let shared = Arc::clone(&volume.shared);
        let pins = CorePins::new(Arc::clone(&shared.epochs), core);
        let finder = Rc::new(Finder::new(Arc::clone(&shared), disk.clone(), Rc::clone(&pins)));
        let opened = volume.open_log(core, &disk, &clock, &finder).await;
        let all_opened = volume.recovery.opened(opened.is_ok()).await;
        let Opened { segments, damaged, progress, log } = opened?;
        if let Err(error) = all_opened {
            log.abandon().await;
            return Err(error.into());
        }
        runtime::spawn(log.background());
        let retirer = log.retirer();
        let total = usize::try_from(volume.budget.total()).unwrap_or(usize::MAX);
        let tables = shared.sizes.tables.min(total / TABLES_SHARE / shared.cores());
        let (ours, disk_too) = (Arc::clone(&shared), disk.clone());
        let keeper = Keeper::new(ours, core, disk_too, Rc::clone(&finder), tables);
        let hands = (Rc::clone(&finder), Rc::clone(&keeper));
        let committer = Committer::new(Arc::clone(&shared), core, clock.clone(), hands, log);
        let cache_bytes = volume.budget.total() / CACHE_SHARE / shared.cores() as u64;
        let this = Self(Rc::new(Core {
            core,
            pool: BufferPool::new(volume.budget.clone()),
            pins,
            finder,
            keeper,
            // As much again while they are being flushed. Where it is not to be had, they are used all the same.
            _tables: volume
                .upkeep
                .sorted_runs
                .then(|| volume.budget.try_reserve(2 * tables as u64))
                .flatten(),
            retirer,
            logs: Files::new(disk.clone()),
            segments: Files::new(disk.clone()),
            own_files: Files::of_one_each(disk.clone()),
            bringing_in: Turn::default(),
            touched: Touched::new(),
            cache: InlineCache::new(volume.budget.clone(), cache_bytes),
            recent: Recent::new(volume.budget.clone()),
            data: DataWriter::new(Arc::clone(&shared), disk.clone()),
            running: Turn::default(),
            stopping: Cell::new(false),
            asked: Cell::new(0),
            last_upload: Cell::new(0),
            shared,
            disk,
            clock,
        }));
        this.spawn_loops(committer, segments, damaged);
        if core == 0 {
            this.spawn_upkeep(volume.upkeep, progress);
        }
        Ok(this)
    }

    /// Starts it on so many cores, which are tasks of this thread: for simulations.
    ///
    /// # Errors
    /// As [`start_on`](Local::start_on), of a core that knows why.
    #[cfg(any(test, feature = "testing"))]
    pub async fn start_all(
        volume: &Arc<LocalVolume>,
        cores: usize,
        disk: &D,
        clock: &C,
    ) -> Result<Vec<Self>, OpenError> {
        let start = |core| {
            runtime::spawn(Self::start_on(Arc::clone(volume), core, disk.clone(), clock.clone()))
        };
        let starts: Vec<_> = (0..cores).map(start).collect();
        let (mut drivers, mut refused) = (Vec::new(), None);
        for start in starts {
            match start.await {
                Ok(driver) => drivers.push(driver),
                Err(OpenError::OtherCore) if refused.is_some() => (),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) => Err(error),
            None => Ok(drivers),
        }
    }

    fn spawn_loops(&self, committer: Committer<D, C>, segments: Vec<SegmentRef>, damaged: bool) {
        let core = Rc::clone(&self.0);
        runtime::spawn(async move {
            let _running = core.running.wait().await;
            committer.run().await;
        });
        let (core, weak) = (self.0.core, Rc::downgrade(&self.0));
        let clock = self.0.clock.clone();
        runtime::spawn(housekeeping::run(weak.clone(), clock.clone(), core, segments, damaged));
        runtime::spawn(housekeeping::close_files(weak.clone(), clock.clone()));
        if !self.0.shared.checkpoints.is_off() {
            runtime::spawn(checkpoint::run(weak.clone(), clock.clone()));
            runtime::spawn(checkpoint::run_merges(weak, clock));
        }
    }

    /// What one core does for all.
    fn spawn_upkeep(&self, options: UpkeepOptions, progress: Progress) {
        let clock = &self.0.clock;
        runtime::spawn(empty::run(Rc::downgrade(&self.0), clock.clone()));
        runtime::spawn(scrub::run(Rc::downgrade(&self.0), clock.clone(), options, progress));
    }

    /// Stops this core: commits what waits, cuts its data segment and seals its log. Call it on each core, when no
    /// operation is in progress on any; later writes are refused.
    pub async fn shutdown(&self) {
        self.0.stopping.set(true);
        self.0.keeper.stop();
        self.0.shared.mailboxes[self.0.core].close();
        // The commit loop has the turn until it ends.
        let _stopped = self.0.running.wait().await;
        self.0.data.close().await;
        if !self.0.shared.is_abandoned() {
            self.0.keeper.finish().await;
        }
    }
}
