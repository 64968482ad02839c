//! Data segments and own files: where the bytes of large artifacts go.
//!
//! A core appends extents to a data segment of its own. Space is never used twice: a segment is unlinked when all
//! of it is dead. Nothing here is durable before [`DataWriter::sync`] returned, and nothing refers to it before that.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::error::ShardError;
use super::extent::extent_length;
use super::index::value::Location;
use super::log::Layout;
use super::planted::{self, Bug};
use super::segments::Lease;
use super::shared::Shared;
use super::turn::Turn;
use crate::io::{Disk, DiskFile, OpenOptions};
use crate::runtime::{self, JoinHandle};

/// Length of a data segment, in bytes.
pub(crate) const SEGMENT_LENGTH: u64 = 256 << 20;

/// A new segment takes at most one in so many of the bytes that are free, if that is not less than the least length:
/// what a segment has reserved and not used is of use to nobody else.
const FREE_SHARE: u64 = 16;

/// For the same reason it takes at most one in so many of the live bytes, if that is not less than a quarter of the
/// standard length.
const LIVE_SHARE: u64 = 64;

/// A file of the data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileName {
    Segment(u64),
    OwnFile(u64),
}

/// What a name in the data folder stands for; `None` for none of ours.
pub(crate) fn parse_name(name: &str) -> Option<FileName> {
    let (id, kind) = name.split_once('.')?;
    let id = u64::from_str_radix(id, 16).ok().filter(|_| id.len() == 16)?;
    match kind {
        "segment" => Some(FileName::Segment(id)),
        "artifact" => Some(FileName::OwnFile(id)),
        _ => None,
    }
}

/// The path of a file of the data folder.
pub(crate) fn path(layout: &Layout, name: FileName) -> PathBuf {
    layout.data().join(match name {
        FileName::Segment(id) => format!("{id:016x}.segment"),
        FileName::OwnFile(id) => format!("{id:016x}.artifact"),
    })
}

/// Gives out space for extents on one core.
pub(crate) struct DataWriter<D: Disk> {
    shared: Arc<Shared>,
    disk: D,
    active: RefCell<Option<Rc<Active<D::File>>>>,
    opening: Turn,
}

/// The segment that is being filled.
struct Active<F> {
    id: u64,
    file: F,
    length: u64,
    next: Cell<u64>,
    /// `next` when somebody last looked whether it moves.
    looked_at: Cell<u64>,
    failed: Cell<bool>,
    syncing: Turn,
    /// Number of syncs that began, and the last one of which all writes before are durable.
    syncs_begun: Cell<u64>,
    syncs_done: Cell<u64>,
}

/// A place to write the bytes of one artifact to. Dropping it gives the place back.
pub(crate) struct Sink<F: DiskFile> {
    file: F,
    base: u64,
    id: u64,
    lease: Lease,
    /// `None` for a file of its own.
    active: Option<Rc<Active<F>>>,
    /// Makes the name of a file of its own durable, while the bytes come.
    entry: Option<JoinHandle<Result<(), ShardError>>>,
}

impl<D: Disk> DataWriter<D> {
    pub(crate) fn new(shared: Arc<Shared>, disk: D) -> Self {
        let (active, opening) = (RefCell::default(), Turn::default());
        Self { shared, disk, active, opening }
    }

    /// Space for an extent of `size` bytes and its table.
    ///
    /// # Errors
    /// [`ShardError::Full`] if no segment can be made.
    pub(crate) async fn extent(&self, size: u64) -> Result<Sink<D::File>, ShardError> {
        let kept_free = 2 * self.shared.kept_free();
        self.extent_of(self.shared.volume.next_segment_id(), size, kept_free).await
    }

    /// As [`DataWriter::extent`], for the bytes of an extent that keeps its id at another place: the room that is left
    /// to others may be used, for more is won.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn extent_as(&self, id: u64, size: u64) -> Result<Sink<D::File>, ShardError> {
        self.extent_of(id, size, 0).await
    }

    async fn extent_of(
        &self,
        id: u64,
        size: u64,
        kept_free: u64,
    ) -> Result<Sink<D::File>, ShardError> {
        let length = extent_length(size);
        loop {
            if let Some(sink) = self.take(id, size, length) {
                return Ok(sink);
            }
            let _turn = self.opening.wait().await;
            // Whoever had the turn before may have opened one.
            if let Some(sink) = self.take(id, size, length) {
                return Ok(sink);
            }
            let segment = self.open_segment(length, kept_free).await?;
            if let Some(full) = self.active.replace(Some(Rc::new(segment))) {
                // In a task of its own: whoever wants the new one may give up half-way.
                runtime::spawn(seal(Arc::clone(&self.shared), full));
            }
        }
    }

    fn take(&self, id: u64, size: u64, length: u64) -> Option<Sink<D::File>> {
        let active = self.active.borrow();
        let active = active.as_ref().filter(|active| !active.failed.get())?;
        let offset = active.next.get();
        if offset + length > active.length {
            return None;
        }
        active.next.set(offset + length);
        let location = Location::Extent { segment: active.id, offset, id };
        Some(Sink {
            file: active.file.clone(),
            base: offset,
            id,
            lease: Lease::new(Arc::clone(&self.shared.segments), location, size),
            active: Some(Rc::clone(active)),
            entry: None,
        })
    }

    async fn open_segment(
        &self,
        least: u64,
        kept_free: u64,
    ) -> Result<Active<D::File>, ShardError> {
        self.shared.can_name()?;
        let id = self.shared.volume.next_segment_id();
        let layout = self.shared.volume.layout();
        let free = self.need_room(least, kept_free).await?;
        let path = path(layout, FileName::Segment(id));
        let options =
            OpenOptions { write: true, create_new: true, direct: true, ..OpenOptions::default() };
        let file = self.disk.open(&path, options).await?;
        let sizes = self.shared.sizes;
        let live = self.shared.segments.data_bytes().1;
        let share = (live / LIVE_SHARE).max(sizes.data_segment / 4).min(free / FREE_SHARE);
        let share = share.max(sizes.data_segment_min);
        let share = share - share % sizes.data_segment_min;
        let mut length = sizes.data_segment.min(share).max(least);
        let mut allocated = Err(io::ErrorKind::StorageFull.into());
        for tried in [length, sizes.data_segment_min.max(least), least] {
            if tried <= free && allocated.as_ref().is_err_and(is_full) {
                length = tried;
                allocated = file.allocate(length).await;
            }
        }
        if let Err(error) = allocated {
            // The next start sweeps it if this fails too.
            let _ = self.disk.remove(&path).await;
            return Err(error.into());
        }
        if !planted::is(Bug::DirectoryNotSynced) {
            sync_names(&self.disk, &self.shared).await?;
        }
        self.shared.segments.data(id);
        Ok(Active {
            id,
            file,
            length,
            next: Cell::new(0),
            looked_at: Cell::new(0),
            failed: Cell::new(false),
            syncing: Turn::default(),
            syncs_begun: Cell::new(0),
            syncs_done: Cell::new(0),
        })
    }

    /// Bytes that are free beside those that are kept so: at least so many.
    async fn need_room(&self, least: u64, kept_free: u64) -> Result<u64, ShardError> {
        let free = self.disk.free_bytes(&self.shared.volume.layout().data()).await;
        let free = free.unwrap_or(u64::MAX).saturating_sub(kept_free);
        if free < least {
            self.shared.checkpoints.note_refusal();
            return Err(ShardError::Full);
        }
        Ok(free)
    }

    /// A file of its own; `size` if it is known.
    ///
    /// # Errors
    /// [`ShardError::Full`] if there is no room.
    pub(crate) async fn own_file(&self, size: Option<u64>) -> Result<Sink<D::File>, ShardError> {
        self.shared.can_name()?;
        let least = extent_length(size.unwrap_or_default());
        self.need_room(least, 2 * self.shared.kept_free()).await?;
        let id = self.shared.volume.next_segment_id();
        let path = path(self.shared.volume.layout(), FileName::OwnFile(id));
        let location = Location::OwnFile { id };
        let lease = Lease::new(Arc::clone(&self.shared.segments), location, 0);
        let options =
            OpenOptions { write: true, create_new: true, direct: true, ..OpenOptions::default() };
        let file = self.disk.open(&path, options).await?;
        if let Some(size) = size {
            file.allocate(extent_length(size)).await?;
        }
        let (disk, shared) = (self.disk.clone(), Arc::clone(&self.shared));
        // In a task of its own also so that a failure is known if nobody waits for the file any more.
        let entry = runtime::spawn(async move { sync_names(&disk, &shared).await });
        Ok(Sink { file, base: 0, id, lease, active: None, entry: Some(entry) })
    }

    /// Makes a finished sink durable, together with others of this core.
    ///
    /// # Errors
    /// As the disk says; the bytes are given back.
    pub(crate) async fn sync(&self, sink: Sink<D::File>) -> Result<Lease, ShardError> {
        match &sink.active {
            _ if planted::is(Bug::ExtentNotSynced) => {}
            // In a task of its own: a sync that is given up half-way would leave its outcome unknown.
            Some(active) => {
                let active = Rc::clone(active);
                runtime::spawn(async move { active.sync().await }).await?;
            }
            None => {
                sink.file.sync().await?;
                if let Some(entry) = sink.entry {
                    entry.await?;
                }
            }
        }
        Ok(sink.lease)
    }

    /// Ends the segment that is being filled and cuts off what was not used.
    pub(crate) async fn close(&self) {
        if let Some(active) = self.active.take() {
            seal(Arc::clone(&self.shared), active).await;
        }
    }

    /// Ends the segment that is being filled if half of what was written to it is dead and nothing was added since the
    /// last call: it would keep its whole length from everybody else until this core has more to write.
    pub(crate) async fn close_if_idle(&self) {
        let idle = self.active.borrow().as_ref().is_some_and(|active| {
            let used = active.next.get();
            let unchanged = active.looked_at.replace(used) == used;
            unchanged && used > 0 && self.shared.segments.data(active.id).live() * 2 <= used
        });
        if idle {
            self.close().await;
        }
    }
}

/// Nothing more goes to a segment: cuts off what was not used.
async fn seal<F: DiskFile>(shared: Arc<Shared>, active: Rc<Active<F>>) {
    // First: what is dead is unlinked as soon as it is sealed.
    if let Err(error) = active.file.set_length(active.next.get()).await {
        tracing::warn!(segment = active.id, %error, "a data segment was not cut");
    }
    shared.segments.seal_data(active.id, active.next.get());
}

/// Makes the names of data files durable. After a failure none is made any more.
async fn sync_names<D: Disk>(disk: &D, shared: &Shared) -> Result<(), ShardError> {
    if let Err(error) = disk.sync_directory(&shared.volume.layout().data()).await {
        shared.lose_names();
        return Err(error.into());
    }
    // Another's failure may have been that of our name.
    shared.can_name()
}

impl<F: DiskFile> Sink<F> {
    /// The extent's id, which seeds the checksums.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Where the extent begins in its file.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn file(&self) -> &F {
        &self.file
    }

    /// Nothing is written to this segment any more after a failed write.
    pub(crate) fn failed(&self) {
        if let Some(active) = &self.active {
            active.failed.set(true);
        }
    }
}

impl<F: DiskFile> Active<F> {
    /// Makes all writes durable that have finished before the call. One sync serves all that wait.
    async fn sync(&self) -> Result<(), ShardError> {
        let wanted = self.syncs_begun.get() + 1;
        let _turn = self.syncing.wait().await;
        if self.syncs_done.get() >= wanted {
            return Ok(());
        }
        if self.failed.get() {
            return Err(ShardError::Io(Arc::new(io::Error::other("an earlier sync failed"))));
        }
        self.syncs_begun.set(self.syncs_begun.get() + 1);
        let this = self.syncs_begun.get();
        let synced = self.file.sync().await;
        match &synced {
            Ok(()) => self.syncs_done.set(this),
            Err(_) => self.failed.set(true),
        }
        Ok(synced?)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
