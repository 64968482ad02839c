//! What a log's writer should not have to wait for: segments written ahead, and the sealing of full
//! ones. Done by [`work`], which runs beside the writer on the same core.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::format::BLOCK;
use super::probe::SyncMethod;
use super::reader::PIECE;
use super::seal::SealJob;
use crate::io::buffer::AlignedBuffer;
use crate::io::{Disk, DiskFile, OpenOptions};
use crate::shard::planted::{self, Bug};
use crate::shard::volume::Volume;

/// Segments kept ready.
const SPARES: usize = 1;

/// An empty segment, written ahead and durable, its header block zero.
pub(super) struct Spare<F> {
    pub(super) segment: u64,
    pub(super) file: F,
}

/// Shared by the writer and its background work, on one core.
pub(super) struct Segments<D: Disk> {
    pub(super) disk: D,
    pub(super) volume: Arc<Volume>,
    pub(super) method: SyncMethod,
    pub(super) length: u64,
    state: RefCell<State<D::File>>,
    /// Whether somebody runs [`work`].
    attached: Cell<bool>,
    signal: Signal,
}

struct State<F> {
    spares: VecDeque<Spare<F>>,
    seals: VecDeque<SealJob<F>>,
    /// A job is being done.
    busy: bool,
    /// The last attempt to write a segment ahead found the disk full.
    starved: bool,
    /// It failed otherwise: the writer tries again, and at once, when it needs one.
    failed: bool,
    retry: bool,
    /// Even what makes room was refused, and there was no spare since.
    needy: bool,
    closed: bool,
    poison: Option<String>,
}

/// Wakes everybody on this core who waits for a change.
#[derive(Default)]
struct Signal {
    generation: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
}

impl Signal {
    fn notify(&self) {
        self.generation.set(self.generation.get() + 1);
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        wakers.into_iter().for_each(Waker::wake);
    }

    async fn changed_since(&self, seen: u64) {
        std::future::poll_fn(|cx| {
            if self.generation.get() != seen {
                return Poll::Ready(());
            }
            self.wakers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Whether an error means that there is no room.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Sets the busy flag for as long as a job runs, also if its future is dropped.
struct Busy<'s, D: Disk>(&'s Segments<D>);

impl<'s, D: Disk> Busy<'s, D> {
    fn begin(segments: &'s Segments<D>) -> Self {
        segments.state.borrow_mut().busy = true;
        Self(segments)
    }
}

impl<D: Disk> Drop for Busy<'_, D> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().busy = false;
        self.0.signal.notify();
    }
}

impl<D: Disk> Segments<D> {
    pub(super) fn new(disk: D, volume: Arc<Volume>, method: SyncMethod, length: u64) -> Rc<Self> {
        let state = State {
            spares: VecDeque::new(),
            seals: VecDeque::new(),
            busy: false,
            starved: false,
            failed: false,
            retry: false,
            needy: false,
            closed: false,
            poison: None,
        };
        volume.recycled.add_log();
        Rc::new(Self {
            disk,
            volume,
            method,
            length,
            state: RefCell::new(state),
            attached: Cell::new(false),
            signal: Signal::default(),
        })
    }

    pub(super) fn poison(&self, error: &io::Error) {
        let mut state = self.state.borrow_mut();
        if state.poison.is_none() {
            tracing::error!(%error, "a write of the log failed: nothing more is acknowledged");
            state.poison = Some(error.to_string());
        }
        drop(state);
        self.set_needy(false);
    }

    pub(super) fn poisoned(&self) -> Option<String> {
        self.state.borrow().poison.clone()
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.state.borrow().poison.is_some()
    }

    /// Spares that are ready, and whether the disk had no room for another.
    pub(super) fn reserve(&self) -> (usize, bool) {
        let state = self.state.borrow();
        (state.spares.len(), state.starved)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    /// Whether what makes room is refused for want of a segment: then other logs leave the next one to this.
    pub(super) fn set_needy(&self, needy: bool) {
        if std::mem::replace(&mut self.state.borrow_mut().needy, needy) != needy {
            self.volume.recycled.count_needy(needy);
        }
    }

    /// Whether no other log needs the next segment more.
    fn may_take(&self) -> bool {
        self.state.borrow().needy || !self.volume.recycled.has_needy()
    }

    /// There may be room for a spare now: the background work looks.
    pub(super) fn look_for_room(&self) {
        self.state.borrow_mut().retry = true;
        self.signal.notify();
    }

    /// Looks again whether the disk has room for a spare, and writes it if so: whoever finds none afterwards is refused.
    pub(super) async fn retry(&self) {
        loop {
            let seen = self.signal.generation.get();
            if self.state.borrow().busy {
                self.signal.changed_since(seen).await;
                continue;
            }
            let wants_spare = self.reserve().0 == 0 && self.may_take();
            if !wants_spare || !(self.volume.recycled.has(self.length) || self.has_space().await) {
                return;
            }
            if !self.state.borrow().busy {
                let _ = self.prepare().await;
                return;
            }
        }
    }

    /// A ready segment; written here and now if there is none.
    pub(super) async fn take_spare(&self) -> io::Result<Spare<D::File>> {
        loop {
            let seen = self.signal.generation.get();
            let spare = self.state.borrow_mut().spares.pop_front();
            if let Some(spare) = spare {
                self.signal.notify();
                return Ok(spare);
            }
            if self.state.borrow().busy {
                self.signal.changed_since(seen).await;
            } else {
                self.prepare().await?;
            }
        }
    }

    /// Hands a full segment over to be sealed; does it at once if nobody works in the background.
    pub(super) async fn seal_later(&self, job: SealJob<D::File>) {
        self.state.borrow_mut().seals.push_back(job);
        if self.attached.get() {
            self.signal.notify();
        } else {
            self.seal_next().await;
        }
    }

    /// Waits until everything handed over is sealed, sealing it here if nobody else does.
    pub(super) async fn drain(&self) {
        loop {
            let seen = self.signal.generation.get();
            let (busy, waiting) = {
                let state = self.state.borrow();
                (state.busy, state.seals.len())
            };
            if busy {
                self.signal.changed_since(seen).await;
            } else if waiting > 0 {
                self.seal_next().await;
            } else {
                return;
            }
        }
    }

    /// Ends the background work and removes what was written ahead.
    pub(super) async fn close(&self) {
        self.end();
        self.drain().await;
        let spares = std::mem::take(&mut self.state.borrow_mut().spares);
        let unused = spares.into_iter().map(|spare| spare.segment);
        for segment in unused.chain(self.volume.recycled.take_all()) {
            // The next start removes what we cannot.
            let _ = self.disk.remove(&self.volume.layout().segment_path(segment)).await;
        }
    }

    pub(super) fn end(&self) {
        self.state.borrow_mut().closed = true;
        self.set_needy(false);
        self.signal.notify();
    }

    async fn has_space(&self) -> bool {
        let free = self.disk.free_bytes(&self.volume.layout().log()).await;
        free.is_ok_and(|free| free > self.length + self.length / 8)
    }

    /// Makes one more spare. Not enough room is an error and is remembered.
    async fn prepare(&self) -> io::Result<()> {
        let busy = Busy::begin(self);
        let result = match self.volume.recycled.take(self.length) {
            Some(segment) => self.recycle(segment).await,
            None => self.create().await,
        };
        let result = {
            let mut state = self.state.borrow_mut();
            state.starved = result.as_ref().is_err_and(is_full);
            state.failed = result.is_err() && !state.starved;
            result.map(|spare| state.spares.push_back(spare))
        };
        if result.is_ok() {
            self.set_needy(false);
        }
        drop(busy);
        result
    }

    fn options(&self) -> OpenOptions {
        OpenOptions {
            write: true,
            create_new: false,
            direct: true,
            durable_writes: self.method == SyncMethod::DurableWrites
                && !planted::is(Bug::LogNotSynced),
        }
    }

    async fn create(&self) -> io::Result<Spare<D::File>> {
        let segment = self.volume.next_segment_id();
        let path = self.volume.layout().segment_path(segment);
        match self.write_ahead(&path).await {
            Ok(file) => Ok(Spare { segment, file }),
            Err(error) => {
                // Gives the space back; the next start removes what we cannot.
                let _ = self.disk.remove(&path).await;
                Err(error)
            }
        }
    }

    async fn write_ahead(&self, path: &Path) -> io::Result<D::File> {
        let plain = OpenOptions { create_new: true, durable_writes: false, ..self.options() };
        let file = self.disk.open(path, plain).await?;
        let piece = usize::try_from(self.length).unwrap_or(PIECE).min(PIECE);
        let mut buffer = AlignedBuffer::with_capacity(piece);
        let mut offset = 0;
        while offset < self.length {
            let piece = usize::try_from(self.length - offset).unwrap_or(PIECE).min(PIECE);
            buffer.set_length(piece);
            let (result, back) = file.write_at(buffer, offset).await;
            result?;
            buffer = back;
            offset += piece as u64;
        }
        file.sync().await?;
        self.disk.sync_directory(&self.volume.layout().log()).await?;
        if self.method == SyncMethod::WriteThenSync {
            return Ok(file);
        }
        self.disk.open(path, self.options()).await
    }

    async fn recycle(&self, segment: u64) -> io::Result<Spare<D::File>> {
        let path = self.volume.layout().segment_path(segment);
        let file = self.disk.open(&path, self.options()).await?;
        let mut buffer = AlignedBuffer::with_capacity(BLOCK);
        buffer.set_length(BLOCK);
        self.write_durably(&file, buffer, 0).await.0?;
        Ok(Spare { segment, file })
    }

    /// Writes and makes durable, by the method that was chosen.
    pub(super) async fn write_durably(
        &self,
        file: &D::File,
        buffer: AlignedBuffer,
        offset: u64,
    ) -> (io::Result<()>, AlignedBuffer) {
        if planted::is(Bug::AcknowledgeBeforeWrite) {
            planted::write_later(file, &buffer, offset);
            return (Ok(()), buffer);
        }
        let (result, buffer) = file.write_at(buffer, offset).await;
        let result = match (result, self.method) {
            (Ok(()), SyncMethod::WriteThenSync) if !planted::is(Bug::LogNotSynced) => {
                match file.sync().await {
                    Err(_) if planted::is(Bug::SyncRetried) => file.sync().await,
                    synced => synced,
                }
            }
            (result, _) => result,
        };
        (result, buffer)
    }

    async fn seal_next(&self) {
        let Some(job) = self.state.borrow_mut().seals.pop_front() else { return };
        let busy = Busy::begin(self);
        if !self.is_poisoned()
            && let Err(error) = self.seal(job).await
        {
            self.poison(&error);
        }
        drop(busy);
    }

    /// One thing to do, if there is one; false if there is nothing.
    async fn step(&self) -> bool {
        let (wants_spare, retry, seals) = {
            let mut state = self.state.borrow_mut();
            let idle = !state.closed && !state.busy && !state.failed;
            let missing = state.spares.len() < SPARES && idle;
            let retry = std::mem::take(&mut state.retry);
            (missing, retry, state.seals.len())
        };
        if wants_spare && self.may_take() {
            let (_, starved) = self.reserve();
            let recycled = self.volume.recycled.has(self.length);
            if (!starved || recycled || (retry && self.has_space().await))
                && !self.state.borrow().busy
            {
                if let Err(error) = self.prepare().await
                    && !is_full(&error)
                {
                    tracing::warn!(%error, "a log segment could not be written ahead");
                }
                return true;
            }
        }
        if seals > 0 && !self.state.borrow().busy {
            self.seal_next().await;
            return true;
        }
        false
    }
}

/// Detaches the background work when its future goes.
struct Attached<D: Disk>(Rc<Segments<D>>);

impl<D: Disk> Drop for Attached<D> {
    fn drop(&mut self) {
        self.0.attached.set(false);
        self.0.signal.notify();
    }
}

/// The background work. Ends once the writer is closed and nothing is left to seal.
pub(super) fn work<D: Disk>(segments: Rc<Segments<D>>) -> impl Future<Output = ()> + 'static {
    segments.attached.set(true);
    let attached = Attached(segments);
    async move {
        let segments = &attached.0;
        loop {
            let seen = segments.signal.generation.get();
            if segments.step().await {
                continue;
            }
            if segments.state.borrow().closed && !segments.state.borrow().busy {
                return;
            }
            segments.signal.changed_since(seen).await;
        }
    }
}
