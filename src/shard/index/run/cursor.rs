//! Walking over a run.

use std::sync::Arc;

use super::block::{self, Block, Fields};
use super::merge::{Needed, Source};
use super::{BlockCache, Run, RunError, RunPart, Version};
use crate::shard::index::key::KeyBytes;

/// Walks forward over the versions of a run, from the first stem that is not less than where it was sent.
///
/// It never waits itself: [`Source::try_ready`] says whether a block must be read first. Entries are decoded where
/// they lie.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Arc<Run>,
    /// Whether blocks that are read for it are kept in the cache.
    keep: bool,
    /// The block that it is in, or that it needs.
    number: u32,
    block: Option<(u32, Arc<Block>)>,
    stem: KeyBytes,
    state: State,
}

#[derive(Debug)]
enum State {
    /// To the first entry of the block that is not less than the stem.
    Seeking,
    On(Fields),
    End,
}

impl RunCursor {
    /// At the first version. With `keep`, blocks that are read for it stay in the cache: for listings, not for
    /// merges, which would wash out what others use.
    pub(crate) fn new(run: Arc<Run>, keep: bool) -> Self {
        let (number, block, stem) = (0, None, KeyBytes::new());
        Self { run, keep, number, block, stem, state: State::Seeking }
    }

    fn damaged(&self) -> RunError {
        self.run.damaged(RunPart::Block(self.number))
    }

    /// Comes to where it was sent, or to the first entry of the next block; `false` if that is unread.
    fn come(&mut self, cache: &BlockCache) -> Result<bool, RunError> {
        loop {
            if self.number >= self.run.blocks.count() {
                self.state = State::End;
                return Ok(true);
            }
            let block = match &self.block {
                Some((number, block)) if *number == self.number => block,
                _ => {
                    let Some(block) = cache.get(self.run.id, self.number) else { return Ok(false) };
                    &self.block.insert((self.number, block)).1
                }
            };
            let from = std::mem::take(&mut self.stem);
            let found = block.seek(&from, &mut self.stem).map_err(|_| self.damaged())?;
            if let Some(fields) = found {
                self.state = State::On(fields);
                return Ok(true);
            }
            // All of it is less, so everything that follows is greater.
            self.stem = from;
            self.number += 1;
        }
    }
}

impl Source for RunCursor {
    fn try_ready(&mut self, cache: &BlockCache) -> Result<bool, RunError> {
        match self.state {
            State::Seeking => self.come(cache),
            State::On(_) | State::End => Ok(true),
        }
    }

    fn needed(&self) -> Option<Needed> {
        matches!(self.state, State::Seeking).then(|| Needed {
            run: Arc::clone(&self.run),
            number: self.number,
            keep: self.keep,
        })
    }

    fn supply(&mut self, number: u32, block: Arc<Block>) {
        self.block = Some((number, block));
    }

    fn seek(&mut self, from: &[u8]) {
        self.stem.clear();
        self.stem.extend_from_slice(from);
        self.number = self.run.blocks.find(from).unwrap_or(0);
        self.state = State::Seeking;
    }

    fn peek(&self) -> Option<Version<'_>> {
        let (State::On(fields), Some((_, block))) = (&self.state, &self.block) else { return None };
        let value = block.slice(&fields.value);
        Some(Version { stem: &self.stem, sequence: fields.sequence, place: fields.place, value })
    }

    fn next(&mut self) -> Result<(), RunError> {
        let (State::On(fields), Some((_, block))) = (&self.state, &self.block) else {
            return Ok(());
        };
        let next = block.entry_at(fields.next(), &mut self.stem);
        match next.map_err(|_: block::Malformed| self.damaged())? {
            Some(fields) => self.state = State::On(fields),
            None => {
                // Sent to the stem that it was on, which is less than all that follow.
                self.number += 1;
                self.state = State::Seeking;
            }
        }
        Ok(())
    }
}
