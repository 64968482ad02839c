//! The index of a run's blocks: where each lies, and a stem that tells it from the one before.
//!
//! ```text
//! each block: pages u16, of 4,096 bytes | length u16 | the shortest beginning of its first stem that is greater than
//!             all stems of the blocks before it (of the first block the whole stem)
//! length u16 | the last stem of the run
//! ```

use super::u16_at;
use crate::io::buffer::ALIGNMENT;

/// Collects the index while blocks are written.
#[derive(Debug, Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    count: u32,
}

impl Builder {
    /// Notes a block of so many bytes; `before` is the stem before its first.
    pub(super) fn push(&mut self, length: usize, before: &[u8], first: &[u8]) {
        let pages = u16::try_from(length / ALIGNMENT).unwrap_or(u16::MAX);
        let separator = match self.count {
            0 => first,
            _ => &first[..first.len().min(super::block::common(before, first) + 1)],
        };
        self.bytes.extend_from_slice(&pages.to_le_bytes());
        self.stem(separator);
        self.count += 1;
    }

    fn stem(&mut self, stem: &[u8]) {
        let length = u16::try_from(stem.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(stem);
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn finish(mut self, last: &[u8]) -> Vec<u8> {
        self.stem(last);
        self.bytes
    }
}

/// The index of a run's blocks, in memory.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Of each block its first page, and after the last its end.
    pages: Box<[u32]>,
    /// Of each block where its separator ends; one begins where the one before ends.
    ends: Box<[u32]>,
    separators: Box<[u8]>,
    last: Box<[u8]>,
}

impl Blocks {
    /// Reads the index of `count` blocks; `None` if it is malformed. Zeros may follow it.
    pub(super) fn decode(bytes: &[u8], count: u32) -> Option<Self> {
        let count = usize::try_from(count).ok()?;
        // No entry is shorter than its two lengths.
        let fits = count <= bytes.len() / 4;
        fits.then_some(())?;
        let (mut pages, mut ends) = (Vec::with_capacity(count + 1), Vec::with_capacity(count));
        let mut separators: Vec<u8> = Vec::with_capacity(bytes.len());
        let (mut at, mut page, mut before) = (0, 0_u32, 0..0);
        for number in 0..count {
            pages.push(page);
            let length = u16_at(bytes, at)?;
            page = page.checked_add(u32::from(length)).filter(|_| length > 0)?;
            let separator = stem_at(bytes, at + 2)?;
            at += 4 + separator.len();
            let start = separators.len();
            separators.extend_from_slice(separator);
            if number > 0 && separators[before.clone()] >= *separator {
                return None;
            }
            before = start..separators.len();
            ends.push(u32::try_from(separators.len()).ok()?);
        }
        pages.push(page);
        let last = stem_at(bytes, at)?;
        at += 2 + last.len();
        let ordered = count == 0 || *last >= separators[before];
        let nothing_follows = bytes.get(at..)?.iter().all(|byte| *byte == 0);
        (ordered && nothing_follows).then(|| Self {
            pages: pages.into(),
            ends: ends.into(),
            separators: separators.into(),
            last: last.into(),
        })
    }

    /// Number of blocks.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// Where a block lies: offset and length in bytes.
    pub(super) fn place(&self, number: u32) -> Option<(u64, usize)> {
        let number = usize::try_from(number).ok()?;
        let (start, end) = (*self.pages.get(number)?, *self.pages.get(number + 1)?);
        let length = usize::try_from(end - start).ok()? * ALIGNMENT;
        Some((u64::from(start) * ALIGNMENT as u64, length))
    }

    /// Bytes of all blocks.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.pages.last().copied().unwrap_or(0)) * ALIGNMENT as u64
    }

    /// The greatest stem of the run; empty if it has none.
    pub(super) fn last(&self) -> &[u8] {
        &self.last
    }

    /// The block that a stem can only be in; `None` if it is less than all.
    pub(super) fn find(&self, stem: &[u8]) -> Option<u32> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.separator(middle) <= stem {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        u32::try_from(low).ok()?.checked_sub(1)
    }

    fn separator(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.separators[start as usize..self.ends[number] as usize]
    }
}

fn stem_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = usize::from(u16_at(bytes, at)?);
    bytes.get(at + 2..at + 2 + length)
}
