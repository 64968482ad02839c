//! Open segments of one core, for reading.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::Path;

use crate::io::{Disk, DiskFile, OpenOptions, residency};

/// Most files that are kept open for each access.
const OPEN_MAX: usize = 256;

/// How the bytes of a file are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Past the page cache.
    Direct,
    /// Through the page cache, which keeps what was read.
    Cached,
}

/// Keeps segments open while they are in use.
pub(crate) struct Files<D: Disk> {
    disk: D,
    direct: RefCell<HashMap<u64, D::File>>,
    cached: RefCell<HashMap<u64, D::File>>,
}

impl<D: Disk> Files<D> {
    pub(crate) fn new(disk: D) -> Self {
        Self { disk, direct: RefCell::default(), cached: RefCell::default() }
    }

    /// The segment's file, opened if need be. The caller has pinned what it read in the index.
    pub(crate) async fn get(
        &self,
        id: u64,
        access: Access,
        path: impl FnOnce() -> std::path::PathBuf,
    ) -> io::Result<D::File> {
        let open_files = match access {
            Access::Direct => &self.direct,
            Access::Cached => &self.cached,
        };
        if let Some(file) = open_files.borrow().get(&id) {
            return Ok(file.clone());
        }
        let file = open(&self.disk, &path(), access).await?;
        // What lies beside it may be being written past the cache.
        if access == Access::Cached
            && let Some(descriptor) = file.descriptor()
        {
            residency::read_no_more_than_asked(&descriptor);
        }
        let mut known = open_files.borrow_mut();
        if known.len() >= OPEN_MAX
            && let Some(any) = known.keys().next().copied()
        {
            known.remove(&any);
        }
        known.insert(id, file.clone());
        Ok(file)
    }

    /// Closes those that are of no use any more, so that their space is freed.
    pub(crate) fn close_if(&self, gone: impl Fn(u64) -> bool) {
        for open_files in [&self.direct, &self.cached] {
            open_files.borrow_mut().retain(|id, _| !gone(*id));
        }
    }
}

/// Opens a file for reading.
pub(crate) async fn open<D: Disk>(disk: &D, path: &Path, access: Access) -> io::Result<D::File> {
    let direct = access == Access::Direct;
    disk.open(path, OpenOptions { direct, ..OpenOptions::default() }).await
}
