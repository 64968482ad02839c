//! Bugs on purpose: how tests prove that they would see one.
//!
//! Only a build with the feature `planted` has them, and there only the one that `VAULTAIRE_PLANTED` names. In every other
//! build [`is`] is a constant `false`, and the code behind it is gone.

use std::time::Duration;

use crate::io::DiskFile;
use crate::io::buffer::AlignedBuffer;
use crate::runtime;

/// What may be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A frame is acknowledged a while before it is written.
    AcknowledgeBeforeWrite,
    /// A frame is written and acknowledged, but never synced.
    LogNotSynced,
    /// The bytes of large artifacts are not synced before the frame that names them.
    ExtentNotSynced,
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

#[cfg(feature = "planted")]
pub(crate) use chosen::is;

#[cfg(feature = "planted")]
mod chosen {
    use std::sync::OnceLock;

    use super::Bug;

    /// The environment variable that names the bug.
    const VARIABLE: &str = "VAULTAIRE_PLANTED";

    static CHOSEN: OnceLock<Option<Bug>> = OnceLock::new();

    pub(crate) fn is(bug: Bug) -> bool {
        *CHOSEN.get_or_init(named) == Some(bug)
    }

    fn named() -> Option<Bug> {
        let name = std::env::var(VARIABLE).ok()?;
        let bug = match name.as_str() {
            "acknowledge-before-write" => Bug::AcknowledgeBeforeWrite,
            "log-not-synced" => Bug::LogNotSynced,
            "extent-not-synced" => Bug::ExtentNotSynced,
            _ => panic!("{VARIABLE} names no bug: {name}"),
        };
        tracing::warn!(?bug, "a bug is planted: this build loses data on purpose");
        Some(bug)
    }
}
