//! The contract between the engine and whatever keeps artifacts.
//!
//! A [`Driver`] value belongs to one core; the values of all cores act on the same data. A write
//! is durable when its future returns `Ok`. A [`DriverError`] never confuses a miss with a
//! failure, nor a client's abort with ours.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod fault;
pub mod local;
pub mod memory;

mod error;

pub use error::{BodyError, DriverError};

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;

use crate::context::{Context, Interrupted};
use crate::model::{
    ArtifactInfo, ArtifactKey, ByteRange, ChecksumAlgorithm, ChecksumKind, CompletePart,
    ContainerInfo, ContainerName, ContainerPage, ContainerQuery, Digests, ETag, ListPage,
    ListQuery, Metadata, PartInfo, PartPage, PartQuery, PartSpan, UploadId, UploadInfo, UploadPage,
    UploadQuery, WriteCondition, WriteReceipt,
};

/// A piece of an artifact's bytes, on its way to a socket. Only `net/` knows how to send each.
#[derive(Clone, Debug)]
pub enum Chunk {
    /// Bytes in memory, verified.
    Memory(Bytes),
    /// A range of an open file whose pages are in the page cache.
    File {
        /// The file; stays open while the chunk lives, so unlinking does not hurt it.
        file: Arc<OwnedFd>,
        /// Where the range begins.
        offset: u64,
        /// Its length in bytes.
        length: u64,
    },
}

impl Chunk {
    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// Whether it holds no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Memory that a [`Source`] fills.
pub trait Buffer: AsRef<[u8]> + AsMut<[u8]> + 'static {}

impl<B: AsRef<[u8]> + AsMut<[u8]> + 'static> Buffer for B {}

/// A body on its way in. The driver pulls it once, into memory of its own, and asks for the
/// digests when it has it all; whoever implements this has hashed the bytes as they passed.
pub trait Source {
    /// Number of bytes that the client declared, if it did. A source never yields more, and
    /// yields an error rather than less.
    fn size(&self) -> Option<u64>;

    /// Fills the beginning of `buffer` and returns how many bytes that were; 0 only at the end
    /// (or for an empty `buffer`). May return fewer than would fit, whatever has arrived.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the source unusable.
    fn read(
        &mut self,
        ctx: &Context,
        buffer: &mut [u8],
    ) -> impl Future<Output = Result<usize, BodyError>>;

    /// Fills `buffer` from `start` to its end and returns it, with how many bytes that were: fewer than there is room
    /// for only at the end of the body. The source owns the memory meanwhile, so that it can hash the bytes together
    /// with those of other bodies. `arrived` is shown all of them, in pieces and in order, while they are warm in the
    /// processor's caches.
    ///
    /// # Errors
    /// As [`Source::read`]; also if the operation is cancelled.
    ///
    /// # Cancel safety
    /// As [`Source::read`], and the buffer is lost.
    fn fill<B: Buffer>(
        &mut self,
        ctx: &Context,
        mut buffer: B,
        start: usize,
        arrived: &mut dyn FnMut(&[u8]),
    ) -> impl Future<Output = (Result<usize, BodyError>, B)> {
        async move {
            let mut end = start;
            loop {
                let room = &mut buffer.as_mut()[end..];
                if room.is_empty() {
                    return (Ok(end - start), buffer);
                }
                if ctx.cancellation().is_cancelled() {
                    return (Err(Interrupted::Cancelled.into()), buffer);
                }
                match self.read(ctx, room).await {
                    Ok(0) => return (Ok(end - start), buffer),
                    Ok(count) => {
                        arrived(&buffer.as_mut()[end..end + count]);
                        end += count;
                    }
                    Err(error) => return (Err(error), buffer),
                }
            }
        }
    }

    /// Checks every promise made about the body (length, checksums, signatures) and returns its
    /// digests. Called once, after `read` returned 0, and before anything is committed.
    ///
    /// # Errors
    /// A [`BodyError`]: the write must leave no trace.
    fn finish(&mut self, ctx: &Context) -> impl Future<Output = Result<Digests, BodyError>>;
}

/// One version of an artifact, held open: it can be read to its end even if it is overwritten
/// or deleted meanwhile.
pub trait OpenArtifact {
    /// What yields the bytes.
    type Reader: Reader;

    /// Its description.
    fn info(&self) -> &ArtifactInfo;

    /// Number of parts it was completed from; `None` if it was written in one piece.
    fn part_count(&self) -> Option<u16>;

    /// Some of its parts, numbered from 1 in the order of their bytes. An artifact written in one piece has one, all
    /// of it.
    fn parts(
        &self,
        ctx: &Context,
        query: PartQuery,
    ) -> impl Future<Output = Result<Vec<PartSpan>, DriverError>>;

    /// The part of this number; `Ok(None)` if there is none.
    fn part(
        &self,
        ctx: &Context,
        number: u16,
    ) -> impl Future<Output = Result<Option<PartSpan>, DriverError>> {
        async move {
            let Some(after) = number.checked_sub(1) else { return Ok(None) };
            Ok(self.parts(ctx, PartQuery { after, limit: 1 }).await?.pop())
        }
    }

    /// Starts reading `range`, which lies within the artifact.
    fn read(
        self,
        ctx: &Context,
        range: ByteRange,
    ) -> impl Future<Output = Result<Self::Reader, DriverError>>;
}

/// Yields the bytes of one range, in order.
pub trait Reader {
    /// The next chunk, or `None` after the last. What comes from the disk is verified first;
    /// after an error nothing more may be sent and the connection ends short of the length.
    fn next(&mut self, ctx: &Context) -> impl Future<Output = Result<Option<Chunk>, DriverError>>;
}

/// Where an operation acts.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The container.
    pub container: &'a ContainerName,
    /// The key in it.
    pub key: ArtifactKey<'a>,
}

/// What to write besides the bytes.
#[derive(Clone, Debug, Default)]
pub struct WriteSpec {
    /// The artifact's metadata.
    pub metadata: Metadata,
    /// What must hold at commit.
    pub condition: WriteCondition,
}

/// What an upload is created with.
#[derive(Clone, Debug, Default)]
pub struct UploadSpec {
    /// The artifact's metadata.
    pub metadata: Metadata,
    /// The checksum that its parts carry and how the whole's is made.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// How an upload is completed.
#[derive(Clone, Debug)]
pub struct Completion<'a> {
    /// The parts, in ascending order of their numbers.
    pub parts: &'a [CompletePart],
    /// What must hold at commit.
    pub condition: WriteCondition,
    /// The checksum of the whole as the client computed it; the engine or driver compares it with
    /// what follows from the parts.
    pub checksum: Option<crate::model::Checksum>,
    /// Total size as the client declared it, if it did.
    pub size: Option<u64>,
    /// Smallest size of every part but the last, in bytes.
    pub part_size_min: u64,
}

/// One deletion of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Deletion<'a> {
    /// What to delete.
    pub key: ArtifactKey<'a>,
    /// What must hold at commit.
    pub condition: WriteCondition,
}

/// Whether there is room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Reads and writes are served.
    Ready,
    /// A sync failed or a disk is full: reads are served, writes refused.
    ReadOnly,
    /// Neither.
    Unavailable,
}

/// What a driver does natively; the engine refuses what is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Conditions on writes and deletes are decided atomically at commit.
    pub conditional_writes: bool,
    /// An acknowledged write survives a power cut.
    pub durable: bool,
}

/// Keeps containers and artifacts.
///
/// All names are seen through the tenant of the [`Context`]; another tenant's are absent.
pub trait Driver {
    /// What [`Driver::open`] returns.
    type Open: OpenArtifact;

    /// What it does natively.
    fn capabilities(&self) -> Capabilities;

    /// Creates a container, durable on return.
    ///
    /// # Errors
    /// [`DriverError::ContainerExists`] if the tenant has it already.
    fn create_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> impl Future<Output = Result<(), DriverError>>;

    /// Describes a container.
    fn head_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> impl Future<Output = Result<ContainerInfo, DriverError>>;

    /// Deletes an empty container, durable on return. Uploads in progress in it are aborted.
    ///
    /// # Errors
    /// [`DriverError::ContainerNotEmpty`] if it holds an artifact.
    fn delete_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> impl Future<Output = Result<(), DriverError>>;

    /// Lists the tenant's containers.
    fn list_containers(
        &self,
        ctx: &Context,
        query: &ContainerQuery,
    ) -> impl Future<Output = Result<ContainerPage, DriverError>>;

    /// Stores an artifact from `source`, replacing what had its key; durable and visible on
    /// return, or without a trace.
    ///
    /// # Cancel safety
    /// Dropping the future before the commit is queued leaves no trace; after that the write may
    /// take effect.
    fn put<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: WriteSpec,
        source: &mut S,
    ) -> impl Future<Output = Result<WriteReceipt, DriverError>>;

    /// Opens the current version of an artifact for reading.
    fn open(
        &self,
        ctx: &Context,
        target: Target<'_>,
    ) -> impl Future<Output = Result<Self::Open, DriverError>>;

    /// Deletes artifacts of one container, durable on return; one result each, in order. A key that
    /// has no artifact succeeds unless its condition asks for one.
    fn delete(
        &self,
        ctx: &Context,
        container: &ContainerName,
        deletions: &[Deletion<'_>],
    ) -> impl Future<Output = Result<Vec<Result<(), DriverError>>, DriverError>>;

    /// Lists artifacts.
    fn list(
        &self,
        ctx: &Context,
        container: &ContainerName,
        query: &ListQuery,
    ) -> impl Future<Output = Result<ListPage, DriverError>>;

    /// Begins a multipart upload, durable on return.
    fn create_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: UploadSpec,
    ) -> impl Future<Output = Result<UploadId, DriverError>>;

    /// Describes an upload.
    fn head_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> impl Future<Output = Result<UploadInfo, DriverError>>;

    /// Stores a part, replacing one of the same number; durable on return.
    fn put_part<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        number: u16,
        source: &mut S,
    ) -> impl Future<Output = Result<PartInfo, DriverError>>;

    /// Makes the artifact from its parts without copying a byte; durable on return. Repeating a
    /// completion that took effect returns the same receipt while its artifact is current.
    fn complete_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        completion: &Completion<'_>,
    ) -> impl Future<Output = Result<WriteReceipt, DriverError>>;

    /// Gives an upload up and frees its parts; durable on return.
    fn abort_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> impl Future<Output = Result<(), DriverError>>;

    /// Lists the parts of an upload.
    fn list_parts(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        query: PartQuery,
    ) -> impl Future<Output = Result<PartPage, DriverError>>;

    /// Lists uploads in progress.
    fn list_uploads(
        &self,
        ctx: &Context,
        container: &ContainerName,
        query: &UploadQuery,
    ) -> impl Future<Output = Result<UploadPage, DriverError>>;

    /// Whether it serves.
    fn health(&self, ctx: &Context) -> Health;
}

/// The entity tag of an artifact completed from parts: the MD5 of their MD5s, and their number.
#[must_use]
pub fn composite_etag(parts: impl ExactSizeIterator<Item = ETag>) -> ETag {
    let count = u16::try_from(parts.len()).unwrap_or(u16::MAX);
    let mut joined = Vec::with_capacity(16 * parts.len());
    for part in parts {
        joined.extend_from_slice(&part.hash);
    }
    ETag { hash: crate::stdx::md5::digest(&joined), parts: count }
}
