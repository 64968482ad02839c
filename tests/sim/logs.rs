//! The log segments of a disk, as their bytes tell, to know whether damage could be told from a torn write.

use std::path::Path;

use vaultaire::io::sim::SimDisk;
use vaultaire::shard::log::LogId;
use vaultaire::shard::log::format::{BLOCK, FRAME_HEADER, FrameHeader, FrameType, SegmentHeader};

/// A log segment.
pub(crate) struct Segment {
    pub(crate) path: String,
    log: LogId,
    position: u32,
    /// Offset and end of every whole frame.
    pub(crate) frames: Vec<(u64, u64)>,
    sealed: bool,
    pub(crate) has_keys: bool,
    /// It holds the frame that begins a log.
    begins: bool,
}

/// All log segments whose headers are whole.
pub(crate) struct Logs {
    pub(crate) segments: Vec<Segment>,
}

impl Logs {
    pub(crate) fn of(disk: &SimDisk) -> Self {
        let files = disk.files();
        let mut logs = Self { segments: Vec::new() };
        for (path, _) in &files {
            let Some(stem) = path.strip_suffix(".log") else { continue };
            let Ok(bytes) = disk.content(Path::new(path)) else { continue };
            let keys = format!("{stem}.keys");
            let has_keys = files.iter().any(|(name, _)| *name == keys);
            logs.add(path, &bytes, has_keys);
        }
        logs
    }

    fn add(&mut self, path: &str, bytes: &[u8], has_keys: bool) {
        let named = path.rsplit('/').next().and_then(|name| name.strip_suffix(".log"));
        let number = named.and_then(|name| u64::from_str_radix(name, 16).ok());
        let header = bytes.get(..BLOCK).and_then(SegmentHeader::decode);
        let Some(header) = header.filter(|header| Some(header.segment) == number) else { return };
        let mut segment = Segment {
            path: path.to_owned(),
            log: header.log,
            position: header.position,
            frames: Vec::new(),
            sealed: false,
            has_keys,
            begins: false,
        };
        for at in (BLOCK..bytes.len()).step_by(BLOCK) {
            let offset = u32::try_from(at).unwrap_or(u32::MAX);
            let Some((frame, _)) = FrameHeader::decode(&bytes[at..], &header, offset) else {
                continue;
            };
            let payload = at + FRAME_HEADER..at + FRAME_HEADER + frame.payload_length as usize;
            let Some(payload) = bytes.get(payload) else { continue };
            if crc_fast::crc32_iscsi(payload) != frame.payload_crc {
                continue;
            }
            match frame.kind {
                FrameType::Seal => segment.sealed = true,
                FrameType::Start => segment.begins = true,
                FrameType::Batch => {}
            }
            segment.frames.push((at as u64, (at + frame.frame_length()) as u64));
        }
        self.segments.push(segment);
    }

    /// Whether nothing tells that there was a whole frame at a place of a segment, if it is damaged or missing: none
    /// follows it in its log, no later start has named its end, and its keys are not kept elsewhere.
    pub(crate) fn is_last(&self, path: &str, offset: u64, keys_are_whole: bool) -> bool {
        let Some(segment) = self.segments.iter().find(|segment| segment.path == path) else {
            // A header that is damaged too, or a segment that is no more.
            return path.ends_with(".log");
        };
        let follows = self
            .segments
            .iter()
            .any(|other| other.log == segment.log && other.position > segment.position);
        // A later start has named all ends before it served.
        let named =
            self.segments.iter().any(|other| other.begins && other.log.start > segment.log.start);
        let behind = segment.frames.iter().any(|(start, _)| *start > offset);
        let kept = segment.has_keys && keys_are_whole;
        !(follows || named || behind || segment.sealed || kept)
    }
}
