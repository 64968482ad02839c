//! Walks a segment that nobody sealed, frame by frame.

use std::io;

use super::LogId;
use super::format::{BLOCK, FRAME_HEADER, FrameHeader, FrameType, SegmentHeader, padded};
use super::reader::{PIECE, Reader};
use super::replay::{READ, RECORDS_AT_ONCE, Rot, SegmentRef};
use super::seal::{Keys, write_keys};
use crate::io::{Disk, DiskFile, OpenOptions};
use crate::runtime::Pauses;
use crate::shard::planted::{self, Bug};

/// What a walk has found.
pub(super) struct Walked {
    pub(super) records: u64,
    pub(super) last_batch: u64,
    pub(super) end: u32,
    pub(super) rot: Vec<Rot>,
    /// Header CRC of the last frame.
    last_crc: u32,
    keys: Keys,
    /// Everything behind the end is zero.
    tail_is_zero: bool,
    /// The walk ended at a Seal frame.
    pub(super) sealed: bool,
    /// The last batch that was durable when something behind it was written.
    pub(super) committed: Option<u64>,
}

impl Walked {
    /// Bytes of the Seal frame that holds the keys of what was walked.
    pub(super) fn seal_length(&self) -> u64 {
        padded(FRAME_HEADER + self.keys.len()) as u64
    }
}

/// A frame's payload, if the frame is whole.
pub(super) fn payload<'f>(frame: &'f [u8], header: &FrameHeader) -> Option<&'f [u8]> {
    let end = FRAME_HEADER + header.payload_length as usize;
    let payload = frame.get(FRAME_HEADER..end)?;
    let whole = crc_fast::crc32_iscsi(payload) == header.payload_crc;
    (whole || planted::is(Bug::PayloadNotChecked)).then_some(payload)
}

/// The Seal frame that lies at `at` and names `offset`, and its keys; `None` if it is not whole. `length` is how long
/// it should be. It may have megabytes, so they are read piece by piece.
pub(super) async fn seal_frame<F: DiskFile>(
    reader: &mut Reader<F>,
    (at, length): (u64, usize),
    segment: &SegmentHeader,
    offset: u32,
) -> io::Result<Option<(FrameHeader, Vec<u8>)>> {
    let first = reader.get(at, length.min(PIECE)).await?;
    let Some((header, _)) = FrameHeader::decode(first, segment, offset) else { return Ok(None) };
    let payload_length = header.payload_length as usize;
    let whole = FRAME_HEADER + payload_length;
    if header.kind != FrameType::Seal || whole > length {
        return Ok(None);
    }
    let mut keys = Vec::with_capacity(payload_length);
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    let mut done = 0;
    while done < whole {
        let piece = reader.get(at + done as u64, PIECE.min(whole - done)).await?;
        let behind_header = FRAME_HEADER.saturating_sub(done);
        let Some(some) = piece.get(behind_header..) else { break };
        digest.update(some);
        keys.extend_from_slice(some);
        done += PIECE;
    }
    let is_whole = keys.len() == payload_length && digest.finalize() == header.payload_crc.into();
    let passes = is_whole || planted::is(Bug::PayloadNotChecked);
    Ok(passes.then_some((header, keys)))
}

/// The offset that a frame header names. Keys beside a segment name the segment's end.
pub(super) fn offset_of(frame: &[u8]) -> Option<u32> {
    frame.get(20..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// What is expected next.
struct Expected {
    offset: u32,
    batch: u64,
    /// `None` right behind damage, where it is not known.
    previous_crc: Option<u32>,
}

enum Met {
    Frame { header: FrameHeader, crc: u32 },
    Seal { committed: u64 },
    Nothing,
}

/// Shows every whole frame to `each`, which counts its records, and tells a torn tail from rot.
pub(super) async fn frames<F: DiskFile>(
    reader: &mut Reader<F>,
    segment: &SegmentRef,
    header: &SegmentHeader,
    each: &mut dyn FnMut(&FrameHeader, &[u8]) -> usize,
) -> io::Result<Walked> {
    let begins_log = header.position == 0;
    let mut expected = Expected {
        offset: offset_u32(BLOCK as u64),
        batch: if begins_log { 0 } else { header.first_batch },
        previous_crc: Some(header.previous_crc),
    };
    let mut walked = Walked {
        records: 0,
        last_batch: header.first_batch.saturating_sub(1),
        end: expected.offset,
        rot: Vec::new(),
        last_crc: header.previous_crc,
        keys: Keys::default(),
        tail_is_zero: false,
        sealed: false,
        committed: segment.committed,
    };
    let pauses = Pauses::after(RECORDS_AT_ONCE);
    loop {
        if segment.end.is_some_and(|end| expected.offset >= end.offset) {
            break;
        }
        match meet(reader, header, &expected).await? {
            Met::Seal { committed } => {
                walked.sealed = true;
                walked.committed = walked.committed.max(Some(committed));
                break;
            }
            Met::Frame { header: frame, crc } => {
                let bytes = reader.get(u64::from(frame.offset), frame.frame_length()).await?;
                let table = FRAME_HEADER..FRAME_HEADER + frame.table_length as usize;
                let table = bytes.get(table).unwrap_or_default();
                let seen = each(&frame, bytes);
                walked.records += seen as u64;
                walked.keys.push(&frame, crc, table);
                walked.last_batch = frame.batch;
                // The frame that begins a log has none before it.
                let before = (frame.batch > 0).then_some(frame.committed);
                walked.committed = walked.committed.max(before);
                walked.last_crc = crc;
                walked.end = frame.offset + offset_u32(frame.frame_length() as u64);
                expected = Expected {
                    offset: walked.end,
                    batch: frame.batch + 1,
                    previous_crc: Some(crc),
                };
                pauses.count(seen).await;
            }
            Met::Nothing if planted::is(Bug::RotTakenForTail) => break,
            Met::Nothing => {
                let next = look_behind(reader, segment, header, &expected).await?;
                let promised = segment.end.is_some_and(|end| expected.offset < end.offset)
                    || segment.committed.is_some_and(|batch| expected.batch.max(1) <= batch)
                    || expected.offset < segment.durable;
                if promised || next.found.is_some() {
                    walked.rot.push(Rot { offset: expected.offset, batch: expected.batch });
                }
                let Some((offset, batch)) = next.found else {
                    walked.tail_is_zero = next.all_zero;
                    if promised {
                        // Where the log ended is not known.
                        let named = segment.end.map_or(0, |end| end.offset);
                        walked.end = offset_u32(reader.length()).max(named);
                    }
                    break;
                };
                // Whatever is named as the end must not hide the loss from the next start.
                walked.end = offset;
                expected = Expected { offset, batch, previous_crc: None };
            }
        }
    }
    Ok(walked)
}

/// The frame that is expected, if it is there and whole.
async fn meet<F: DiskFile>(
    reader: &mut Reader<F>,
    segment: &SegmentHeader,
    expected: &Expected,
) -> io::Result<Met> {
    let at = u64::from(expected.offset);
    let Some((header, crc)) =
        FrameHeader::decode(reader.get(at, FRAME_HEADER).await?, segment, expected.offset)
    else {
        return Ok(Met::Nothing);
    };
    let linked = expected.previous_crc.is_none_or(|crc| crc == header.previous_crc);
    if header.kind == FrameType::Seal {
        let closes = header.batch + 1 == expected.batch.max(1);
        let committed = header.committed;
        return Ok(if linked && closes { Met::Seal { committed } } else { Met::Nothing });
    }
    let is_start = header.kind == FrameType::Start;
    if !linked || header.batch != expected.batch || is_start != (expected.batch == 0) {
        return Ok(Met::Nothing);
    }
    if header.frame_length() as u64 > reader.length() - at {
        return Ok(Met::Nothing);
    }
    let frame = reader.get(at, header.frame_length()).await?;
    Ok(if payload(frame, &header).is_some() { Met::Frame { header, crc } } else { Met::Nothing })
}

struct Behind {
    /// Offset and batch of the first later frame whose header is whole.
    found: Option<(u32, u64)>,
    all_zero: bool,
}

/// Looks behind a frame that is not whole for one that says it was committed.
async fn look_behind<F: DiskFile>(
    reader: &mut Reader<F>,
    segment: &SegmentRef,
    header: &SegmentHeader,
    expected: &Expected,
) -> io::Result<Behind> {
    let named = segment.end.map_or(u64::MAX, |end| u64::from(end.offset));
    let limit = reader.length().min(named);
    let mut all_zero = is_zero(reader.get(u64::from(expected.offset), BLOCK).await?);
    let mut at = u64::from(expected.offset) + BLOCK as u64;
    while at < limit {
        let offset = offset_u32(at);
        let block = reader.get(at, BLOCK).await?;
        let Some((frame, _)) = FrameHeader::decode(block, header, offset) else {
            all_zero = all_zero && is_zero(block);
            at += BLOCK as u64;
            continue;
        };
        // A Seal frame carries the batch before it.
        let batch = frame.batch + u64::from(frame.kind == FrameType::Seal);
        if batch > expected.batch && frame.committed >= expected.batch {
            return Ok(Behind { found: Some((offset, batch)), all_zero: false });
        }
        all_zero = false;
        at += BLOCK as u64;
    }
    Ok(Behind { found: None, all_zero })
}

/// The header of a segment whose both copies are damaged, as far as its first whole frame tells it; `None` if
/// there is no such frame. Of the log it knows the start, and whether the segment begins it; else the core is none
/// and the position the last.
pub(super) async fn make_header<F: DiskFile>(
    reader: &mut Reader<F>,
    segment: u64,
    salt: u64,
) -> io::Result<Option<SegmentHeader>> {
    let mut at = BLOCK as u64;
    while at < reader.length() {
        let block = reader.get(at, BLOCK).await?;
        let Some(epoch) = block.get(16..).and_then(|bytes| bytes.first_chunk()) else { break };
        let mut header = SegmentHeader {
            segment,
            log: LogId { start: u32::from_le_bytes(*epoch), core: u16::MAX },
            position: u32::MAX,
            previous_segment: 0,
            first_batch: 1,
            previous_crc: 0,
            salt,
        };
        if let Some((frame, _)) = FrameHeader::decode(block, &header, offset_u32(at)) {
            let is_first = at == BLOCK as u64;
            if is_first && frame.kind == FrameType::Start {
                header.position = 0;
            } else {
                // Of what stood before a later frame it is only known that there was something.
                let lost = u64::from(!is_first && frame.kind != FrameType::Seal);
                header.first_batch = frame.batch.saturating_sub(lost).max(1);
                header.previous_crc = frame.previous_crc;
            }
            return Ok(Some(header));
        }
        at += BLOCK as u64;
    }
    Ok(None)
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    bytes.chunks(BLOCK).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

fn offset_u32(offset: u64) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// Writes the keys of a walked segment beside it, durably, and gives back the space of a tail that was
/// never written.
pub(super) async fn leave_keys<D: Disk>(
    disk: &D,
    segment: &SegmentRef,
    header: &SegmentHeader,
    walked: &Walked,
) -> io::Result<()> {
    if walked.tail_is_zero && u64::from(walked.end) < segment.length {
        let options = OpenOptions { write: true, ..READ };
        disk.open(&segment.path, options).await?.set_length(u64::from(walked.end)).await?;
    }
    if walked.records == 0 {
        return Ok(());
    }
    let seal = FrameHeader {
        kind: FrameType::Seal,
        segment: segment.segment,
        epoch: header.log.start,
        offset: walked.end,
        batch: walked.last_batch,
        committed: walked.last_batch,
        records: 0,
        table_length: 0,
        payload_length: 0,
        previous_crc: walked.last_crc,
        payload_crc: 0,
    };
    let temporary = segment.path.with_extension("keys.tmp");
    disk.remove_if_there(&temporary).await?;
    let options = OpenOptions { write: true, create_new: true, ..READ };
    let file = disk.open(&temporary, options).await?;
    write_keys(&file, 0, seal, header.salt, &walked.keys).await?;
    file.sync().await?;
    disk.rename(&temporary, &segment.path.with_extension("keys")).await?;
    match segment.path.parent() {
        Some(folder) => disk.sync_directory(folder).await,
        None => Ok(()),
    }
}
