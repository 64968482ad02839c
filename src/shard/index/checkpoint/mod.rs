//! Checkpoints: what a start need not replay.
//!
//! The checkpoint of a shard says which runs it has, what these hold, and lists the entries that stay in memory. The
//! [`Mark`] of a log says which of its segments are covered by the checkpoints of its shards, and is made durable
//! after these. Both are derived: a start that cannot read one replays all logs.

mod accounts;
mod coverage;
mod mark;
mod shard;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use super::run::{directory, path as run_path};
use crate::io::buffer::AlignedBuffer;
use crate::io::{Disk, DiskFile, OpenOptions};
use crate::shard::log::{Layout, LogId};

pub(crate) use accounts::Accounts;
pub(crate) use coverage::Coverage;
pub(crate) use mark::{Mark, ShardSet};
pub(crate) use shard::{Checkpoint, CheckpointBuilder};

/// Bytes that are written or read at once.
const PIECE: usize = 1 << 20;

/// Bytes that are read first: few files have more.
const PIECE_FIRST: usize = 16 << 10;

/// Why a checkpoint or mark could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf),
    #[error("input or output failed: {0}")]
    Io(#[from] io::Error),
}

/// A file of the folder of what is derived, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Derived {
    Run(u64),
    Checkpoint(u8),
    Mark(LogId),
    /// Unfinished: to be removed at the next start.
    Temporary,
}

impl Derived {
    /// What a name stands for; `None` for what is not ours.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let (stem, kind) = name.rsplit_once('.')?;
        let hex = |digits: &str, length: usize| {
            let is_ours = digits.len() == length
                && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
            is_ours.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        match kind {
            "tmp" => Some(Self::Temporary),
            "run" => hex(stem, 16).map(Self::Run),
            "checkpoint" => Some(Self::Checkpoint(u8::try_from(hex(stem, 2)?).ok()?)),
            "mark" => {
                let (start, core) = stem.split_once('-')?;
                let start = u32::try_from(hex(start, 8)?).ok()?;
                Some(Self::Mark(LogId { start, core: u16::try_from(hex(core, 4)?).ok()? }))
            }
            _ => None,
        }
    }

    /// Its path; that of a temporary file has none of its own.
    pub(crate) fn path(self, layout: &Layout) -> PathBuf {
        match self {
            Self::Run(run) => run_path(layout, run),
            Self::Checkpoint(shard) => directory(layout).join(format!("{shard:02x}.checkpoint")),
            Self::Mark(LogId { start, core }) => {
                directory(layout).join(format!("{start:08x}-{core:04x}.mark"))
            }
            Self::Temporary => directory(layout).join("tmp"),
        }
    }
}

/// Replaces a file as a whole. On return its bytes are durable, but not yet its name: the caller syncs the directory.
async fn replace<D: Disk>(disk: &D, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_added_extension("tmp");
    disk.remove_if_there(&temporary).await?;
    let options =
        OpenOptions { write: true, create_new: true, direct: true, durable_writes: false };
    let file = disk.open(&temporary, options).await?;
    let mut offset = 0;
    for piece in bytes.chunks(PIECE) {
        let mut buffer = AlignedBuffer::with_capacity(piece.len());
        buffer.extend_from_slice(piece);
        buffer.pad();
        file.write_at(buffer, offset).await.0?;
        offset += piece.len() as u64;
    }
    file.sync().await?;
    disk.rename(&temporary, path).await
}

/// The bytes of a whole file; `None` if there is none.
async fn read_whole<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let options = OpenOptions { direct: true, ..OpenOptions::default() };
    let file = match disk.open(path, options).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    let mut wanted = PIECE_FIRST;
    loop {
        let mut buffer = AlignedBuffer::with_capacity(wanted);
        buffer.set_length(wanted);
        let (read, buffer) = file.read_at(buffer, bytes.len() as u64).await;
        let read = read?;
        bytes.extend_from_slice(&buffer[..read]);
        if read < wanted {
            return Ok(Some(bytes));
        }
        wanted = PIECE;
    }
}
