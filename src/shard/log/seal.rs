//! Ends a segment with its keys.

use std::io;

use super::format::{self, BLOCK, FRAME_HEADER, FrameHeader, KEYS_ENTRY, Trailer};
use super::reader::PIECE;
use super::segments::Segments;
use crate::io::buffer::AlignedBuffer;
use crate::io::{Disk, DiskFile};

/// Bytes of a piece of [`Keys`].
const KEYS_PIECE: usize = 64 << 10;

/// The keys of a segment that is being written or walked, which may become megabytes. In pieces: one piece that grows
/// would be copied as a whole to memory that the core has to wait for.
#[derive(Default)]
pub(super) struct Keys {
    pieces: Vec<Vec<u8>>,
    length: usize,
}

impl Keys {
    /// Bytes of all.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Appends a frame's entry and table.
    pub(super) fn push(&mut self, header: &FrameHeader, crc: u32, table: &[u8]) {
        let more = KEYS_ENTRY + table.len();
        self.length += more;
        match self.pieces.last_mut().filter(|piece| piece.len() + more <= piece.capacity()) {
            Some(piece) => format::encode_keys(header, crc, table, piece),
            None => {
                let mut piece = Vec::with_capacity(KEYS_PIECE.max(more));
                format::encode_keys(header, crc, table, &mut piece);
                self.pieces.push(piece);
            }
        }
    }

    fn crc(&self) -> io::Result<u32> {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        self.pieces.iter().for_each(|piece| digest.update(piece));
        u32::try_from(digest.finalize()).map_err(io::Error::other)
    }
}

/// A full segment whose keys are still to be written.
pub(super) struct SealJob<F> {
    pub(super) file: F,
    /// All but lengths and payload CRC are as they shall be.
    pub(super) header: FrameHeader,
    pub(super) salt: u64,
    pub(super) keys: Keys,
    /// Length of the file.
    pub(super) length: u64,
    /// Cut the file behind the trailer, since nothing will follow.
    pub(super) cut: bool,
}

impl<D: Disk> Segments<D> {
    /// Writes Seal frame and trailer; durable on return.
    pub(super) async fn seal(&self, job: SealJob<D::File>) -> io::Result<()> {
        let offset = job.header.offset;
        let (seal_length, seal_crc) =
            write_keys(&job.file, u64::from(offset), job.header, job.salt, &job.keys).await?;
        let trailer =
            Trailer { segment: job.header.segment, seal_offset: offset, seal_length, seal_crc };
        let mut block = AlignedBuffer::with_capacity(BLOCK);
        block.set_length(BLOCK);
        trailer.encode(job.salt, &mut block);
        let end = u64::from(offset) + u64::from(seal_length);
        let place = if job.cut { end } else { job.length - BLOCK as u64 };
        self.write_durably(&job.file, block, place).await.0?;
        if job.cut {
            // Only gives space back: a longer file is found sealed by walking its frames.
            job.file.set_length(end + BLOCK as u64).await?;
        }
        Ok(())
    }
}

/// Writes a Seal frame at `at`, piece by piece; not durable on return. `seal` says all but lengths and payload CRC.
/// Returns the frame's length and header CRC.
///
/// # Errors
/// As the disk says; part of the frame may be there then.
pub(super) async fn write_keys<F: DiskFile>(
    file: &F,
    at: u64,
    seal: FrameHeader,
    salt: u64,
    keys: &Keys,
) -> io::Result<(u32, u32)> {
    let length = u32::try_from(keys.len()).map_err(io::Error::other)?;
    let payload_crc = keys.crc()?;
    let seal = FrameHeader { table_length: length, payload_length: length, payload_crc, ..seal };
    let whole = u32::try_from(seal.frame_length()).map_err(io::Error::other)?;
    let mut buffer = AlignedBuffer::with_capacity(PIECE.min(seal.frame_length()));
    buffer.set_length(FRAME_HEADER);
    let crc = seal.encode(salt, &mut buffer);
    let mut offset = at;
    for piece in &keys.pieces {
        let mut rest = &piece[..];
        while !rest.is_empty() {
            if buffer.len() == buffer.capacity() {
                buffer = write_next(file, buffer, &mut offset).await?;
            }
            let room = buffer.capacity() - buffer.len();
            let (some, behind) = rest.split_at(rest.len().min(room));
            buffer.extend_from_slice(some);
            rest = behind;
        }
    }
    buffer.pad();
    write_next(file, buffer, &mut offset).await?;
    Ok((whole, crc))
}

/// Writes a buffer behind what was written, and empties it.
async fn write_next<F: DiskFile>(
    file: &F,
    buffer: AlignedBuffer,
    offset: &mut u64,
) -> io::Result<AlignedBuffer> {
    let (result, mut buffer) = file.write_at(buffer, *offset).await;
    result?;
    *offset += buffer.len() as u64;
    buffer.set_length(0);
    Ok(buffer)
}
