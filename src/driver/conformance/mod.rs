//! One suite that every driver passes: what the contract in [`crate::driver`] promises, tried out.
//!
//! It needs no particular executor: whoever calls it polls the future. Every function uses
//! containers of its own, so they can run one after the other on one driver, and expects a driver
//! that has not run the function before. A breach panics, saying what was expected.

mod bodies;
mod cancellation;
mod conditions;
mod containers;
mod deletes;
mod listing;
mod multipart;
mod source;
mod tenants;
mod uploads;

pub use bodies::bodies;
pub use cancellation::cancellation;
pub use conditions::conditions;
pub use containers::containers;
pub use deletes::deletes;
pub use listing::listing;
pub use multipart::multipart;
pub use source::TestSource;
pub use tenants::tenants;
pub use uploads::uploads;

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::context::Context;
use crate::model::{
    ArtifactKey, ByteRange, ContainerName, TenantId, UploadId, WriteCondition, WriteReceipt,
};

use super::{
    Chunk, Deletion, Driver, DriverError, OpenArtifact, Reader, Target, UploadSpec, WriteSpec,
};

/// Runs all of it.
pub async fn run<D: Driver>(driver: &D) {
    Box::pin(containers(driver)).await;
    Box::pin(bodies(driver)).await;
    Box::pin(conditions(driver)).await;
    Box::pin(deletes(driver)).await;
    Box::pin(listing(driver)).await;
    Box::pin(multipart(driver)).await;
    Box::pin(uploads(driver)).await;
    Box::pin(tenants(driver)).await;
    Box::pin(cancellation(driver)).await;
}

/// Expects a result to be an error of a given shape.
macro_rules! refused {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result {
            Err($pattern) $(if $guard)? => {}
            other => panic!(
                "expected {}, got {:?}",
                stringify!($pattern $(if $guard)?),
                other.map(|_| "success")
            ),
        }
    };
}
use refused;

/// A container under test.
struct Bench<'d, D> {
    driver: &'d D,
    ctx: Context,
    container: ContainerName,
}

fn container_name(name: &str) -> ContainerName {
    ContainerName::new(name).expect("a valid container name")
}

fn artifact_key(key: &str) -> ArtifactKey<'_> {
    ArtifactKey::new(key).expect("a valid key")
}

/// Bytes that look random and are the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = Sequence::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&state.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Numbers that look random and are the same in every run (splitmix64).
struct Sequence(u64);

impl Sequence {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }
}

impl<'d, D: Driver> Bench<'d, D> {
    /// A new container of the default tenant.
    async fn new(driver: &'d D, name: &str) -> Self {
        Self::of_tenant(driver, TenantId::DEFAULT, name).await
    }

    /// A new container of a tenant.
    async fn of_tenant(driver: &'d D, tenant: TenantId, name: &str) -> Self {
        let bench =
            Self { driver, ctx: Context::internal(tenant), container: container_name(name) };
        let created = driver.create_container(&bench.ctx, &bench.container).await;
        created.unwrap_or_else(|error| panic!("create container {name}: {error}"));
        bench
    }

    fn target<'a>(&'a self, key: &'a str) -> Target<'a> {
        Target { container: &self.container, key: artifact_key(key) }
    }

    /// Writes what a source yields.
    async fn try_put(
        &self,
        key: &str,
        spec: WriteSpec,
        source: &mut TestSource,
    ) -> Result<WriteReceipt, DriverError> {
        self.driver.put(&self.ctx, self.target(key), spec, source).await
    }

    /// Writes bytes under a condition.
    async fn put_if(
        &self,
        key: &str,
        condition: WriteCondition,
        bytes: &[u8],
    ) -> Result<WriteReceipt, DriverError> {
        let spec = WriteSpec { condition, ..WriteSpec::default() };
        self.try_put(key, spec, &mut TestSource::new(bytes)).await
    }

    /// Writes bytes.
    async fn put(&self, key: &str, bytes: &[u8]) -> WriteReceipt {
        let written = self.put_if(key, WriteCondition::None, bytes).await;
        written.unwrap_or_else(|error| panic!("put {key:?}: {error}"))
    }

    /// Opens an artifact that must be there.
    async fn open(&self, key: &str) -> D::Open {
        let opened = self.driver.open(&self.ctx, self.target(key)).await;
        opened.unwrap_or_else(|error| panic!("open {key:?}: {error}"))
    }

    /// Reads a range.
    async fn read(&self, key: &str, offset: u64, length: u64) -> Vec<u8> {
        let open = self.open(key).await;
        let reader = open.read(&self.ctx, ByteRange { offset, length }).await;
        let mut reader = reader.unwrap_or_else(|error| panic!("read {key:?}: {error}"));
        drain(&self.ctx, &mut reader).await
    }

    /// Checks that an artifact holds these bytes, without printing them.
    async fn expect(&self, key: &str, bytes: &[u8]) {
        let open = self.open(key).await;
        assert_eq!(open.info().size, bytes.len() as u64, "size of {key:?}");
        assert!(self.read(key, 0, bytes.len() as u64).await == bytes, "bytes of {key:?} differ");
    }

    /// Checks that there is no such artifact, neither for a reader nor in a listing.
    async fn expect_none(&self, key: &str) {
        refused!(self.driver.open(&self.ctx, self.target(key)).await, DriverError::NoSuchArtifact);
        let query = crate::model::ListQuery {
            prefix: key.to_owned(),
            limit: 1000,
            ..crate::model::ListQuery::default()
        };
        let page = self.driver.list(&self.ctx, &self.container, &query).await.expect("list");
        assert!(page.entries.iter().all(|entry| entry.name() != key), "{key:?} is listed");
    }

    /// Deletes one artifact.
    async fn delete_if(&self, key: &str, condition: WriteCondition) -> Result<(), DriverError> {
        let deletions = [Deletion { key: artifact_key(key), condition }];
        let results = self.driver.delete(&self.ctx, &self.container, &deletions).await;
        let mut results = results.expect("the batch is carried out");
        assert_eq!(results.len(), 1, "one result for one deletion");
        results.remove(0)
    }

    /// Begins an upload without a checksum.
    async fn begin(&self, key: &str) -> UploadId {
        let begun =
            self.driver.create_upload(&self.ctx, self.target(key), UploadSpec::default()).await;
        begun.unwrap_or_else(|error| panic!("create upload {key:?}: {error}"))
    }
}

/// The bytes that a reader yields.
async fn drain<R: Reader>(ctx: &Context, reader: &mut R) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next(ctx).await.expect("the next chunk") {
        append(&mut bytes, &chunk);
    }
    assert!(matches!(reader.next(ctx).await, Ok(None)), "a reader that has ended stays at its end");
    bytes
}

/// Appends a chunk's bytes.
fn append(bytes: &mut Vec<u8>, chunk: &Chunk) {
    assert!(!chunk.is_empty(), "a chunk has bytes");
    match chunk {
        Chunk::Memory(memory) => bytes.extend_from_slice(memory),
        Chunk::File { file, offset, length } => {
            let start = bytes.len();
            bytes.resize(start + usize::try_from(*length).expect("fits memory"), 0);
            let file = File::from(file.try_clone().expect("another descriptor"));
            file.read_exact_at(&mut bytes[start..], *offset).expect("the range of the file");
        }
    }
}

/// Polls a future to its end on this thread; for drivers whose work needs no executor of their own.
///
/// # Panics
/// As the future does.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut polling = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut polling) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
