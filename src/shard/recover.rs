//! Start: all cores replay the logs of earlier starts side by side, then each cleans up the shards that it owns.
//!
//! ```text
//! every core: read the checkpoints of its shards, open their runs -> barrier
//! every core: replay segments that no mark covers, whichever is next; spill artifacts if they are too many -> barrier
//! every core: keep of each key the newest record, drop what has no container or upload; what was spilled becomes a run
//!             of each shard -> barrier
//! every core: count what is live -> barrier
//! core 0:     unlink data that nothing refers to -> barrier
//! every core: open its log -> barrier; only then may anybody write ahead
//! ```
//!
//! If anything of the checkpoints or runs is missing or damaged, all of them are removed and all segments replayed.
//!
//! Recovery only removes what no record names, after all logs were read, and runs that no checkpoint names, and changes
//! nothing else: crashing in it and starting again is the same as starting.

mod barrier;
mod gather;
mod index;
pub(in crate::shard) mod keep;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod recount;
mod replay;
mod spill;
mod sweep;
mod unite;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;

use self::barrier::Barrier;
use self::index::Derivation;
use self::keep::Kept;
use self::spill::Spilled;
use super::finder::Finder;
use super::index::value::PartList;
use super::integrity::Progress;
use super::keeper::{self, KeepError};
use super::log::durable::DurablePoints;
use super::log::replay::{Listing, ReplayError, SegmentRef, find_segments};
use super::log::{LogEnd, LogPoint, Place, salt_of};
use super::losses::Loss;
use super::shared::Shared;
use crate::io::{Disk, OpenOptions};

/// Part lists that are read at once.
const READS_MAX: usize = 32;

/// Why a start failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("the data folder cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("runs that were just written cannot be read")]
    Unreadable,
    #[error("another core could not start")]
    OtherCore,
}

impl From<KeepError> for RecoverError {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Io(error) => Self::Io(error),
            error => Self::Io(io::Error::other(error)),
        }
    }
}

/// What the cores share while they start.
pub(crate) struct Recovery {
    barrier: Barrier,
    next_segment: AtomicUsize,
    /// Something committed cannot be read: nothing is swept or recycled in this start, so that no more is lost.
    damaged: AtomicBool,
    /// What checkpoints and runs say cannot be used.
    index_damaged: AtomicBool,
    /// Up to where log segments were durable when checkpoints were made.
    durable: Mutex<DurablePoints>,
    /// Bytes of records that a core keeps in memory while logs are replayed.
    limit: usize,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    ends: Vec<LogEnd>,
    /// The highest sequence of each shard.
    sequences: Vec<u64>,
    /// Files of artifacts that are current.
    own_files: HashSet<u64>,
    /// Records that were ever written to each log segment.
    written: HashMap<u64, u64>,
    /// Number of segments that were not covered.
    replayed: usize,
    spilled: Spilled,
    /// What looked like the torn end of a log was more.
    end_is_lost: bool,
}

/// What a core needs to go on.
pub(crate) struct Recovered {
    /// For the new log to name.
    pub(crate) ends: Vec<LogEnd>,
    /// The segments of earlier starts, in the order of their logs.
    pub(crate) segments: Vec<SegmentRef>,
    /// How many of them were replayed.
    pub(crate) replayed: usize,
    /// Whether nothing may be recycled.
    pub(crate) damaged: bool,
    /// How far the scrub has come. For core 0.
    pub(crate) progress: Progress,
}

impl Recovery {
    /// For so many cores, each of which keeps up to `limit` bytes of records in memory while logs are replayed.
    pub(crate) fn new(cores: usize, limit: usize) -> Self {
        Self {
            barrier: Barrier::new(cores),
            next_segment: AtomicUsize::new(0),
            damaged: AtomicBool::new(false),
            index_damaged: AtomicBool::new(false),
            durable: Mutex::default(),
            limit,
            found: Mutex::default(),
        }
    }

    /// One core has opened its log, or could not start; waits until all have. Nobody writes ahead before: what one core
    /// does not need yet, another cannot start without.
    ///
    /// # Errors
    /// [`RecoverError::OtherCore`].
    pub(crate) async fn opened(&self, is_open: bool) -> Result<(), RecoverError> {
        if !is_open {
            self.barrier.fail();
        }
        self.meet().await
    }

    /// One core's share. All cores must call it, and [`Recovery::opened`] after it.
    ///
    /// # Errors
    /// [`RecoverError`], on every core if it fails on one.
    pub(crate) async fn run<D: Disk>(
        &self,
        shared: &Shared,
        core: usize,
        disk: &D,
        finder: &Finder<D>,
    ) -> Result<Recovered, RecoverError> {
        let outcome = self.steps(shared, core, disk, finder).await;
        if outcome.is_err() {
            self.barrier.fail();
        }
        outcome
    }

    async fn steps<D: Disk>(
        &self,
        shared: &Shared,
        core: usize,
        disk: &D,
        finder: &Finder<D>,
    ) -> Result<Recovered, RecoverError> {
        let layout = shared.volume.layout();
        let progress = match core {
            0 => shared.integrity.load(disk, layout).await?,
            _ => Progress::default(),
        };
        let Listing { mut segments, lost } =
            find_segments(disk, layout, Some(salt_of(shared.volume.uuid()))).await?;
        if core == 0 {
            report_headers(&segments);
            for &segment in &lost {
                if !self.lose(shared, Loss::Segment(segment)) {
                    tracing::error!(segment, "a log segment is damaged altogether and set aside");
                }
            }
        }
        // What was accepted is known to all from here on.
        let derived = self.derived(shared, core, disk).await?;
        let durable = self.durable().clone();
        durable.tell(&mut segments);
        let mut kept =
            self.replay_and_keep(shared, core, disk, finder, (&segments, derived)).await?;
        if self.is_index_damaged() {
            // All cores have come here, and none has counted anything yet.
            self.forget(shared, core, disk).await?;
            let nothing = Derivation::default();
            kept = self.replay_and_keep(shared, core, disk, finder, (&segments, nothing)).await?;
            if self.is_index_damaged() {
                return Err(RecoverError::Unreadable);
            }
        }
        self.count(shared, disk, &segments, kept).await?;
        self.meet().await?;

        if core == 0 {
            self.miss_gone(shared, &segments);
            // Before anything goes because of it.
            self.accept(shared, disk, progress).await?;
            if !self.is_damaged() {
                remove_lost(shared, disk, &lost).await;
            }
            let (own_files, written) = {
                let mut found = self.found();
                (std::mem::take(&mut found.own_files), std::mem::take(&mut found.written))
            };
            for (segment, records) in written {
                shared.segments.add_records(segment, records, 0);
            }
            // Without any log, what data there is has lost its index: it is not ours to remove.
            let keep = self.is_damaged() || segments.is_empty();
            sweep::sweep(shared, disk, &own_files, keep).await?;
        }
        self.meet().await?;
        let (mut ends, replayed, end_is_lost) = {
            let found = self.found();
            (found.ends.clone(), found.replayed, found.end_is_lost)
        };
        if end_is_lost {
            // It is not known of which, and must not be hidden from the next start.
            for end in &mut ends {
                let unnamed = |one: &&SegmentRef| one.segment == end.segment && one.end.is_none();
                if let Some(segment) = segments.iter().find(unnamed) {
                    end.offset = u32::try_from(segment.length).unwrap_or(u32::MAX);
                }
            }
        }
        Ok(Recovered { ends, segments, replayed, damaged: self.is_damaged(), progress })
    }

    /// Something committed cannot be read; returns whether that was accepted. If not, nothing is removed in this start.
    fn lose(&self, shared: &Shared, loss: Loss) -> bool {
        let accepted = shared.integrity.losses().accepts(loss);
        if !accepted {
            self.damaged.store(true, Ordering::Release);
        }
        accepted
    }

    /// Some of what this start does not find was known to an index that is no more.
    fn miss_gone(&self, shared: &Shared, segments: &[SegmentRef]) {
        for segment in shared.integrity.losses().gone() {
            let is_there = segments.iter().any(|one| one.segment == segment);
            if !is_there && !self.lose(shared, Loss::Missing(segment)) {
                tracing::error!(segment, "a log segment is missing, and the index that knew of it");
            }
        }
    }

    /// Notes durably what this start accepts as lost, if it does.
    async fn accept<D: Disk>(
        &self,
        shared: &Shared,
        disk: &D,
        progress: Progress,
    ) -> Result<(), RecoverError> {
        let losses = shared.integrity.losses();
        if losses.is_accepting() {
            let places = losses.accept_no_more();
            shared.integrity.save(disk, shared.volume.layout(), progress).await?;
            tracing::warn!(places, "what the logs have lost is taken for lost, as was asked for");
        }
        Ok(())
    }

    /// What checkpoints and runs know; nothing if any of it is damaged.
    async fn derived<D: Disk>(
        &self,
        shared: &Shared,
        core: usize,
        disk: &D,
    ) -> Result<Derivation, RecoverError> {
        if shared.checkpoints.is_off() {
            // What an earlier start has left would be out of date one day.
            self.forget(shared, core, disk).await?;
            return Ok(Derivation::default());
        }
        let note = |point: LogPoint| self.durable().note(point);
        let loaded = index::load(shared, core, disk, &note).await;
        if let Err(error) = &loaded {
            self.index_is_damaged(&error.to_string());
        }
        self.meet().await?;
        if self.is_index_damaged() {
            self.forget(shared, core, disk).await?;
            return Ok(Derivation::default());
        }
        Ok(loaded.unwrap_or_default())
    }

    /// Drops all that was read of the index, on disk too. All cores call it.
    async fn forget<D: Disk>(
        &self,
        shared: &Shared,
        core: usize,
        disk: &D,
    ) -> Result<(), RecoverError> {
        self.meet().await?;
        for shard in shared.shards_of(core) {
            if let Some(map) = shared.index.if_used(shard) {
                map.reset();
            }
            shared.checkpoints.reset(shard);
        }
        if core == 0 {
            keeper::forget(disk, shared).await?;
            shared.checkpoints.reset_all();
            self.index_damaged.store(false, Ordering::Release);
            self.next_segment.store(0, Ordering::Release);
            *self.found() = Found::default();
        }
        self.meet().await
    }

    fn index_is_damaged(&self, what: &str) {
        tracing::error!(what, "the index cannot be used: all logs are replayed");
        self.index_damaged.store(true, Ordering::Release);
    }

    fn is_index_damaged(&self) -> bool {
        self.index_damaged.load(Ordering::Acquire)
    }

    async fn meet(&self) -> Result<(), RecoverError> {
        if self.barrier.wait().await { Ok(()) } else { Err(RecoverError::OtherCore) }
    }

    fn durable(&self) -> MutexGuard<'_, DurablePoints> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something committed cannot be read.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Counts what is kept, and what the artifacts completed from parts refer to.
    async fn count<D: Disk>(
        &self,
        shared: &Shared,
        disk: &D,
        segments: &[SegmentRef],
        kept: Kept,
    ) -> Result<(), RecoverError> {
        let Kept { records, accounts, .. } = kept;
        let there: HashSet<u64> = segments.iter().map(|segment| segment.segment).collect();
        for (segment, records) in records.into_iter().chain(accounts.records()) {
            shared.segments.hold_records(segment, records);
            if there.contains(&segment) {
                continue;
            }
            // A segment goes when others have newer records of all that is in it.
            if !self.lose(shared, Loss::Missing(segment)) {
                tracing::error!(segment, records, "records are missing at the end of a log");
                self.found().end_is_lost = true;
            }
        }
        for (segment, bytes) in accounts.bytes() {
            shared.segments.hold_bytes(segment, bytes);
        }
        self.found().own_files.extend(accounts.own_files());
        self.hold_parts(shared, disk, accounts.composites().collect()).await
    }

    /// Counts what the artifacts completed from parts refer to.
    async fn hold_parts<D: Disk>(
        &self,
        shared: &Shared,
        disk: &D,
        composites: Vec<PartList>,
    ) -> Result<(), RecoverError> {
        let mut files = HashMap::new();
        for list in &composites {
            if let Entry::Vacant(missing) = files.entry(list.place.segment) {
                let path = shared.volume.layout().segment_path(list.place.segment);
                let options = OpenOptions { direct: true, ..OpenOptions::default() };
                match disk.open(&path, options).await {
                    Ok(file) => _ = missing.insert(file),
                    // Told already: something lies in it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let readings = composites.into_iter().filter_map(|list| {
            let file = files.get(&list.place.segment)?.clone();
            Some(async move { (list, sweep::read_parts(&file, list).await) })
        });
        let mut readings = futures_util::stream::iter(readings).buffer_unordered(READS_MAX);
        while let Some((list, parts)) = readings.next().await {
            match parts? {
                Some(parts) => {
                    let own_files = sweep::hold_parts(shared, &parts);
                    self.found().own_files.extend(own_files);
                }
                None => {
                    let Place { segment, offset, .. } = list.place;
                    if !self.lose(shared, Loss::Parts { segment, offset }) {
                        tracing::error!(segment, offset, "a part list is damaged");
                    }
                }
            }
        }
        Ok(())
    }
}

/// Removes segments of which nothing can be read, which was accepted.
async fn remove_lost<D: Disk>(shared: &Shared, disk: &D, lost: &[u64]) {
    for &segment in lost {
        let path = shared.volume.layout().segment_path(segment);
        for file in [path.with_extension("keys"), path] {
            // The next start tries again.
            if let Err(error) = disk.remove_if_there(&file).await {
                tracing::warn!(segment, %error, "a lost log segment stays");
            }
        }
    }
}

/// Tells of log segments whose headers are damaged. What lies in them is read all the same.
fn report_headers(segments: &[SegmentRef]) {
    for segment in segments.iter().filter(|segment| segment.header_damaged) {
        let segment = segment.segment;
        tracing::error!(segment, "the header of a log segment is damaged; its frames are read");
    }
}
