//! The bytes of a log segment. All integers are little-endian; every structure begins on a multiple
//! of [`BLOCK`].
//!
//! ```text
//! segment   header block │ frame │ frame │ … │ unused, zero or stale │ trailer block if sealed
//! frame     frame header (96) │ record table │ bodies │ zeros up to a multiple of 4096
//! keys      frame header of type Seal │ for every frame: entry (32) │ its record table
//! ```
//!
//! **Segment header**, 512 bytes at 0 and again at 2048, so that each copy is one sector:
//! `magic 8 │ version 2 │ 0 2 │ core 2 │ 0 2 │ segment 8 │ epoch 4 │ position 4 │ previous segment 8 │
//! first batch 8 │ previous CRC 4 │ 0 4 │ salt 8 │ zeros │ CRC32C 4`. The epoch is the start of the server that
//! wrote the log.
//!
//! **Frame header**: `magic 4 │ version 2 │ type 1 │ 0 1 │ segment 8 │ epoch 4 │ offset 4 │ batch 8 │
//! committed up to 8 │ records 4 │ table length 4 │ payload length 4 │ frame length 4 │ previous frame's
//! header CRC 4 │ payload CRC32C 4 │ zeros 28 │ header CRC32C 4`. The header CRC is taken over the
//! segment's salt and then the header, so that bytes that a client sent never pass for a frame. It
//! covers the payload CRC, and so the chain covers everything. The chain of a log runs through its
//! Start and Batch frames, over the borders of its segments; Seal frames hang off it.
//!
//! **Record table**, one entry each: `shard 1 │ type 1 │ 0 2 │ meta length 4 │ sequence 8 │ body
//! length 4 │ 0 4 │ meta`. Bodies follow the whole table in the same order. A Start frame's table holds
//! the ends of older logs instead: `start 4 │ core 2 │ 0 2 │ segment 8 │ offset 4 │ 0 4 │ batch 8`.
//!
//! **Keys entry**: `frame offset 4 │ type 1 │ 0 3 │ records 4 │ table length 4 │ batch 8 │ header CRC 4 │ 0 4`.
//!
//! **Trailer block**, the last of a sealed segment's file: `magic 4 │ version 2 │ 0 2 │ segment 8 │ offset
//! of the Seal frame 4 │ its length 4 │ its header CRC 4 │ CRC32C of the salt and the 28 bytes before 4`.

mod ends;

pub use ends::{decode_ends, encode_end};

use super::{LogId, NewRecord};
use crate::shard::planted::{self, Bug};

/// What everything is aligned to, in bytes.
pub const BLOCK: usize = 4096;
/// Version of these structures.
pub const VERSION: u16 = 1;
/// Bytes of a frame header.
pub const FRAME_HEADER: usize = 96;
/// Bytes of an entry of a record table, without its meta.
pub const RECORD_ENTRY: usize = 24;
/// Bytes of a named end in a Start frame.
pub const END_ENTRY: usize = 32;
/// Bytes of a frame's entry in the keys.
pub const KEYS_ENTRY: usize = 32;
/// Longest meta, in bytes.
pub const META_BYTES_MAX: usize = 16 << 10;
/// Longest body, in bytes.
pub const BODY_BYTES_MAX: usize = 4 << 20;

const SEGMENT_MAGIC: [u8; 8] = *b"VAULTSEG";
const SEGMENT_COPY: usize = 512;
const SEGMENT_COPIES: [usize; 2] = [0, 2048];
const FRAME_MAGIC: [u8; 4] = *b"VLTF";
const TRAILER_MAGIC: [u8; 4] = *b"VLTT";
const TRAILER: usize = 32;

/// Rounds up to whole blocks.
#[must_use]
pub fn padded(length: usize) -> usize {
    length.next_multiple_of(BLOCK)
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    get(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    get(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    get(bytes, at).map(u64::from_le_bytes)
}

fn salted_crc(salt: u64, bytes: &[u8]) -> u32 {
    let mut salted = [0; 8 + FRAME_HEADER];
    put(&mut salted, 0, salt.to_le_bytes());
    salted[8..8 + bytes.len()].copy_from_slice(bytes);
    crc_fast::crc32_iscsi(&salted[..8 + bytes.len()])
}

/// Says which log a segment belongs to and how it links to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment.
    pub segment: u64,
    /// Its log.
    pub log: LogId,
    /// Its position in the log, from 0.
    pub position: u32,
    /// The segment before it in the log; 0 for none.
    pub previous_segment: u64,
    /// The batch of its first Batch frame. All earlier ones were durable before this was written.
    pub first_batch: u64,
    /// Header CRC of the log's last frame before it; 0 for none.
    pub previous_crc: u32,
    /// What the CRCs of its headers are seeded with.
    pub salt: u64,
}

impl SegmentHeader {
    /// Writes the header block.
    ///
    /// # Panics
    /// If `block` is not [`BLOCK`] bytes long.
    pub fn encode(&self, block: &mut [u8]) {
        assert_eq!(block.len(), BLOCK, "a header block");
        block.fill(0);
        let mut copy = [0; SEGMENT_COPY];
        put(&mut copy, 0, SEGMENT_MAGIC);
        put(&mut copy, 8, VERSION.to_le_bytes());
        put(&mut copy, 12, self.log.core.to_le_bytes());
        put(&mut copy, 16, self.segment.to_le_bytes());
        put(&mut copy, 24, self.log.start.to_le_bytes());
        put(&mut copy, 28, self.position.to_le_bytes());
        put(&mut copy, 32, self.previous_segment.to_le_bytes());
        put(&mut copy, 40, self.first_batch.to_le_bytes());
        put(&mut copy, 48, self.previous_crc.to_le_bytes());
        put(&mut copy, 56, self.salt.to_le_bytes());
        let crc = crc_fast::crc32_iscsi(&copy[..SEGMENT_COPY - 4]);
        put(&mut copy, SEGMENT_COPY - 4, crc.to_le_bytes());
        for at in SEGMENT_COPIES {
            block[at..at + SEGMENT_COPY].copy_from_slice(&copy);
        }
    }

    /// Reads the header block; `None` if neither copy is whole.
    #[must_use]
    pub fn decode(block: &[u8]) -> Option<Self> {
        SEGMENT_COPIES.iter().find_map(|&at| Self::decode_copy(block.get(at..at + SEGMENT_COPY)?))
    }

    fn decode_copy(copy: &[u8]) -> Option<Self> {
        let crc = crc_fast::crc32_iscsi(&copy[..SEGMENT_COPY - 4]);
        if copy[..8] != SEGMENT_MAGIC
            || u32_at(copy, SEGMENT_COPY - 4)? != crc
            || u16_at(copy, 8)? != VERSION
        {
            return None;
        }
        Some(Self {
            segment: u64_at(copy, 16)?,
            log: LogId { start: u32_at(copy, 24)?, core: u16_at(copy, 12)? },
            position: u32_at(copy, 28)?,
            previous_segment: u64_at(copy, 32)?,
            first_batch: u64_at(copy, 40)?,
            previous_crc: u32_at(copy, 48)?,
            salt: u64_at(copy, 56)?,
        })
    }
}

/// Whether a segment file, by its first two blocks, never held a frame under this number: it was
/// written ahead, or its former segment was retired.
#[must_use]
pub fn is_unused(segment: u64, start: &[u8]) -> bool {
    let (header, first_frame) = start.split_at(start.len().min(BLOCK));
    if let Some(found) = SegmentHeader::decode(header) {
        return found.segment != segment;
    }
    let frame_here =
        first_frame.starts_with(&FRAME_MAGIC) && u64_at(first_frame, 8) == Some(segment);
    !frame_here && header.iter().all(|&byte| byte == 0)
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// The first of a log: names the ends of older logs.
    Start,
    /// A commit batch.
    Batch,
    /// The keys of a whole segment.
    Seal,
}

impl FrameType {
    fn code(self) -> u8 {
        match self {
            Self::Start => 1,
            Self::Batch => 2,
            Self::Seal => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Start, Self::Batch, Self::Seal].into_iter().find(|kind| kind.code() == code)
    }
}

/// Leads a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What it is for.
    pub kind: FrameType,
    /// The segment it was written to.
    pub segment: u64,
    /// The start that wrote it.
    pub epoch: u32,
    /// Where it lies in the segment file.
    pub offset: u32,
    /// Number of the batch in its log; 0 for a Start frame, the last one before it for a Seal frame.
    pub batch: u64,
    /// All batches up to this one were durable before this frame was written.
    pub committed: u64,
    /// Number of entries in the table.
    pub records: u32,
    /// Bytes of the table.
    pub table_length: u32,
    /// Bytes of table and bodies.
    pub payload_length: u32,
    /// Header CRC of the frame before it in the chain.
    pub previous_crc: u32,
    /// CRC32C of the payload.
    pub payload_crc: u32,
}

impl FrameHeader {
    /// Bytes of the whole frame.
    #[must_use]
    pub fn frame_length(&self) -> usize {
        padded(FRAME_HEADER + self.payload_length as usize)
    }

    /// Writes it to the first [`FRAME_HEADER`] bytes; returns its CRC.
    pub fn encode(&self, salt: u64, bytes: &mut [u8]) -> u32 {
        let header = &mut bytes[..FRAME_HEADER];
        header.fill(0);
        put(header, 0, FRAME_MAGIC);
        put(header, 4, VERSION.to_le_bytes());
        header[6] = self.kind.code();
        put(header, 8, self.segment.to_le_bytes());
        put(header, 16, self.epoch.to_le_bytes());
        put(header, 20, self.offset.to_le_bytes());
        put(header, 24, self.batch.to_le_bytes());
        put(header, 32, self.committed.to_le_bytes());
        put(header, 40, self.records.to_le_bytes());
        put(header, 44, self.table_length.to_le_bytes());
        put(header, 48, self.payload_length.to_le_bytes());
        let frame_length = u32::try_from(self.frame_length()).unwrap_or(u32::MAX);
        put(header, 52, frame_length.to_le_bytes());
        put(header, 56, self.previous_crc.to_le_bytes());
        put(header, 60, self.payload_crc.to_le_bytes());
        let crc = salted_crc(salt, &header[..FRAME_HEADER - 4]);
        put(header, FRAME_HEADER - 4, crc.to_le_bytes());
        crc
    }

    /// Reads it, and its CRC; `None` unless it is whole and of this very segment, log and place.
    #[must_use]
    pub fn decode(bytes: &[u8], segment: &SegmentHeader, offset: u32) -> Option<(Self, u32)> {
        let header = bytes.get(..FRAME_HEADER)?;
        // Cheap tests first: recovery looks at every block of a torn tail.
        if header[..4] != FRAME_MAGIC || u16_at(header, 4)? != VERSION {
            return None;
        }
        let crc = salted_crc(segment.salt, &header[..FRAME_HEADER - 4]);
        let found = Self {
            kind: FrameType::from_code(header[6])?,
            segment: u64_at(header, 8)?,
            epoch: u32_at(header, 16)?,
            offset: u32_at(header, 20)?,
            batch: u64_at(header, 24)?,
            committed: u64_at(header, 32)?,
            records: u32_at(header, 40)?,
            table_length: u32_at(header, 44)?,
            payload_length: u32_at(header, 48)?,
            previous_crc: u32_at(header, 56)?,
            payload_crc: u32_at(header, 60)?,
        };
        let is_here = found.segment == segment.segment && found.epoch == segment.log.start;
        let whole = u32_at(header, FRAME_HEADER - 4)? == crc
            && (is_here || planted::is(Bug::EpochNotChecked))
            && found.offset == offset
            && found.table_length <= found.payload_length
            && u32_at(header, 52)? as usize == found.frame_length();
        whole.then_some((found, crc))
    }
}

/// Points from a sealed segment's last block to its Seal frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The segment.
    pub segment: u64,
    /// Where the Seal frame lies.
    pub seal_offset: u32,
    /// Its whole length.
    pub seal_length: u32,
    /// Its header CRC.
    pub seal_crc: u32,
}

impl Trailer {
    /// Writes it to the start of a block, which is zero behind it.
    pub fn encode(&self, salt: u64, block: &mut [u8]) {
        block.fill(0);
        put(block, 0, TRAILER_MAGIC);
        put(block, 4, VERSION.to_le_bytes());
        put(block, 8, self.segment.to_le_bytes());
        put(block, 16, self.seal_offset.to_le_bytes());
        put(block, 20, self.seal_length.to_le_bytes());
        put(block, 24, self.seal_crc.to_le_bytes());
        let crc = salted_crc(salt, &block[..TRAILER - 4]);
        put(block, TRAILER - 4, crc.to_le_bytes());
    }

    /// Reads it; `None` unless it is whole and of this segment.
    #[must_use]
    pub fn decode(block: &[u8], segment: &SegmentHeader) -> Option<Self> {
        let bytes = block.get(..TRAILER)?;
        let found = Self {
            segment: u64_at(bytes, 8)?,
            seal_offset: u32_at(bytes, 16)?,
            seal_length: u32_at(bytes, 20)?,
            seal_crc: u32_at(bytes, 24)?,
        };
        let whole = bytes[..4] == TRAILER_MAGIC
            && u16_at(bytes, 4)? == VERSION
            && u32_at(bytes, TRAILER - 4)? == salted_crc(segment.salt, &bytes[..TRAILER - 4])
            && found.segment == segment.segment;
        whole.then_some(found)
    }
}

/// Writes a record's table entry; the meta follows it.
///
/// # Panics
/// If meta or body exceed their limits.
pub fn encode_record(record: &NewRecord, entry: &mut [u8]) {
    assert!(record.meta.len() <= META_BYTES_MAX && record.body.len() <= BODY_BYTES_MAX);
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    entry[0] = record.shard;
    entry[1] = record.kind;
    put(entry, 2, [0; 2]);
    put(entry, 4, length(&record.meta));
    put(entry, 8, record.sequence.to_le_bytes());
    put(entry, 16, length(&record.body));
    put(entry, 20, [0; 4]);
    entry[RECORD_ENTRY..RECORD_ENTRY + record.meta.len()].copy_from_slice(&record.meta);
}

/// An entry of a record table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableRecord<'a> {
    /// As written.
    pub shard: u8,
    /// As written.
    pub kind: u8,
    /// As written.
    pub sequence: u64,
    /// As written.
    pub meta: &'a [u8],
    /// Length of the body.
    pub body_length: u32,
}

/// Takes the next entry off a record table; `None` if it is malformed.
#[must_use]
pub fn decode_record<'a>(table: &mut &'a [u8]) -> Option<TableRecord<'a>> {
    let bytes = *table;
    let meta_length = u32_at(bytes, 4)? as usize;
    let rest = bytes.get(RECORD_ENTRY..)?;
    let record = TableRecord {
        shard: bytes[0],
        kind: bytes[1],
        sequence: u64_at(bytes, 8)?,
        meta: rest.get(..meta_length)?,
        body_length: u32_at(bytes, 16)?,
    };
    *table = &rest[meta_length..];
    Some(record)
}

/// Appends a frame's entry and table to a segment's keys.
pub fn encode_keys(header: &FrameHeader, crc: u32, table: &[u8], keys: &mut Vec<u8>) {
    let mut entry = [0; KEYS_ENTRY];
    put(&mut entry, 0, header.offset.to_le_bytes());
    entry[4] = header.kind.code();
    put(&mut entry, 8, header.records.to_le_bytes());
    put(&mut entry, 12, header.table_length.to_le_bytes());
    put(&mut entry, 16, header.batch.to_le_bytes());
    put(&mut entry, 24, crc.to_le_bytes());
    keys.extend_from_slice(&entry);
    keys.extend_from_slice(table);
}

/// A frame's table as the keys hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeysEntry<'a> {
    /// Where the frame lies.
    pub offset: u32,
    /// What it is for.
    pub kind: FrameType,
    /// Number of entries in its table.
    pub records: u32,
    /// Its batch.
    pub batch: u64,
    /// Its table.
    pub table: &'a [u8],
}

/// Takes the next frame off a segment's keys; `None` if they are malformed.
#[must_use]
pub fn decode_keys<'a>(keys: &mut &'a [u8]) -> Option<KeysEntry<'a>> {
    let bytes = *keys;
    let table_length = u32_at(bytes, 12)? as usize;
    let rest = bytes.get(KEYS_ENTRY..)?;
    let entry = KeysEntry {
        offset: u32_at(bytes, 0)?,
        kind: FrameType::from_code(bytes[4])?,
        records: u32_at(bytes, 8)?,
        batch: u64_at(bytes, 16)?,
        table: rest.get(..table_length)?,
    };
    *keys = &rest[table_length..];
    Some(entry)
}

#[cfg(test)]
mod tests;
