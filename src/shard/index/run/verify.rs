//! Looking at all of a run.

use std::io;

use super::{Run, RunError, RunPart, bloom, open};
use crate::io::DiskFile;
use crate::shard::index::key::KeyBytes;

/// What has been seen of a run so far.
#[derive(Default)]
struct Seen {
    entries: u64,
    tombstones: u64,
    sequence_max: u64,
    last: KeyBytes,
}

impl Run {
    /// Reads all of the run and returns what of it is damaged or contradicts the rest. Lets others run, by `pause`,
    /// after each block.
    ///
    /// # Errors
    /// As the disk says.
    pub(crate) async fn verify(
        &self,
        file: &impl DiskFile,
        mut pause: impl AsyncFnMut(),
    ) -> io::Result<Vec<RunPart>> {
        let mut damaged = Vec::new();
        let mut seen = Seen::default();
        for number in 0..self.blocks.count() {
            match open::read_block(self, file, number).await {
                Err(RunError::Io(error)) => return Err(error),
                Err(RunError::Damaged { part, .. }) => damaged.push(part),
                Ok(block) => {
                    if self.look_at(&block, number, &mut seen).is_none() {
                        damaged.push(RunPart::Block(number));
                    }
                }
            }
            pause().await;
        }
        let agrees = seen.entries == self.footer.entries
            && seen.tombstones == self.footer.tombstones
            && seen.sequence_max == self.footer.sequence_max
            && seen.last[..] == *self.blocks.last();
        if damaged.is_empty() && !agrees {
            damaged.push(RunPart::Footer);
        }
        Ok(damaged)
    }

    /// `None` if the block's entries are malformed, out of order, or would not be found.
    fn look_at(&self, block: &super::Block, number: u32, seen: &mut Seen) -> Option<()> {
        let (mut stem, mut at) = (KeyBytes::new(), super::block::FIRST);
        while let Some(fields) = block.entry_at(at, &mut stem).ok()? {
            let is_found = (seen.entries == 0 || seen.last < stem)
                && self.bloom.may_hold(bloom::hash(&stem))
                && self.blocks.find(&stem) == Some(number);
            is_found.then_some(())?;
            seen.entries += 1;
            seen.tombstones += u64::from(fields.value.is_empty());
            seen.sequence_max = seen.sequence_max.max(fields.sequence);
            seen.last.clone_from(&stem);
            at = fields.next();
        }
        Some(())
    }
}
