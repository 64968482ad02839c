//! The configured drivers, and the rule that chooses one for a container.
//!
//! The set of driver types is closed, so that a call is dispatched by a match and futures are not
//! boxed.

use crate::config::ContainerRule;
use crate::context::Context;
use crate::driver::fault::{FaultDriver, FaultOpen, FaultReader};
use crate::driver::local::{LocalDriver, LocalOpen, LocalReader};
use crate::driver::memory::{MemoryDriver, MemoryOpen, MemoryReader};
use crate::driver::{
    Capabilities, Chunk, Completion, Deletion, Driver, DriverError, Health, OpenArtifact, Reader,
    Source, Target, UploadSpec, WriteSpec,
};
use crate::io::clock::SystemClock;
use crate::io::uring::UringDisk;
use crate::model::{
    ArtifactInfo, ByteRange, ContainerInfo, ContainerName, ContainerPage, ContainerQuery, ListPage,
    ListQuery, PartInfo, PartPage, PartQuery, PartSpan, UploadId, UploadInfo, UploadPage,
    UploadQuery, WriteReceipt,
};

/// A driver of any type. Clones act on the same data.
#[derive(Clone)]
pub enum AnyDriver {
    /// On a local disk.
    Local(LocalDriver),
    /// In memory.
    Memory(MemoryDriver),
    /// In memory, failing on demand.
    Fault(FaultDriver<MemoryDriver>),
}

/// An open artifact of any driver.
pub enum AnyOpen {
    /// Of [`AnyDriver::Local`].
    Local(LocalOpen<UringDisk, SystemClock>),
    /// Of [`AnyDriver::Memory`].
    Memory(MemoryOpen),
    /// Of [`AnyDriver::Fault`].
    Fault(FaultOpen<MemoryOpen>),
}

/// A reader of any driver.
pub enum AnyReader {
    /// Of [`AnyDriver::Local`].
    Local(LocalReader<UringDisk, SystemClock>),
    /// Of [`AnyDriver::Memory`].
    Memory(MemoryReader),
    /// Of [`AnyDriver::Fault`].
    Fault(FaultReader<MemoryReader>),
}

/// Evaluates an expression with whatever a value of one of the enums above holds.
macro_rules! each {
    ($any:ident, $value:expr, $inner:ident => $result:expr) => {
        match $value {
            $any::Local($inner) => $result,
            $any::Memory($inner) => $result,
            $any::Fault($inner) => $result,
        }
    };
}

/// The same, and wraps the result in the variant of the same name of another enum.
macro_rules! each_into {
    ($any:ident, $value:expr, $inner:ident => $result:expr, $into:ident) => {
        match $value {
            $any::Local($inner) => $into::Local($result),
            $any::Memory($inner) => $into::Memory($result),
            $any::Fault($inner) => $into::Fault($result),
        }
    };
}

/// Names the variant, since what it holds says nothing in a log.
macro_rules! name_of_variant {
    ($any:ident) => {
        impl std::fmt::Debug for $any {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    Self::Local(_) => concat!(stringify!($any), "::Local"),
                    Self::Memory(_) => concat!(stringify!($any), "::Memory"),
                    Self::Fault(_) => concat!(stringify!($any), "::Fault"),
                })
            }
        }
    };
}

name_of_variant!(AnyDriver);
name_of_variant!(AnyOpen);
name_of_variant!(AnyReader);

impl Driver for AnyDriver {
    type Open = AnyOpen;

    fn capabilities(&self) -> Capabilities {
        each!(AnyDriver, self, driver => driver.capabilities())
    }

    async fn create_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<(), DriverError> {
        each!(AnyDriver, self, driver => driver.create_container(ctx, name).await)
    }

    async fn head_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<ContainerInfo, DriverError> {
        each!(AnyDriver, self, driver => driver.head_container(ctx, name).await)
    }

    async fn delete_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<(), DriverError> {
        each!(AnyDriver, self, driver => driver.delete_container(ctx, name).await)
    }

    async fn list_containers(
        &self,
        ctx: &Context,
        query: &ContainerQuery,
    ) -> Result<ContainerPage, DriverError> {
        each!(AnyDriver, self, driver => driver.list_containers(ctx, query).await)
    }

    async fn put<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: WriteSpec,
        source: &mut S,
    ) -> Result<WriteReceipt, DriverError> {
        each!(AnyDriver, self, driver => driver.put(ctx, target, spec, source).await)
    }

    async fn open(&self, ctx: &Context, target: Target<'_>) -> Result<AnyOpen, DriverError> {
        Ok(each_into!(AnyDriver, self, driver => driver.open(ctx, target).await?, AnyOpen))
    }

    async fn delete(
        &self,
        ctx: &Context,
        container: &ContainerName,
        deletions: &[Deletion<'_>],
    ) -> Result<Vec<Result<(), DriverError>>, DriverError> {
        each!(AnyDriver, self, driver => driver.delete(ctx, container, deletions).await)
    }

    async fn list(
        &self,
        ctx: &Context,
        container: &ContainerName,
        query: &ListQuery,
    ) -> Result<ListPage, DriverError> {
        each!(AnyDriver, self, driver => driver.list(ctx, container, query).await)
    }

    async fn create_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: UploadSpec,
    ) -> Result<UploadId, DriverError> {
        each!(AnyDriver, self, driver => driver.create_upload(ctx, target, spec).await)
    }

    async fn head_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> Result<UploadInfo, DriverError> {
        each!(AnyDriver, self, driver => driver.head_upload(ctx, target, upload).await)
    }

    async fn put_part<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        number: u16,
        source: &mut S,
    ) -> Result<PartInfo, DriverError> {
        each!(AnyDriver, self, driver => driver.put_part(ctx, target, upload, number, source).await)
    }

    async fn complete_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        completion: &Completion<'_>,
    ) -> Result<WriteReceipt, DriverError> {
        each!(AnyDriver, self, driver =>
            driver.complete_upload(ctx, target, upload, completion).await)
    }

    async fn abort_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> Result<(), DriverError> {
        each!(AnyDriver, self, driver => driver.abort_upload(ctx, target, upload).await)
    }

    async fn list_parts(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        query: PartQuery,
    ) -> Result<PartPage, DriverError> {
        each!(AnyDriver, self, driver => driver.list_parts(ctx, target, upload, query).await)
    }

    async fn list_uploads(
        &self,
        ctx: &Context,
        container: &ContainerName,
        query: &UploadQuery,
    ) -> Result<UploadPage, DriverError> {
        each!(AnyDriver, self, driver => driver.list_uploads(ctx, container, query).await)
    }

    fn health(&self, ctx: &Context) -> Health {
        each!(AnyDriver, self, driver => driver.health(ctx))
    }
}

impl OpenArtifact for AnyOpen {
    type Reader = AnyReader;

    fn info(&self) -> &ArtifactInfo {
        each!(AnyOpen, self, open => open.info())
    }

    fn part_count(&self) -> Option<u16> {
        each!(AnyOpen, self, open => open.part_count())
    }

    async fn parts(&self, ctx: &Context, query: PartQuery) -> Result<Vec<PartSpan>, DriverError> {
        each!(AnyOpen, self, open => open.parts(ctx, query).await)
    }

    async fn read(self, ctx: &Context, range: ByteRange) -> Result<AnyReader, DriverError> {
        Ok(each_into!(AnyOpen, self, open => open.read(ctx, range).await?, AnyReader))
    }
}

impl Reader for AnyReader {
    async fn next(&mut self, ctx: &Context) -> Result<Option<Chunk>, DriverError> {
        each!(AnyReader, self, reader => reader.next(ctx).await)
    }
}

/// The drivers of one core and which containers each keeps: the first rule whose prefix fits
/// decides; without one, the first driver.
#[derive(Clone, Debug)]
pub struct DriverRules {
    drivers: Vec<AnyDriver>,
    /// Prefixes of names, and the index of the driver that keeps them.
    rules: Vec<(String, usize)>,
}

impl DriverRules {
    /// These drivers by name, under these rules.
    ///
    /// # Panics
    /// If there is no driver, or a rule names one that is not there: a checked configuration has neither.
    #[must_use]
    pub fn new(drivers: Vec<(String, AnyDriver)>, rules: Vec<ContainerRule>) -> Self {
        assert!(!drivers.is_empty(), "at least one driver");
        let place = |rule: ContainerRule| {
            let index = drivers.iter().position(|(name, _)| *name == rule.driver);
            let Some(index) = index else { panic!("a rule names the driver {:?}", rule.driver) };
            (rule.prefix, index)
        };
        let rules = rules.into_iter().map(place).collect();
        Self { drivers: drivers.into_iter().map(|(_, driver)| driver).collect(), rules }
    }

    fn index_for(&self, container: &ContainerName) -> usize {
        let fits = |(prefix, _): &&(String, usize)| container.as_str().starts_with(prefix);
        self.rules.iter().find(fits).map_or(0, |(_, index)| *index)
    }

    /// The driver that keeps this container.
    #[must_use]
    pub fn driver(&self, container: &ContainerName) -> &AnyDriver {
        &self.drivers[self.index_for(container)]
    }

    /// Every driver.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &AnyDriver> {
        self.drivers.iter()
    }

    /// Whether the driver at `index` of [`DriverRules::all`] keeps this container.
    #[must_use]
    pub fn keeps(&self, index: usize, container: &ContainerName) -> bool {
        self.index_for(container) == index
    }
}
