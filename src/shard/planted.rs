//! Bugs on purpose: how tests prove that they would see one.
//!
//! Only a build with the feature `planted` has them, and there only the one that `VAULTAIRE_PLANTED` names. In every other
//! build [`is`] is a constant `false`, and the code behind it is gone.

use std::path::Path;
use std::time::Duration;

use crate::io::buffer::AlignedBuffer;
use crate::io::{Disk, DiskFile, OpenOptions};
use crate::runtime;

/// Declares the bugs with the names by which they are asked for.
macro_rules! bugs {
    ($($(#[$about:meta])* $bug:ident = $name:literal,)*) => {
        /// What may be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Bug {
            $($(#[$about])* $bug,)*
        }

        #[cfg(feature = "planted")]
        const ALL: &[(&str, Bug)] = &[$(($name, Bug::$bug),)*];
    };
}

bugs! {
    /// A frame is acknowledged a while before it is written.
    AcknowledgeBeforeWrite = "acknowledge-before-write",
    /// A frame is written and acknowledged, but never synced.
    LogNotSynced = "log-not-synced",
    /// The bytes of large artifacts are not synced before the frame that names them.
    ExtentNotSynced = "extent-not-synced",
    /// What a frame says is visible before the frame is durable.
    PublishBeforeSync = "publish-before-sync",
    /// The checksum of a frame's payload is not looked at.
    PayloadNotChecked = "payload-not-checked",
    /// The checksums of an extent's blocks are not looked at.
    ExtentNotChecked = "extent-not-checked",
    /// After a failed sync of the log another one is believed.
    SyncRetried = "sync-retried",
    /// After a failed write or sync of the log its page cache is believed.
    CacheBelieved = "cache-believed",
    /// Whatever is not whole ends a log.
    RotTakenForTail = "rot-taken-for-tail",
    /// The records of one batch are written as two frames.
    BatchOverTwoFrames = "batch-over-two-frames",
    /// A frame of another segment, or of another start, is taken for one of this.
    EpochNotChecked = "epoch-not-checked",
    /// A log does not say where those before it ended.
    EndNotNamed = "end-not-named",
    /// Of the records of a key the one that is read last is current.
    ReplayInLogOrder = "replay-in-log-order",
    /// What an extent was moved from is freed before it is durable where it lies now.
    PlaceFreedEarly = "place-freed-early",
    /// A log segment without live records goes before older ones.
    TombstoneDroppedEarly = "tombstone-dropped-early",
    /// An extent does not count as live while its commit waits.
    ExtentSweptWhileWaiting = "extent-swept-while-waiting",
    /// A condition is decided without what is decided and not yet durable.
    ConditionWithoutPending = "condition-without-pending",
    /// The directory of a new data segment is not synced.
    DirectoryNotSynced = "directory-not-synced",
}

/// How much later a write comes that was acknowledged before it.
const LATER: Duration = Duration::from_millis(20);

/// Whether this bug is planted.
#[cfg(not(feature = "planted"))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}

/// [`Bug::AcknowledgeBeforeWrite`]: writes what the caller takes for written.
pub(crate) fn write_later<F: DiskFile>(file: &F, buffer: &AlignedBuffer, offset: u64) {
    let mut copy = AlignedBuffer::with_capacity(buffer.len());
    copy.extend_from_slice(buffer);
    let file = file.clone();
    runtime::spawn(async move {
        runtime::sleep(LATER).await;
        let _ = file.write_at(copy, offset).await;
    });
}

/// [`Bug::CacheBelieved`]: whether the page cache has these bytes.
pub(crate) async fn cache_holds<D: Disk>(disk: &D, path: &Path, bytes: &[u8], at: u64) -> bool {
    let Ok(file) = disk.open(path, OpenOptions::default()).await else { return false };
    let mut buffer = AlignedBuffer::with_capacity(bytes.len());
    buffer.set_length(bytes.len());
    let (read, buffer) = file.read_at(buffer, at).await;
    read.is_ok() && buffer[..] == *bytes
}

#[cfg(feature = "planted")]
pub(crate) use chosen::is;
#[cfg(feature = "planted")]
pub use chosen::names;

#[cfg(feature = "planted")]
mod chosen {
    use std::sync::OnceLock;

    use super::{ALL, Bug};

    /// The environment variable that names the bug.
    const VARIABLE: &str = "VAULTAIRE_PLANTED";

    /// The names of all bugs.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|(name, _)| *name)
    }

    static CHOSEN: OnceLock<Option<Bug>> = OnceLock::new();

    pub(crate) fn is(bug: Bug) -> bool {
        *CHOSEN.get_or_init(named) == Some(bug)
    }

    fn named() -> Option<Bug> {
        let name = std::env::var(VARIABLE).ok()?;
        let found = ALL.iter().find(|(known, _)| *known == name);
        let Some(&(_, bug)) = found else { panic!("{VARIABLE} names no bug: {name}") };
        tracing::warn!(?bug, "a bug is planted: this build loses data on purpose");
        Some(bug)
    }
}
