//! One walk over several sorted sources.

use std::cmp::Ordering;
use std::sync::Arc;

use futures_util::future::try_join_all;
use smallvec::SmallVec;

use super::block::Block;
use super::{BlockCache, Reader, Run, RunError, RunFiles, Version};

/// A block that must be read before a source is ready.
#[derive(Clone, Debug)]
pub(crate) struct Needed {
    pub(super) run: Arc<Run>,
    pub(super) number: u32,
    pub(super) keep: bool,
}

/// Versions in the order of their stems, at most one of each.
///
/// After [`Source::seek`] and [`Source::next`] it must be made ready before it is looked at. What lies in memory is
/// ready always, and need not implement the first three.
pub(crate) trait Source {
    /// Whether [`Source::peek`] may be called. Never waits.
    ///
    /// # Errors
    /// [`RunError::Damaged`].
    fn try_ready(&mut self, _cache: &BlockCache) -> Result<bool, RunError> {
        Ok(true)
    }

    /// The block without which it is not ready.
    fn needed(&self) -> Option<Needed> {
        None
    }

    /// Gives it the block that it needs.
    fn supply(&mut self, _number: u32, _block: Arc<Block>) {}

    /// Goes to the first stem that is not less than `from`.
    fn seek(&mut self, from: &[u8]);

    /// Where it is; `None` at its end. It must be ready.
    fn peek(&self) -> Option<Version<'_>>;

    /// Steps over where it is.
    ///
    /// # Errors
    /// [`RunError::Damaged`].
    fn next(&mut self) -> Result<(), RunError>;
}

/// A source of one of two kinds.
#[derive(Debug)]
pub(crate) enum Either<A, B> {
    One(A),
    Other(B),
}

impl<A: Source, B: Source> Source for Either<A, B> {
    fn try_ready(&mut self, cache: &BlockCache) -> Result<bool, RunError> {
        match self {
            Self::One(one) => one.try_ready(cache),
            Self::Other(other) => other.try_ready(cache),
        }
    }

    fn needed(&self) -> Option<Needed> {
        match self {
            Self::One(one) => one.needed(),
            Self::Other(other) => other.needed(),
        }
    }

    fn supply(&mut self, number: u32, block: Arc<Block>) {
        match self {
            Self::One(one) => one.supply(number, block),
            Self::Other(other) => other.supply(number, block),
        }
    }

    fn seek(&mut self, from: &[u8]) {
        match self {
            Self::One(one) => one.seek(from),
            Self::Other(other) => other.seek(from),
        }
    }

    fn peek(&self) -> Option<Version<'_>> {
        match self {
            Self::One(one) => one.peek(),
            Self::Other(other) => other.peek(),
        }
    }

    fn next(&mut self) -> Result<(), RunError> {
        match self {
            Self::One(one) => one.next(),
            Self::Other(other) => other.next(),
        }
    }
}

/// Walks over the stems of several sources, and shows of each stem the version of the newest source that has it, or the
/// newest version if the sources are of no order; tombstones too. Use: make it ready, look, step, and again.
#[derive(Debug)]
pub(crate) struct Merge<S> {
    /// The newest first, if they are of any order.
    sources: SmallVec<[S; 4]>,
    /// Whether of versions of a stem the one of the highest sequence is the newest, whatever source it is in.
    by_sequence: bool,
    /// Sources that are on a version, by stem and then by age, the newest first.
    order: SmallVec<[usize; 8]>,
    /// Whether the first in the order is known to be the only one on its stem; not while sources have moved.
    first_is_alone: bool,
    /// Sources that have moved.
    moved: SmallVec<[usize; 8]>,
}

impl<S: Source> Merge<S> {
    /// Of sources given newest first, where they are.
    pub(crate) fn new(sources: impl IntoIterator<Item = S>) -> Self {
        let sources: SmallVec<[S; 4]> = sources.into_iter().collect();
        let moved = (0..sources.len()).collect();
        Self { sources, by_sequence: false, order: SmallVec::new(), first_is_alone: false, moved }
    }

    /// Of sources any of which may have the newest version of a stem, where they are.
    pub(crate) fn by_sequence(sources: impl IntoIterator<Item = S>) -> Self {
        Self { by_sequence: true, ..Self::new(sources) }
    }

    /// Whether [`Merge::peek`] may be called. Never waits.
    ///
    /// # Errors
    /// [`RunError::Damaged`].
    pub(crate) fn try_ready(&mut self, cache: &BlockCache) -> Result<bool, RunError> {
        let mut at = 0;
        while let Some(&source) = self.moved.get(at) {
            if self.sources[source].try_ready(cache)? {
                self.moved.swap_remove(at);
                self.settle(source);
            } else {
                at += 1;
            }
        }
        Ok(self.moved.is_empty())
    }

    /// Makes it ready; waits only for blocks that are not cached.
    ///
    /// # Cancel safety
    /// It may be called again.
    ///
    /// # Errors
    /// [`RunError`].
    pub(crate) async fn ready<F: RunFiles>(
        &mut self,
        reader: Reader<'_, F>,
    ) -> Result<(), RunError> {
        while !self.try_ready(reader.cache)? {
            let sources = &self.sources;
            let waiting = self.moved.iter().filter_map(|&at| Some((at, sources[at].needed()?)));
            let loads = waiting.map(async |(at, Needed { run, number, keep })| {
                Ok::<_, RunError>((at, number, run.load(reader, number, keep).await?))
            });
            for (at, number, block) in try_join_all(loads).await? {
                self.sources[at].supply(number, block);
            }
        }
        Ok(())
    }

    /// Goes to the first stem that is not less than `from`.
    pub(crate) fn seek(&mut self, from: &[u8]) {
        self.order.clear();
        self.first_is_alone = false;
        self.moved = (0..self.sources.len()).collect();
        for source in &mut self.sources {
            source.seek(from);
        }
    }

    /// The least stem, in its newest version; `None` at the end of all. It must be ready.
    pub(crate) fn peek(&self) -> Option<Version<'_>> {
        debug_assert!(self.moved.is_empty(), "it is ready");
        self.order.first().and_then(|&at| self.sources[at].peek())
    }

    /// Steps over where it is, in all sources.
    ///
    /// # Errors
    /// [`RunError::Damaged`].
    pub(crate) fn next(&mut self) -> Result<(), RunError> {
        let Some(&first) = self.order.first() else { return Ok(()) };
        let same = if self.first_is_alone { 1 } else { self.count_of_first() };
        self.first_is_alone = false;
        if same == 1 {
            // Mostly it is the first again, and none of the others has to be looked at.
            self.sources[first].next()?;
            self.first_is_alone = self.is_first(first);
            if !self.first_is_alone {
                self.order.remove(0);
                self.moved.push(first);
            }
            return Ok(());
        }
        for at in self.order.drain(..same) {
            self.sources[at].next()?;
            self.moved.push(at);
        }
        Ok(())
    }

    /// How many sources are on the least stem, if there is one.
    fn count_of_first(&self) -> usize {
        let is_same = |&&at: &&usize| match (self.peek(), self.sources[at].peek()) {
            (Some(here), Some(there)) => here.stem == there.stem,
            _ => false,
        };
        1 + self.order[1..].iter().take_while(is_same).count()
    }

    /// Whether the source that is first in the order is ready, and on a stem that is less than those of all others.
    fn is_first(&self, at: usize) -> bool {
        let source = &self.sources[at];
        let second = self.order.get(1).and_then(|&second| self.sources[second].peek());
        source.needed().is_none()
            && source.peek().is_some_and(|here| second.is_none_or(|second| here.stem < second.stem))
    }

    /// Puts a source that is ready to where it belongs in the order.
    fn settle(&mut self, at: usize) {
        let Some(here) = self.sources[at].peek() else { return };
        let is_before = |&other: &usize| {
            self.sources[other].peek().is_none_or(|there| {
                let by_sequence = match self.by_sequence {
                    true => here.sequence.cmp(&there.sequence),
                    false => Ordering::Equal,
                };
                let by_age = by_sequence.then(other.cmp(&at));
                there.stem.cmp(here.stem).then(by_age) == Ordering::Less
            })
        };
        // Often it is the first; there may be many others.
        let place = match self.order.first() {
            Some(first) if is_before(first) => 1 + self.order[1..].partition_point(is_before),
            _ => 0,
        };
        self.order.insert(place, at);
    }
}
