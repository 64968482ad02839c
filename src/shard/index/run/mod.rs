//! Sorted runs: entries of one virtual shard that no longer lie in memory.
//!
//! A run is a file that is written once and never changed: blocks of entries in the order of their stems, then a
//! bloom filter, an index of the blocks and a footer. It holds at most one version of a stem; an empty value is a
//! tombstone. Filter and index of an open run stay in memory; blocks are read when they are needed and kept in a
//! [`BlockCache`]. Whatever is read is verified first: damage is an error that names run and place.
//!
//! A [`Run`] holds no file. Each core opens its own, through [`RunFiles`]. What is found in cached blocks is found
//! without waiting.

pub(crate) mod block;
mod blocks;
mod bloom;
mod cache;
mod cursor;
pub(crate) mod footer;
mod merge;
mod open;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crc_fast::{CrcAlgorithm, Digest};

use self::blocks::Blocks;
use self::bloom::Bloom;
use crate::io::DiskFile;
use crate::shard::error::ShardError;
use crate::shard::log::{Layout, Place};

pub(crate) use block::Block;
pub(crate) use cache::BlockCache;
pub(crate) use cursor::RunCursor;
pub(crate) use merge::{Either, Merge, Needed, Source};
pub(crate) use writer::RunWriter;

/// Longest value that a run takes, in bytes.
pub(crate) const VALUE_MAX: usize = u16::MAX as usize;

/// Longest stem that a run takes, in bytes.
pub(crate) const STEM_MAX: usize = u16::MAX as usize;

/// The folder of everything that is derived.
pub(crate) fn directory(layout: &Layout) -> PathBuf {
    layout.root.join("index")
}

/// The file of a run.
pub(crate) fn path(layout: &Layout, run: u64) -> PathBuf {
    directory(layout).join(format!("{run:016x}.run"))
}

/// What of a run is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunPart {
    Footer,
    Bloom,
    Index,
    /// With its number, from 0.
    Block(u32),
}

impl fmt::Display for RunPart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Footer => write!(out, "the footer"),
            Self::Bloom => write!(out, "the bloom filter"),
            Self::Index => write!(out, "the index of the blocks"),
            Self::Block(number) => write!(out, "block {number}"),
        }
    }
}

/// Why a run could not be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("{part} of the run {run:016x} is damaged")]
    Damaged { run: u64, part: RunPart },
    #[error("input or output failed: {0}")]
    Io(#[from] io::Error),
}

impl From<RunError> for ShardError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Damaged { .. } => Self::Corrupt,
            RunError::Io(error) => error.into(),
        }
    }
}

/// One version of a stem, lent by whoever holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version<'a> {
    pub(crate) stem: &'a [u8],
    pub(crate) sequence: u64,
    /// Where the record's body lies; its segment holds the record.
    pub(crate) place: Place,
    /// Empty for a tombstone.
    pub(crate) value: &'a [u8],
}

impl Version<'_> {
    /// Whether it says that the key is gone.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.value.is_empty()
    }
}

/// A version found in a run. It keeps its block in memory.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) sequence: u64,
    pub(crate) place: Place,
    block: Arc<Block>,
    value: Range<usize>,
}

impl Found {
    /// Its value; empty for a tombstone.
    pub(crate) fn value(&self) -> &[u8] {
        self.block.slice(&self.value)
    }

    /// It as the version of the stem that was looked for.
    pub(crate) fn version<'v>(&'v self, stem: &'v [u8]) -> Version<'v> {
        Version { stem, sequence: self.sequence, place: self.place, value: self.value() }
    }

    /// Whether it says that the key is gone.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.value.is_empty()
    }
}

/// A stem that is looked for, hashed once for all runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe<'s> {
    stem: &'s [u8],
    hash: u64,
}

impl<'s> Probe<'s> {
    pub(crate) fn new(stem: &'s [u8]) -> Self {
        Self { stem, hash: bloom::hash(stem) }
    }
}

/// Opens runs for one core.
pub(crate) trait RunFiles {
    /// An open file.
    type File: DiskFile;

    /// The run's file. With `keep`, the page cache keeps what is read of it: a second cache, of memory that nobody else
    /// needs.
    fn file(&self, run: u64, keep: bool) -> impl Future<Output = io::Result<Self::File>>;
}

/// What reading needs: where the core's files are, and what cores keep in common.
#[derive(Debug)]
pub(crate) struct Reader<'r, F> {
    pub(crate) files: &'r F,
    pub(crate) cache: &'r BlockCache,
}

impl<F> Clone for Reader<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Reader<'_, F> {}

/// An open run: what of it stays in memory. Shared by all cores.
#[derive(Debug)]
pub(crate) struct Run {
    id: u64,
    footer: footer::Footer,
    bloom: Bloom,
    blocks: Blocks,
}

impl Run {
    /// Reads what stays in memory of the run `id`; `file` is open for direct reading and not kept.
    ///
    /// # Errors
    /// [`RunError::Damaged`] for anything but a whole run of this id, [`RunError::Io`] as the disk says.
    pub(crate) async fn open(file: &impl DiskFile, id: u64) -> Result<Self, RunError> {
        open::open(file, id).await
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn shard(&self) -> u8 {
        self.footer.shard
    }

    /// Number of versions, tombstones among them.
    pub(crate) fn entries(&self) -> u64 {
        self.footer.entries
    }

    /// Length of the file, in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.footer.length()
    }

    /// Whether a version of the stem may be here; `false` is certain. Never reads anything.
    pub(crate) fn may_hold(&self, probe: &Probe<'_>) -> bool {
        probe.stem <= self.blocks.last() && self.bloom.may_hold(probe.hash)
    }

    /// Looks a stem up; waits only if its block is not cached. A tombstone is found like any other version.
    ///
    /// # Errors
    /// [`RunError`].
    pub(crate) async fn get<F: RunFiles>(
        &self,
        reader: Reader<'_, F>,
        probe: &Probe<'_>,
    ) -> Result<Option<Found>, RunError> {
        let Some(number) = self.block_for(probe) else { return Ok(None) };
        let block = match reader.cache.get(self.id, number) {
            Some(block) => block,
            None => self.load(reader, number, true).await?,
        };
        self.find_in(block, number, probe)
    }

    fn block_for(&self, probe: &Probe<'_>) -> Option<u32> {
        self.may_hold(probe).then(|| self.blocks.find(probe.stem)).flatten()
    }

    fn find_in(
        &self,
        block: Arc<Block>,
        number: u32,
        probe: &Probe<'_>,
    ) -> Result<Option<Found>, RunError> {
        let found = block.find(probe.stem).map_err(|_| self.damaged(RunPart::Block(number)))?;
        Ok(found.map(|(sequence, place, value)| Found { sequence, place, block, value }))
    }

    /// Reads and verifies a block; with `keep`, others will find it in the cache.
    async fn load<F: RunFiles>(
        &self,
        reader: Reader<'_, F>,
        number: u32,
        keep: bool,
    ) -> Result<Arc<Block>, RunError> {
        let file = reader.files.file(self.id, keep).await?;
        let block = Arc::new(open::read_block(self, &file, number).await?);
        if keep {
            reader.cache.insert(self.id, number, &block);
        }
        Ok(block)
    }

    fn damaged(&self, part: RunPart) -> RunError {
        RunError::Damaged { run: self.id, part }
    }
}

/// The newest version of a stem in runs that are given newest first; waits only for blocks that are not cached.
///
/// # Errors
/// [`RunError`].
pub(crate) async fn get_newest<F: RunFiles>(
    runs: &[Arc<Run>],
    reader: Reader<'_, F>,
    probe: &Probe<'_>,
) -> Result<Option<Found>, RunError> {
    for run in runs {
        if let Some(found) = run.get(reader, probe).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// CRC32C of bytes of a run, seeded with the run's id and a number within it.
fn seeded_crc(run: u64, number: u64, bytes: &[u8]) -> u32 {
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&run.to_le_bytes());
    seed[8..].copy_from_slice(&number.to_le_bytes());
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&seed);
    digest.update(bytes);
    u32::try_from(digest.finalize() & u64::from(u32::MAX)).unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
