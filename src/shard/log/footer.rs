//! The keys of a segment that need no walk: in its footer, or beside it as an earlier recovery left them.

use std::io;

use super::format::{BLOCK, FRAME_HEADER, FrameHeader, SegmentHeader, Trailer};
use super::reader::Reader;
use super::replay::{READ, SegmentRef};
use super::walk;
use crate::io::{Disk, DiskFile};

/// Whether a segment has its footer; `false` also if it cannot be read.
pub(crate) async fn has_footer<D: Disk>(disk: &D, segment: &SegmentRef) -> bool {
    let Ok(file) = disk.open(&segment.path, READ).await else { return false };
    let mut reader = Reader::new(file, segment.length);
    read_footer(&mut reader, &segment.header).await.is_ok_and(|footer| footer.is_some())
}

/// The Seal frame that the trailer points to, and its keys; `None` if either is not there or not whole.
pub(super) async fn read_footer<F: DiskFile>(
    reader: &mut Reader<F>,
    segment: &SegmentHeader,
) -> io::Result<Option<(FrameHeader, Vec<u8>)>> {
    let length = reader.length();
    if length < 3 * BLOCK as u64 || !length.is_multiple_of(BLOCK as u64) {
        return Ok(None);
    }
    let block = reader.get(length - BLOCK as u64, BLOCK).await?;
    let Some(trailer) = Trailer::decode(block, segment) else { return Ok(None) };
    let place = (u64::from(trailer.seal_offset), trailer.seal_length as usize);
    walk::seal_frame(reader, place, segment, trailer.seal_offset).await
}

/// The keys that an earlier recovery left; `None` if there are none or they are not whole.
pub(super) async fn read_keys<D: Disk>(
    disk: &D,
    segment: &SegmentRef,
    header: &SegmentHeader,
) -> io::Result<Option<(FrameHeader, Vec<u8>)>> {
    let file = match disk.open(&segment.path.with_extension("keys"), READ).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.length().await?;
    let whole = usize::try_from(length).map_err(io::Error::other)?;
    let mut reader = Reader::new(file, length);
    let offset = walk::offset_of(reader.get(0, FRAME_HEADER).await?);
    let Some(offset) = offset else { return Ok(None) };
    walk::seal_frame(&mut reader, (0, whole), header, offset).await
}
