//! Part lists at start, and the removal of data that nothing refers to.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::io::buffer::{ALIGNMENT, AlignedBuffer};
use crate::io::{Disk, DiskFile, OpenOptions};
use crate::shard::data;
use crate::shard::index::parts::{self, Part};
use crate::shard::index::value::{Location, PartList};
use crate::shard::log::Layout;
use crate::shard::shared::Shared;

/// Reads part lists from the log.
pub(super) struct ListReader<D: Disk> {
    disk: D,
    layout: Layout,
    files: HashMap<u64, D::File>,
}

impl<D: Disk> ListReader<D> {
    pub(super) fn new(disk: D, shared: &Shared) -> Self {
        Self { disk, layout: shared.volume.layout().clone(), files: HashMap::new() }
    }

    /// The parts of a list; `None` if it is damaged.
    pub(super) async fn read(&mut self, list: PartList) -> io::Result<Option<Vec<Part>>> {
        let segment = list.place.segment;
        if !self.files.contains_key(&segment) {
            let options = OpenOptions { direct: true, ..OpenOptions::default() };
            let file = self.disk.open(&self.layout.segment_path(segment), options).await?;
            self.files.insert(segment, file);
        }
        let Some(file) = self.files.get(&segment) else { return Ok(None) };
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
                shared.segments.adopt_data(id, keep);
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
