//! Part lists at start, and the removal of data that nothing refers to.

use std::collections::HashSet;
use std::io;

use crate::io::buffer::{ALIGNMENT, AlignedBuffer};
use crate::io::{Disk, DiskFile};
use crate::shard::data;
use crate::shard::index::parts::{self, Part};
use crate::shard::index::value::{Location, PartList};
use crate::shard::shared::Shared;

/// The parts of a list, read from its log segment; `None` if it is damaged.
pub(super) async fn read_parts(
    file: &impl DiskFile,
    list: PartList,
) -> io::Result<Option<Vec<Part>>> {
    let (offset, length) = (list.place.offset as usize, list.place.length as usize);
    let start = offset - offset % ALIGNMENT;
    let mut buffer = AlignedBuffer::with_capacity(offset + length - start);
    buffer.set_length(buffer.capacity());
    let (read, buffer) = file.read_at(buffer, start as u64).await;
    let bytes = &buffer[..read?];
    let bytes = bytes.get(offset - start..offset - start + length);
    let intact = bytes.filter(|bytes| crc_fast::crc32_iscsi(bytes) == list.crc);
    Ok(intact.and_then(parts::decode))
}

/// Counts what the parts of a current artifact refer to; returns their own files.
pub(super) fn hold_parts(shared: &Shared, parts: &[Part]) -> Vec<u64> {
    let mut own_files = Vec::new();
    for part in parts {
        match part.location {
            Location::Inline { place, .. } => shared.segments.hold_records(place.segment, 1),
            Location::OwnFile { id } => own_files.push(id),
            Location::Extent { .. } => shared.segments.hold(part.location, part.size),
        }
    }
    own_files
}

/// Unlinks files of artifacts and data segments of earlier starts that nothing refers to: what uploads left
/// half-written. The segments that stay are sealed. With `keep` everything stays.
pub(super) async fn sweep<D: Disk>(
    shared: &Shared,
    disk: &D,
    own_files: &HashSet<u64>,
    keep: bool,
) -> io::Result<()> {
    let folder = shared.volume.layout().data();
    let mut removed = 0_u64;
    for entry in disk.list_directory(&folder).await? {
        let Some(name) = data::parse_name(&entry.name) else { continue };
        let dead = match name {
            data::FileName::OwnFile(id) => !own_files.contains(&id),
            data::FileName::Segment(id) => shared.segments.data(id).live() == 0,
        };
        if !dead || keep {
            if let data::FileName::Segment(id) = name {
                shared.segments.adopt_data(id, entry.length, keep);
            }
            continue;
        }
        disk.remove(&folder.join(&entry.name)).await?;
        removed += 1;
        if let data::FileName::Segment(id) = name {
            shared.segments.forget_data(id);
        }
    }
    if removed > 0 {
        disk.sync_directory(&folder).await?;
        tracing::info!(files = removed, "removed what unfinished uploads left");
    }
    Ok(())
}
