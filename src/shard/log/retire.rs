//! Takes dead segments away, while appends go on.

use std::io;
use std::rc::Weak;

use super::segments::Segments;
use crate::io::{Disk, DiskFile, OpenOptions};

/// Takes dead segments away while the log's writer is there. To be used on the writer's core.
pub struct Retirer<D: Disk>(pub(super) Weak<Segments<D>>);

impl<D: Disk> Retirer<D> {
    /// Takes a segment whose records are all dead, of this log or of another, out of the data folder: its file is
    /// recycled or unlinked, durably on return. Nobody writes to it, and no reader may use it any more.
    ///
    /// # Errors
    /// As the disk says, and after the writer is gone. Whether the segment is there at the next start is not known then:
    /// nothing that relies on it to be gone may happen in this one.
    ///
    /// # Cancel safety
    /// A call that was dropped has failed.
    pub async fn retire(&self, segment: u64) -> io::Result<()> {
        let log = self.0.upgrade().ok_or_else(|| io::Error::other("the log is closed"))?;
        let (disk, volume) = (&log.disk, &log.volume);
        let layout = volume.layout();
        let path = layout.segment_path(segment);
        let recycle = !log.is_closed() && volume.recycled.wants_more();
        let options = OpenOptions { direct: true, ..OpenOptions::default() };
        let whole = recycle
            && match disk.open(&path, options).await {
                Ok(file) => file.length().await? == log.length,
                Err(_) => false,
            };
        let renamed = whole.then(|| volume.next_segment_id());
        match renamed {
            Some(renamed) => disk.rename(&path, &layout.segment_path(renamed)).await?,
            None => disk.remove_if_there(&path).await?,
        }
        disk.remove_if_there(&layout.keys_path(segment)).await?;
        disk.sync_directory(&layout.log()).await?;
        // Not before its new name is durable: it may be written to at once.
        if let Some(renamed) = renamed {
            volume.recycled.give(renamed, log.length);
        }
        log.look_for_room();
        Ok(())
    }
}
