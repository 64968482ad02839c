//! Looks at every byte of a segment: for the check of a folder at rest, and for the scrub.

use std::io;

use super::footer::{has_footer, read_footer, read_keys};
use super::format::{
    self, BLOCK, FRAME_HEADER, FrameHeader, FrameType, SegmentHeader, Trailer, decode_record,
};
use super::reader::{PIECE, Reader};
use super::replay::{READ, SegmentRef};
use super::{Place, ReplayedRecord, walk};
use crate::io::Disk;
use crate::shard::losses::Loss;

/// What is wrong in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// Offset in the segment's file, or in that of its keys.
    pub(crate) offset: u64,
    pub(crate) kind: FlawKind,
}

impl Flaw {
    /// What a start that meets it in this segment takes it for, if it means a loss.
    pub(crate) fn loss_of(&self, segment: u64) -> Option<Loss> {
        let offset = u32::try_from(self.offset).unwrap_or(u32::MAX);
        matches!(self.kind, FlawKind::Frames { .. }).then_some(Loss::Frames { segment, offset })
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlawKind {
    /// Committed frames from this batch on cannot be read.
    Frames { batch: u64 },
    /// A copy of the header differs from what it must be; another copy or the frames tell what it said.
    Header,
    /// The footer cannot be read; the frames tell what it said.
    Footer,
    /// The keys beside the segment cannot be read; the frames tell what they said.
    Keys,
    /// Bytes that nobody reads are not zero.
    Padding,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) records: u64,
    pub(crate) frames: u64,
    /// Offset of the first byte after the last frame.
    pub(crate) end: u32,
    pub(crate) sealed: bool,
    pub(crate) flaws: Vec<Flaw>,
    /// What is not whole, as a power cut leaves it that came before it was durable. Nobody needs it.
    pub(crate) torn: Vec<Flaw>,
}

/// Reads a segment frame by frame, whether or not it is sealed, and shows each record with its body. `all` are the
/// segments of the folder: those behind it in its log tell what of it was durable.
///
/// # Errors
/// If the file cannot be opened or read at all.
pub(crate) async fn verify_segment<D: Disk>(
    disk: &D,
    segment: &SegmentRef,
    all: &[SegmentRef],
    visit: &mut dyn FnMut(ReplayedRecord<'_>, &[u8]),
) -> io::Result<Verified> {
    let file = disk.open(&segment.path, READ).await?;
    let mut reader = Reader::new(file, segment.length);
    let header = segment.header;
    let mut found = Verified::default();
    if !segment.header_damaged {
        let block = reader.get(0, BLOCK).await?;
        found.flaws.extend(header_flaw(block, &header));
    } else {
        found.flaws.push(Flaw { offset: 0, kind: FlawKind::Header });
    }
    reader.walk(PIECE);
    let mut padding = Vec::new();
    let mut frames = 0;
    let mut each = |frame: &FrameHeader, bytes: &[u8]| {
        frames += 1;
        let payload_end = FRAME_HEADER + frame.payload_length as usize;
        if !bytes.get(payload_end..).is_some_and(walk::is_zero) {
            padding.push((frame.batch, frame.offset, payload_end as u64));
        }
        if frame.kind == FrameType::Batch { visit_bodies(frame, bytes, visit) } else { 0 }
    };
    let walked = walk::frames(&mut reader, segment, &header, &mut each).await?;
    found.frames = frames;
    found.records = walked.records;
    found.end = walked.end;
    found.sealed = walked.sealed;
    let rot = walked.rot.iter().map(|rot| Flaw {
        offset: u64::from(rot.offset),
        kind: FlawKind::Frames { batch: rot.batch },
    });
    found.flaws.extend(rot);
    if found.flaws.iter().all(|flaw| !matches!(flaw.kind, FlawKind::Frames { .. })) {
        look_at_footer(disk, segment, &mut reader, &mut found).await?;
        let seal_length = walked.seal_length();
        judge_torn(disk, segment, all, seal_length, &mut found).await;
    }
    for (batch, offset, payload_end) in padding {
        // A frame is whole without it, and a file that is used again has old bytes where the new ones were not written.
        let was_whole = walked.committed >= Some(batch) || offset < segment.durable;
        let flaws = if was_whole { &mut found.flaws } else { &mut found.torn };
        flaws.push(Flaw { offset: u64::from(offset) + payload_end, kind: FlawKind::Padding });
    }
    Ok(found)
}

/// Tells what was never durable from what was whole once, by what could not be there otherwise.
async fn judge_torn<D: Disk>(
    disk: &D,
    segment: &SegmentRef,
    all: &[SegmentRef],
    seal_length: u64,
    found: &mut Verified,
) {
    let is_behind = |one: &&SegmentRef| one.log == segment.log && one.position > segment.position;
    if found.torn.is_empty() {
        let is_header = |flaw: &mut Flaw| flaw.kind == FlawKind::Header;
        let has_footer = found.sealed || found.flaws.iter().any(|one| one.kind == FlawKind::Footer);
        // It is durable before the first frame.
        if found.frames == 0 && !has_footer && !all.iter().any(|one| is_behind(&one)) {
            found.torn.extend(found.flaws.extract_if(.., is_header));
        }
        return;
    }
    // Nothing else makes a file shorter than it was when it was made.
    let cut = u64::from(found.end) + seal_length + BLOCK as u64;
    let mut was_whole = segment.length == cut && !all.iter().any(|one| is_behind(&one));
    // Segments are sealed one after the other.
    for one in all.iter().filter(is_behind) {
        if was_whole {
            break;
        }
        was_whole = has_footer(disk, one).await;
    }
    if was_whole {
        found.flaws.append(&mut found.torn);
    }
}

/// Where the header block differs from what its whole copy says.
fn header_flaw(block: &[u8], header: &SegmentHeader) -> Option<Flaw> {
    let mut expected = [0; BLOCK];
    header.encode(&mut expected);
    let differs = block.iter().zip(&expected).position(|(found, wanted)| found != wanted);
    let missing = (block.len() < BLOCK).then_some(block.len());
    let offset = differs.or(missing)? as u64;
    Some(Flaw { offset, kind: FlawKind::Header })
}

/// The footer of a sealed segment, or the keys beside one that is not.
async fn look_at_footer<D: Disk>(
    disk: &D,
    segment: &SegmentRef,
    reader: &mut Reader<D::File>,
    found: &mut Verified,
) -> io::Result<()> {
    let last = segment.length.saturating_sub(BLOCK as u64);
    let footer = read_footer(reader, &segment.header).await?;
    let block = reader.get(last - last % BLOCK as u64, BLOCK).await?;
    let trailer = Trailer::decode(block, &segment.header);
    match (&footer, trailer) {
        (Some((seal, keys)), Some(trailer)) => {
            let mut expected = [0; BLOCK];
            trailer.encode(segment.header.salt, &mut expected);
            if block != expected {
                found.torn.push(Flaw { offset: last, kind: FlawKind::Padding });
            }
            let begin = u64::from(seal.offset);
            let used = FRAME_HEADER + keys.len();
            let last_block = used / BLOCK * BLOCK;
            let length = seal.frame_length() - last_block;
            let end = reader.get(begin + last_block as u64, length).await?;
            if !found.sealed || found.end != seal.offset {
                found.flaws.push(Flaw { offset: begin, kind: FlawKind::Footer });
            } else if !end.get(used - last_block..).is_some_and(walk::is_zero) {
                let offset = begin + used as u64;
                found.torn.push(Flaw { offset, kind: FlawKind::Padding });
            }
        }
        (None, trailer) if found.sealed || trailer.is_some() => {
            found.torn.push(Flaw { offset: u64::from(found.end), kind: FlawKind::Footer });
        }
        _ => {
            let keys = segment.path.with_extension("keys");
            let there = match disk.open(&keys, READ).await {
                Ok(_) => true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            };
            if there && read_keys(disk, segment, &segment.header).await?.is_none() {
                found.flaws.push(Flaw { offset: 0, kind: FlawKind::Keys });
            }
        }
    }
    Ok(())
}

/// Visits the records of a whole frame with their bodies; returns how many.
fn visit_bodies(
    frame: &FrameHeader,
    bytes: &[u8],
    visit: &mut dyn FnMut(ReplayedRecord<'_>, &[u8]),
) -> usize {
    let mut body_at = FRAME_HEADER + frame.table_length as usize;
    let mut rest = bytes.get(FRAME_HEADER..body_at).unwrap_or_default();
    let mut records = 0;
    while let Some(record) = decode_record(&mut rest) {
        let body = bytes.get(body_at..body_at + record.body_length as usize).unwrap_or_default();
        let lead = u32::try_from(body_at).unwrap_or(u32::MAX);
        let place = Place {
            segment: frame.segment,
            offset: frame.offset.saturating_add(lead),
            length: record.body_length,
        };
        let format::TableRecord { shard, kind, sequence, meta, .. } = record;
        visit(ReplayedRecord { shard, kind, sequence, meta, place }, body);
        body_at += record.body_length as usize;
        records += 1;
    }
    records
}
