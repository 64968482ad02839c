//! The bytes of index values: what the log's records carry besides the key, and what the maps keep.
//!
//! All numbers are little-endian. An artifact or part is
//!
//! ```text
//! location u8 | size u64 | modified ms i64 | ETag 16 + parts u16
//! checksum: algorithm u8 (0: none), [kind u8, value]
//! metadata: length u32, crc32c u32 (0 if it lies here) | the metadata, if at most METADATA_HERE_MAX bytes
//! location 1, inline:    crc32c u32
//!          2, extent:    segment u64, offset u64, extent id u64
//!          3, own file:  file id u64
//!          4, composite: part count u16, upload id u128, list length u32, list crc32c u32
//! ```
//!
//! The body of the record, in the log, is the inline bytes or the part list, then the metadata if that is
//! longer. An empty value is a tombstone.

use super::Container;
use crate::model::{
    ArtifactInfo, Checksum, ChecksumAlgorithm, ChecksumKind, ETag, Metadata, UploadId,
};
use crate::shard::log::Place;

/// Longest metadata block that is kept in memory, in bytes.
pub(crate) const METADATA_HERE_MAX: usize = 256;

/// Where bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// In the log.
    Inline { place: Place, id: u64, crc: u32 },
    /// In a data segment, followed by its table of checksums.
    Extent { segment: u64, offset: u64, id: u64 },
    /// In a file of their own, followed by the table; the file's id is the extent's.
    OwnFile { id: u64 },
}

/// The list of the parts that an artifact was completed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartList {
    pub(crate) place: Place,
    pub(crate) crc: u32,
    pub(crate) count: u16,
    pub(crate) upload: UploadId,
}

/// What an artifact's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Whole(Location),
    Composite(PartList),
}

/// Where an artifact's or upload's metadata lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoredMetadata<'a> {
    Here(&'a [u8]),
    InLog { place: Place, crc: u32 },
}

/// A decoded artifact or part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Artifact<'a> {
    pub(crate) size: u64,
    pub(crate) modified_ms: i64,
    pub(crate) etag: ETag,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) metadata: StoredMetadata<'a>,
    pub(crate) content: Content,
}

/// A decoded upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upload<'a> {
    pub(crate) created_ms: i64,
    pub(crate) checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    pub(crate) metadata: StoredMetadata<'a>,
}

/// The id of inline bytes: unique, for a shard's sequences are.
pub(crate) fn inline_id(shard: u8, sequence: u64) -> u64 {
    u64::from(shard) << 56 | sequence
}

/// An artifact or part to be encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewArtifact<'a> {
    pub(crate) size: u64,
    pub(crate) modified_ms: i64,
    pub(crate) etag: ETag,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) metadata: &'a [u8],
    pub(crate) content: NewContent,
}

/// What its bytes are. A place in the log is not known yet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NewContent {
    Inline { crc: u32 },
    Extent { segment: u64, offset: u64, id: u64 },
    OwnFile { id: u64 },
    Composite { count: u16, upload: UploadId, length: u32, crc: u32 },
}

impl NewArtifact<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self.content {
            NewContent::Inline { .. } => 1,
            NewContent::Extent { .. } => 2,
            NewContent::OwnFile { .. } => 3,
            NewContent::Composite { .. } => 4,
        });
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.modified_ms.to_le_bytes());
        encode_etag(out, self.etag);
        encode_checksum(out, self.checksum);
        encode_metadata(out, self.metadata);
        match self.content {
            NewContent::Inline { crc } => out.extend_from_slice(&crc.to_le_bytes()),
            NewContent::Extent { segment, offset, id } => {
                for number in [segment, offset, id] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
            NewContent::OwnFile { id } => out.extend_from_slice(&id.to_le_bytes()),
            NewContent::Composite { count, upload, length, crc } => {
                out.extend_from_slice(&count.to_le_bytes());
                out.extend_from_slice(&upload.0.to_le_bytes());
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&crc.to_le_bytes());
            }
        }
    }
}

impl<'a> Artifact<'a> {
    /// Reads a value; `None` if it is malformed. `place` is the record's body.
    pub(crate) fn decode(shard: u8, sequence: u64, place: Place, value: &'a [u8]) -> Option<Self> {
        let mut rest = Decoder(value);
        let kind = rest.u8()?;
        let size = rest.u64()?;
        let modified_ms = rest.i64()?;
        let etag = rest.etag()?;
        let checksum = rest.checksum()?;
        let (metadata_length, metadata_crc) = (rest.u32()?, rest.u32()?);
        let here = rest.metadata_here(metadata_length)?;
        let (content, content_length) = match kind {
            1 => {
                let length = u32::try_from(size).ok()?;
                let place = Place { length, ..place };
                let location =
                    Location::Inline { place, id: inline_id(shard, sequence), crc: rest.u32()? };
                (Content::Whole(location), length)
            }
            2 => {
                let (segment, offset, id) = (rest.u64()?, rest.u64()?, rest.u64()?);
                (Content::Whole(Location::Extent { segment, offset, id }), 0)
            }
            3 => (Content::Whole(Location::OwnFile { id: rest.u64()? }), 0),
            4 => {
                let (count, upload) = (rest.u16()?, UploadId(rest.u128()?));
                let (length, crc) = (rest.u32()?, rest.u32()?);
                let place = Place { length, ..place };
                (Content::Composite(PartList { place, crc, count, upload }), length)
            }
            _ => return None,
        };
        let metadata = stored_metadata(here, place, content_length, metadata_length, metadata_crc)?;
        rest.end()?;
        Some(Self { size, modified_ms, etag, checksum, metadata, content })
    }

    /// Its description, with `metadata`.
    pub(crate) fn info(&self, metadata: Metadata) -> ArtifactInfo {
        ArtifactInfo {
            size: self.size,
            etag: self.etag,
            modified_ms: self.modified_ms,
            metadata,
            checksum: self.checksum,
        }
    }
}

/// Appends an upload's value.
pub(crate) fn encode_upload(
    out: &mut Vec<u8>,
    created_ms: i64,
    checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    metadata: &[u8],
) {
    out.extend_from_slice(&created_ms.to_le_bytes());
    out.push(checksum.map_or(0, |(algorithm, _)| algorithm as u8));
    out.push(checksum.map_or(0, |(_, kind)| kind as u8));
    encode_metadata(out, metadata);
}

impl<'a> Upload<'a> {
    /// Reads a value; `None` if it is malformed.
    pub(crate) fn decode(place: Place, value: &'a [u8]) -> Option<Self> {
        let mut rest = Decoder(value);
        let created_ms = rest.i64()?;
        let (algorithm, kind) = (rest.u8()?, rest.u8()?);
        let checksum = match algorithm {
            0 => None,
            number => Some((ChecksumAlgorithm::from_number(number)?, checksum_kind(kind)?)),
        };
        let (length, crc) = (rest.u32()?, rest.u32()?);
        let here = rest.metadata_here(length)?;
        let metadata = stored_metadata(here, place, 0, length, crc)?;
        rest.end()?;
        Some(Self { created_ms, checksum, metadata })
    }
}

/// Appends a container's value: its id u64, and when it was created i64.
pub(crate) fn encode_container(out: &mut Vec<u8>, container: Container) {
    out.extend_from_slice(&container.id.to_le_bytes());
    out.extend_from_slice(&container.created_ms.to_le_bytes());
}

/// Reads a container's value; `None` if it is malformed.
pub(crate) fn decode_container(value: &[u8]) -> Option<Container> {
    let mut rest = Decoder(value);
    let container = Container { id: rest.u64()?, created_ms: rest.i64()? };
    rest.end()?;
    Some(container)
}

/// Puts another place into the value of an artifact or part whose bytes are an extent.
pub(crate) fn replace_extent(value: &mut [u8], segment: u64, offset: u64) {
    if let Some(at) = value.len().checked_sub(24) {
        value[at..at + 8].copy_from_slice(&segment.to_le_bytes());
        value[at + 8..at + 16].copy_from_slice(&offset.to_le_bytes());
    }
}

/// Puts another list of parts into the value of an artifact that was completed from them.
pub(crate) fn replace_part_list(value: &mut [u8], length: u32, crc: u32) {
    if let Some(at) = value.len().checked_sub(8) {
        value[at..at + 4].copy_from_slice(&length.to_le_bytes());
        value[at + 4..].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Puts another checksum into the value of an inline artifact, whose bytes got another id.
pub(crate) fn replace_inline_crc(value: &mut [u8], crc: u32) {
    if let Some(last) = value.last_chunk_mut::<4>() {
        *last = crc.to_le_bytes();
    }
}

/// Whether a metadata block goes to the body of the record.
pub(crate) fn metadata_goes_to_body(metadata: &[u8]) -> bool {
    metadata.len() > METADATA_HERE_MAX
}

fn encode_metadata(out: &mut Vec<u8>, metadata: &[u8]) {
    let in_body = metadata_goes_to_body(metadata);
    let crc = if in_body { crc_fast::crc32_iscsi(metadata) } else { 0 };
    out.extend_from_slice(&u32::try_from(metadata.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    if !in_body {
        out.extend_from_slice(metadata);
    }
}

fn stored_metadata(
    here: Option<&[u8]>,
    place: Place,
    content_length: u32,
    length: u32,
    crc: u32,
) -> Option<StoredMetadata<'_>> {
    Some(match here {
        Some(bytes) => StoredMetadata::Here(bytes),
        None => StoredMetadata::InLog {
            place: Place { offset: place.offset.checked_add(content_length)?, length, ..place },
            crc,
        },
    })
}

pub(super) fn encode_etag(out: &mut Vec<u8>, etag: ETag) {
    out.extend_from_slice(&etag.hash);
    out.extend_from_slice(&etag.parts.to_le_bytes());
}

pub(super) fn encode_checksum(out: &mut Vec<u8>, checksum: Option<Checksum>) {
    match checksum {
        None => out.push(0),
        Some(checksum) => {
            out.push(checksum.algorithm as u8);
            out.push(checksum.kind as u8);
            out.extend_from_slice(checksum.value());
        }
    }
}

fn checksum_kind(number: u8) -> Option<ChecksumKind> {
    match number {
        0 => Some(ChecksumKind::FullObject),
        1 => Some(ChecksumKind::Composite),
        _ => None,
    }
}

/// Takes fields off the front of a value.
pub(super) struct Decoder<'a>(pub(super) &'a [u8]);

impl<'a> Decoder<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }

    pub(super) fn etag(&mut self) -> Option<ETag> {
        Some(ETag { hash: self.take()?, parts: self.u16()? })
    }

    pub(super) fn checksum(&mut self) -> Option<Option<Checksum>> {
        let number = self.u8()?;
        if number == 0 {
            return Some(None);
        }
        let algorithm = ChecksumAlgorithm::from_number(number)?;
        let kind = checksum_kind(self.u8()?)?;
        Checksum::new(algorithm, kind, self.slice(algorithm.length())?).map(Some)
    }

    fn metadata_here(&mut self, length: u32) -> Option<Option<&'a [u8]>> {
        let length = usize::try_from(length).ok()?;
        if length > METADATA_HERE_MAX {
            return Some(None);
        }
        self.slice(length).map(Some)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
