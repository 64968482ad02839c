//! What is asked of a shard's owner. A request owns all that it needs; nothing of the asking core is shared.

use bytes::Bytes;
use futures_channel::oneshot;

use crate::context::Monotonic;
use crate::model::{
    Checksum, ChecksumAlgorithm, ChecksumKind, CompletePart, ContainerName, Digests, ETag,
    Metadata, PartInfo, TenantId, UploadId, WriteCondition, WriteReceipt,
};
use crate::shard::error::ShardError;
use crate::shard::freeze::FrozenShards;
use crate::shard::index::key::KeyBytes;
use crate::shard::index::value::Location;
use crate::shard::log::writer::Urgency;
use crate::shard::segments::Lease;

/// A request in a mailbox.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) shard: u8,
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Result<Committed, ShardError>>,
    /// Until when it waits for room, once it has found none.
    pub(crate) waits_until: Option<Monotonic>,
}

/// The container that a request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) tenant: TenantId,
    pub(crate) container: ContainerName,
}

/// What to commit.
#[derive(Debug)]
pub(crate) enum Request {
    CreateContainer(Subject),
    DeleteContainer(Subject),
    Put(Subject, Box<NewPut>),
    Delete(Subject, Vec<(Box<str>, WriteCondition)>),
    CreateUpload(Subject, Box<NewUpload>),
    PutPart(Subject, Box<NewPart>),
    Complete(Subject, Box<NewCompletion>),
    Abort(Subject, Box<str>, UploadId),
    /// Writes a current record again, with another sequence.
    Relocate(Box<Relocation>),
    /// Ends an upload that was given up.
    Expire(Box<Expiry>),
    /// Not a commit: looks whether a disk that was full has room again.
    LookForRoom,
    /// Not a commit: hands over what a checkpoint of these shards consists of, each as it is between two batches.
    Freeze(Vec<u8>),
}

/// An artifact to be.
#[derive(Debug)]
pub(crate) struct NewPut {
    pub(crate) key: Box<str>,
    pub(crate) body: NewBody,
    pub(crate) metadata: Metadata,
    pub(crate) condition: WriteCondition,
}

/// Bytes on their way into the index.
#[derive(Debug)]
pub(crate) struct NewBody {
    pub(crate) size: u64,
    pub(crate) digests: Digests,
    pub(crate) content: BodyContent,
}

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum BodyContent {
    /// Here; they go into the log.
    Inline(Bytes),
    /// Written and synced.
    Stored(Lease),
}

/// An upload to be.
#[derive(Debug)]
pub(crate) struct NewUpload {
    pub(crate) key: Box<str>,
    pub(crate) upload: UploadId,
    pub(crate) metadata: Metadata,
    pub(crate) checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// A part to be.
#[derive(Debug)]
pub(crate) struct NewPart {
    pub(crate) key: Box<str>,
    pub(crate) upload: UploadId,
    pub(crate) number: u16,
    pub(crate) body: NewBody,
}

/// A completion.
#[derive(Debug)]
pub(crate) struct NewCompletion {
    pub(crate) key: Box<str>,
    pub(crate) upload: UploadId,
    /// The upload's; it never changes, so the asking core has read it.
    pub(crate) metadata: Metadata,
    pub(crate) parts: Vec<CompletePart>,
    pub(crate) condition: WriteCondition,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) size: Option<u64>,
    pub(crate) part_size_min: u64,
    /// The tag that follows from the named parts' tags.
    pub(crate) etag: ETag,
}

/// A record to be written again, if it is still current.
#[derive(Debug)]
pub(crate) struct Relocation {
    pub(crate) stem: KeyBytes,
    pub(crate) sequence: u64,
    pub(crate) value: Vec<u8>,
    /// Number of inline bytes, which the body begins with and whose checksum depends on the sequence.
    pub(crate) size: Option<usize>,
    pub(crate) body: Bytes,
    /// Extents that the new value refers to at another place than the old one did.
    pub(crate) moved: Vec<Moved>,
    /// How it goes on when the disk is full.
    pub(crate) urgency: Urgency,
}

/// An extent that was written again, and synced.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) from: Location,
    pub(crate) size: u64,
    pub(crate) to: Lease,
}

/// An upload to be ended, if its record is still current.
#[derive(Debug)]
pub(crate) struct Expiry {
    pub(crate) stem: KeyBytes,
    pub(crate) sequence: u64,
}

/// A decided, durable commit.
#[derive(Debug)]
pub(crate) struct Committed {
    /// The batch that made it durable; 0 if it changed nothing.
    pub(crate) batch: u64,
    pub(crate) answer: Answer,
}

/// What the asker is told.
#[derive(Debug)]
pub(crate) enum Answer {
    Done,
    /// What it was about has changed meanwhile; nothing was done.
    Stale,
    /// An artifact was written; `id` is that of its bytes.
    Written {
        receipt: WriteReceipt,
        id: u64,
    },
    Deleted(Vec<Result<(), ShardError>>),
    Part(PartInfo),
    Frozen(Box<FrozenShards>),
}

impl Request {
    /// How it goes on when the disk is full.
    pub(crate) fn urgency(&self) -> Urgency {
        match self {
            Self::DeleteContainer(_) | Self::Delete(..) | Self::Abort(..) | Self::Expire(_) => {
                Urgency::Reserve
            }
            Self::Relocate(relocation) => relocation.urgency,
            _ => Urgency::Normal,
        }
    }

    /// Whether it waits for room on a full disk. What housekeeping asks for does not, as room comes from there.
    pub(crate) fn waits_for_room(&self) -> bool {
        matches!(self, Self::DeleteContainer(_) | Self::Delete(..) | Self::Abort(..))
    }

    /// Most records and most bytes of records that it can make.
    pub(crate) fn size_max(&self) -> (usize, usize) {
        /// More than what stands around names, metadata and bytes in one record.
        const RECORD: usize = 512;
        match self {
            Self::CreateContainer(_) | Self::DeleteContainer(_) => (1, RECORD),
            Self::Put(_, put) => {
                (1, RECORD + put.key.len() + put.metadata.encoded().len() + put.body.in_log())
            }
            Self::Delete(_, deletions) => {
                let names: usize = deletions.iter().map(|(key, _)| RECORD + key.len()).sum();
                (deletions.len(), names)
            }
            Self::CreateUpload(_, upload) => {
                (1, RECORD + upload.key.len() + upload.metadata.encoded().len())
            }
            Self::PutPart(_, part) => (1, RECORD + part.body.in_log()),
            Self::Complete(_, completion) => {
                let names = 2 * (RECORD + completion.key.len());
                (2, names + completion.metadata.encoded().len() + 128 * completion.parts.len())
            }
            Self::Abort(_, key, _) => (1, RECORD + key.len()),
            Self::Relocate(relocation) => {
                let Relocation { stem, value, body, .. } = &**relocation;
                (1, RECORD + stem.len() + value.len() + body.len())
            }
            Self::Expire(expiry) => (1, RECORD + expiry.stem.len()),
            Self::LookForRoom | Self::Freeze(_) => (0, 0),
        }
    }
}

impl NewBody {
    fn in_log(&self) -> usize {
        match &self.content {
            BodyContent::Inline(bytes) => bytes.len(),
            BodyContent::Stored(_) => 0,
        }
    }
}
