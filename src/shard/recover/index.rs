//! What a start takes from checkpoints and runs, so that it need not replay all logs.

use std::io;
use std::sync::Arc;

use futures_util::StreamExt;

use super::READS_MAX;
use crate::io::{Disk, OpenOptions};
use crate::shard::checkpoints::Book;
use crate::shard::finder::Finder;
use crate::shard::index::checkpoint::{
    Accounts, Checkpoint, CheckpointError, Coverage, Derived, Mark,
};
use crate::shard::index::key::{self, KeyBytes};
use crate::shard::index::run::{Found, Run, RunError, Version, directory, path as run_path};
use crate::shard::index::{Entry, View};
use crate::shard::log::LogPoint;
use crate::shard::shared::Shared;

/// What the folder of the index says.
#[derive(Default)]
pub(super) struct Derivation {
    pub(super) coverage: Coverage,
    /// Log segments, and how many records were written to each.
    pub(super) written: Vec<(u64, u64)>,
}

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("input or output failed: {0}")]
    Io(#[from] io::Error),
    #[error("the checkpoint of shard {0} is missing")]
    Missing(u8),
    #[error("a run of shard {0} is another's")]
    Foreign(u8),
}

/// Reads all marks, and the checkpoints and runs of the shards that this core owns. Whatever is there must be whole. What
/// a checkpoint knows of a log's end is shown to `note`, whatever becomes of the others.
pub(super) async fn load<D: Disk>(
    shared: &Shared,
    core: usize,
    disk: &D,
    note: &dyn Fn(LogPoint),
) -> Result<Derivation, IndexError> {
    let layout = shared.volume.layout();
    let (mut marks, mut shards) = (Vec::new(), Vec::new());
    for entry in disk.list_directory(&directory(layout)).await? {
        match Derived::of_name(&entry.name) {
            Some(Derived::Mark(log)) => marks.extend(Mark::read(disk, layout, log).await?),
            Some(Derived::Checkpoint(shard)) => shards.push(shard),
            _ => {}
        }
    }
    if !(marks.is_empty() && shards.is_empty()) {
        shared.checkpoints.set_any();
    }
    let coverage = Coverage::new(&marks);
    if let Some(missing) = coverage.shards().iter().find(|shard| !shards.contains(shard)) {
        return Err(IndexError::Missing(missing));
    }
    let own = shards.into_iter().filter(|&shard| shared.owner(shard) == core);
    let loads = own.map(|shard| load_shard(shared, disk, shard, note));
    let mut loads = futures_util::stream::iter(loads).buffer_unordered(READS_MAX);
    while let Some(loaded) = loads.next().await {
        loaded?;
    }
    let written = marks.into_iter().flat_map(|mark| mark.written).collect();
    Ok(Derivation { coverage, written })
}

async fn load_shard<D: Disk>(
    shared: &Shared,
    disk: &D,
    shard: u8,
    note: &dyn Fn(LogPoint),
) -> Result<(), IndexError> {
    let layout = shared.volume.layout();
    let Some(checkpoint) = Checkpoint::read(disk, layout, shard).await? else {
        return Err(IndexError::Missing(shard));
    };
    checkpoint.point.into_iter().for_each(note);
    let mut runs = Vec::with_capacity(checkpoint.runs.len());
    for &id in &checkpoint.runs {
        let options = OpenOptions { direct: true, ..OpenOptions::default() };
        let file = disk.open(&run_path(layout, id), options).await?;
        let run = Run::open(&file, id).await?;
        if run.shard() != shard {
            return Err(IndexError::Foreign(shard));
        }
        shared.checkpoints.add_run(id);
        runs.push(Arc::new(run));
    }
    let map = shared.index.shard(shard);
    map.set_view(View { runs: runs.into(), ..View::default() });
    for Version { stem, sequence, place, value } in checkpoint.resident() {
        let entry = Entry { place, value: value.into() };
        map.insert_version(key::version_boxed(stem, sequence), entry);
    }
    let Checkpoint { sequence, accounts, .. } = checkpoint;
    *shared.checkpoints.book(shard) = Book { sequence, accounts };
    Ok(())
}

/// Finds what the artifacts in a shard's active table hide in its runs, and notes it there; tombstones that hide nothing
/// go. What is hidden is returned.
pub(super) async fn shadow<D: Disk>(
    shared: &Shared,
    finder: &Finder<D>,
    shard: u8,
) -> Result<Accounts, RunError> {
    let map = shared.index.shard(shard);
    let mut shadowed = Accounts::default();
    if map.is_flat() {
        return Ok(shadowed);
    }
    let view = map.view();
    let stems: Vec<KeyBytes> =
        view.active.table.entries().map(|found| key::split(found.key()).0.into()).collect();
    let view_of = &view;
    let looks = stems.iter().map(|stem: &KeyBytes| async move {
        let view = view_of;
        if !view.runs_may_hold(stem) {
            return Ok((stem, None));
        }
        Ok::<(&KeyBytes, Option<Found>), RunError>((stem, finder.read_runs(view, stem).await?))
    });
    let mut looks = futures_util::stream::iter(looks).buffer_unordered(READS_MAX);
    while let Some(look) = looks.next().await {
        match look? {
            (stem, Some(found)) => {
                // A malformed value is not counted in the book either.
                let _ = shadowed.add(shard, &found.version(stem));
            }
            (stem, None) => view.active.table.drop_tombstone(stem),
        }
    }
    *view.active.shadowed() = shadowed.clone();
    Ok(shadowed)
}

/// Removes what is unfinished and the runs that no checkpoint names.
pub(super) async fn sweep<D: Disk>(shared: &Shared, disk: &D) -> io::Result<()> {
    let layout = shared.volume.layout();
    let folder = directory(layout);
    for entry in disk.list_directory(&folder).await? {
        let dead = match Derived::of_name(&entry.name) {
            Some(Derived::Run(run)) => !shared.checkpoints.has_run(run),
            Some(Derived::Temporary) => true,
            _ => false,
        };
        if dead {
            disk.remove_if_there(&folder.join(&entry.name)).await?;
        }
    }
    Ok(())
}
