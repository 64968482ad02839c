//! Decides requests in queue order, against the index and what the batch has decided before.

use std::collections::HashMap;

use bytes::Bytes;

use super::request::{Answer, BodyContent, Expiry, NewBody, NewPut, Relocation, Request, Subject};
use super::resolve::{self, Resolved};
use crate::model::{ContainerName, ETag, PartInfo, UploadId, WriteCondition, WriteReceipt};
use crate::shard::error::ShardError;
use crate::shard::extent::block_crc;
use crate::shard::index::Container;
use crate::shard::index::key::{self, KeyBytes, Keyspace};
use crate::shard::index::value::{
    self, Artifact, Location, NewArtifact, NewContent, inline_id, metadata_goes_to_body,
};
use crate::shard::log::{NewRecord, Place};
use crate::shard::planted::{self, Bug};
use crate::shard::record::{self, Kind};
use crate::shard::shared::Shared;

/// A record that is decided and not yet durable.
pub(super) struct Pending {
    pub(super) stem: KeyBytes,
    /// Where the value begins in the record's meta.
    pub(super) value_start: usize,
    /// The record that it replaces refers to the same bytes.
    pub(super) relocated: bool,
    /// But for these, which lie elsewhere now.
    pub(super) moved: Vec<(Location, u64)>,
}

/// What is to be done in the index besides the records themselves, once they are visible.
pub(super) enum Aftermath {
    /// An upload is over; the parts with these numbers (ascending) belong to an artifact now.
    EndUpload { shard: u8, container: u64, upload: UploadId, taken: Vec<u16> },
    /// A container is gone, and with it the uploads in it.
    DropContainer { shard: u8, container: u64 },
}

/// Why a request is not decided now.
pub(super) struct Later;

/// One frame in the making.
pub(super) struct Batch<'a> {
    pub(super) shared: &'a Shared,
    pub(super) now_ms: i64,
    pub(super) records: Vec<NewRecord>,
    pub(super) pending: Vec<Pending>,
    pub(super) aftermath: Vec<Aftermath>,
    /// Shard and stem of every pending record, with the newest one's index.
    overlay: HashMap<KeyBytes, usize>,
    /// The last sequence given out in each shard that the batch touches.
    pub(super) sequences: HashMap<u8, u64>,
    /// What lies under the active tables.
    pub(super) resolved: Resolved,
}

type Decided = Result<Answer, ShardError>;

impl<'a> Batch<'a> {
    pub(super) fn new(shared: &'a Shared, now_ms: i64, resolved: Resolved) -> Self {
        Self {
            shared,
            now_ms,
            records: Vec::new(),
            pending: Vec::new(),
            aftermath: Vec::new(),
            overlay: HashMap::new(),
            sequences: HashMap::new(),
            resolved,
        }
    }

    /// Decides one request.
    ///
    /// # Errors
    /// [`Later`] if it can only be decided once this batch is durable, or once more was looked up.
    pub(super) fn decide(&mut self, shard: u8, request: &Request) -> Result<Decided, Later> {
        if let Err(error) = self.is_resolved(shard, request)? {
            return Ok(Err(error));
        }
        Ok(match request {
            Request::CreateContainer(subject) => self.create_container(shard, subject),
            Request::DeleteContainer(subject) => {
                return self.delete_container(shard, subject);
            }
            Request::Put(subject, put) => self.put(shard, subject, put),
            Request::Delete(subject, deletions) => self.delete(shard, subject, deletions),
            Request::CreateUpload(subject, upload) => self.create_upload(shard, subject, upload),
            Request::PutPart(subject, part) => self.put_part(shard, subject, part),
            Request::Complete(subject, completion) => {
                return self.complete(shard, subject, completion);
            }
            Request::Abort(subject, key, upload) => self.abort(shard, subject, key, *upload),
            Request::Relocate(relocation) => Ok(self.relocate(shard, relocation)),
            Request::Expire(expiry) => Ok(self.expire(shard, expiry)),
            Request::LookForRoom | Request::Freeze(_) => Ok(Answer::Done),
        })
    }

    /// Whether all is known that a request is decided by; the error is what kept it from being looked up.
    fn is_resolved(&self, shard: u8, request: &Request) -> Result<Result<(), ShardError>, Later> {
        let map = self.shared.index.shard(shard);
        if map.is_flat() {
            return Ok(Ok(()));
        }
        let container = |subject: &Subject| self.container(shard, subject).ok();
        let (mut later, mut known) = (false, Ok(()));
        resolve::artifacts(request, container, |stem| match self.resolved.of(shard, &stem) {
            Some(Ok(())) => {}
            Some(Err(error)) => known = Err(error),
            None => {
                let pending = self.pending(shard, &stem).is_some();
                later |= !pending && resolve::needs_look(map, &stem);
            }
        });
        if later { Err(Later) } else { Ok(known) }
    }

    fn create_container(&mut self, shard: u8, subject: &Subject) -> Decided {
        if self.container(shard, subject).is_ok() {
            return Err(ShardError::ContainerExists);
        }
        let stem = key::container(subject.tenant, &subject.container);
        let container = Container { id: self.next_sequence(shard), created_ms: self.now_ms };
        let mut value = Vec::new();
        value::encode_container(&mut value, container);
        self.set(shard, stem, &value, Bytes::new());
        Ok(Answer::Done)
    }

    fn delete_container(&mut self, shard: u8, subject: &Subject) -> Result<Decided, Later> {
        let container = match self.container(shard, subject) {
            Ok(container) => container,
            Err(error) => return Ok(Err(error)),
        };
        // Whether it is empty was looked up without what is pending.
        if self.has_pending(shard, &key::within(Keyspace::Artifact, container)) {
            return Err(Later);
        }
        let is_new = container > self.shared.index.shard(shard).published();
        let is_empty = self.resolved.is_empty(shard, container);
        match is_empty.or(is_new.then_some(Ok(true))).ok_or(Later)? {
            Ok(true) => {}
            Ok(false) => return Ok(Err(ShardError::ContainerNotEmpty)),
            Err(error) => return Ok(Err(error)),
        }
        self.remove(shard, key::container(subject.tenant, &subject.container));
        self.aftermath.push(Aftermath::DropContainer { shard, container });
        Ok(Ok(Answer::Done))
    }

    fn put(&mut self, shard: u8, subject: &Subject, put: &NewPut) -> Decided {
        let container = self.container(shard, subject)?;
        let stem = key::artifact(container, put.key.as_bytes());
        self.check(shard, &stem, put.condition)?;
        let id = self.set_body(shard, stem, &put.body, put.metadata.encoded());
        Ok(Answer::Written { receipt: self.receipt(&put.body), id })
    }

    fn delete(
        &mut self,
        shard: u8,
        subject: &Subject,
        deletions: &[(Box<str>, WriteCondition)],
    ) -> Decided {
        let container = self.container(shard, subject)?;
        let mut results = Vec::with_capacity(deletions.len());
        for (name, condition) in deletions {
            let stem = key::artifact(container, name.as_bytes());
            let checked = self.check(shard, &stem, *condition);
            if let Ok(Some(_)) = checked {
                self.remove(shard, stem);
            }
            results.push(checked.map(drop));
        }
        Ok(Answer::Deleted(results))
    }

    fn create_upload(
        &mut self,
        shard: u8,
        subject: &Subject,
        upload: &super::request::NewUpload,
    ) -> Decided {
        let container = self.container(shard, subject)?;
        let metadata = upload.metadata.encoded();
        let mut value = Vec::new();
        value::encode_upload(&mut value, self.now_ms, upload.checksum, metadata);
        let body = if metadata_goes_to_body(metadata) {
            Bytes::copy_from_slice(metadata)
        } else {
            Bytes::new()
        };
        let stem = key::upload(container, upload.key.as_bytes(), upload.upload);
        self.set(shard, stem, &value, body);
        Ok(Answer::Done)
    }

    fn put_part(
        &mut self,
        shard: u8,
        subject: &Subject,
        part: &super::request::NewPart,
    ) -> Decided {
        let container = self.container(shard, subject)?;
        self.upload_exists(shard, container, &part.key, part.upload)?;
        let stem = key::part(container, part.upload, part.number);
        self.set_body(shard, stem, &part.body, &[]);
        let info = PartInfo {
            number: part.number,
            size: part.body.size,
            etag: part.body.digests.etag,
            checksum: part.body.digests.checksum,
            modified_ms: self.now_ms,
        };
        Ok(Answer::Part(info))
    }

    fn abort(&mut self, shard: u8, subject: &Subject, name: &str, upload: UploadId) -> Decided {
        let container = self.container(shard, subject)?;
        self.upload_exists(shard, container, name, upload)?;
        self.remove(shard, key::upload(container, name.as_bytes(), upload));
        let taken = Vec::new();
        self.aftermath.push(Aftermath::EndUpload { shard, container, upload, taken });
        Ok(Answer::Done)
    }

    /// Writes a record again if it is still current, so that its old segment can be recycled, or that of its bytes.
    fn relocate(&mut self, shard: u8, relocation: &Relocation) -> Answer {
        let Relocation { stem, sequence, value, size, body, moved, .. } = relocation;
        let current = self.look(shard, stem, |sequence, _, _| sequence);
        if current != Some(*sequence) || self.is_ending(shard, stem) {
            return Answer::Stale;
        }
        let mut value = value.clone();
        if let Some(bytes) = size.and_then(|size| body.get(..size)) {
            let id = inline_id(shard, self.next_sequence(shard));
            value::replace_inline_crc(&mut value, block_crc(id, bytes));
        }
        self.set(shard, stem.clone(), &value, body.clone());
        if let Some(pending) = self.pending.last_mut() {
            pending.relocated = true;
            pending.moved = moved.iter().map(|moved| (moved.from, moved.size)).collect();
        }
        Answer::Done
    }

    /// Whether a key belongs to an upload or container that this very batch ends. Its entry is still there, but what
    /// it refers to has another owner already, or none.
    fn is_ending(&self, shard: u8, stem: &[u8]) -> bool {
        let (container, part) = (key::container_of(stem), key::part_of(stem));
        let is_part = stem.first() == Some(&(Keyspace::Part as u8));
        self.aftermath.iter().any(|aftermath| match aftermath {
            Aftermath::EndUpload { shard: of, upload, .. } => {
                is_part && *of == shard && part.is_some_and(|(part_of, _)| part_of == *upload)
            }
            Aftermath::DropContainer { shard: of, container: dropped } => {
                *of == shard && container == Some(*dropped)
            }
        })
    }

    fn expire(&mut self, shard: u8, expiry: &Expiry) -> Answer {
        let Expiry { stem, sequence } = expiry;
        let (Some(container), Some(upload)) = (key::container_of(stem), key::upload_of(stem))
        else {
            return Answer::Stale;
        };
        let current = self.look(shard, stem, |sequence, _, _| sequence);
        if current != Some(*sequence) || self.is_ending(shard, stem) {
            return Answer::Stale;
        }
        self.remove(shard, stem.clone());
        let taken = Vec::new();
        self.aftermath.push(Aftermath::EndUpload { shard, container, upload, taken });
        Answer::Done
    }

    /// The id of a container.
    pub(super) fn container(&self, shard: u8, subject: &Subject) -> Result<u64, ShardError> {
        let Subject { tenant, container } = subject;
        let stem = key::container(*tenant, container as &ContainerName);
        let found = self.look(shard, &stem, |_, _, value| value::decode_container(value));
        let container = found.ok_or(ShardError::NoSuchContainer)?.ok_or(ShardError::Corrupt)?;
        Ok(container.id)
    }

    pub(super) fn upload_exists(
        &self,
        shard: u8,
        container: u64,
        name: &str,
        upload: UploadId,
    ) -> Result<(), ShardError> {
        let stem = key::upload(container, name.as_bytes(), upload);
        self.look(shard, &stem, |_, _, _| ()).ok_or(ShardError::NoSuchUpload)
    }

    /// Whether a condition holds against what is current once the batch is durable, whose tag it returns.
    pub(super) fn check(
        &self,
        shard: u8,
        stem: &[u8],
        condition: WriteCondition,
    ) -> Result<Option<ETag>, ShardError> {
        let current = self
            .look(shard, stem, |sequence, place, value| {
                Artifact::decode(shard, sequence, place, value).map(|artifact| artifact.etag)
            })
            .map(|tag| tag.ok_or(ShardError::Corrupt))
            .transpose();
        let current = match current {
            // A damaged value can be replaced and deleted, but meets no condition.
            Err(_) if condition == WriteCondition::None => Some(ETag { hash: [0; 16], parts: 0 }),
            current => current?,
        };
        match current {
            _ if condition.holds(current) => Ok(current),
            Some(_) => Err(ShardError::PreconditionFailed),
            None => Err(ShardError::NoSuchArtifact),
        }
    }

    /// What is current once the batch is durable: the sequence, the place of the body (of no meaning if that is
    /// pending) and the value.
    pub(super) fn look<T>(
        &self,
        shard: u8,
        stem: &[u8],
        read: impl Fn(u64, Place, &[u8]) -> T,
    ) -> Option<T> {
        if let Some(at) = self.pending(shard, stem) {
            let (record, pending) = (&self.records[at], &self.pending[at]);
            return self.is_set(at).then(|| {
                read(record.sequence, Place::default(), &record.meta[pending.value_start..])
            });
        }
        let map = self.shared.index.shard(shard);
        if !key::is_artifact(stem) {
            return map.get(stem, |sequence, entry| read(sequence, entry.place, &entry.value));
        }
        map.in_active(stem, &read).unwrap_or_else(|| {
            let older = self.resolved.older(shard, stem)?;
            Some(read(older.sequence, older.entry.place, &older.entry.value))
        })
    }

    fn pending(&self, shard: u8, stem: &[u8]) -> Option<usize> {
        let unseen = planted::is(Bug::ConditionWithoutPending) && key::is_artifact(stem);
        if self.overlay.is_empty() || unseen {
            return None;
        }
        self.overlay.get(&in_shard(shard, stem)[..]).copied()
    }

    /// Whether any pending record's stem begins with this.
    pub(super) fn has_pending(&self, shard: u8, prefix: &[u8]) -> bool {
        let mut stems = self.overlay.keys();
        stems.any(|stem| stem[0] == shard && stem[1..].starts_with(prefix))
    }

    fn is_set(&self, at: usize) -> bool {
        self.records[at].kind == Kind::Set as u8
    }

    fn receipt(&self, body: &NewBody) -> WriteReceipt {
        WriteReceipt {
            etag: body.digests.etag,
            checksum: body.digests.checksum,
            modified_ms: self.now_ms,
            size: body.size,
        }
    }

    /// Adds the record of an artifact or part; returns the id of its bytes.
    fn set_body(&mut self, shard: u8, stem: KeyBytes, body: &NewBody, metadata: &[u8]) -> u64 {
        let id = inline_id(shard, self.next_sequence(shard));
        let (content, bytes, id) = match &body.content {
            BodyContent::Inline(bytes) => {
                (NewContent::Inline { crc: block_crc(id, bytes) }, bytes.clone(), id)
            }
            BodyContent::Stored(lease) => match lease.location() {
                Location::Extent { segment, offset, id } => {
                    (NewContent::Extent { segment, offset, id }, Bytes::new(), id)
                }
                Location::OwnFile { id } => (NewContent::OwnFile { id }, Bytes::new(), id),
                Location::Inline { .. } => unreachable!("nothing is leased in the log"),
            },
        };
        let artifact = NewArtifact {
            size: body.size,
            modified_ms: self.now_ms,
            etag: body.digests.etag,
            checksum: body.digests.checksum,
            metadata,
            content,
        };
        self.set_artifact(shard, stem, &artifact, bytes);
        id
    }

    /// Adds the record of an artifact or part whose content in the log is `bytes`.
    pub(super) fn set_artifact(
        &mut self,
        shard: u8,
        stem: KeyBytes,
        artifact: &NewArtifact<'_>,
        bytes: Bytes,
    ) {
        let mut value = Vec::with_capacity(128 + artifact.metadata.len());
        artifact.encode(&mut value);
        let body = if metadata_goes_to_body(artifact.metadata) {
            [&bytes[..], artifact.metadata].concat().into()
        } else {
            bytes
        };
        self.set(shard, stem, &value, body);
    }

    fn set(&mut self, shard: u8, stem: KeyBytes, value: &[u8], body: Bytes) {
        self.push(shard, Kind::Set, stem, value, body);
    }

    pub(super) fn remove(&mut self, shard: u8, stem: KeyBytes) {
        self.push(shard, Kind::Remove, stem, &[], Bytes::new());
    }

    fn next_sequence(&self, shard: u8) -> u64 {
        let last = self.sequences.get(&shard).copied();
        last.unwrap_or_else(|| self.shared.index.shard(shard).published()) + 1
    }

    fn push(&mut self, shard: u8, kind: Kind, stem: KeyBytes, value: &[u8], body: Bytes) {
        let sequence = self.next_sequence(shard);
        self.sequences.insert(shard, sequence);
        let (meta, value_start) = record::encode_meta(&stem, value);
        self.overlay.insert(in_shard(shard, &stem), self.records.len());
        self.records.push(NewRecord { shard, kind: kind as u8, sequence, meta, body });
        self.pending.push(Pending { stem, value_start, relocated: false, moved: Vec::new() });
    }
}

pub(super) fn in_shard(shard: u8, stem: &[u8]) -> KeyBytes {
    let mut key = KeyBytes::with_capacity(1 + stem.len());
    key.push(shard);
    key.extend_from_slice(stem);
    key
}
