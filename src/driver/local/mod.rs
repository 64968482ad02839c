//! The driver that keeps artifacts on a local disk: durable when it answers, recovered when it starts.
//!
//! Bodies stay on the core that accepted them: small ones travel to the owner of their shard inside the commit, large
//! ones are written by this core and only their location travels. Reads ask nobody.

mod cache;
mod checkpoint;
mod empty;
mod error;
mod get;
mod housekeeping;
mod listing;
mod multipart;
mod pace;
mod pieces;
mod put;
mod recent;
mod records;
mod relocate;
mod scrub;
mod start;
mod store;
mod touched;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

pub use get::{LocalOpen, LocalReader};
pub use scrub::UpkeepOptions;
pub use start::{IndexWork, LocalOptions, LocalVolume, OpenError};

use self::cache::InlineCache;
use self::recent::Recent;
use self::touched::Touched;
use crate::context::{Context, Stage};
use crate::driver::{
    Capabilities, Completion, Deletion, Driver, DriverError, Health, Source, Target, UploadSpec,
    WriteSpec,
};
use crate::io::budget::Reservation;
use crate::io::clock::SystemClock;
use crate::io::pool::BufferPool;
use crate::io::uring::UringDisk;
use crate::io::{Clock, Disk};
use crate::model::{
    ContainerInfo, ContainerName, ContainerPage, ContainerQuery, ListPage, ListQuery, PartInfo,
    PartPage, PartQuery, UploadId, UploadInfo, UploadPage, UploadQuery, WriteReceipt,
};
use crate::shard::commit::{Answer, Request, Subject};
use crate::shard::data::DataWriter;
use crate::shard::files::Files;
use crate::shard::finder::Finder;
use crate::shard::index::{Container, Looked, key, shard_of};
use crate::shard::keeper::Keeper;
use crate::shard::log::Place;
use crate::shard::log::writer::Retirer;
use crate::shard::pins::CorePins;
use crate::shard::shared::{Shared, WriteState};
use crate::shard::turn::Turn;

/// The driver on the machine's disk and clock.
pub type LocalDriver = Local<UringDisk, SystemClock>;

/// One core's view of a data folder. Clones share it.
pub struct Local<D: Disk, C: Clock>(Rc<Core<D, C>>);

impl<D: Disk, C: Clock> Clone for Local<D, C> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

struct Core<D: Disk, C: Clock> {
    shared: Arc<Shared>,
    core: usize,
    disk: D,
    clock: C,
    pool: BufferPool,
    pins: Rc<CorePins>,
    finder: Rc<Finder<D>>,
    keeper: Rc<Keeper<D>>,
    _tables: Option<Reservation>,
    /// For this core's log segments, and on core 0 those of earlier starts.
    retirer: Retirer<D>,
    logs: Files<D>,
    segments: Files<D>,
    own_files: Files<D>,
    /// Of those that have the kernel read ahead for them.
    bringing_in: Turn,
    touched: Touched,
    cache: Arc<InlineCache>,
    recent: Recent<get::Found>,
    data: DataWriter<D>,
    /// The commit loop has the turn while it runs.
    running: Turn,
    stopping: Cell<bool>,
    /// Artifacts that were asked for since housekeeping last looked.
    asked: Cell<u64>,
    /// The order of the last upload begun here.
    last_upload: Cell<u64>,
}

impl<D: Disk, C: Clock> Core<D, C> {
    fn check(&self, ctx: &Context) -> Result<(), DriverError> {
        Ok(ctx.check(self.clock.now())?)
    }

    /// Looks the current version of an artifact up, and books the time: `read` makes what is wanted of its sequence, place
    /// and value. The caller has made a pin.
    async fn find<T>(
        &self,
        ctx: &Context,
        name: &ContainerName,
        key: &[u8],
        read: impl Fn(u8, u64, Place, &[u8]) -> T,
    ) -> Result<Option<T>, DriverError> {
        let began = self.clock.now();
        ctx.check(began)?;
        let (shard, container) = self.container(ctx, name)?;
        let stem = key::artifact(container.id, key);
        let read = |sequence, place, value: &[u8]| read(shard, sequence, place, value);
        let found = match self.shared.index.shard(shard).look(&stem, read) {
            Looked::Known(found) => Ok(found),
            Looked::Below(below) => self.finder.below(shard, &stem, below, read).await,
        };
        ctx.trace().add(Stage::Index, self.clock.now().since(began));
        Ok(found?)
    }

    /// Runs a look-up of containers or uploads in the index, and books its time.
    fn in_index<T>(
        &self,
        ctx: &Context,
        look: impl FnOnce() -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        let began = self.clock.now();
        ctx.check(began)?;
        let found = look();
        ctx.trace().add(Stage::Index, self.clock.now().since(began));
        found
    }

    /// Awaits something of the disk's, and books its time.
    async fn on_disk<T>(&self, ctx: &Context, work: impl Future<Output = T>) -> T {
        let began = self.clock.now();
        let done = work.await;
        ctx.trace().add(Stage::Disk, self.clock.now().since(began));
        done
    }

    fn subject(&self, ctx: &Context, name: &ContainerName) -> (u8, Subject) {
        let subject = Subject { tenant: ctx.tenant(), container: *name };
        (shard_of(subject.tenant, name), subject)
    }

    fn container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<(u8, Container), DriverError> {
        let shard = shard_of(ctx.tenant(), name);
        let found = self.shared.index.shard(shard).container(ctx.tenant(), name);
        found.map(|container| (shard, container)).ok_or(DriverError::NoSuchContainer)
    }

    /// Spares the body of a write that cannot succeed any more.
    fn refuse_if_poisoned(&self) -> Result<(), DriverError> {
        match self.shared.write_state() {
            WriteState::Poisoned => Err(DriverError::Poisoned),
            WriteState::Open | WriteState::Full => Ok(()),
        }
    }

    /// Hands a request to the shard's owner and waits for its decision.
    async fn commit(
        &self,
        ctx: &Context,
        shard: u8,
        request: Request,
    ) -> Result<Answer, DriverError> {
        self.check(ctx)?;
        let began = self.clock.now();
        let queued = |depth| {
            ctx.trace().queue_depth.set(u32::try_from(depth).unwrap_or(u32::MAX));
        };
        let committed = self.shared.commit(shard, request, &self.clock, queued).await;
        ctx.trace().add(Stage::SyncWait, self.clock.now().since(began));
        let committed = committed?;
        ctx.trace().batch_id.set(committed.batch);
        Ok(committed.answer)
    }
}

impl<D: Disk, C: Clock> Driver for Local<D, C> {
    type Open = LocalOpen<D, C>;

    fn capabilities(&self) -> Capabilities {
        Capabilities { conditional_writes: true, durable: true }
    }

    async fn create_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<(), DriverError> {
        let (shard, subject) = self.0.subject(ctx, name);
        self.0.commit(ctx, shard, Request::CreateContainer(subject)).await.map(drop)
    }

    async fn head_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<ContainerInfo, DriverError> {
        self.0.in_index(ctx, || {
            let (_, container) = self.0.container(ctx, name)?;
            Ok(ContainerInfo { name: *name, created_ms: container.created_ms })
        })
    }

    async fn delete_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<(), DriverError> {
        let (shard, subject) = self.0.subject(ctx, name);
        self.0.commit(ctx, shard, Request::DeleteContainer(subject)).await.map(drop)
    }

    async fn list_containers(
        &self,
        ctx: &Context,
        query: &ContainerQuery,
    ) -> Result<ContainerPage, DriverError> {
        self.0.list_containers(ctx, query)
    }

    async fn put<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: WriteSpec,
        source: &mut S,
    ) -> Result<WriteReceipt, DriverError> {
        self.0.put(ctx, target, spec, source).await
    }

    async fn open(&self, ctx: &Context, target: Target<'_>) -> Result<Self::Open, DriverError> {
        // A future for what may have to wait is large, and would be moved for nothing.
        match get::open_known(&self.0, ctx, target)? {
            Ok(open) => Ok(open),
            Err(pin) => get::open(&self.0, ctx, target, pin).await,
        }
    }

    async fn delete(
        &self,
        ctx: &Context,
        container: &ContainerName,
        deletions: &[Deletion<'_>],
    ) -> Result<Vec<Result<(), DriverError>>, DriverError> {
        self.0.delete(ctx, container, deletions).await
    }

    async fn list(
        &self,
        ctx: &Context,
        container: &ContainerName,
        query: &ListQuery,
    ) -> Result<ListPage, DriverError> {
        self.0.list(ctx, container, query).await
    }

    async fn create_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: UploadSpec,
    ) -> Result<UploadId, DriverError> {
        self.0.create_upload(ctx, target, spec).await
    }

    async fn head_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> Result<UploadInfo, DriverError> {
        self.0.head_upload(ctx, target, upload).await
    }

    async fn put_part<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        number: u16,
        source: &mut S,
    ) -> Result<PartInfo, DriverError> {
        self.0.put_part(ctx, target, upload, number, source).await
    }

    async fn complete_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        completion: &Completion<'_>,
    ) -> Result<WriteReceipt, DriverError> {
        self.0.complete_upload(ctx, target, upload, completion).await
    }

    async fn abort_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> Result<(), DriverError> {
        let (shard, subject) = self.0.subject(ctx, target.container);
        let request = Request::Abort(subject, target.key.as_str().into(), upload);
        self.0.commit(ctx, shard, request).await.map(drop)
    }

    async fn list_parts(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        query: PartQuery,
    ) -> Result<PartPage, DriverError> {
        self.0.list_parts(ctx, target, upload, query).await
    }

    async fn list_uploads(
        &self,
        ctx: &Context,
        container: &ContainerName,
        query: &UploadQuery,
    ) -> Result<UploadPage, DriverError> {
        self.0.list_uploads(ctx, container, query).await
    }

    fn health(&self, _ctx: &Context) -> Health {
        match self.0.shared.write_state() {
            WriteState::Open => Health::Ready,
            WriteState::Full | WriteState::Poisoned => Health::ReadOnly,
        }
    }
}
