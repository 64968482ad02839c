//! One core's look-ups of artifacts, in memory and in runs.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::error::ShardError;
use super::files::{Access, Files};
use super::index::run::{self, Found, Probe, Reader, RunError, RunFiles};
use super::index::{Below, Looked, View, key};
use super::log::Place;
use super::pins::CorePins;
use super::shared::Shared;
use crate::io::Disk;

/// Finds artifacts. Whoever asks for one has made a pin before, and keeps it for as long as it uses what was found.
pub(crate) struct Finder<D: Disk> {
    shared: Arc<Shared>,
    pins: Rc<CorePins>,
    files: OpenRuns<D>,
}

/// The open runs of one core.
pub(crate) struct OpenRuns<D: Disk> {
    shared: Arc<Shared>,
    files: Files<D>,
}

impl<D: Disk> RunFiles for OpenRuns<D> {
    type File = D::File;

    async fn file(&self, run: u64, keep: bool) -> io::Result<D::File> {
        let access = if keep { Access::Cached } else { Access::Direct };
        self.files.get(run, access, || self.path(run)).await
    }
}

impl<D: Disk> OpenRuns<D> {
    fn path(&self, run: u64) -> PathBuf {
        run::path(self.shared.volume.layout(), run)
    }
}

impl<D: Disk> Finder<D> {
    pub(crate) fn new(shared: Arc<Shared>, disk: D, pins: Rc<CorePins>) -> Self {
        let files = OpenRuns { shared: Arc::clone(&shared), files: Files::new(disk) };
        Self { shared, pins, files }
    }

    pub(crate) fn pins(&self) -> &Rc<CorePins> {
        &self.pins
    }

    /// How runs are read.
    pub(crate) fn reader(&self) -> Reader<'_, OpenRuns<D>> {
        Reader { files: &self.files, cache: &self.shared.blocks }
    }

    /// What `read` makes of the current version of a stem of any keyspace.
    ///
    /// # Errors
    /// If a run cannot be read.
    pub(crate) async fn get<T>(
        &self,
        shard: u8,
        stem: &[u8],
        read: impl Fn(u64, Place, &[u8]) -> T,
    ) -> Result<Option<T>, ShardError> {
        let map = self.shared.index.shard(shard);
        if !key::is_artifact(stem) {
            return Ok(map.get(stem, |sequence, entry| read(sequence, entry.place, &entry.value)));
        }
        match map.look(stem, &read) {
            Looked::Known(found) => Ok(found),
            Looked::Below(below) => self.below(shard, stem, below, read).await,
        }
    }

    /// Goes on where memory does not know.
    ///
    /// # Errors
    /// If a run cannot be read.
    pub(crate) async fn below<T>(
        &self,
        shard: u8,
        stem: &[u8],
        mut below: Below,
        read: impl Fn(u64, Place, &[u8]) -> T,
    ) -> Result<Option<T>, ShardError> {
        loop {
            let found = self.in_runs(&below.view, stem).await?;
            let Some(found) = found else { return Ok(None) };
            if found.sequence <= below.published {
                let there = !found.is_tombstone();
                return Ok(there.then(|| read(found.sequence, found.place, found.value())));
            }
            // It came to the run since we looked, and may have replaced what we could have seen.
            match self.shared.index.shard(shard).look(stem, &read) {
                Looked::Known(found) => return Ok(found),
                Looked::Below(again) => below = again,
            }
        }
    }

    /// The newest version in the runs of a view, a tombstone too.
    ///
    /// # Errors
    /// If a run cannot be read.
    pub(crate) async fn in_runs(
        &self,
        view: &View,
        stem: &[u8],
    ) -> Result<Option<Found>, ShardError> {
        let found = self.read_runs(view, stem).await;
        found.map_err(|error| self.shared.run_failed(error))
    }

    /// The same, before there is anybody to tell of damage.
    ///
    /// # Errors
    /// If a run cannot be read.
    pub(crate) async fn read_runs(
        &self,
        view: &View,
        stem: &[u8],
    ) -> Result<Option<Found>, RunError> {
        run::get_newest(&view.runs, self.reader(), &Probe::new(stem)).await
    }

    /// Closes the files of runs that are gone.
    pub(crate) fn close_if(&self, gone: impl Fn(u64) -> bool) {
        self.files.files.close_if(gone);
    }
}

impl Shared {
    /// What a failed read of a run is to whoever needed it. Damage is remembered: the next start builds the index again.
    pub(crate) fn run_failed(&self, error: RunError) -> ShardError {
        if let RunError::Damaged { .. } = &error {
            self.checkpoints.note_damage(&error.to_string());
        }
        error.into()
    }
}
