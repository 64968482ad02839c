//! Open files of one core, for reading.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;

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

/// Keeps files open while they are in use.
pub(crate) struct Files<D: Disk> {
    disk: D,
    /// Other things lie in a file than what is asked for, and may be being written past the page cache.
    are_shared: bool,
    direct: RefCell<HashMap<u64, Open<D::File>>>,
    cached: RefCell<HashMap<u64, Open<D::File>>>,
}

struct Open<F> {
    file: F,
    /// Rounds since it was last asked for.
    idle: Cell<u32>,
}

impl<D: Disk> Files<D> {
    /// Segments.
    pub(crate) fn new(disk: D) -> Self {
        Self { disk, are_shared: true, direct: RefCell::default(), cached: RefCell::default() }
    }

    /// Files of one artifact each.
    pub(crate) fn of_one_each(disk: D) -> Self {
        Self { are_shared: false, ..Self::new(disk) }
    }

    /// The file, opened if need be. The caller has pinned what it read in the index.
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
        if let Some(open) = open_files.borrow().get(&id) {
            open.idle.set(0);
            return Ok(open.file.clone());
        }
        let direct = access == Access::Direct;
        let options = OpenOptions { direct, ..OpenOptions::default() };
        let file = self.disk.open(&path(), options).await?;
        if access == Access::Cached
            && self.are_shared
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
        known.insert(id, Open { file: file.clone(), idle: Cell::new(0) });
        Ok(file)
    }

    /// Closes those that are of no use any more, so that their space is freed.
    pub(crate) fn close_if(&self, gone: impl Fn(u64) -> bool) {
        self.retain(|id, _| !gone(id));
    }

    /// A round is over: closes those that nobody has asked for in so many.
    pub(crate) fn close_idle(&self, rounds: u32) {
        self.retain(|_, open| {
            open.idle.set(open.idle.get() + 1);
            open.idle.get() <= rounds
        });
    }

    fn retain(&self, wanted: impl Fn(u64, &Open<D::File>) -> bool) {
        for open_files in [&self.direct, &self.cached] {
            open_files.borrow_mut().retain(|id, open| wanted(*id, open));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::testing::run;
    use crate::io::uring::UringDisk;

    #[test]
    fn a_file_stays_open_while_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = || folder.path().join("one");
        let files = Files::of_one_each(UringDisk);
        run(async {
            let new = OpenOptions { create_new: true, ..OpenOptions::default() };
            UringDisk.open(&path(), new).await.unwrap();
            for access in [Access::Direct, Access::Cached] {
                files.get(1, access, path).await.unwrap();
                for _ in 0..3 {
                    files.close_idle(1);
                    files.get(1, access, || panic!("it is open")).await.unwrap();
                }
                files.close_idle(1);
                files.close_idle(1);
                let other = || folder.path().join("another");
                let closed = files.get(1, access, other).await.map(|_| ());
                assert_eq!(closed.unwrap_err().kind(), io::ErrorKind::NotFound, "{access:?}");
            }
        });
    }
}
