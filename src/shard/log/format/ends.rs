//! The ends of older logs, as a Start frame names them.

use super::super::{LogEnd, LogId};
use super::{END_ENTRY, put, u16_at, u32_at, u64_at};

/// Appends a named end to a Start frame's table.
pub fn encode_end(end: &LogEnd, table: &mut Vec<u8>) {
    let mut entry = [0; END_ENTRY];
    put(&mut entry, 0, end.log.start.to_le_bytes());
    put(&mut entry, 4, end.log.core.to_le_bytes());
    put(&mut entry, 8, end.segment.to_le_bytes());
    put(&mut entry, 16, end.offset.to_le_bytes());
    put(&mut entry, 24, end.batch.to_le_bytes());
    table.extend_from_slice(&entry);
}

/// Reads a Start frame's table.
#[must_use]
pub fn decode_ends(table: &[u8]) -> Vec<LogEnd> {
    let (entries, _) = table.as_chunks::<END_ENTRY>();
    entries
        .iter()
        .filter_map(|entry| {
            Some(LogEnd {
                log: LogId { start: u32_at(entry, 0)?, core: u16_at(entry, 4)? },
                segment: u64_at(entry, 8)?,
                offset: u32_at(entry, 16)?,
                batch: u64_at(entry, 24)?,
            })
        })
        .collect()
}
