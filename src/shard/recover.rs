//! Start: all cores replay the logs of earlier starts side by side, then each cleans up the shards that it owns.
//!
//! ```text
//! every core: replay segments, whichever is next -> barrier
//! every core: keep of each key the newest record, drop what has no container or upload, count what is live -> barrier
//! core 0:     unlink data that nothing refers to -> barrier
//! ```
//!
//! Recovery only removes what no record names, after all logs were read, and changes nothing else: crashing in it
//! and starting again is the same as starting.

mod barrier;
mod gather;
mod keep;
mod sweep;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;

use self::barrier::Barrier;
use self::gather::Gathered;
use super::index::SHARDS;
use super::index::value::PartList;
use super::log::replay::{Listing, ReplayError, SegmentRef, find_segments, replay_segment};
use super::log::{LogEnd, ReplayedRecord, salt_of};
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
    #[error("another core could not start")]
    OtherCore,
}

/// What the cores share while they start.
pub(crate) struct Recovery {
    barrier: Barrier,
    next_segment: AtomicUsize,
    /// Something committed cannot be read: nothing is swept or recycled in this start, so that no more is lost.
    damaged: AtomicBool,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    ends: Vec<LogEnd>,
    /// The highest sequence of each shard.
    sequences: Vec<u64>,
    /// Files of artifacts that are current.
    own_files: HashSet<u64>,
}

/// What a core needs to go on.
pub(crate) struct Recovered {
    /// For the new log to name.
    pub(crate) ends: Vec<LogEnd>,
    /// The segments of earlier starts, in the order of their logs.
    pub(crate) segments: Vec<SegmentRef>,
    /// Whether segments may be recycled.
    pub(crate) damaged: bool,
}

impl Recovery {
    pub(crate) fn new(cores: usize) -> Self {
        Self {
            barrier: Barrier::new(cores),
            next_segment: AtomicUsize::new(0),
            damaged: AtomicBool::new(false),
            found: Mutex::default(),
        }
    }

    /// One core's share. All cores must call it.
    ///
    /// # Errors
    /// [`RecoverError`], on every core if it fails on one.
    pub(crate) async fn run<D: Disk>(
        &self,
        shared: &Shared,
        core: usize,
        disk: &D,
    ) -> Result<Recovered, RecoverError> {
        let outcome = self.steps(shared, core, disk).await;
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
    ) -> Result<Recovered, RecoverError> {
        let salt = salt_of(shared.volume.uuid());
        let Listing { segments, lost } =
            find_segments(disk, shared.volume.layout(), Some(salt)).await?;
        if core == 0 {
            report_headers(&segments, &lost);
        }
        if !lost.is_empty() {
            self.damaged.store(true, Ordering::Release);
        }
        self.meet().await?;
        self.replay(shared, disk, &segments).await?;
        self.meet().await?;

        let composites = self.keep_current(shared, core);
        self.hold_parts(shared, disk, composites).await?;
        self.meet().await?;

        if core == 0 {
            let own_files = std::mem::take(&mut self.found().own_files);
            // Without any log, what data there is has lost its index: it is not ours to remove.
            let keep = self.is_damaged() || segments.is_empty();
            sweep::sweep(shared, disk, &own_files, keep).await?;
        }
        self.meet().await?;
        let ends = self.found().ends.clone();
        Ok(Recovered { ends, segments, damaged: self.is_damaged() })
    }

    async fn meet(&self) -> Result<(), RecoverError> {
        if self.barrier.wait().await { Ok(()) } else { Err(RecoverError::OtherCore) }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something committed cannot be read.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Replays segments until none is left.
    async fn replay<D: Disk>(
        &self,
        shared: &Shared,
        disk: &D,
        segments: &[SegmentRef],
    ) -> Result<(), RecoverError> {
        let mut gathered = Gathered::new();
        while let Some(segment) = segments.get(self.next_segment.fetch_add(1, Ordering::AcqRel)) {
            let mut visit = |record: ReplayedRecord<'_>| gathered.add(shared, record);
            let replayed = replay_segment(disk, segment, &mut visit).await;
            let summary = match replayed {
                Ok(summary) => summary,
                Err(ReplayError::Rot { segment, rot, summary }) => {
                    tracing::error!(segment, frames = rot.len(), "committed frames are damaged");
                    self.damaged.store(true, Ordering::Release);
                    summary
                }
                Err(error) => return Err(error.into()),
            };
            self.found().ends.extend(summary.log_end());
        }
        gathered.flush(shared);
        for (segment, records) in &gathered.records_of {
            shared.segments.add_records(*segment, *records, 0);
        }
        if gathered.malformed > 0 {
            tracing::error!(records = gathered.malformed, "records of the log are malformed");
            self.damaged.store(true, Ordering::Release);
        }
        let mut found = self.found();
        found.sequences.resize(SHARDS, 0);
        for (highest, own) in found.sequences.iter_mut().zip(gathered.sequences) {
            *highest = own.max(*highest);
        }
        Ok(())
    }

    fn keep_current(&self, shared: &Shared, core: usize) -> Vec<PartList> {
        let mut kept = keep::Kept::default();
        for shard in 0..=u8::MAX {
            if shared.owner(shard) == core {
                let highest =
                    self.found().sequences.get(usize::from(shard)).copied().unwrap_or_default();
                keep::keep_current(shared, shard, highest, &mut kept);
            }
        }
        if kept.malformed > 0 {
            tracing::error!(entries = kept.malformed, "values of the index are malformed");
            self.damaged.store(true, Ordering::Release);
        }
        self.found().own_files.extend(kept.own_files);
        for (segment, records) in kept.records {
            shared.segments.hold_records(segment, records);
        }
        kept.composites
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
                missing.insert(disk.open(&path, options).await?);
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
                    tracing::error!(segment = list.place.segment, "a part list is damaged");
                    self.damaged.store(true, Ordering::Release);
                }
            }
        }
        Ok(())
    }
}

/// Tells of log segments whose headers are damaged. What lies in the others is read all the same.
fn report_headers(segments: &[SegmentRef], lost: &[u64]) {
    for segment in segments.iter().filter(|segment| segment.header_damaged) {
        let segment = segment.segment;
        tracing::error!(segment, "the header of a log segment is damaged; its frames are read");
    }
    for segment in lost {
        tracing::error!(segment, "a log segment is damaged altogether and set aside");
    }
}
