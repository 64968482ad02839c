//! A split block bloom filter (Putze, Sanders, Singler 2007; the same as Parquet's): a stem sets one bit in each of
//! the eight words of one block of 32 bytes, so that a look-up touches one line of the processor's cache.

/// Bits for each stem that is expected.
const BITS: u64 = 11;

/// Bytes of a block.
pub(super) const BLOCK: usize = 32;

/// Odd numbers that choose the bits in each word.
const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// Which stems a run may hold.
#[derive(Debug)]
pub(super) struct Bloom {
    blocks: Box<[[u32; 8]]>,
}

impl Bloom {
    /// An empty one for so many stems.
    pub(super) fn for_stems(count: u64) -> Self {
        let blocks = (count.saturating_mul(BITS) / (8 * BLOCK as u64)).clamp(1, 1 << 31);
        Self { blocks: vec![[0; 8]; usize::try_from(blocks).unwrap_or(1)].into() }
    }

    pub(super) fn insert(&mut self, hash: u64) {
        let (at, mask) = self.place(hash);
        for (word, bits) in self.blocks[at].iter_mut().zip(mask) {
            *word |= bits;
        }
    }

    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let (at, mask) = self.place(hash);
        self.blocks[at].iter().zip(mask).all(|(word, bits)| word & bits != 0)
    }

    fn place(&self, hash: u64) -> (usize, [u32; 8]) {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = hash.to_le_bytes();
        let (low, high) =
            (u32::from_le_bytes([b0, b1, b2, b3]), u32::from_le_bytes([b4, b5, b6, b7]));
        let at = (u64::from(high) * self.blocks.len() as u64) >> 32;
        let mask = SALTS.map(|salt| 1 << (low.wrapping_mul(salt) >> 27));
        (usize::try_from(at).unwrap_or(0), mask)
    }

    /// Number of blocks.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The words of all blocks, little-endian.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.blocks.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Of whole blocks; `None` if there is none.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        if blocks.is_empty() || !rest.is_empty() {
            return None;
        }
        let words = |block: &[u8; BLOCK]| {
            let mut words = [0; 8];
            for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
                *word = u32::from_le_bytes(*bytes);
            }
            words
        };
        Some(Self { blocks: blocks.iter().map(words).collect() })
    }
}

/// The hash of a stem: its CRC-64/NVME, which tells all short stems apart, mixed as MurmurHash3 ends.
pub(super) fn hash(stem: &[u8]) -> u64 {
    let mut hash = crc_fast::crc64_nvme(stem);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
