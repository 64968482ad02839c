//! Wraps another driver and fails on demand, so that tests can see what the layers above make of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::context::Context;
use crate::model::{
    ArtifactInfo, ByteRange, ContainerInfo, ContainerName, ContainerPage, ContainerQuery, ListPage,
    ListQuery, PartInfo, PartPage, PartQuery, PartSpan, UploadId, UploadInfo, UploadPage,
    UploadQuery, WriteReceipt,
};

use super::{
    Capabilities, Chunk, Completion, Deletion, Driver, DriverError, Health, OpenArtifact, Reader,
    Source, Target, UploadSpec, WriteSpec,
};

/// A call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`Driver::create_container`]
    CreateContainer,
    /// [`Driver::head_container`]
    HeadContainer,
    /// [`Driver::delete_container`]
    DeleteContainer,
    /// [`Driver::list_containers`]
    ListContainers,
    /// [`Driver::put`]
    Put,
    /// [`Driver::open`]
    Open,
    /// [`OpenArtifact::part`]
    Part,
    /// [`OpenArtifact::read`]
    Read,
    /// [`Reader::next`]
    Next,
    /// [`Driver::delete`]
    Delete,
    /// [`Driver::list`]
    List,
    /// [`Driver::create_upload`]
    CreateUpload,
    /// [`Driver::head_upload`]
    HeadUpload,
    /// [`Driver::put_part`]
    PutPart,
    /// [`Driver::complete_upload`]
    CompleteUpload,
    /// [`Driver::abort_upload`]
    AbortUpload,
    /// [`Driver::list_parts`]
    ListParts,
    /// [`Driver::list_uploads`]
    ListUploads,
}

/// When a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before anything was done.
    Before,
    /// After it took effect: the caller cannot know.
    After,
}

/// One planned failure.
#[derive(Clone, Debug)]
struct Fault {
    call: Call,
    when: When,
    /// Calls to let pass first.
    skip: usize,
    /// Calls to fail; `None` for all.
    times: Option<usize>,
    error: DriverError,
}

#[derive(Debug)]
struct Plan {
    faults: Vec<Fault>,
    health: Health,
}

/// What is to fail. Clones share the plan, so that a test keeps one while the driver is in use.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Mutex<Plan>>);

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Plan { faults: Vec::new(), health: Health::Ready })))
    }
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Fails the next such call.
    pub fn fail_next(&self, call: Call, when: When, error: DriverError) {
        self.fail_after(call, when, 0, error);
    }

    /// Lets `skip` such calls pass and fails the one after.
    pub fn fail_after(&self, call: Call, when: When, skip: usize, error: DriverError) {
        self.plan(Fault { call, when, skip, times: Some(1), error });
    }

    /// Fails all such calls from now on.
    pub fn fail_always(&self, call: Call, when: When, error: DriverError) {
        self.plan(Fault { call, when, skip: 0, times: None, error });
    }

    /// What [`Driver::health`] answers, unless the wrapped driver is worse off.
    pub fn set_health(&self, health: Health) {
        self.lock().health = health;
    }

    /// Forgets all failures.
    pub fn clear(&self) {
        *self.lock() = Plan { faults: Vec::new(), health: Health::Ready };
    }

    /// Takes the failure that is due at this point, if there is one.
    fn strike(&self, call: Call, when: When) -> Result<(), DriverError> {
        let mut plan = self.lock();
        let mut due = None;
        for (index, fault) in plan.faults.iter_mut().enumerate() {
            if fault.call != call || fault.when != when {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if due.is_none() {
                due = Some(index);
            }
        }
        let Some(index) = due else { return Ok(()) };
        let fault = &mut plan.faults[index];
        let error = fault.error.clone();
        if let Some(times) = &mut fault.times {
            *times -= 1;
            if *times == 0 {
                plan.faults.remove(index);
            }
        }
        Err(error)
    }

    /// Runs a call with the failures around it.
    async fn around<T>(
        &self,
        call: Call,
        operation: impl Future<Output = Result<T, DriverError>>,
    ) -> Result<T, DriverError> {
        self.strike(call, When::Before)?;
        let value = operation.await?;
        self.strike(call, When::After)?;
        Ok(value)
    }
}

/// A driver that does what the wrapped one does, but for the planned failures.
#[derive(Clone, Debug)]
pub struct FaultDriver<D> {
    inner: D,
    faults: Faults,
}

impl<D: Driver> FaultDriver<D> {
    /// Wraps a driver.
    #[must_use]
    pub fn new(inner: D, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

impl<D: Driver> Driver for FaultDriver<D> {
    type Open = FaultOpen<D::Open>;

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn create_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<(), DriverError> {
        self.faults.around(Call::CreateContainer, self.inner.create_container(ctx, name)).await
    }

    async fn head_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<ContainerInfo, DriverError> {
        self.faults.around(Call::HeadContainer, self.inner.head_container(ctx, name)).await
    }

    async fn delete_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<(), DriverError> {
        self.faults.around(Call::DeleteContainer, self.inner.delete_container(ctx, name)).await
    }

    async fn list_containers(
        &self,
        ctx: &Context,
        query: &ContainerQuery,
    ) -> Result<ContainerPage, DriverError> {
        self.faults.around(Call::ListContainers, self.inner.list_containers(ctx, query)).await
    }

    async fn put<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: WriteSpec,
        source: &mut S,
    ) -> Result<WriteReceipt, DriverError> {
        self.faults.around(Call::Put, self.inner.put(ctx, target, spec, source)).await
    }

    async fn open(&self, ctx: &Context, target: Target<'_>) -> Result<Self::Open, DriverError> {
        let inner = self.faults.around(Call::Open, self.inner.open(ctx, target)).await?;
        Ok(FaultOpen { inner, faults: self.faults.clone() })
    }

    async fn delete(
        &self,
        ctx: &Context,
        container: &ContainerName,
        deletions: &[Deletion<'_>],
    ) -> Result<Vec<Result<(), DriverError>>, DriverError> {
        self.faults.around(Call::Delete, self.inner.delete(ctx, container, deletions)).await
    }

    async fn list(
        &self,
        ctx: &Context,
        container: &ContainerName,
        query: &ListQuery,
    ) -> Result<ListPage, DriverError> {
        self.faults.around(Call::List, self.inner.list(ctx, container, query)).await
    }

    async fn create_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: UploadSpec,
    ) -> Result<UploadId, DriverError> {
        self.faults.around(Call::CreateUpload, self.inner.create_upload(ctx, target, spec)).await
    }

    async fn head_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> Result<UploadInfo, DriverError> {
        self.faults.around(Call::HeadUpload, self.inner.head_upload(ctx, target, upload)).await
    }

    async fn put_part<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        number: u16,
        source: &mut S,
    ) -> Result<PartInfo, DriverError> {
        let operation = self.inner.put_part(ctx, target, upload, number, source);
        self.faults.around(Call::PutPart, operation).await
    }

    async fn complete_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        completion: &Completion<'_>,
    ) -> Result<WriteReceipt, DriverError> {
        let operation = self.inner.complete_upload(ctx, target, upload, completion);
        self.faults.around(Call::CompleteUpload, operation).await
    }

    async fn abort_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> Result<(), DriverError> {
        self.faults.around(Call::AbortUpload, self.inner.abort_upload(ctx, target, upload)).await
    }

    async fn list_parts(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        query: PartQuery,
    ) -> Result<PartPage, DriverError> {
        self.faults.around(Call::ListParts, self.inner.list_parts(ctx, target, upload, query)).await
    }

    async fn list_uploads(
        &self,
        ctx: &Context,
        container: &ContainerName,
        query: &UploadQuery,
    ) -> Result<UploadPage, DriverError> {
        self.faults.around(Call::ListUploads, self.inner.list_uploads(ctx, container, query)).await
    }

    fn health(&self, ctx: &Context) -> Health {
        match (self.faults.lock().health, self.inner.health(ctx)) {
            (Health::Unavailable, _) | (_, Health::Unavailable) => Health::Unavailable,
            (Health::ReadOnly, _) | (_, Health::ReadOnly) => Health::ReadOnly,
            (Health::Ready, Health::Ready) => Health::Ready,
        }
    }
}

/// An open artifact whose reading may fail.
#[derive(Debug)]
pub struct FaultOpen<O> {
    inner: O,
    faults: Faults,
}

impl<O: OpenArtifact> OpenArtifact for FaultOpen<O> {
    type Reader = FaultReader<O::Reader>;

    fn info(&self) -> &ArtifactInfo {
        self.inner.info()
    }

    fn part_count(&self) -> Option<u16> {
        self.inner.part_count()
    }

    async fn parts(&self, ctx: &Context, query: PartQuery) -> Result<Vec<PartSpan>, DriverError> {
        self.faults.around(Call::Part, self.inner.parts(ctx, query)).await
    }

    async fn read(self, ctx: &Context, range: ByteRange) -> Result<Self::Reader, DriverError> {
        let inner = self.faults.around(Call::Read, self.inner.read(ctx, range)).await?;
        Ok(FaultReader { inner, faults: self.faults })
    }
}

/// A reader that may fail.
#[derive(Debug)]
pub struct FaultReader<R> {
    inner: R,
    faults: Faults,
}

impl<R: Reader> Reader for FaultReader<R> {
    async fn next(&mut self, ctx: &Context) -> Result<Option<Chunk>, DriverError> {
        self.faults.around(Call::Next, self.inner.next(ctx)).await
    }
}
