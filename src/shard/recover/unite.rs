//! Brings what was spilled of a shard together with what it has in memory, once all logs were read.

use std::sync::Arc;

use super::keep::{self, Kept, Living};
use super::spill::{self, Purpose, SpillFiles, Spilled, VERSIONS};
use crate::io::Disk;
use crate::runtime::Pauses;
use crate::shard::finder::Finder;
use crate::shard::index::checkpoint::Accounts;
use crate::shard::index::key::{self, KeyBytes};
use crate::shard::index::run::{
    Block, BlockCache, Either, Merge, Needed, Reader, Run, RunCursor, RunError, RunWriter, Source,
    Version,
};
use crate::shard::index::{Entry, TableSource, View};
use crate::shard::keeper::{KeepError, need_room};
use crate::shard::planted::{self, Bug};
use crate::shard::shared::Shared;

/// One core's hands for it.
pub(super) struct Uniter<'s, D: Disk> {
    shared: &'s Shared,
    disk: &'s D,
    finder: &'s Finder<D>,
    files: SpillFiles<'s, D>,
    spilled: Spilled,
}

impl<'s, D: Disk> Uniter<'s, D> {
    pub(super) fn new(
        shared: &'s Shared,
        disk: &'s D,
        finder: &'s Finder<D>,
        spilled: Spilled,
    ) -> Self {
        let files = SpillFiles::new(shared.volume.layout(), disk);
        Self { shared, disk, finder, files, spilled }
    }

    /// Whether something of a shard was spilled.
    pub(super) fn concerns(&self, shard: u8) -> bool {
        self.spilled.share(shard).entries > 0
    }

    /// Makes one run of the artifacts of a shard that were replayed, over those that it has; what its book says is
    /// theirs too then. If they are too few for that, or there is no room, they all come to memory. Says whether there
    /// is a run, whose name is not durable yet.
    ///
    /// # Errors
    /// [`KeepError::Io`] as the disk says; [`KeepError::Run`] if a run cannot be read.
    pub(super) async fn unite(
        &self,
        shard: u8,
        living: &mut Living,
        kept: &mut Kept,
    ) -> Result<bool, KeepError> {
        let map = self.shared.index.shard(shard);
        let bytes = self.spilled.share(shard).bytes + map.table_bytes();
        if bytes >= self.shared.sizes.table_min {
            match self.to_run(shard, bytes as u64, living, kept).await {
                Err(KeepError::Full) => {
                    tracing::warn!(shard, "no room for a run: replayed artifacts stay in memory");
                }
                made => return made,
            }
        }
        self.to_memory(shard).await?;
        Ok(false)
    }

    async fn to_run(
        &self,
        shard: u8,
        bytes: u64,
        living: &mut Living,
        kept: &mut Kept,
    ) -> Result<bool, KeepError> {
        need_room(self.disk, self.shared, bytes).await?;
        let map = self.shared.index.shard(shard);
        let view = map.view();
        let stems = self.spilled.share(shard).entries + view.active.table.len() as u64;
        let mut own = Own { shard, living, kept: Kept::default(), shadowed: Accounts::default() };
        let fill = async |writer: &mut RunWriter<D::File>| {
            let table = map.scan_table(&view.active.table, KeyBytes::default(), &[]);
            let table = Layer::One(TableSource::new(table));
            let merge = self.merge(shard, Some(table));
            self.fill(merge, &view, &mut own, writer).await
        };
        let purpose = Purpose::Shard(shard, stems);
        let run = spill::write_run(self.shared, self.disk, purpose, fill).await?;
        let Own { kept: own, shadowed, .. } = own;
        kept.absorb_records(&own);
        let mut book = self.shared.checkpoints.book(shard);
        book.accounts.add_all(&own.accounts);
        book.accounts.subtract_all(&shadowed);
        drop(book);
        let is_made = run.is_some();
        let runs = run.into_iter().chain(view.runs.iter().cloned()).collect();
        map.set_view(View { runs, ..View::default() });
        Ok(is_made)
    }

    /// What of a shard was spilled, besides what else is given, each artifact in its newest version.
    fn merge<'t>(&self, shard: u8, besides: Option<Layer<'t>>) -> Merge<Layer<'t>> {
        let spilled =
            self.spilled.runs.iter().map(|run| Layer::Other(SpillCursor::new(run, shard)));
        spill::newest_of(besides.into_iter().chain(spilled))
    }

    /// Brings what was spilled of a shard to what it has in memory.
    async fn to_memory(&self, shard: u8) -> Result<(), KeepError> {
        let map = self.shared.index.shard(shard);
        let view = map.view();
        let mut merge = self.merge(shard, None);
        let pauses = Pauses::after(VERSIONS);
        loop {
            merge.ready(self.reader()).await?;
            let Some(version) = merge.peek() else { break };
            let Version { stem, sequence, place, value } = version;
            // What is in memory was read last.
            let is_read_before = || view.active.table.holds(stem);
            if !(planted::is(Bug::ReplayInLogOrder) && is_read_before()) {
                let entry = Entry { place, value: value.into() };
                map.insert_version(key::version_boxed(stem, sequence), entry);
            }
            merge.next()?;
            pauses.count(1).await;
        }
        Ok(())
    }

    fn reader(&self) -> Reader<'_, SpillFiles<'s, D>> {
        Reader { files: &self.files, cache: &self.shared.blocks }
    }

    async fn fill(
        &self,
        mut merge: Merge<Layer<'_>>,
        view: &View,
        own: &mut Own<'_>,
        writer: &mut RunWriter<D::File>,
    ) -> Result<(), KeepError> {
        let pauses = Pauses::after(VERSIONS);
        loop {
            merge.ready(self.reader()).await?;
            let Some(version) = merge.peek() else { break };
            if self.keeps(view, own, &version).await? {
                let Version { stem, sequence, place, value } = version;
                writer.push(stem, sequence, place, value).await?;
            }
            merge.next()?;
            pauses.count(1).await;
        }
        Ok(())
    }

    /// Whether a version comes to the run of its shard, over those of a view; counts it and what it hides there.
    async fn keeps(
        &self,
        view: &View,
        own: &mut Own<'_>,
        version: &Version<'_>,
    ) -> Result<bool, KeepError> {
        let may_hide = view.runs_may_hold(version.stem);
        if !keep::settle(own.shard, version, may_hide, own.living, &mut own.kept) {
            return Ok(false);
        }
        if !may_hide {
            return Ok(true);
        }
        let below = self.finder.read_runs(view, version.stem).await.map_err(KeepError::Run)?;
        let Some(found) = below else { return Ok(!version.is_tombstone()) };
        // A malformed value is not counted in the book either.
        let _ = own.shadowed.add(own.shard, &found.version(version.stem));
        Ok(true)
    }
}

/// What a run takes with it.
struct Own<'k> {
    shard: u8,
    living: &'k mut Living,
    kept: Kept,
    /// What it hides in the runs below it.
    shadowed: Accounts,
}

/// What replayed artifacts of a shard are in.
type Layer<'t> = Either<TableSource<'t>, SpillCursor>;

/// Walks over the artifacts of one shard in a spilled run.
struct SpillCursor {
    shard: u8,
    cursor: RunCursor,
}

impl SpillCursor {
    fn new(run: &Arc<Run>, shard: u8) -> Self {
        let mut cursor = Self { shard, cursor: RunCursor::new(Arc::clone(run), false) };
        cursor.seek(&[]);
        cursor
    }
}

impl Source for SpillCursor {
    fn try_ready(&mut self, cache: &BlockCache) -> Result<bool, RunError> {
        self.cursor.try_ready(cache)
    }

    fn needed(&self) -> Option<Needed> {
        self.cursor.needed()
    }

    fn supply(&mut self, number: u32, block: Arc<Block>) {
        self.cursor.supply(number, block);
    }

    fn seek(&mut self, from: &[u8]) {
        let mut stem = Vec::new();
        spill::spilled_stem(&mut stem, self.shard, from);
        self.cursor.seek(&stem);
    }

    fn peek(&self) -> Option<Version<'_>> {
        let version = self.cursor.peek()?;
        let (shard, stem) = version.stem.split_first()?;
        (*shard == self.shard).then_some(Version { stem, ..version })
    }

    fn next(&mut self) -> Result<(), RunError> {
        self.cursor.next()
    }
}
