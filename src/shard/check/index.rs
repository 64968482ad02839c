//! Looks at what is derived: runs, checkpoints and marks. Damage there costs the next start some time, and no data.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::missing::names_others;
use super::{Check, CheckError, Severity};
use crate::io::{Disk, OpenOptions};
use crate::shard::index::checkpoint::{Checkpoint, CheckpointError, Coverage, Derived, Mark};
use crate::shard::index::run::{Run, RunError, directory, path as run_path};
use crate::shard::log::durable::DurablePoints;

impl<D: Disk> Check<'_, D> {
    /// Reads all of the folder of the index. Returns the checkpoints that name log segments which are not among these, and
    /// up to where log segments were durable when checkpoints were made.
    pub(super) async fn index_folder(
        &mut self,
        there: &BTreeSet<u64>,
    ) -> Result<(Vec<Checkpoint>, DurablePoints), CheckError> {
        let (mut naming_others, mut durable) = (Vec::new(), DurablePoints::default());
        let layout = &self.folder.layout;
        let mut entries = match self.disk.list_directory(&directory(layout)).await {
            // A folder of format 1 has none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((naming_others, durable));
            }
            entries => entries?,
        };
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        let (mut runs, mut named) = (BTreeSet::new(), BTreeMap::new());
        let (mut marks, mut checkpoints) = (Vec::new(), BTreeSet::new());
        for entry in entries {
            let file = format!("index/{}", entry.name);
            match Derived::of_name(&entry.name) {
                Some(Derived::Run(run)) => {
                    runs.insert(run);
                    self.run(run, &file).await?;
                }
                Some(Derived::Checkpoint(shard)) => {
                    checkpoints.insert(shard);
                    match Checkpoint::read(self.disk, layout, shard).await {
                        Ok(Some(found)) => {
                            named.extend(found.runs.iter().map(|run| (*run, file.clone())));
                            found.point.into_iter().for_each(|point| durable.note(point));
                            naming_others
                                .extend(Some(found).filter(|found| names_others(found, there)));
                        }
                        Ok(None) => {}
                        Err(error) => self.derived(&file, error)?,
                    }
                    self.summary.checkpoints += 1;
                }
                Some(Derived::Mark(log)) => match Mark::read(self.disk, layout, log).await {
                    Ok(mark) => marks.extend(mark),
                    Err(error) => self.derived(&file, error)?,
                },
                Some(Derived::Temporary) => {
                    self.find(Severity::Unreferenced, &file, "unfinished".into());
                }
                None if entry.name == "reserve" => {}
                None => self.find(Severity::Unreferenced, &file, "none of ours".into()),
            }
        }
        for (run, file) in named.iter().filter(|(run, _)| !runs.contains(run)) {
            self.find(Severity::Derived, file, format!("the run {run:016x} is missing"));
        }
        for run in runs.iter().filter(|run| !named.contains_key(run)) {
            let file = format!("index/{run:016x}.run");
            self.find(Severity::Unreferenced, &file, "no checkpoint names it".into());
        }
        let missing = Coverage::new(&marks).shards();
        for shard in missing.iter().filter(|shard| !checkpoints.contains(shard)) {
            let file = format!("index/{shard:02x}.checkpoint");
            self.find(Severity::Derived, &file, "a mark relies on it, and it is missing".into());
        }
        Ok((naming_others, durable))
    }

    async fn run(&mut self, id: u64, file: &str) -> Result<(), CheckError> {
        let options = OpenOptions { direct: true, ..OpenOptions::default() };
        let open = self.disk.open(&run_path(&self.folder.layout, id), options).await?;
        self.summary.runs += 1;
        match Run::open(&open, id).await {
            Ok(run) => {
                for part in run.verify(&open, async || ()).await? {
                    self.find(Severity::Derived, file, format!("{part} is damaged"));
                }
            }
            Err(RunError::Damaged { part, .. }) => {
                self.find(Severity::Derived, file, format!("{part} is damaged"));
            }
            Err(RunError::Io(error)) => return Err(error.into()),
        }
        Ok(())
    }

    fn derived(&mut self, file: &str, error: CheckpointError) -> Result<(), CheckError> {
        match error {
            CheckpointError::Damaged(_) => {
                self.find(Severity::Derived, file, "it is damaged".into());
                Ok(())
            }
            CheckpointError::Io(error) => Err(error.into()),
        }
    }
}
