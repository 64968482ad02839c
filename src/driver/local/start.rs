//! Opening a data folder, and starting and stopping the driver on each core.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::cache::InlineCache;
use super::files::{Access, Files};
use super::touched::Touched;
use super::{Core, Local, housekeeping};
use crate::io::budget::Budget;
use crate::io::clock::SystemClock;
use crate::io::pool::BufferPool;
use crate::io::uring::UringDisk;
use crate::io::{Clock, Disk};
use crate::runtime;
use crate::shard::commit::Committer;
use crate::shard::data::DataWriter;
use crate::shard::log::writer::{LogOptions, LogWriter};
use crate::shard::pins::CorePins;
use crate::shard::recover::{RecoverError, Recovered, Recovery};
use crate::shard::shared::Shared;
use crate::shard::turn::Turn;
use crate::shard::volume::{Volume, VolumeError};

/// The share of the byte budget that caches may have: one in so many.
const CACHE_SHARE: u64 = 4;

/// Why the driver could not start. The message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// What it holds cannot be read.
    #[error("recovery failed: {0}")]
    Recovery(String),
    /// It cannot be written.
    #[error("the log cannot be written: {0}")]
    Log(#[from] std::io::Error),
}

impl From<RecoverError> for OpenError {
    fn from(error: RecoverError) -> Self {
        Self::Recovery(error.to_string())
    }
}

/// A data folder, open for the cores of this process.
pub struct LocalVolume {
    shared: Arc<Shared>,
    budget: Budget,
    recovery: Recovery,
    log_options: LogOptions,
}

impl LocalVolume {
    /// Opens or creates a data folder, whose lock is held while the value lives. Blocks: call it before the
    /// executors start, then [`LocalDriver::start`](super::LocalDriver) on each of `cores` cores.
    ///
    /// # Errors
    /// [`OpenError::Volume`].
    pub fn open(path: &Path, cores: usize, budget: Budget) -> Result<Arc<Self>, OpenError> {
        let cores = cores.max(1);
        let volume = Arc::new(Volume::open(path)?);
        let shared = Arc::new(Shared::new(volume, cores));
        let recovery = Recovery::new(cores);
        Ok(Arc::new(Self { shared, budget, recovery, log_options: LogOptions::default() }))
    }

    /// With log segments of another length.
    #[cfg(test)]
    pub(super) fn with_log_segments(self: Arc<Self>, segment_length: u64) -> Arc<Self> {
        let mut this = Arc::into_inner(self).unwrap();
        this.log_options.segment_length = segment_length;
        Arc::new(this)
    }
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
        let began = clock.now();
        let Recovered { ends, segments, damaged } =
            volume.recovery.run(&shared, core, &disk).await?;
        if core == 0 {
            let ms = clock.now().since(began) / 1_000_000;
            tracing::info!(segments = segments.len(), ms, "recovered");
        }
        let log_volume = Arc::clone(&shared.volume);
        let number = u16::try_from(core).unwrap_or(u16::MAX);
        let log = LogWriter::open_with(disk.clone(), log_volume, number, ends, volume.log_options)
            .await?;
        runtime::spawn(log.background());
        let committer = Committer::new(Arc::clone(&shared), core, clock.clone(), log);
        let cache_bytes = volume.budget.total() / CACHE_SHARE / shared.cores() as u64;
        let this = Self(Rc::new(Core {
            core,
            pool: BufferPool::new(volume.budget.clone()),
            pins: CorePins::new(Arc::clone(&shared.epochs), core),
            logs: Files::new(disk.clone(), Access::Direct),
            segments: Files::new(disk.clone(), Access::Direct),
            cached_segments: Files::new(disk.clone(), Access::Cached),
            touched: Touched::new(),
            cache: InlineCache::new(volume.budget.clone(), cache_bytes),
            data: DataWriter::new(Arc::clone(&shared), disk.clone()),
            running: Turn::default(),
            stopping: Cell::new(false),
            last_upload: Cell::new(0),
            shared,
            disk,
            clock,
        }));
        this.spawn_loops(committer, segments, damaged);
        Ok(this)
    }

    fn spawn_loops(
        &self,
        committer: Committer<D, C>,
        segments: Vec<crate::shard::log::replay::SegmentRef>,
        damaged: bool,
    ) {
        let core = Rc::clone(&self.0);
        runtime::spawn(async move {
            let _running = core.running.wait().await;
            committer.run().await;
        });
        let (core, weak) = (self.0.core, Rc::downgrade(&self.0));
        let clock = self.0.clock.clone();
        runtime::spawn(housekeeping::run(weak, clock, core, segments, damaged));
    }

    /// Stops this core: commits what waits, cuts its data segment and seals its log. Call it on each core, when no
    /// operation is in progress on any; later writes are refused.
    pub async fn shutdown(&self) {
        self.0.stopping.set(true);
        self.0.shared.mailboxes[self.0.core].close();
        // The commit loop has the turn until it ends.
        let _stopped = self.0.running.wait().await;
        self.0.data.close().await;
    }
}
