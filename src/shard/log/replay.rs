//! Reads logs back at start.
//!
//! A sealed segment is replayed from its footer, and one that an earlier recovery has scanned from the keys beside
//! it. Any other is walked frame by frame. The walk ends at the first frame that is not whole. Was
//! it ever acknowledged? It was if a later frame of the segment, or the header of the next segment,
//! says that it was committed, or if a later start has named an end behind it, or a checkpoint was made when the log had
//! come further. Then it is rot, which is reported and left alone. If not, it is a torn tail, and no part of the log.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use super::footer::{read_footer, read_keys};
use super::format::{
    self, BLOCK, FRAME_HEADER, FrameHeader, FrameType, SegmentHeader, decode_record,
};
use super::reader::{PIECE, Reader, WINDOW};
use super::walk::{self, Walked};
use super::{Layout, LogEnd, LogId, Place, ReplayedRecord};
use crate::io::{Disk, DiskFile, OpenOptions};
use crate::runtime::Pauses;

/// A log segment found in the data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRef {
    /// Its number.
    pub segment: u64,
    /// Its file.
    pub path: PathBuf,
    /// The log it belongs to.
    pub log: LogId,
    /// Its position in the log, from 0.
    pub position: u32,
    /// Length of the file, in bytes.
    pub length: u64,
    /// Its end, if a later start found it unsealed and named it.
    pub end: Option<LogEnd>,
    /// The last batch that must be in it, since the next segment of the log says so.
    pub committed: Option<u64>,
    /// All of it before this offset was durable once, as a checkpoint knows; 0 if none does.
    pub durable: u32,
    /// Its header, as it stands there or as its frames tell.
    pub header: SegmentHeader,
    /// Both copies of the header are damaged.
    pub header_damaged: bool,
}

/// The log segments of a data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// In the order of their logs and within a log.
    pub segments: Vec<SegmentRef>,
    /// Segments without a whole header or any whole frame: nothing of them can be read.
    pub lost: Vec<u64>,
}

/// What the records of a segment were taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The footer: the segment was sealed.
    Footer,
    /// The keys that an earlier recovery wrote.
    Keys,
    /// The frames themselves.
    Frames,
}

/// What replay has seen of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its number.
    pub segment: u64,
    /// The log it belongs to.
    pub log: LogId,
    /// Number of records visited.
    pub records: u64,
    /// The last batch of the log that lies in this segment or before it.
    pub last_batch: u64,
    /// Offset of the first byte after the last frame; the length of the file if that frame is lost.
    pub end: u32,
    /// Where the records came from.
    pub origin: Origin,
}

impl SegmentSummary {
    /// The end to be named by this start's logs: give all of these to `LogWriter::open`. `None` if
    /// the segment is sealed.
    #[must_use]
    pub fn log_end(&self) -> Option<LogEnd> {
        (self.origin != Origin::Footer).then_some(LogEnd {
            log: self.log,
            segment: self.segment,
            offset: self.end,
            batch: self.last_batch,
        })
    }
}

/// A stretch of committed frames that cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rot {
    /// Where the damage begins in the segment file.
    pub offset: u32,
    /// The first batch that is lost; 0 for the frame that begins a log.
    pub batch: u64,
}

/// Why a segment could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The disk failed.
    #[error("log segment {segment:016x} cannot be read: {source}")]
    Io {
        /// Which segment; 0 for their folder.
        segment: u64,
        /// What the disk said.
        source: io::Error,
    },
    /// The segment's header is damaged in both copies, so that its log is not known.
    #[error("log segment {segment:016x} has no whole header")]
    Header {
        /// Which segment.
        segment: u64,
    },
    /// Committed frames are damaged. All others of the segment have been visited, those behind the
    /// damage too; nothing was changed on disk.
    #[error("log segment {segment:016x} is damaged in {} places, first at offset {}", rot.len(), rot.first().map_or(0, |rot| rot.offset))]
    Rot {
        /// Which segment.
        segment: u64,
        /// Where.
        rot: Vec<Rot>,
        /// What could be read.
        summary: SegmentSummary,
    },
}

impl ReplayError {
    fn io(segment: u64) -> impl FnOnce(io::Error) -> Self + Copy {
        move |source| Self::Io { segment, source }
    }
}

/// Records that are visited before others have a turn, at a start and where frames are walked.
pub(super) const RECORDS_AT_ONCE: usize = 256;

/// How much is done at once.
#[derive(Clone, Copy)]
struct Stride {
    /// Bytes that are read ahead where frames are walked.
    window: usize,
    /// Records that are visited.
    records: usize,
}

impl Stride {
    const START: Self = Self { window: WINDOW, records: RECORDS_AT_ONCE };
    /// Requests wait meanwhile.
    const SERVING: Self = Self { window: PIECE, records: 32 };
}

pub(super) const READ: OpenOptions =
    OpenOptions { write: false, create_new: false, direct: true, durable_writes: false };

/// Finds all log segments, in the order of their logs and within a log. To be called before a log of
/// this start is opened.
///
/// # Errors
/// [`ReplayError`], also if one has no whole header and no whole frame.
pub async fn list_segments<D: Disk>(
    disk: &D,
    layout: &Layout,
) -> Result<Vec<SegmentRef>, ReplayError> {
    let listing = find_segments(disk, layout, None).await?;
    match listing.lost.first() {
        Some(&segment) => Err(ReplayError::Header { segment }),
        None => Ok(listing.segments),
    }
}

/// As [`list_segments`], but one that cannot be read is named and keeps nothing else from being read. A damaged
/// header is made up from the frames behind it, for which the folder's `salt` is needed; without one it is taken
/// from the other segments.
///
/// # Errors
/// [`ReplayError::Io`].
pub async fn find_segments<D: Disk>(
    disk: &D,
    layout: &Layout,
    salt: Option<u64>,
) -> Result<Listing, ReplayError> {
    let entries = disk.list_directory(&layout.log()).await.map_err(ReplayError::io(0))?;
    let mut found = Vec::new();
    let mut headless = Vec::new();
    let mut ends: HashMap<u64, (u32, LogEnd)> = HashMap::new();
    for entry in entries {
        let Some(segment) = entry.name.strip_suffix(".log").and_then(parse_segment) else {
            continue;
        };
        let error = ReplayError::io(segment);
        let file = disk.open(&layout.segment_path(segment), READ).await.map_err(error)?;
        let mut reader = Reader::new(file, entry.length);
        let start = reader.get(0, 2 * BLOCK).await.map_err(error)?;
        if format::is_unused(segment, start) {
            continue;
        }
        let header = SegmentHeader::decode(start).filter(|header| header.segment == segment);
        let Some(header) = header else {
            headless.push((segment, reader));
            continue;
        };
        if header.position == 0 {
            note_ends(&mut reader, &header, &mut ends).await.map_err(error)?;
        }
        found.push((header, entry.length, false));
    }
    let mut lost = Vec::new();
    let salt = salt.or_else(|| found.first().map(|(header, ..)| header.salt));
    for (segment, mut reader) in headless {
        let error = ReplayError::io(segment);
        let made = match salt {
            Some(salt) => walk::make_header(&mut reader, segment, salt).await.map_err(error)?,
            None => None,
        };
        let Some(mut header) = made else {
            lost.push(segment);
            continue;
        };
        let next = found.iter().find(|(next, ..)| next.previous_segment == segment);
        if let Some((next, ..)) = next {
            header.log = next.log;
            header.position = next.position.saturating_sub(1);
        }
        if header.position == 0 {
            note_ends(&mut reader, &header, &mut ends).await.map_err(error)?;
        }
        found.push((header, reader.length(), true));
    }
    found.sort_by_key(|(header, ..)| (header.log, header.position));
    let next_of: HashMap<u64, u64> = found
        .iter()
        .map(|(header, ..)| (header.previous_segment, header.first_batch.saturating_sub(1)))
        .collect();
    let segments = found.into_iter().map(|(header, length, header_damaged)| SegmentRef {
        segment: header.segment,
        path: layout.segment_path(header.segment),
        log: header.log,
        position: header.position,
        length,
        end: ends.get(&header.segment).map(|(_, end)| *end),
        committed: next_of.get(&header.segment).copied(),
        durable: 0,
        header,
        header_damaged,
    });
    Ok(Listing { segments: segments.collect(), lost })
}

/// Notes the ends that a log's first frame names.
async fn note_ends<F: DiskFile>(
    reader: &mut Reader<F>,
    header: &SegmentHeader,
    ends: &mut HashMap<u64, (u32, LogEnd)>,
) -> io::Result<()> {
    for end in read_ends(reader, header).await? {
        // The earliest start to name an end was the one that acted on it.
        let known = ends.entry(end.segment).or_insert((header.log.start, end));
        if header.log.start < known.0 {
            *known = (header.log.start, end);
        }
    }
    Ok(())
}

fn parse_segment(name: &str) -> Option<u64> {
    (name.len() == 16).then(|| u64::from_str_radix(name, 16).ok()).flatten()
}

/// The ends that a log's first frame names; none if it is not whole.
async fn read_ends<F: DiskFile>(
    reader: &mut Reader<F>,
    segment: &SegmentHeader,
) -> io::Result<Vec<LogEnd>> {
    let bytes = reader.get(BLOCK as u64, FRAME_HEADER).await?;
    let Some((header, _)) = FrameHeader::decode(bytes, segment, 4096) else {
        return Ok(Vec::new());
    };
    let frame = reader.get(BLOCK as u64, header.frame_length()).await?;
    let payload = walk::payload(frame, &header);
    let is_start = header.kind == FrameType::Start;
    Ok(payload.filter(|_| is_start).map(format::decode_ends).unwrap_or_default())
}

/// Visits every record of a segment in its order: from the footer if it is sealed, without reading
/// bodies; else frame by frame up to the torn tail, and then leaves its keys beside it for the next
/// start. Two cores may replay different segments side by side.
///
/// # Errors
/// [`ReplayError`].
pub async fn replay_segment<D: Disk>(
    disk: &D,
    segment: &SegmentRef,
    visit: &mut dyn FnMut(ReplayedRecord<'_>),
) -> Result<SegmentSummary, ReplayError> {
    replay(disk, segment, Stride::START, visit).await
}

/// The same while requests are served.
///
/// # Errors
/// [`ReplayError`].
pub(crate) async fn replay_aside<D: Disk>(
    disk: &D,
    segment: &SegmentRef,
    visit: &mut dyn FnMut(ReplayedRecord<'_>),
) -> Result<SegmentSummary, ReplayError> {
    replay(disk, segment, Stride::SERVING, visit).await
}

async fn replay<D: Disk>(
    disk: &D,
    segment: &SegmentRef,
    stride: Stride,
    visit: &mut dyn FnMut(ReplayedRecord<'_>),
) -> Result<SegmentSummary, ReplayError> {
    let (summary, walked) = visit_segment(disk, segment, stride, visit).await?;
    let Some(walked) = walked else { return Ok(summary) };
    if !walked.rot.is_empty() {
        return Err(ReplayError::Rot { segment: segment.segment, rot: walked.rot, summary });
    }
    // Only saves the next start some work.
    if let Err(error) = walk::leave_keys(disk, segment, &segment.header, &walked).await {
        tracing::warn!(%error, segment = segment.segment, "the keys of a log segment were not kept");
    }
    Ok(summary)
}

/// As [`replay_segment`], but leaves nothing behind, stops at what is not whole, and may be used on a segment that is
/// being written.
///
/// # Errors
/// [`ReplayError::Io`].
pub(crate) async fn read_segment<D: Disk>(
    disk: &D,
    segment: &SegmentRef,
    visit: &mut dyn FnMut(ReplayedRecord<'_>),
) -> Result<SegmentSummary, ReplayError> {
    Ok(visit_segment(disk, segment, Stride::SERVING, visit).await?.0)
}

/// Visits the records, and says what a walk has found if one was needed.
async fn visit_segment<D: Disk>(
    disk: &D,
    segment: &SegmentRef,
    stride: Stride,
    visit: &mut dyn FnMut(ReplayedRecord<'_>),
) -> Result<(SegmentSummary, Option<Walked>), ReplayError> {
    let error = ReplayError::io(segment.segment);
    let file = disk.open(&segment.path, READ).await.map_err(error)?;
    let mut reader = Reader::new(file, segment.length);
    let header = segment.header;
    let keys = read_footer(&mut reader, &header).await.map_err(error)?;
    let mut found = keys.map(|keys| (Origin::Footer, keys));
    if found.is_none() {
        let keys = read_keys(disk, segment, &header).await.map_err(error)?;
        // Those of a start that a later one knew better than.
        let is_whole = |seal: &FrameHeader| segment.end.is_none_or(|end| end.offset <= seal.offset);
        let keys = keys.filter(|(seal, _)| is_whole(seal));
        found = keys.map(|keys| (Origin::Keys, keys));
    }
    if let Some((origin, (seal, keys))) = found {
        let summary = SegmentSummary {
            segment: segment.segment,
            log: segment.log,
            records: visit_keys(&header, &keys, stride, visit).await,
            last_batch: seal.batch,
            end: seal.offset,
            origin,
        };
        return Ok((summary, None));
    }
    reader.walk(stride.window);
    let mut each = |frame: &FrameHeader, bytes: &[u8]| {
        if frame.kind != FrameType::Batch {
            return 0;
        }
        let table = bytes.get(FRAME_HEADER..FRAME_HEADER + frame.table_length as usize);
        visit_table(frame.segment, frame.offset, table.unwrap_or_default(), visit)
    };
    let walked = walk::frames(&mut reader, segment, &header, &mut each).await.map_err(error)?;
    let summary = SegmentSummary {
        segment: segment.segment,
        log: segment.log,
        records: walked.records,
        last_batch: walked.last_batch,
        end: walked.end,
        origin: Origin::Frames,
    };
    Ok((summary, Some(walked)))
}

/// Visits the records of all frames in a segment's keys; returns how many.
async fn visit_keys(
    segment: &SegmentHeader,
    mut keys: &[u8],
    stride: Stride,
    visit: &mut dyn FnMut(ReplayedRecord<'_>),
) -> u64 {
    let mut records = 0;
    let pauses = Pauses::after(stride.records);
    while let Some(entry) = format::decode_keys(&mut keys) {
        if entry.kind == FrameType::Batch {
            let seen = visit_table(segment.segment, entry.offset, entry.table, visit);
            records += seen as u64;
            // A sealed segment may have 200,000 of them.
            pauses.count(seen).await;
        }
    }
    records
}

/// Visits the records of one frame's table; returns how many.
pub(super) fn visit_table(
    segment: u64,
    frame_offset: u32,
    table: &[u8],
    visit: &mut dyn FnMut(ReplayedRecord<'_>),
) -> usize {
    let lead = u32::try_from(FRAME_HEADER + table.len()).unwrap_or(u32::MAX);
    let mut offset = frame_offset.saturating_add(lead);
    let mut rest = table;
    let mut records = 0;
    while let Some(record) = decode_record(&mut rest) {
        visit(ReplayedRecord {
            shard: record.shard,
            kind: record.kind,
            sequence: record.sequence,
            meta: record.meta,
            place: Place { segment, offset, length: record.body_length },
        });
        offset = offset.saturating_add(record.body_length);
        records += 1;
    }
    records
}
