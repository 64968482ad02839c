//! How the bytes of an extent lie in a file, and how they are verified.
//!
//! ```text
//! data, padded with zeros to 4 KiB | table pages
//! page: up to 1,023 x crc32c u32 LE of 64 KiB blocks | zeros | crc32c u32 LE of the 4,092 bytes before
//! ```
//!
//! Every CRC begins with the extent's id (and a page's with its number too), so that bytes of another extent are
//! told from these, wherever they come to lie. A range needs only the pages of its own blocks.

use crc_fast::{CrcAlgorithm, Digest};

use crate::io::buffer::ALIGNMENT;
use crate::stdx::crc;

/// Bytes that one checksum covers.
pub(crate) const BLOCK: usize = 64 << 10;

/// Bytes of a page of the table.
pub(crate) const PAGE: usize = ALIGNMENT;

/// Checksums in a page.
pub(crate) const PAGE_ENTRIES: u64 = (PAGE / 4 - 1) as u64;

/// The checksum of a block, or of inline bytes.
pub(crate) fn block_crc(id: u64, block: &[u8]) -> u32 {
    end_crc(add_to_crc(begin_crc(id), block))
}

/// The checksums of the blocks of an extent whose bytes come in pieces of any length.
pub(crate) struct BlockSums {
    id: u64,
    whole: Vec<u32>,
    /// The CRC's state over a block that has begun, and how many bytes of it there are.
    begun: Option<(u64, usize)>,
}

impl BlockSums {
    /// Of no bytes yet.
    pub(crate) fn new(id: u64) -> Self {
        Self { id, whole: Vec::new(), begun: None }
    }

    /// Adds bytes that follow the last.
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (state, length) = self.begun.take().unwrap_or_else(|| (begin_crc(self.id), 0));
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - length));
            let (state, length) = (add_to_crc(state, now), length + now.len());
            if length == BLOCK {
                self.whole.push(end_crc(state));
            } else {
                self.begun = Some((state, length));
            }
            bytes = later;
        }
    }

    /// Those of all blocks; what has begun is the last.
    pub(crate) fn finish(&self) -> Vec<u32> {
        let last = self.begun.map(|(state, _)| end_crc(state));
        self.whole.iter().copied().chain(last).collect()
    }
}

fn begin_crc(id: u64) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&id.to_le_bytes());
    digest.get_state()
}

fn add_to_crc(state: u64, bytes: &[u8]) -> u64 {
    crc::update(CrcAlgorithm::Crc32Iscsi, state, bytes)
}

fn end_crc(state: u64) -> u32 {
    low_half(Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, state).finalize())
}

fn page_crc(id: u64, number: u64, entries: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&id.to_le_bytes());
    digest.update(&number.to_le_bytes());
    digest.update(entries);
    low_half(digest.finalize())
}

fn low_half(crc: u64) -> u32 {
    u32::try_from(crc & u64::from(u32::MAX)).unwrap_or_default()
}

/// Number of blocks of so many bytes.
pub(crate) fn block_count(size: u64) -> u64 {
    size.div_ceil(BLOCK as u64)
}

/// A number of bytes, blocks or pages that fit the address space, or the most that do.
pub(crate) fn in_memory(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Bytes of the data with its padding: where the table begins.
pub(crate) fn data_length(size: u64) -> u64 {
    size.next_multiple_of(ALIGNMENT as u64)
}

/// Number of pages of the table.
pub(crate) fn page_count(size: u64) -> u64 {
    block_count(size).div_ceil(PAGE_ENTRIES)
}

/// Bytes of the whole extent.
pub(crate) fn extent_length(size: u64) -> u64 {
    data_length(size) + page_count(size) * PAGE as u64
}

/// Appends the table's pages to `out`.
pub(crate) fn encode_table(id: u64, blocks: &[u32], out: &mut Vec<u8>) {
    for (number, entries) in (0..).zip(blocks.chunks(PAGE / 4 - 1)) {
        let start = out.len();
        for crc in entries {
            out.extend_from_slice(&crc.to_le_bytes());
        }
        out.resize(start + PAGE - 4, 0);
        let crc = page_crc(id, number, &out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
}

/// The checksums of one page, verified; `None` if it is damaged.
pub(crate) fn decode_page(id: u64, number: u64, page: &[u8]) -> Option<Vec<u32>> {
    let (entries, crc) = page.split_last_chunk::<4>()?;
    if page.len() != PAGE || page_crc(id, number, entries) != u32::from_le_bytes(*crc) {
        return None;
    }
    Some(
        entries
            .chunks_exact(4)
            .map(|entry| entry.try_into().map_or(0, u32::from_le_bytes))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_add_up() {
        assert_eq!(extent_length(0), 0);
        assert_eq!(extent_length(1), 8192);
        assert_eq!(extent_length(8 << 20), (8 << 20) + 4096);
        let (exactly, more) = (1023 * BLOCK as u64, 1023 * BLOCK as u64 + 1);
        assert_eq!((page_count(exactly), page_count(more)), (1, 2));
    }

    #[test]
    fn a_page_of_another_extent_or_place_is_refused() {
        let blocks: Vec<u32> = (0..1500).collect();
        let mut table = Vec::new();
        encode_table(7, &blocks, &mut table);
        assert_eq!(table.len(), 2 * PAGE);
        let second = &table[PAGE..];
        let decoded = decode_page(7, 1, second).expect("intact");
        assert_eq!(decoded[..477], blocks[1023..]);
        assert_eq!(decode_page(8, 1, second), None);
        assert_eq!(decode_page(7, 0, second), None);
        let mut damaged = second.to_vec();
        damaged[100] ^= 1;
        assert_eq!(decode_page(7, 1, &damaged), None);
        assert_ne!(block_crc(1, b"same"), block_crc(2, b"same"));
    }

    #[test]
    fn checksums_do_not_depend_on_how_the_bytes_come() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(3 * BLOCK + 1000).collect();
        let whole: Vec<u32> = bytes.chunks(BLOCK).map(|block| block_crc(7, block)).collect();
        for piece in [1000, BLOCK - 1, BLOCK, BLOCK + 1, bytes.len()] {
            let mut sums = BlockSums::new(7);
            bytes.chunks(piece).for_each(|piece| sums.add(piece));
            assert_eq!(sums.finish(), whole, "in pieces of {piece}");
        }
        let mut sums = BlockSums::new(7);
        sums.add(&bytes[..2 * BLOCK]);
        assert_eq!(sums.finish(), whole[..2], "no block has begun");
    }
}
