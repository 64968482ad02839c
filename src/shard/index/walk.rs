//! Walking over the artifacts of a view: over its tables and runs at once, the newest version of a stem winning.

use std::sync::Arc;

use super::key::KeyBytes;
use super::run::{
    Block, BlockCache, Either, Merge, Needed, Reader, RunCursor, RunError, RunFiles, Source,
    Version,
};
use super::{Cursor, ShardMap, View, Visible};

/// What a walk goes over.
type Layer<'a> = Either<TableSource<'a>, RunCursor>;

/// The visible artifacts of a table and its tombstones, as a source of versions.
pub(crate) struct TableSource<'a> {
    cursor: Cursor<'a>,
    here: Option<Visible<'a>>,
}

impl<'a> TableSource<'a> {
    pub(crate) fn new(mut cursor: Cursor<'a>) -> Self {
        let here = cursor.next_of_all();
        Self { cursor, here }
    }

    fn step(&mut self) {
        self.here = self.cursor.next_of_all();
    }
}

/// Nothing of it waits or fails.
impl Source for TableSource<'_> {
    fn try_ready(&mut self, _cache: &BlockCache) -> Result<bool, RunError> {
        Ok(true)
    }

    fn needed(&self) -> Option<Needed> {
        None
    }

    fn supply(&mut self, _number: u32, _block: Arc<Block>) {}

    fn seek(&mut self, from: &[u8]) {
        self.cursor.seek(from);
        self.step();
    }

    fn peek(&self) -> Option<Version<'_>> {
        self.here.as_ref().map(|here| Version {
            stem: here.stem(),
            sequence: here.sequence(),
            place: here.entry().place,
            value: &here.entry().value,
        })
    }

    fn next(&mut self) -> Result<(), RunError> {
        self.step();
        Ok(())
    }
}

/// Walks over the current artifacts whose stems have a prefix. It shows each as it was at some moment of the walk; the
/// caller has made a pin before it took the view.
pub(crate) struct Walk<'a> {
    layers: Layers<'a>,
    prefix: KeyBytes,
}

enum Layers<'a> {
    /// Nothing lies under the active table.
    Flat(TableSource<'a>),
    Merged(Box<Merge<Layer<'a>>>),
}

impl<'a> Walk<'a> {
    /// From the first stem on that is not less than `from`.
    pub(crate) fn new(map: &'a ShardMap, view: &'a View, prefix: KeyBytes, from: &[u8]) -> Self {
        let from = from.max(&prefix[..]);
        let table = |table| TableSource::new(map.scan_table(table, prefix.clone(), from));
        let layers = if view.is_flat() {
            Layers::Flat(table(&view.active.table))
        } else {
            let tables = view.tables().map(|one| Layer::One(table(one)));
            let runs = view.runs.iter().map(|run| {
                let mut cursor = RunCursor::new(Arc::clone(run), true);
                cursor.seek(from);
                Layer::Other(cursor)
            });
            Layers::Merged(Box::new(Merge::new(tables.chain(runs))))
        };
        Self { layers, prefix }
    }

    /// Comes to the next artifact, and shows it. Waits only for blocks of runs that are not cached.
    ///
    /// # Errors
    /// [`RunError`].
    pub(crate) async fn next<F: RunFiles>(
        &mut self,
        reader: Reader<'_, F>,
    ) -> Result<Option<Version<'_>>, RunError> {
        loop {
            if let Layers::Merged(merge) = &mut self.layers
                && !merge.try_ready(reader.cache)?
            {
                merge.ready(reader).await?;
            }
            match self.peek() {
                Some(here) if !here.stem.starts_with(&self.prefix) => return Ok(None),
                Some(here) if here.is_tombstone() => {}
                _ => break,
            }
            self.step()?;
        }
        Ok(self.peek())
    }

    /// Steps over what was shown.
    ///
    /// # Errors
    /// [`RunError`].
    pub(crate) fn step(&mut self) -> Result<(), RunError> {
        match &mut self.layers {
            Layers::Flat(table) => table.step(),
            Layers::Merged(merge) => merge.next()?,
        }
        Ok(())
    }

    /// Goes on at the first stem that is not less than `from`. Only forward.
    pub(crate) fn seek(&mut self, from: &[u8]) {
        match &mut self.layers {
            Layers::Flat(table) => table.seek(from),
            Layers::Merged(merge) => merge.seek(from),
        }
    }

    fn peek(&self) -> Option<Version<'_>> {
        match &self.layers {
            Layers::Flat(table) => table.peek(),
            Layers::Merged(merge) => merge.peek(),
        }
    }
}
