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
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&id.to_le_bytes());
    let state = crc::update(CrcAlgorithm::Crc32Iscsi, digest.get_state(), block);
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
}
