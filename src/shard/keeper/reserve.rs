//! Room that is kept for checkpoints, so that what is dead can go when the disk is full.

use super::Keeper;
use crate::io::{Disk, DiskFile, OpenOptions};
use crate::shard::index::run::directory;

/// Bytes that are kept.
const BYTES: u64 = 8 << 20;

/// At most one in so many of the bytes that are free are kept.
const SHARE: u64 = 16;

/// Less than this is of no use.
const BYTES_MIN: u64 = 16 << 10;

impl<D: Disk> Keeper<D> {
    fn reserve_path(&self) -> std::path::PathBuf {
        directory(self.shared.volume.layout()).join("reserve")
    }

    /// Sets room aside where there is plenty. The first core does.
    pub(super) async fn keep_reserve(&self) {
        if self.core != 0 || self.stopping.get() || self.shared.checkpoints.has_reserve() {
            return;
        }
        let folder = directory(self.shared.volume.layout());
        let free = self.disk.free_bytes(&folder).await.unwrap_or_default();
        let bytes = BYTES.min(free / SHARE) / BYTES_MIN * BYTES_MIN;
        if bytes == 0 {
            return;
        }
        let path = self.reserve_path();
        let options =
            OpenOptions { write: true, create_new: true, direct: true, durable_writes: false };
        let made = async {
            self.disk.remove_if_there(&path).await?;
            self.disk.open(&path, options).await?.allocate(bytes).await
        };
        match made.await {
            Ok(()) => self.shared.checkpoints.set_reserve(true),
            Err(error) => {
                tracing::debug!(%error, "no room is kept for checkpoints");
                let _ = self.disk.remove_if_there(&path).await;
            }
        }
    }

    /// Gives the room up; `false` if there was none.
    pub(super) async fn give_reserve(&self) -> bool {
        let path = self.reserve_path();
        self.shared.checkpoints.set_reserve(false);
        self.disk.remove(&path).await.is_ok()
    }
}
