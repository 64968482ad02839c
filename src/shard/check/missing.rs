//! Log segments that are missing though records in them are current: nobody but the index tells of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use super::{Check, CheckError, Survey};
use crate::io::budget::Budget;
use crate::io::{Disk, DiskFile, OpenOptions};
use crate::shard::index::checkpoint::Checkpoint;
use crate::shard::index::key::{self, KeyBytes};
use crate::shard::index::run::{
    BlockCache, Merge, Reader, Run, RunCursor, RunError, RunFiles, Version, path as run_path,
};
use crate::shard::losses::Loss;

/// Runs are walked through, so nothing of them is kept.
const CACHE: u64 = 1 << 20;

/// Whether a checkpoint names a log segment that is not among these.
pub(super) fn names_others(checkpoint: &Checkpoint, there: &BTreeSet<u64>) -> bool {
    let resident = || checkpoint.resident().filter(|version| !version.is_tombstone());
    checkpoint.accounts.records.keys().any(|segment| !there.contains(segment))
        || resident().any(|version| !there.contains(&version.place.segment))
}

impl<D: Disk> Check<'_, D> {
    /// Finds the log segments that are not among these, though records in them are current as far as these checkpoints
    /// know. A run that is damaged tells nothing; it was told of.
    pub(super) async fn missing(
        &mut self,
        there: &BTreeSet<u64>,
        checkpoints: &[Checkpoint],
        survey: &Survey,
    ) -> Result<(), CheckError> {
        let mut missing: BTreeMap<u64, u64> = BTreeMap::new();
        for checkpoint in checkpoints {
            let mut miss = |version: &Version<'_>| {
                if !there.contains(&version.place.segment) {
                    *missing.entry(version.place.segment).or_default() += 1;
                }
            };
            match self.current(checkpoint, survey, &mut miss).await {
                Ok(()) | Err(RunError::Damaged { .. }) => {}
                Err(RunError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(RunError::Io(error)) => return Err(error.into()),
            }
        }
        let mut found: BTreeMap<u64, String> = missing
            .into_iter()
            .map(|(segment, records)| {
                (segment, format!("missing, and {records} records in it are current"))
            })
            .collect();
        for segment in self.notes.losses().gone().difference(there) {
            let unknown = || "missing, and the index that knew of it is gone".into();
            found.entry(*segment).or_insert_with(unknown);
        }
        for (segment, what) in found {
            self.find_lost(Loss::Missing(segment), what);
        }
        Ok(())
    }

    /// Shows all that is current and that only a checkpoint and its runs tell of.
    async fn current(
        &self,
        checkpoint: &Checkpoint,
        survey: &Survey,
        show: &mut dyn FnMut(&Version<'_>),
    ) -> Result<(), RunError> {
        let shard = checkpoint.shard;
        let mut living = survey.living(shard);
        let mut show = |version: &Version<'_>| {
            let in_logs = survey.newest(shard, version.stem);
            if !version.is_tombstone()
                && in_logs.is_none_or(|sequence| sequence < version.sequence)
                && living.admit(version.stem, version.value)
            {
                show(version);
            }
        };
        let mut resident: HashSet<KeyBytes> = HashSet::new();
        for version in checkpoint.resident() {
            if key::is_artifact(version.stem) {
                resident.insert(version.stem.into());
            }
            show(&version);
        }
        let mut files = Files(HashMap::new());
        let mut runs = Vec::new();
        for &id in &checkpoint.runs {
            let options = OpenOptions { direct: true, ..OpenOptions::default() };
            let file = self.disk.open(&run_path(&self.folder.layout, id), options).await?;
            runs.push(Arc::new(Run::open(&file, id).await?));
            files.0.insert(id, file);
        }
        let cache = BlockCache::new(Budget::new(CACHE), CACHE);
        let reader = Reader { files: &files, cache: &cache };
        let mut merge = Merge::new(runs.into_iter().map(|run| RunCursor::new(run, false)));
        loop {
            merge.ready(reader).await?;
            let Some(version) = merge.peek() else { return Ok(()) };
            if !resident.contains(version.stem) {
                show(&version);
            }
            merge.next()?;
        }
    }
}

/// The open runs of a shard.
struct Files<F>(HashMap<u64, F>);

impl<F: DiskFile + Clone> RunFiles for Files<F> {
    type File = F;

    async fn file(&self, run: u64, _keep: bool) -> io::Result<F> {
        self.0.get(&run).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
