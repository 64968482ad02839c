//! Artifacts that are too many for memory while logs are replayed: until all logs were read they lie in runs that only
//! this start knows.
//!
//! Such a run holds artifacts of all shards, the newest version of each that was gathered; their stems begin with the
//! number of the shard. Several may hold versions of the same artifact, in no order, for cores replay segments in no
//! order. No checkpoint names such a run: it goes at the end of the start, or at the beginning of the next.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::gather::Gathered;
use crate::io::{Disk, OpenOptions};
use crate::runtime::Pauses;
use crate::shard::index::run::{
    Merge, Reader, Run, RunCursor, RunFiles, RunWriter, Source, path as run_path,
};
use crate::shard::index::{SHARDS, key, size};
use crate::shard::keeper::{KeepError, need_room, remove_run};
use crate::shard::log::Layout;
use crate::shard::planted::{self, Bug};
use crate::shard::shared::Shared;

/// So many runs become one, so that few are open and read at once.
const WIDTH: usize = 16;

/// Versions that are written before others have a turn.
pub(super) const VERSIONS: usize = 64;

/// What of a shard was spilled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    /// Number of versions, at most.
    pub(super) entries: u64,
    /// What they take in memory, at most.
    pub(super) bytes: usize,
}

/// What was spilled.
#[derive(Clone, Debug, Default)]
pub(super) struct Spilled {
    /// Those of one core the last first.
    pub(super) runs: Vec<Arc<Run>>,
    /// By shard; none if there are no runs.
    shares: Vec<Share>,
}

impl Spilled {
    /// What of a shard was spilled.
    pub(super) fn share(&self, shard: u8) -> Share {
        self.shares.get(usize::from(shard)).copied().unwrap_or_default()
    }

    fn count(&mut self, shard: u8, more: Share) {
        self.shares.resize(SHARDS, Share::default());
        let share = &mut self.shares[usize::from(shard)];
        share.entries += more.entries;
        share.bytes += more.bytes;
    }

    /// Takes what was spilled besides.
    pub(super) fn absorb(&mut self, other: Self) {
        self.runs.extend(other.runs);
        for (shard, share) in (0..=u8::MAX).zip(other.shares) {
            self.count(shard, share);
        }
    }

    /// Removes all runs.
    pub(super) async fn remove<D: Disk>(&self, shared: &Shared, disk: &D) {
        for run in &self.runs {
            remove_run(disk, shared, run.id()).await;
        }
    }
}

/// The stem of an artifact in a spilled run.
pub(super) fn spilled_stem(spilled: &mut Vec<u8>, shard: u8, stem: &[u8]) {
    spilled.clear();
    spilled.push(shard);
    spilled.extend_from_slice(stem);
}

/// Spills what one core gathers.
pub(super) struct Spiller<'s, D: Disk> {
    shared: &'s Shared,
    disk: &'s D,
    files: SpillFiles<'s, D>,
    /// Bytes that may be held back.
    limit: usize,
    /// Runs by how often they were merged, of each level the last one last.
    levels: Vec<Vec<Arc<Run>>>,
    /// All but the runs.
    spilled: Spilled,
}

impl<'s, D: Disk> Spiller<'s, D> {
    /// Spills when more than `limit` bytes are held back; never where runs are not wanted.
    pub(super) fn new(shared: &'s Shared, disk: &'s D, limit: usize) -> Self {
        let limit = if shared.checkpoints.is_off() { usize::MAX } else { limit };
        let files = SpillFiles::new(shared.volume.layout(), disk);
        let (levels, spilled) = (Vec::new(), Spilled::default());
        Self { shared, disk, files, limit, levels, spilled }
    }

    /// Spills the artifacts that are held back, if that is too much. Where the disk has no room they go to memory.
    ///
    /// # Errors
    /// [`KeepError::Io`] as the disk says; [`KeepError::Run`] if a run that was spilled before is damaged.
    pub(super) async fn relieve(&mut self, gathered: &mut Gathered) -> Result<(), KeepError> {
        if gathered.bytes() <= self.limit {
            return Ok(());
        }
        gathered.sort();
        match self.spill(gathered).await {
            Ok(()) => gathered.flush_resident(self.shared),
            Err(KeepError::Full) => {
                tracing::warn!("no room to replay by way of the disk: artifacts stay in memory");
                gathered.flush(self.shared);
            }
            Err(error) => return Err(error),
        }
        self.narrow().await
    }

    /// All that was spilled.
    pub(super) fn finish(self) -> Spilled {
        let runs = self.levels.into_iter().flat_map(|runs| runs.into_iter().rev());
        Spilled { runs: runs.collect(), ..self.spilled }
    }

    async fn spill(&mut self, gathered: &Gathered) -> Result<(), KeepError> {
        need_room(self.disk, self.shared, gathered.bytes() as u64).await?;
        let mut spilled = Spilled::default();
        let fill = async |writer: &mut RunWriter<D::File>| {
            let mut stem = Vec::new();
            let pauses = Pauses::after(VERSIONS);
            for (shard, version, entry) in gathered.artifacts() {
                let (artifact, sequence) = key::split(version);
                spilled_stem(&mut stem, shard, artifact);
                writer.push(&stem, sequence, entry.place, &entry.value).await?;
                spilled.count(shard, Share { entries: 1, bytes: size(version, entry) });
                pauses.count(1).await;
            }
            Ok(())
        };
        let run = write_run(self.shared, self.disk, Purpose::Replay, fill).await?;
        self.spilled.absorb(spilled);
        self.add(0, run);
        self.shared.checkpoints.counters.spills.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn add(&mut self, level: usize, run: Option<Arc<Run>>) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].extend(run);
    }

    /// Merges runs where they have become too many.
    async fn narrow(&mut self) -> Result<(), KeepError> {
        let mut level = 0;
        while self.levels.get(level).is_some_and(|runs| runs.len() >= WIDTH) {
            let old = &self.levels[level];
            let merged = match self.merge(old).await {
                // Then they are many.
                Err(KeepError::Full) => return Ok(()),
                merged => merged?,
            };
            for run in std::mem::take(&mut self.levels[level]) {
                self.files.close(run.id());
                remove_run(self.disk, self.shared, run.id()).await;
            }
            level += 1;
            self.add(level, merged);
            self.shared.checkpoints.counters.merges.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn merge(&self, runs: &[Arc<Run>]) -> Result<Option<Arc<Run>>, KeepError> {
        let bytes = runs.iter().map(|run| run.length()).sum();
        need_room(self.disk, self.shared, bytes).await?;
        let reader = Reader { files: &self.files, cache: &self.shared.blocks };
        let cursors = runs.iter().rev().map(|run| RunCursor::new(Arc::clone(run), false));
        let mut merge = newest_of(cursors);
        let fill = async |writer: &mut RunWriter<D::File>| {
            let pauses = Pauses::after(VERSIONS);
            loop {
                merge.ready(reader).await?;
                let Some(version) = merge.peek() else { break };
                let (stem, value) = (version.stem, version.value);
                writer.push(stem, version.sequence, version.place, value).await?;
                merge.next()?;
                pauses.count(1).await;
            }
            Ok(())
        };
        write_run(self.shared, self.disk, Purpose::Replay, fill).await
    }
}

/// Walks over the newest versions in some sources.
pub(super) fn newest_of<S: Source>(sources: impl IntoIterator<Item = S>) -> Merge<S> {
    if planted::is(Bug::ReplayInLogOrder) {
        Merge::new(sources)
    } else {
        Merge::by_sequence(sources)
    }
}

/// What a run is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// For this start: nothing of it is durable.
    Replay,
    /// For a shard, with so many stems at most. It is durable, but not yet its name.
    Shard(u8, u64),
}

/// Writes a run; `None` if nothing came into it. Where it fails no file is left, if the disk allows.
///
/// # Errors
/// As `fill` and the disk say.
pub(super) async fn write_run<D: Disk>(
    shared: &Shared,
    disk: &D,
    purpose: Purpose,
    fill: impl AsyncFnOnce(&mut RunWriter<D::File>) -> Result<(), KeepError>,
) -> Result<Option<Arc<Run>>, KeepError> {
    let id = shared.volume.next_segment_id();
    let path = run_path(shared.volume.layout(), id);
    // Before there is a file: another core may be sweeping.
    shared.checkpoints.add_run(id);
    let write = async {
        // None of the first kind is ever asked for a stem.
        let (shard, stems) = match purpose {
            Purpose::Replay => (0, 0),
            Purpose::Shard(shard, stems) => (shard, stems),
        };
        let mut writer = RunWriter::create(disk, &path, id, shard, stems).await?;
        fill(&mut writer).await?;
        if writer.entries() == 0 {
            return Ok(None);
        }
        let run = match purpose {
            Purpose::Replay => writer.finish_fleeting().await?,
            Purpose::Shard(..) => writer.finish().await?,
        };
        Ok(Some(Arc::new(run)))
    };
    let written = write.await;
    if !matches!(written, Ok(Some(_))) {
        remove_run(disk, shared, id).await;
    }
    written
}

/// Opens spilled runs for one core. They are read from one end to the other, so the page cache may read ahead.
pub(super) struct SpillFiles<'s, D: Disk> {
    layout: &'s Layout,
    disk: &'s D,
    open: RefCell<HashMap<u64, D::File>>,
}

impl<'s, D: Disk> SpillFiles<'s, D> {
    pub(super) fn new(layout: &'s Layout, disk: &'s D) -> Self {
        Self { layout, disk, open: RefCell::default() }
    }

    fn close(&self, run: u64) {
        self.open.borrow_mut().remove(&run);
    }
}

impl<D: Disk> RunFiles for SpillFiles<'_, D> {
    type File = D::File;

    async fn file(&self, run: u64, _keep: bool) -> io::Result<D::File> {
        if let Some(file) = self.open.borrow().get(&run) {
            return Ok(file.clone());
        }
        let file = self.disk.open(&run_path(self.layout, run), OpenOptions::default()).await?;
        self.open.borrow_mut().insert(run, file.clone());
        Ok(file)
    }
}
