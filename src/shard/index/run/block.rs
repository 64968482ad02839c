//! Blocks of a run: neighbouring entries, of whose stems only what differs from the one before is kept.
//!
//! ```text
//! CRC32C u32, seeded with the run's id and the block's number, of what follows up to the block's end
//! length u32 of what is used | entries u32 | restarts u32
//! entries: shared u16 | unshared u16 | value length u16 | sequence u64 | place: segment u64, offset u32, length u32
//!          | the stem but for its first `shared` bytes, which are those of the stem before | the value
//! restarts: u16 each, the offsets of every RESTART-th entry, which shares nothing
//! zeros up to a multiple of 4,096
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

use super::{Version, seeded_crc, u16_at, u32_at, u64_at};
use crate::io::buffer::{ALIGNMENT, AlignedBuffer};
use crate::shard::index::key::KeyBytes;
use crate::shard::log::Place;

/// Bytes that a block is filled up to. One entry that does not fit has a block of its own.
pub(super) const TARGET: usize = 16 << 10;

/// Entries from one that shares nothing to the next.
pub(super) const RESTART: usize = 16;

pub(super) const HEADER: usize = 16;
pub(super) const ENTRY: usize = 30;

/// Bytes that are no entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Collects the entries of a block.
#[derive(Debug)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    restarts: Vec<u16>,
    entries: u32,
    last: Vec<u8>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let mut bytes = Vec::with_capacity(TARGET);
        bytes.resize(HEADER, 0);
        Self { bytes, restarts: Vec::new(), entries: 0, last: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The stem that was pushed last, also to an earlier block; empty at first.
    pub(super) fn last(&self) -> &[u8] {
        &self.last
    }

    /// Whether an entry can be pushed. To an empty block it always can.
    pub(super) fn has_room(&self, stem: &[u8], value: &[u8]) -> bool {
        let restarts = (self.restarts.len() + 1) * 2;
        let entry = ENTRY + stem.len() + value.len();
        self.is_empty() || self.bytes.len() + entry + restarts <= TARGET
    }

    /// Appends an entry, greater than all before.
    pub(crate) fn push(&mut self, version: &Version<'_>) {
        let Version { stem, sequence, place, value } = *version;
        debug_assert!(self.last.is_empty() || stem > &self.last[..], "stems ascend");
        let mut shared = 0;
        if (self.entries as usize).is_multiple_of(RESTART) {
            self.restarts.push(small(self.bytes.len()));
        } else {
            shared = common(&self.last, stem);
        }
        for length in [shared, stem.len() - shared, value.len()] {
            self.bytes.extend_from_slice(&small(length).to_le_bytes());
        }
        self.bytes.extend_from_slice(&sequence.to_le_bytes());
        self.bytes.extend_from_slice(&place.segment.to_le_bytes());
        self.bytes.extend_from_slice(&place.offset.to_le_bytes());
        self.bytes.extend_from_slice(&place.length.to_le_bytes());
        self.bytes.extend_from_slice(&stem[shared..]);
        self.bytes.extend_from_slice(value);
        self.entries += 1;
        self.last.clear();
        self.last.extend_from_slice(stem);
    }

    /// The bytes of the block, and begins the next.
    pub(crate) fn finish(&mut self, run: u64, number: u32) -> Vec<u8> {
        for restart in self.restarts.drain(..) {
            self.bytes.extend_from_slice(&restart.to_le_bytes());
        }
        let restarts = (self.entries as usize).div_ceil(RESTART);
        for (at, count) in [(4, self.bytes.len()), (8, self.entries as usize), (12, restarts)] {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.bytes[at..at + 4].copy_from_slice(&count.to_le_bytes());
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let crc = seeded_crc(run, u64::from(number), &self.bytes[4..]);
        self.bytes[..4].copy_from_slice(&crc.to_le_bytes());
        self.entries = 0;
        let mut next = Vec::with_capacity(TARGET);
        next.resize(HEADER, 0);
        std::mem::replace(&mut self.bytes, next)
    }
}

/// A length or offset that the writer has checked to be small enough.
fn small(number: usize) -> u16 {
    debug_assert!(u16::try_from(number).is_ok(), "within the limits of a block");
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// How many bytes two stems begin with in common.
pub(super) fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// A block that was read and verified.
pub(crate) struct Block {
    bytes: AlignedBuffer,
    /// Where entries end and restarts begin.
    end: usize,
    restarts: usize,
}

/// An entry's fields; the stem is with whoever walks.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) sequence: u64,
    pub(super) place: Place,
    pub(super) value: Range<usize>,
    /// Where the next entry begins.
    next: usize,
}

impl Block {
    /// Takes the bytes of a whole block; `None` if they are damaged or those of another block.
    pub(super) fn verify(run: u64, number: u32, bytes: AlignedBuffer) -> Option<Self> {
        if u32_at(&bytes, 0)? != seeded_crc(run, u64::from(number), bytes.get(4..)?) {
            return None;
        }
        let length = usize::try_from(u32_at(&bytes, 4)?).ok()?;
        let restarts = usize::try_from(u32_at(&bytes, 12)?).ok()?;
        let end = length.checked_sub(restarts.checked_mul(2)?)?;
        if length > bytes.len() || end < HEADER || restarts == 0 {
            return None;
        }
        Some(Self { bytes, end, restarts })
    }

    /// Bytes of a value; empty if they do not lie in it.
    pub(super) fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// Bytes of memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Reads the entry at `at`, and makes the stem of the entry before it its own.
    pub(super) fn entry(&self, at: usize, stem: &mut KeyBytes) -> Result<Fields, Malformed> {
        let (shared, fields, unshared) = self.split(at).ok_or(Malformed)?;
        if shared > stem.len() {
            return Err(Malformed);
        }
        stem.truncate(shared);
        stem.extend_from_slice(unshared);
        Ok(fields)
    }

    fn split(&self, at: usize) -> Option<(usize, Fields, &[u8])> {
        let head: &[u8; ENTRY] = self.bytes.get(at..self.end)?.first_chunk()?;
        let (shared, unshared) = (usize::from(u16_at(head, 0)?), usize::from(u16_at(head, 2)?));
        let stem_end = at + ENTRY + unshared;
        let next = stem_end + usize::from(u16_at(head, 4)?);
        let place = Place {
            segment: u64_at(head, 14)?,
            offset: u32_at(head, 22)?,
            length: u32_at(head, 26)?,
        };
        let fields = Fields { sequence: u64_at(head, 6)?, place, value: stem_end..next, next };
        (next <= self.end).then_some(())?;
        Some((shared, fields, self.bytes.get(at + ENTRY..stem_end)?))
    }

    /// The entry at `at`, if the entries do not end there.
    pub(super) fn entry_at(
        &self,
        at: usize,
        stem: &mut KeyBytes,
    ) -> Result<Option<Fields>, Malformed> {
        if at == self.end { Ok(None) } else { self.entry(at, stem).map(Some) }
    }

    /// The first entry whose stem is not less than `from`, and that stem.
    pub(super) fn seek(
        &self,
        from: &[u8],
        stem: &mut KeyBytes,
    ) -> Result<Option<Fields>, Malformed> {
        stem.clear();
        let mut at = self.restart_before(from)?;
        loop {
            let Some(fields) = self.entry_at(at, stem)? else { return Ok(None) };
            if &stem[..] >= from {
                return Ok(Some(fields));
            }
            at = fields.next;
        }
    }

    /// The offset of the last restart whose stem is not greater than `from`, or of the first.
    fn restart_before(&self, from: &[u8]) -> Result<usize, Malformed> {
        let (mut low, mut high) = (0, self.restarts);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let (shared, _, stem) = self.split(self.restart(middle)?).ok_or(Malformed)?;
            if shared != 0 {
                return Err(Malformed);
            }
            match stem.cmp(from) {
                Ordering::Greater => high = middle,
                Ordering::Equal | Ordering::Less => low = middle,
            }
        }
        self.restart(low)
    }

    fn restart(&self, number: usize) -> Result<usize, Malformed> {
        u16_at(&self.bytes, self.end + 2 * number).map(usize::from).ok_or(Malformed)
    }

    /// The version of a stem: sequence, place and where the value lies.
    pub(super) fn find(
        &self,
        wanted: &[u8],
    ) -> Result<Option<(u64, Place, Range<usize>)>, Malformed> {
        let mut stem = KeyBytes::new();
        let found = self.seek(wanted, &mut stem)?.filter(|_| &stem[..] == wanted);
        Ok(found.map(|fields| (fields.sequence, fields.place, fields.value)))
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Block").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Fields {
    pub(super) fn next(&self) -> usize {
        self.next
    }
}

/// Where the first entry of a block begins.
pub(super) const FIRST: usize = HEADER;
