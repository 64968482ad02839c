//! Reading: a look-up in the index, without asking anybody, and then the bytes, verified.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use super::Core;
use super::pieces::{Extent, Pieces};
use crate::context::{Context, Stage};
use crate::driver::{Chunk, DriverError, OpenArtifact, Reader, Target};
use crate::io::{Clock, Disk, DiskFile};
use crate::model::{ArtifactInfo, ByteRange, Metadata, PartQuery, PartSpan};
use crate::shard::data::{self, FileName};
use crate::shard::extent::block_crc;
use crate::shard::files::Access;
use crate::shard::index::parts::{self, Part};
use crate::shard::index::shard_of;
use crate::shard::index::value::{Artifact, Content, Location, PartList, StoredMetadata};
use crate::shard::log::Place;
use crate::shard::pins::Pin;

/// An open artifact of the local driver. What it refers to is not freed while it lives.
pub struct LocalOpen<D: Disk, C: Clock> {
    core: Rc<Core<D, C>>,
    pin: Pin,
    info: ArtifactInfo,
    content: Content,
    parts: RefCell<Option<Rc<[Part]>>>,
}

/// Yields the bytes of a range, verified.
pub struct LocalReader<D: Disk, C: Clock> {
    core: Rc<Core<D, C>>,
    _pin: Pin,
    /// The first of the spans, which most artifacts have alone; then the others.
    span: Option<Span>,
    others: VecDeque<Span>,
    pieces: Option<Box<Pieces<D, C>>>,
}

/// A range of what lies in one place.
struct Span {
    location: Location,
    size: u64,
    range: ByteRange,
}

/// What a look-up takes out of the index.
#[derive(Clone)]
pub(super) struct Found {
    info: ArtifactInfo,
    metadata: Option<(Place, u32)>,
    content: Content,
}

/// Opens the current version of an artifact, if what a look-up would find is known; else the pin for one.
///
/// # Errors
/// If the request is over.
pub(super) fn open_known<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    ctx: &Context,
    target: Target<'_>,
) -> Result<Result<LocalOpen<D, C>, Pin>, DriverError> {
    core.asked.set(core.asked.get() + 1);
    let pin = core.pins.pin();
    Ok(match core.known(ctx, target)? {
        Some(found) => Ok(LocalOpen::new(core, pin, found)),
        None => Err(pin),
    })
}

/// Opens the current version of an artifact.
pub(super) async fn open<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    ctx: &Context,
    target: Target<'_>,
    pin: Pin,
) -> Result<LocalOpen<D, C>, DriverError> {
    let found = look_up(core, ctx, target).await?;
    Ok(LocalOpen::new(core, pin, found))
}

/// Looks an artifact up in the index, and remembers what it found. The caller has made a pin.
async fn look_up<D: Disk, C: Clock>(
    core: &Core<D, C>,
    ctx: &Context,
    target: Target<'_>,
) -> Result<Found, DriverError> {
    let shard = shard_of(ctx.tenant(), target.container);
    let as_of = (shard, core.shared.index.shard(shard).published());
    let read = |shard, sequence, place, value: &[u8]| {
        let artifact = Artifact::decode(shard, sequence, place, value)?;
        let (metadata, later) = metadata_here(artifact.metadata)?;
        let content = artifact.content;
        Some(Found { info: artifact.info(metadata), metadata: later, content })
    };
    let found = core.find(ctx, target.container, target.key.as_bytes(), read).await?;
    let mut found = found.ok_or(DriverError::NoSuchArtifact)?.ok_or(DriverError::Corrupt)?;
    if let Some((place, crc)) = found.metadata {
        found.info.metadata = core.read_metadata(ctx, place, crc).await?;
    }
    // What is kept has little metadata.
    if found.metadata.is_none() {
        core.recent.keep(as_of, ctx.tenant(), target, found.clone());
    }
    Ok(found)
}

/// The metadata if it is at hand, else where it lies; `None` if it is malformed.
pub(super) fn metadata_here(
    stored: StoredMetadata<'_>,
) -> Option<(Metadata, Option<(Place, u32)>)> {
    match stored {
        StoredMetadata::Here(bytes) => Some((Metadata::from_encoded(bytes)?, None)),
        StoredMetadata::InLog { place, crc } => Some((Metadata::default(), Some((place, crc)))),
    }
}

impl<D: Disk, C: Clock> Core<D, C> {
    /// What a look-up would find, if that is known without one, and books the time. The caller has made a pin.
    fn known(&self, ctx: &Context, target: Target<'_>) -> Result<Option<Found>, DriverError> {
        let began = self.clock.now();
        ctx.check(began)?;
        let found = self.recent.get(&self.shared.index, ctx.tenant(), target);
        if found.is_some() {
            ctx.trace().add(Stage::Index, self.clock.now().since(began));
        }
        Ok(found)
    }

    pub(super) async fn read_metadata(
        &self,
        ctx: &Context,
        place: Place,
        crc: u32,
    ) -> Result<Metadata, DriverError> {
        let intact = |bytes: &[u8]| crc_fast::crc32_iscsi(bytes) == crc;
        let bytes = self.read_intact(ctx, place, intact).await?;
        Metadata::from_encoded(&bytes).ok_or(DriverError::Corrupt)
    }

    /// The bytes of an inline artifact or part that is not in the cache, verified.
    async fn read_inline(
        &self,
        ctx: &Context,
        place: Place,
        id: u64,
        crc: u32,
    ) -> Result<Bytes, DriverError> {
        let read = self.read_intact(ctx, place, |bytes| block_crc(id, bytes) == crc).await;
        if matches!(read, Err(DriverError::Corrupt)) {
            let location = Location::Inline { place, id, crc };
            self.shared.integrity.suspect(location, u64::from(place.length));
        }
        let bytes = read?;
        self.cache.insert(id, bytes.clone());
        Ok(bytes)
    }

    /// The parts of an artifact. The caller has pinned it.
    pub(super) async fn read_parts(
        &self,
        ctx: &Context,
        list: PartList,
    ) -> Result<Vec<Part>, DriverError> {
        let intact = |bytes: &[u8]| crc_fast::crc32_iscsi(bytes) == list.crc;
        let bytes = self.read_intact(ctx, list.place, intact).await?;
        parts::decode(&bytes).ok_or(DriverError::Corrupt)
    }

    /// Bytes of a log segment that are `intact`, in memory of their own: as the page cache has them, else as the disk
    /// has them.
    pub(super) async fn read_intact(
        &self,
        ctx: &Context,
        place: Place,
        mut intact: impl FnMut(&[u8]) -> bool,
    ) -> Result<Bytes, DriverError> {
        for access in [Access::Cached, Access::Direct] {
            let bytes = self.read_log_by(ctx, access, place).await?;
            if intact(&bytes) {
                return Ok(bytes);
            }
        }
        Err(DriverError::Corrupt)
    }

    /// Bytes of a log segment as the disk has them, not verified, in memory of their own.
    pub(super) async fn read_log(&self, ctx: &Context, place: Place) -> Result<Bytes, DriverError> {
        self.read_log_by(ctx, Access::Direct, place).await
    }

    async fn read_log_by(
        &self,
        ctx: &Context,
        access: Access,
        place: Place,
    ) -> Result<Bytes, DriverError> {
        if place.length == 0 {
            return Ok(Bytes::new());
        }
        let layout = self.shared.volume.layout();
        let path = || layout.segment_path(place.segment);
        let opening = self.logs.get(place.segment, access, path);
        let file = self.on_disk(ctx, opening).await?;
        let (offset, length) = (place.offset as usize, place.length as usize);
        let start = offset - offset % crate::io::buffer::ALIGNMENT;
        let buffer = self.pool.take_wait(ctx, offset + length - start).await?;
        let (mut buffer, lease) = buffer.into_inner();
        buffer.set_length((offset + length - start).next_multiple_of(crate::io::buffer::ALIGNMENT));
        let (read, buffer) = self.on_disk(ctx, file.read_at(buffer, start as u64)).await;
        let read = read?;
        let bytes = buffer[..read].get(offset - start..offset - start + length);
        let bytes = bytes.map(Bytes::copy_from_slice);
        drop(crate::io::pool::PooledBuffer::from((buffer, lease)));
        bytes.ok_or(DriverError::Corrupt)
    }
}

impl<D: Disk, C: Clock> LocalOpen<D, C> {
    fn new(core: &Rc<Core<D, C>>, pin: Pin, found: Found) -> Self {
        let Found { info, content, .. } = found;
        Self { core: Rc::clone(core), pin, info, content, parts: RefCell::default() }
    }

    async fn part_list(&self, ctx: &Context, list: PartList) -> Result<Rc<[Part]>, DriverError> {
        if let Some(parts) = &*self.parts.borrow() {
            return Ok(Rc::clone(parts));
        }
        let parts: Rc<[Part]> = self.core.read_parts(ctx, list).await?.into();
        self.parts.replace(Some(Rc::clone(&parts)));
        Ok(parts)
    }
}

impl<D: Disk, C: Clock> OpenArtifact for LocalOpen<D, C> {
    type Reader = LocalReader<D, C>;

    fn info(&self) -> &ArtifactInfo {
        &self.info
    }

    fn part_count(&self) -> Option<u16> {
        match self.content {
            Content::Whole(_) => None,
            Content::Composite(list) => Some(list.count),
        }
    }

    async fn parts(&self, ctx: &Context, query: PartQuery) -> Result<Vec<PartSpan>, DriverError> {
        self.core.check(ctx)?;
        Ok(match self.content {
            Content::Whole(_) => {
                let whole = std::iter::once((self.info.size, self.info.checksum));
                PartSpan::select(whole, query)
            }
            Content::Composite(list) => {
                let parts = self.part_list(ctx, list).await?;
                PartSpan::select(parts.iter().map(|part| (part.size, part.checksum)), query)
            }
        })
    }

    async fn read(self, ctx: &Context, range: ByteRange) -> Result<Self::Reader, DriverError> {
        let (span, others) = match self.content {
            Content::Whole(location) => {
                (Some(Span { location, size: self.info.size, range }), VecDeque::new())
            }
            Content::Composite(list) => {
                self.core.check(ctx)?;
                (None, spans(&self.part_list(ctx, list).await?, range))
            }
        };
        // What is known to be damaged is refused before the first byte, not in the middle.
        let integrity = &self.core.shared.integrity;
        let mut all = span.iter().chain(&others);
        if all.any(|span| integrity.is_damaged(span.location, span.range)) {
            return Err(DriverError::Corrupt);
        }
        Ok(LocalReader { core: self.core, _pin: self.pin, span, others, pieces: None })
    }
}

/// The pieces of parts that a range covers.
fn spans(parts: &[Part], range: ByteRange) -> VecDeque<Span> {
    let mut spans = VecDeque::new();
    let mut start = 0;
    for part in parts {
        let end = start + part.size;
        let (first, last) = (range.offset.max(start), range.end().min(end));
        if first < last {
            let range = ByteRange { offset: first - start, length: last - first };
            spans.push_back(Span { location: part.location, size: part.size, range });
        }
        start = end;
    }
    spans
}

impl<D: Disk, C: Clock> LocalReader<D, C> {
    /// Begins a span; its bytes, if they are at hand.
    async fn begin(&mut self, ctx: &Context, span: Span) -> Result<Option<Bytes>, DriverError> {
        let core = &self.core;
        let layout = core.shared.volume.layout();
        let (file, base, id, access) = match span.location {
            Location::Inline { place, id, crc } => {
                let bytes = match core.cache.get(id) {
                    Some(bytes) => {
                        ctx.trace().cache_hit.set(true);
                        bytes
                    }
                    None => core.read_inline(ctx, place, id, crc).await?,
                };
                let first = usize::try_from(span.range.offset).unwrap_or(usize::MAX);
                let last = usize::try_from(span.range.end()).unwrap_or(usize::MAX);
                let whole = last <= bytes.len();
                return whole.then(|| Some(bytes.slice(first..last))).ok_or(DriverError::Corrupt);
            }
            Location::Extent { segment, offset, id } => {
                let path = || data::path(layout, FileName::Segment(segment));
                let access = core.touched.access(id);
                (core.segments.get(segment, access, path).await?, offset, id, access)
            }
            Location::OwnFile { id } => {
                let path = || data::path(layout, FileName::OwnFile(id));
                let access = core.touched.access(id);
                (core.own_files.get(id, access, path).await?, 0, id, access)
            }
        };
        let cached = match access {
            Access::Direct => None,
            Access::Cached => file.descriptor(),
        };
        let is_alone = matches!(span.location, Location::OwnFile { .. });
        let extent = Extent { file, base, id, size: span.size, is_alone, cached };
        let pieces = Pieces::new(Rc::clone(&self.core), extent, span.range, span.location);
        self.pieces = Some(Box::new(pieces));
        Ok(None)
    }
}

impl<D: Disk, C: Clock> Reader for LocalReader<D, C> {
    async fn next(&mut self, ctx: &Context) -> Result<Option<Chunk>, DriverError> {
        loop {
            self.core.check(ctx)?;
            if let Some(pieces) = &mut self.pieces {
                if let Some(chunk) = pieces.next(ctx).await? {
                    return Ok(Some(chunk));
                }
                self.pieces = None;
            }
            let next = self.span.take().or_else(|| self.others.pop_front());
            let Some(span) = next else { return Ok(None) };
            if span.range.length > 0
                && let Some(bytes) = self.begin(ctx, span).await?
            {
                return Ok(Some(Chunk::Memory(bytes)));
            }
        }
    }
}
