//! The footer of a run: the last page of its file, which says where everything lies.

use super::{u32_at, u64_at};
use crate::io::buffer::ALIGNMENT;

pub(crate) const MAGIC: &[u8; 8] = b"VLTTRUN1";
pub(crate) const VERSION: u32 = 1;

/// What the footer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) run: u64,
    pub(crate) shard: u8,
    pub(crate) entries: u64,
    pub(crate) tombstones: u64,
    pub(crate) sequence_max: u64,
    pub(crate) blocks: u32,
    pub(crate) bloom_blocks: u32,
    /// Where the bloom filter begins.
    pub(crate) bloom_offset: u64,
    /// Where the index of the blocks begins.
    pub(crate) index_offset: u64,
    /// Where the footer begins.
    pub(crate) footer_offset: u64,
    pub(crate) bloom_crc: u32,
    pub(crate) index_crc: u32,
}

impl Footer {
    /// Length of the whole file.
    pub(super) fn length(&self) -> u64 {
        self.footer_offset.saturating_add(ALIGNMENT as u64)
    }

    /// A page.
    pub(crate) fn encode(&self) -> [u8; ALIGNMENT] {
        let mut page = [0; ALIGNMENT];
        page[..8].copy_from_slice(MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
        page[12] = self.shard;
        let numbers = [self.run, self.entries, self.tombstones, self.sequence_max];
        let offsets = [self.bloom_offset, self.index_offset, self.footer_offset];
        for (out, number) in
            page[16..72].as_chunks_mut::<8>().0.iter_mut().zip(numbers.into_iter().chain(offsets))
        {
            *out = number.to_le_bytes();
        }
        let words = [self.blocks, self.bloom_blocks, self.bloom_crc, self.index_crc];
        for (out, word) in page[72..88].as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *out = word.to_le_bytes();
        }
        let crc = crc_fast::crc32_iscsi(&page[..ALIGNMENT - 4]);
        page[ALIGNMENT - 4..].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// Reads a page; `None` if it is damaged, of another version, or cannot be true.
    pub(super) fn decode(page: &[u8]) -> Option<Self> {
        let (bytes, crc) = page.split_last_chunk::<4>()?;
        let is_whole = page.len() == ALIGNMENT
            && bytes[..8] == *MAGIC
            && u32_at(page, 8)? == VERSION
            && u32::from_le_bytes(*crc) == crc_fast::crc32_iscsi(bytes);
        is_whole.then_some(())?;
        let footer = Self {
            shard: page[12],
            run: u64_at(page, 16)?,
            entries: u64_at(page, 24)?,
            tombstones: u64_at(page, 32)?,
            sequence_max: u64_at(page, 40)?,
            bloom_offset: u64_at(page, 48)?,
            index_offset: u64_at(page, 56)?,
            footer_offset: u64_at(page, 64)?,
            blocks: u32_at(page, 72)?,
            bloom_blocks: u32_at(page, 76)?,
            bloom_crc: u32_at(page, 80)?,
            index_crc: u32_at(page, 84)?,
        };
        let aligned = [footer.bloom_offset, footer.index_offset, footer.footer_offset]
            .iter()
            .all(|offset| offset.is_multiple_of(ALIGNMENT as u64));
        let ordered = footer.bloom_offset < footer.index_offset
            && footer.index_offset < footer.footer_offset
            && footer.tombstones <= footer.entries;
        (aligned && ordered).then_some(footer)
    }
}
