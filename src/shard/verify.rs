//! Verifies an extent block by block: for the scrub, the check of a folder at rest, and before bytes are moved.

use std::io;
use std::ops::Range;

use super::extent::{
    BLOCK, PAGE, PAGE_ENTRIES, block_count, block_crc, data_length, decode_page, in_memory,
    page_count,
};
use crate::io::DiskFile;
use crate::io::buffer::AlignedBuffer;

/// Bytes that are read at once, and that a buffer for [`verify`] holds at least.
pub(crate) const PIECE: usize = 1 << 20;

/// Where an extent lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) base: u64,
    pub(crate) id: u64,
    pub(crate) size: u64,
}

/// What is wrong with an extent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Blocks that are not what was written, or whose checksums are not; ascending, apart from each other.
    pub(crate) blocks: Vec<Range<u64>>,
    /// What follows the data up to the table is not zero. No reader sees it.
    pub(crate) padding: bool,
}

impl Damage {
    /// Adds blocks, which lie behind those that are there.
    pub(crate) fn add(&mut self, blocks: Range<u64>) {
        match self.blocks.last_mut() {
            Some(last) if last.end >= blocks.start => last.end = last.end.max(blocks.end),
            _ if blocks.is_empty() => (),
            _ => self.blocks.push(blocks),
        }
    }

    /// Whether every byte that was written is there.
    pub(crate) fn is_none(&self) -> bool {
        self.blocks.is_empty()
    }
}

/// Reads a whole extent. `pace` is told how many bytes were read, and may take its time. A piece that cannot be read
/// is damage, not an error.
pub(crate) async fn verify<F: DiskFile>(
    file: &F,
    extent: Extent,
    mut buffer: AlignedBuffer,
    pace: &mut impl AsyncFnMut(usize),
) -> (Damage, AlignedBuffer) {
    let Extent { base, id, size } = extent;
    let blocks = block_count(size);
    let mut damage = Damage::default();
    for page in 0..page_count(size) {
        let first = page * PAGE_ENTRIES;
        let last = (first + PAGE_ENTRIES).min(blocks);
        let at = base + data_length(size) + page * PAGE as u64;
        let (read, back) = read(file, buffer, at, PAGE).await;
        buffer = back;
        pace(PAGE).await;
        let table = read.ok().and_then(|()| decode_page(id, page, &buffer));
        let Some(table) = table else {
            damage.add(first..last);
            continue;
        };
        let mut block = first;
        while block < last {
            let end = last.min(block + (PIECE / BLOCK) as u64);
            buffer =
                verify_piece(file, extent, block..end, &table, first, buffer, &mut damage).await;
            pace(in_memory((end - block) * BLOCK as u64)).await;
            block = end;
        }
    }
    (damage, buffer)
}

/// Verifies the blocks of one piece, one by one if they cannot be read together.
async fn verify_piece<F: DiskFile>(
    file: &F,
    extent: Extent,
    blocks: Range<u64>,
    table: &[u32],
    first_of_table: u64,
    mut buffer: AlignedBuffer,
    damage: &mut Damage,
) -> AlignedBuffer {
    let mut step = blocks.end - blocks.start;
    let mut block = blocks.start;
    while block < blocks.end {
        let end = blocks.end.min(block + step);
        let start_byte = block * BLOCK as u64;
        let end_byte = (end * BLOCK as u64).min(extent.size);
        let length = in_memory(end_byte - start_byte);
        let padded = in_memory(data_length(end_byte - start_byte));
        let (result, back) = read(file, buffer, extent.base + start_byte, padded).await;
        buffer = back;
        if result.is_err() {
            if step > 1 {
                step = 1;
                continue;
            }
            damage.add(block..end);
            block = end;
            continue;
        }
        for (number, bytes) in (block..).zip(buffer[..length].chunks(BLOCK)) {
            let wanted = table.get(in_memory(number - first_of_table)).copied();
            if wanted != Some(block_crc(extent.id, bytes)) {
                damage.add(number..number + 1);
            }
        }
        damage.padding |= buffer[length..padded].iter().any(|&byte| byte != 0);
        block = end;
    }
    buffer
}

/// Reads exactly so many bytes.
async fn read<F: DiskFile>(
    file: &F,
    mut buffer: AlignedBuffer,
    at: u64,
    length: usize,
) -> (io::Result<()>, AlignedBuffer) {
    buffer.set_length(length);
    let (read, buffer) = file.read_at(buffer, at).await;
    let whole = read.and_then(|read| {
        if read == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    });
    (whole, buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::sim::SimDisk;
    use crate::io::testing::drive;
    use crate::io::{Disk, OpenOptions};
    use crate::shard::extent::{encode_table, extent_length};
    use std::path::Path;

    const ID: u64 = 77;
    const BASE: u64 = 8192;

    /// Writes an extent, turns the bits at these offsets over, and says what is found.
    fn found(size: u64, flips: &[u64]) -> Damage {
        let disk = SimDisk::new();
        drive(async {
            let options = OpenOptions { write: true, create_new: true, ..OpenOptions::default() };
            let file = disk.open(Path::new("/f"), options).await.unwrap();
            let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
            let blocks: Vec<u32> = bytes.chunks(BLOCK).map(|block| block_crc(ID, block)).collect();
            let mut table = Vec::new();
            encode_table(ID, &blocks, &mut table);
            let mut buffer = AlignedBuffer::with_capacity(in_memory(extent_length(size)));
            buffer.extend_from_slice(&bytes);
            buffer.pad();
            buffer.extend_from_slice(&table);
            file.write_at(buffer, BASE).await.0.unwrap();
            for &flip in flips {
                disk.flip(Path::new("/f"), BASE + flip, 0x10).unwrap();
            }
            let extent = Extent { base: BASE, id: ID, size };
            let mut read = 0;
            let buffer = AlignedBuffer::with_capacity(PIECE);
            let (damage, _) = verify(&file, extent, buffer, &mut async |bytes| read += bytes).await;
            let table_is_lost = damage.blocks.first().is_some_and(|first| first.end == 41);
            assert!(read as u64 >= size || table_is_lost, "all of it is read");
            damage
        })
    }

    #[test]
    fn every_damaged_block_is_named() {
        let size = 40 * BLOCK as u64 + 100;
        assert_eq!(found(size, &[]), Damage::default());
        let block = BLOCK as u64;
        let damage = found(size, &[0, 5 * block + 3, 6 * block, 40 * block + 99]);
        assert_eq!(damage, Damage { blocks: vec![0..1, 5..7, 40..41], padding: false });
        // Behind the last byte: nobody's.
        assert_eq!(found(size, &[size + 5]), Damage { blocks: vec![], padding: true });
        // The table: none of its blocks can be told from others.
        let table = data_length(size);
        let whole = std::iter::once(0..41).collect::<Vec<_>>();
        assert_eq!(found(size, &[table + 2000]).blocks, whole);
    }
}
