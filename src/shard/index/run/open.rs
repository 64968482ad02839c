//! Reading a run from its file.

use super::block::Block;
use super::blocks::Blocks;
use super::bloom::{self, Bloom};
use super::footer::Footer;
use super::{Run, RunError, RunPart, seeded_crc};
use crate::io::DiskFile;
use crate::io::buffer::{ALIGNMENT, AlignedBuffer};

/// Most bytes that are read at once.
const PIECE: usize = 1 << 20;

pub(super) async fn open(file: &impl DiskFile, id: u64) -> Result<Run, RunError> {
    let damaged = |part| RunError::Damaged { run: id, part };
    let length = file.length().await?;
    let footer_offset = length
        .checked_sub(ALIGNMENT as u64)
        .filter(|offset| offset.is_multiple_of(ALIGNMENT as u64))
        .ok_or(damaged(RunPart::Footer))?;
    let page = read(file, footer_offset, ALIGNMENT).await?;
    let footer = page
        .and_then(|page| Footer::decode(&page))
        .filter(|footer| footer.run == id && footer.footer_offset == footer_offset)
        .ok_or(damaged(RunPart::Footer))?;

    let number = u64::from(footer.blocks);
    let bytes = read_all(file, footer.bloom_offset, footer.index_offset).await?;
    let bloom = bytes
        .filter(|bytes| seeded_crc(id, number, bytes) == footer.bloom_crc)
        .and_then(|bytes| {
            let used = (footer.bloom_blocks as usize).checked_mul(bloom::BLOCK)?;
            Bloom::from_bytes(bytes.get(..used)?)
        })
        .ok_or(damaged(RunPart::Bloom))?;

    let bytes = read_all(file, footer.index_offset, footer.footer_offset).await?;
    let blocks = bytes
        .filter(|bytes| seeded_crc(id, number + 1, bytes) == footer.index_crc)
        .and_then(|bytes| Blocks::decode(&bytes, footer.blocks))
        .filter(|blocks| blocks.bytes() == footer.bloom_offset)
        .ok_or(damaged(RunPart::Index))?;
    Ok(Run { id, footer, bloom, blocks })
}

/// Reads and verifies a block.
pub(super) async fn read_block(
    run: &Run,
    file: &impl DiskFile,
    number: u32,
) -> Result<Block, RunError> {
    let damaged = || run.damaged(RunPart::Block(number));
    let (offset, length) = run.blocks.place(number).ok_or_else(damaged)?;
    let bytes = read(file, offset, length).await?.ok_or_else(damaged)?;
    Block::verify(run.id, number, bytes).ok_or_else(damaged)
}

/// Exactly so many bytes; `None` if the file ends before.
async fn read(
    file: &impl DiskFile,
    offset: u64,
    length: usize,
) -> Result<Option<AlignedBuffer>, RunError> {
    let mut buffer = AlignedBuffer::with_capacity(length);
    buffer.set_length(length);
    let (read, buffer) = file.read_at(buffer, offset).await;
    Ok((read? == length).then_some(buffer))
}

/// All from one offset to another; `None` if the file ends before.
async fn read_all(file: &impl DiskFile, from: u64, to: u64) -> Result<Option<Vec<u8>>, RunError> {
    let Ok(length) = usize::try_from(to.saturating_sub(from)) else { return Ok(None) };
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let piece = (length - bytes.len()).min(PIECE);
        let Some(buffer) = read(file, from + bytes.len() as u64, piece).await? else {
            return Ok(None);
        };
        bytes.extend_from_slice(&buffer);
    }
    Ok(Some(bytes))
}
