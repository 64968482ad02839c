//! The reference model: everything in ordered maps behind one mutex, as plainly as it can be said.
//!
//! The other drivers are compared with it, and profiling uses it where a disk would be in the way.
//! Nothing survives the process. The mutex is held for single steps only, never across an await.

mod body;
mod complete;
mod listing;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::context::{Context, Monotonic};
use crate::io::Clock;
use crate::io::clock::SystemClock;
use crate::model::{
    ArtifactInfo, ByteRange, ContainerInfo, ContainerName, ContainerPage, ContainerQuery, ListPage,
    ListQuery, PartInfo, PartPage, PartQuery, PartSpan, UploadId, UploadInfo, UploadPage,
    UploadQuery, WriteReceipt,
};

use self::state::{Artifact, Container, Part, State, Upload, decide, receipt};
use super::{
    Capabilities, Chunk, Completion, Deletion, Driver, DriverError, Health, OpenArtifact, Reader,
    Source, Target, UploadSpec, WriteSpec,
};

/// A clock whose type is forgotten.
trait Times: Send + Sync {
    fn now(&self) -> Monotonic;
    fn wall_ms(&self) -> i64;
}

impl<C: Clock + Send + Sync> Times for C {
    fn now(&self) -> Monotonic {
        Clock::now(self)
    }

    fn wall_ms(&self) -> i64 {
        Clock::wall_ms(self)
    }
}

/// Refuses to go on for nobody.
fn alive(ctx: &Context, times: &dyn Times) -> Result<(), DriverError> {
    Ok(ctx.check(times.now())?)
}

/// Keeps artifacts in memory. Clones share them, on whatever core they are.
#[derive(Clone)]
pub struct MemoryDriver {
    state: Arc<Mutex<State>>,
    times: Arc<dyn Times>,
}

impl Default for MemoryDriver {
    fn default() -> Self {
        Self::with_clock(SystemClock)
    }
}

impl std::fmt::Debug for MemoryDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryDriver")
    }
}

impl MemoryDriver {
    /// An empty store on the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store on this clock.
    #[must_use]
    pub fn with_clock(clock: impl Clock + Send + Sync) -> Self {
        Self { state: Arc::default(), times: Arc::new(clock) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one step on a container of the tenant.
    fn on_container<T>(
        &self,
        ctx: &Context,
        name: &ContainerName,
        step: impl FnOnce(&mut Container) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        alive(ctx, &*self.times)?;
        step(self.lock().container(ctx.tenant(), name)?)
    }

    /// Runs one step on an upload of the tenant.
    fn on_upload<T>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        id: UploadId,
        step: impl FnOnce(&mut Upload) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        self.on_container(ctx, target.container, |container| {
            step(container.upload(target.key.as_str(), id)?)
        })
    }
}

impl Driver for MemoryDriver {
    type Open = MemoryOpen;

    fn capabilities(&self) -> Capabilities {
        Capabilities { conditional_writes: true, durable: false }
    }

    async fn create_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<(), DriverError> {
        alive(ctx, &*self.times)?;
        let created_ms = self.times.wall_ms();
        self.lock().create_container(ctx.tenant(), name, created_ms)
    }

    async fn head_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<ContainerInfo, DriverError> {
        self.on_container(ctx, name, |container| {
            Ok(ContainerInfo { name: *name, created_ms: container.created_ms })
        })
    }

    async fn delete_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<(), DriverError> {
        alive(ctx, &*self.times)?;
        self.lock().delete_container(ctx.tenant(), name)
    }

    async fn list_containers(
        &self,
        ctx: &Context,
        query: &ContainerQuery,
    ) -> Result<ContainerPage, DriverError> {
        alive(ctx, &*self.times)?;
        Ok(listing::containers(self.lock().containers_of(ctx.tenant()), query))
    }

    async fn put<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: WriteSpec,
        source: &mut S,
    ) -> Result<WriteReceipt, DriverError> {
        self.on_container(ctx, target.container, |_| Ok(()))?;
        let (body, digests) = body::take(ctx, &*self.times, source).await?;
        let modified_ms = self.times.wall_ms();
        self.on_container(ctx, target.container, |container| {
            decide(spec.condition, container.current(target.key.as_str()))?;
            let info = ArtifactInfo {
                size: body.size(),
                etag: digests.etag,
                modified_ms,
                metadata: spec.metadata,
                checksum: digests.checksum,
            };
            let receipt = receipt(&info);
            container.store(target.key.as_str(), Artifact { info, body, completed: None });
            Ok(receipt)
        })
    }

    async fn open(&self, ctx: &Context, target: Target<'_>) -> Result<MemoryOpen, DriverError> {
        self.on_container(ctx, target.container, |container| {
            let artifact = container.current(target.key.as_str()).cloned();
            let open = |artifact| MemoryOpen { artifact, times: Arc::clone(&self.times) };
            artifact.map(open).ok_or(DriverError::NoSuchArtifact)
        })
    }

    async fn delete(
        &self,
        ctx: &Context,
        container: &ContainerName,
        deletions: &[Deletion<'_>],
    ) -> Result<Vec<Result<(), DriverError>>, DriverError> {
        self.on_container(ctx, container, |container| {
            let delete = |deletion: &Deletion<'_>| {
                decide(deletion.condition, container.current(deletion.key.as_str()))?;
                container.remove(deletion.key.as_str());
                Ok(())
            };
            Ok(deletions.iter().map(delete).collect())
        })
    }

    async fn list(
        &self,
        ctx: &Context,
        container: &ContainerName,
        query: &ListQuery,
    ) -> Result<ListPage, DriverError> {
        self.on_container(ctx, container, |container| Ok(listing::artifacts(container, query)))
    }

    async fn create_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: UploadSpec,
    ) -> Result<UploadId, DriverError> {
        alive(ctx, &*self.times)?;
        let created_ms = self.times.wall_ms();
        let info = UploadInfo { metadata: spec.metadata, checksum: spec.checksum, created_ms };
        let mut state = self.lock();
        let id = state.next_upload_id(created_ms);
        let container = state.container(ctx.tenant(), target.container)?;
        container.begin_upload(target.key.as_str(), id, info);
        Ok(id)
    }

    async fn head_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> Result<UploadInfo, DriverError> {
        self.on_upload(ctx, target, upload, |upload| Ok(upload.info.clone()))
    }

    async fn put_part<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        number: u16,
        source: &mut S,
    ) -> Result<PartInfo, DriverError> {
        self.on_upload(ctx, target, upload, |_| Ok(()))?;
        let (body, digests) = body::take(ctx, &*self.times, source).await?;
        let info = PartInfo {
            number,
            size: body.size(),
            etag: digests.etag,
            checksum: digests.checksum,
            modified_ms: self.times.wall_ms(),
        };
        self.on_upload(ctx, target, upload, |upload| {
            upload.parts.insert(number, Part { info: info.clone(), body });
            Ok(info)
        })
    }

    async fn complete_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        completion: &Completion<'_>,
    ) -> Result<WriteReceipt, DriverError> {
        let modified_ms = self.times.wall_ms();
        let key = target.key.as_str();
        self.on_container(ctx, target.container, |container| {
            if let Some(receipt) = container.receipt_of_completion(key, upload) {
                return Ok(receipt);
            }
            let artifact = complete::assemble(
                container.upload(key, upload)?,
                upload,
                completion,
                modified_ms,
            )?;
            decide(completion.condition, container.current(key))?;
            let receipt = receipt(&artifact.info);
            container.end_upload(key, upload)?;
            container.store(key, artifact);
            Ok(receipt)
        })
    }

    async fn abort_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> Result<(), DriverError> {
        self.on_container(ctx, target.container, |container| {
            container.end_upload(target.key.as_str(), upload)
        })
    }

    async fn list_parts(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        query: PartQuery,
    ) -> Result<PartPage, DriverError> {
        self.on_upload(ctx, target, upload, |upload| Ok(listing::parts(upload, query)))
    }

    async fn list_uploads(
        &self,
        ctx: &Context,
        container: &ContainerName,
        query: &UploadQuery,
    ) -> Result<UploadPage, DriverError> {
        self.on_container(ctx, container, |container| Ok(listing::uploads(container, query)))
    }

    fn health(&self, _ctx: &Context) -> Health {
        Health::Ready
    }
}

/// One version of an artifact; it lives as long as this does.
#[derive(Clone)]
pub struct MemoryOpen {
    artifact: Arc<Artifact>,
    times: Arc<dyn Times>,
}

impl OpenArtifact for MemoryOpen {
    type Reader = MemoryReader;

    fn info(&self) -> &ArtifactInfo {
        &self.artifact.info
    }

    fn part_count(&self) -> Option<u16> {
        let completed = self.artifact.completed.as_ref()?;
        u16::try_from(completed.parts.len()).ok()
    }

    async fn parts(&self, ctx: &Context, query: PartQuery) -> Result<Vec<PartSpan>, DriverError> {
        alive(ctx, &*self.times)?;
        let whole = [(self.artifact.info.size, self.artifact.info.checksum)];
        let parts = match &self.artifact.completed {
            Some(completed) => &completed.parts[..],
            None => &whole[..],
        };
        Ok(PartSpan::select(parts.iter().copied(), query))
    }

    async fn read(self, ctx: &Context, range: ByteRange) -> Result<MemoryReader, DriverError> {
        alive(ctx, &*self.times)?;
        let pieces = self.artifact.body.range(range).into_iter();
        Ok(MemoryReader { pieces, times: self.times })
    }
}

/// Yields the pieces of a range.
pub struct MemoryReader {
    pieces: std::vec::IntoIter<Bytes>,
    times: Arc<dyn Times>,
}

impl Reader for MemoryReader {
    async fn next(&mut self, ctx: &Context) -> Result<Option<Chunk>, DriverError> {
        alive(ctx, &*self.times)?;
        Ok(self.pieces.next().map(Chunk::Memory))
    }
}

#[cfg(test)]
mod tests;
