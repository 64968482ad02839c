//! Ends a segment with its keys.

use std::io;

use super::format::{BLOCK, FRAME_HEADER, FrameHeader, FrameType, Trailer};
use super::segments::{PIECE, Segments};
use crate::io::buffer::AlignedBuffer;
use crate::io::{Disk, DiskFile};

/// A full segment whose keys are still to be written.
pub(super) struct SealJob<F> {
    pub(super) file: F,
    /// All but lengths and payload CRC are as they shall be.
    pub(super) header: FrameHeader,
    pub(super) salt: u64,
    pub(super) keys: Vec<u8>,
    /// Length of the file.
    pub(super) length: u64,
    /// Cut the file behind the trailer, since nothing will follow.
    pub(super) cut: bool,
}

impl<D: Disk> Segments<D> {
    /// Writes Seal frame and trailer; durable on return.
    pub(super) async fn seal(&self, job: SealJob<D::File>) -> io::Result<()> {
        let keys_length = u32::try_from(job.keys.len()).map_err(io::Error::other)?;
        let header = FrameHeader {
            kind: FrameType::Seal,
            table_length: keys_length,
            payload_length: keys_length,
            payload_crc: crc_fast::crc32_iscsi(&job.keys),
            ..job.header
        };
        let mut buffer = AlignedBuffer::with_capacity(PIECE.min(header.frame_length()));
        buffer.set_length(FRAME_HEADER);
        let crc = header.encode(job.salt, &mut buffer);
        let mut offset = u64::from(header.offset);
        let mut rest = &job.keys[..];
        loop {
            let (piece, behind) = rest.split_at(rest.len().min(buffer.capacity() - buffer.len()));
            rest = behind;
            buffer.extend_from_slice(piece);
            buffer.pad();
            let (result, back) = job.file.write_at(buffer, offset).await;
            result?;
            buffer = back;
            offset += buffer.len() as u64;
            buffer.set_length(0);
            if rest.is_empty() {
                break;
            }
        }
        let trailer = Trailer {
            segment: header.segment,
            seal_offset: header.offset,
            seal_length: u32::try_from(header.frame_length()).map_err(io::Error::other)?,
            seal_crc: crc,
        };
        buffer.set_length(BLOCK);
        trailer.encode(job.salt, &mut buffer);
        let place = if job.cut { offset } else { job.length - BLOCK as u64 };
        self.write_durably(&job.file, buffer, place).await.0?;
        if job.cut {
            // Only gives space back: a longer file is found sealed by walking its frames.
            job.file.set_length(offset + BLOCK as u64).await?;
        }
        Ok(())
    }
}
