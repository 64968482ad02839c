//! How far a log is covered by checkpoints.

use std::io;

use super::{CheckpointError, Derived, read_whole, replace};
use crate::io::Disk;
use crate::shard::log::{Layout, LogId};

pub(crate) const MAGIC: &[u8; 8] = b"VLTMARK1";
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER: usize = 96;

/// A set of virtual shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardSet([u64; 4]);

impl ShardSet {
    pub(crate) fn insert(&mut self, shard: u8) {
        self.0[usize::from(shard >> 6)] |= 1 << (shard & 63);
    }

    pub(crate) fn contains(&self, shard: u8) -> bool {
        self.0[usize::from(shard >> 6)] & (1 << (shard & 63)) != 0
    }

    /// Those of either.
    pub(crate) fn union(self, other: Self) -> Self {
        let mut both = self;
        for (ours, theirs) in both.0.iter_mut().zip(other.0) {
            *ours |= theirs;
        }
        both
    }

    /// Its shards, ascending.
    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |&shard| self.contains(shard))
    }
}

/// What one core of one start has covered by checkpoints. Durable after the checkpoints that it relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) log: LogId,
    /// Number of cores of that start.
    pub(crate) cores: u16,
    /// All records in segments of this log at positions before this one are covered.
    pub(crate) position: u32,
    /// All records of the logs of earlier starts are covered, as far as they are of the shards of this core.
    pub(crate) covers_earlier: bool,
    /// The shards that have a checkpoint on which the mark relies. Of the core's other shards there is no record in
    /// what it covers.
    pub(crate) shards: ShardSet,
    /// Log segments that the core knows, and how many records were ever written to each: of those that are covered, a
    /// start learns it nowhere else.
    pub(crate) written: Vec<(u64, u64)>,
}

impl Mark {
    /// The bytes of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.log.core.to_le_bytes());
        bytes[14..16].copy_from_slice(&self.cores.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.log.start.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.position.to_le_bytes());
        bytes[24] = u8::from(self.covers_earlier);
        let written = u32::try_from(self.written.len()).unwrap_or(u32::MAX);
        bytes[28..32].copy_from_slice(&written.to_le_bytes());
        for (out, word) in bytes[32..64].as_chunks_mut::<8>().0.iter_mut().zip(self.shards.0) {
            *out = word.to_le_bytes();
        }
        for (segment, records) in &self.written {
            bytes.extend_from_slice(&segment.to_le_bytes());
            bytes.extend_from_slice(&records.to_le_bytes());
        }
        let crc = crc_fast::crc32_iscsi(&bytes[HEADER..]);
        bytes[64..68].copy_from_slice(&crc.to_le_bytes());
        let crc = crc_fast::crc32_iscsi(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the bytes of a file; `None` if they are damaged or of another version. What follows is not looked at.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let u16_at = |at: usize| Some(u16::from_le_bytes(*header.get(at..)?.first_chunk()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk()?));
        let is_whole = header[..8] == *MAGIC
            && u32_at(8)? == VERSION
            && u32_at(HEADER - 4)? == crc_fast::crc32_iscsi(&header[..HEADER - 4]);
        is_whole.then_some(())?;
        let written = usize::try_from(u32_at(28)?).ok()?.checked_mul(16)?;
        let written = rest.get(..written)?;
        (u32_at(64)? == crc_fast::crc32_iscsi(written)).then_some(())?;
        let mut shards = ShardSet::default();
        for (word, bytes) in shards.0.iter_mut().zip(header[32..64].as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let pair = |[segment, records]: &[[u8; 8]; 2]| {
            (u64::from_le_bytes(*segment), u64::from_le_bytes(*records))
        };
        Some(Self {
            log: LogId { start: u32_at(16)?, core: u16_at(12)? },
            cores: u16_at(14)?,
            position: u32_at(20)?,
            covers_earlier: header[24] != 0,
            shards,
            written: written.as_chunks::<8>().0.as_chunks::<2>().0.iter().map(pair).collect(),
        })
    }

    /// Replaces the mark of its log. On return its bytes are durable; the caller syncs the directory.
    ///
    /// # Errors
    /// As the disk says. Then nothing is known of what a later start reads: the old one or this.
    pub(crate) async fn write<D: Disk>(&self, disk: &D, layout: &Layout) -> io::Result<()> {
        replace(disk, &Derived::Mark(self.log).path(layout), &self.encode()).await
    }

    /// Reads the mark of a log; `None` if there is none.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub(crate) async fn read<D: Disk>(
        disk: &D,
        layout: &Layout,
        log: LogId,
    ) -> Result<Option<Self>, CheckpointError> {
        let path = Derived::Mark(log).path(layout);
        let Some(bytes) = read_whole(disk, &path).await? else { return Ok(None) };
        match Self::decode(&bytes).filter(|mark| mark.log == log) {
            Some(mark) => Ok(Some(mark)),
            None => Err(CheckpointError::Damaged(path)),
        }
    }
}
