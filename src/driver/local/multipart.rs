//! Multipart uploads.

use super::Core;
use super::get::metadata_here;
use crate::context::Context;
use crate::driver::{Completion, DriverError, Source, Target, UploadSpec, composite_etag};
use crate::io::{Clock, Disk};
use crate::model::{
    ContainerName, Metadata, PartInfo, PartPage, PartQuery, UploadEntry, UploadId, UploadInfo,
    UploadPage, UploadQuery, WriteReceipt,
};
use crate::shard::commit::{Answer, NewCompletion, NewPart, NewUpload, Request};
use crate::shard::error::ShardError;
use crate::shard::index::list::{self, UploadMet};
use crate::shard::index::{Entry, key};
use crate::shard::log::Place;

/// An upload, and where its metadata lies if it is not at hand.
type Described = (UploadInfo, Option<(Place, u32)>);

fn describe(entry: &Entry) -> Result<Described, ShardError> {
    let upload = list::upload(entry)?;
    let (metadata, later) = metadata_here(upload.metadata).ok_or(ShardError::Corrupt)?;
    let info = UploadInfo { metadata, checksum: upload.checksum, created_ms: upload.created_ms };
    Ok((info, later))
}

impl<D: Disk, C: Clock> Core<D, C> {
    pub(super) async fn create_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: UploadSpec,
    ) -> Result<UploadId, DriverError> {
        self.refuse_if_poisoned()?;
        let (shard, subject) = self.subject(ctx, target.container);
        let upload = self.next_upload_id();
        let new = NewUpload {
            key: target.key.as_str().into(),
            upload,
            metadata: spec.metadata,
            checksum: spec.checksum,
        };
        self.commit(ctx, shard, Request::CreateUpload(subject, Box::new(new))).await?;
        Ok(upload)
    }

    /// An id that nobody can guess: milliseconds and a count in the upper half, so that ids sort by time, and
    /// randomness in the lower.
    fn next_upload_id(&self) -> UploadId {
        let by_time = u64::try_from(self.clock.wall_ms()).unwrap_or_default() << 16;
        let order = by_time.max(self.last_upload.get() + 1);
        self.last_upload.set(order);
        let mut random = [0; 8];
        // It fails only where the kernel has no randomness at all.
        let _ = aws_lc_rs::rand::fill(&mut random);
        UploadId(u128::from(order) << 64 | u128::from(u64::from_le_bytes(random)))
    }

    fn look_up(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> Result<(u8, u64, Described), DriverError> {
        self.in_index(ctx, || {
            let (shard, container) = self.container(ctx, target.container)?;
            let stem = key::upload(container.id, target.key.as_bytes(), upload);
            let found = self.shared.index.shard(shard).get(&stem, |_, entry| describe(entry));
            let described = found.ok_or(DriverError::NoSuchUpload)??;
            Ok((shard, container.id, described))
        })
    }

    async fn with_metadata(
        &self,
        ctx: &Context,
        (mut info, later): Described,
    ) -> Result<UploadInfo, DriverError> {
        if let Some((place, crc)) = later {
            info.metadata = self.read_metadata(ctx, place, crc).await?;
        }
        Ok(info)
    }

    pub(super) async fn head_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> Result<UploadInfo, DriverError> {
        let _pin = self.pins.pin();
        let (_, _, described) = self.look_up(ctx, target, upload)?;
        self.with_metadata(ctx, described).await
    }

    pub(super) async fn put_part<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        number: u16,
        source: &mut S,
    ) -> Result<PartInfo, DriverError> {
        self.look_up(ctx, target, upload)?;
        self.refuse_if_poisoned()?;
        let taken = self.take_part(ctx, source).await?;
        let (shard, subject) = self.subject(ctx, target.container);
        let key = target.key.as_str().into();
        let part = NewPart { key, upload, number, body: taken.body };
        match self.commit(ctx, shard, Request::PutPart(subject, Box::new(part))).await? {
            Answer::Part(info) => Ok(info),
            _ => Err(DriverError::Unsupported),
        }
    }

    pub(super) async fn complete_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        completion: &Completion<'_>,
    ) -> Result<WriteReceipt, DriverError> {
        let metadata = match self.head_upload(ctx, target, upload).await {
            Ok(info) => info.metadata,
            // It may have been completed before; the owner knows.
            Err(DriverError::NoSuchUpload) => Metadata::default(),
            Err(error) => return Err(error),
        };
        let (shard, subject) = self.subject(ctx, target.container);
        let new = NewCompletion {
            key: target.key.as_str().into(),
            upload,
            metadata,
            parts: completion.parts.to_vec(),
            condition: completion.condition,
            checksum: completion.checksum,
            size: completion.size,
            part_size_min: completion.part_size_min,
            etag: composite_etag(completion.parts.iter().map(|part| part.etag)),
        };
        match self.commit(ctx, shard, Request::Complete(subject, Box::new(new))).await? {
            Answer::Written { receipt, .. } => Ok(receipt),
            _ => Err(DriverError::Unsupported),
        }
    }

    pub(super) async fn list_parts(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        query: PartQuery,
    ) -> Result<PartPage, DriverError> {
        let _pin = self.pins.pin();
        let (shard, container, described) = self.look_up(ctx, target, upload)?;
        let map = self.shared.index.shard(shard);
        let (parts, truncated) = self.in_index(ctx, || {
            let parts = list::parts(map, shard, container, upload, query);
            Ok(parts.map_err(ShardError::from)?)
        })?;
        Ok(PartPage { upload: self.with_metadata(ctx, described).await?, parts, truncated })
    }

    pub(super) async fn list_uploads(
        &self,
        ctx: &Context,
        name: &ContainerName,
        query: &UploadQuery,
    ) -> Result<UploadPage, DriverError> {
        let _pin = self.pins.pin();
        let (met, truncated) = self.in_index(ctx, || {
            let (shard, container) = self.container(ctx, name)?;
            let map = self.shared.index.shard(shard);
            let (met, truncated) =
                list::uploads(map, container.id, query).map_err(ShardError::from)?;
            let met = met.into_iter().map(|met| match met {
                UploadMet::Prefix(prefix) => Ok(Listed::Prefix(prefix)),
                UploadMet::Upload { key, id, entry } => {
                    Ok(Listed::Upload(key, id, describe(entry.entry())?))
                }
            });
            Ok((met.collect::<Result<Vec<_>, ShardError>>()?, truncated))
        })?;
        let mut entries = Vec::with_capacity(met.len());
        for listed in met {
            entries.push(match listed {
                Listed::Prefix(prefix) => UploadEntry::Prefix(prefix),
                Listed::Upload(key, id, described) => {
                    let info = self.with_metadata(ctx, described).await?;
                    UploadEntry::Upload { key, id, info }
                }
            });
        }
        Ok(UploadPage { entries, truncated })
    }
}

/// An entry of a listing, with nothing borrowed from the index.
enum Listed {
    Upload(String, UploadId, Described),
    Prefix(String),
}
