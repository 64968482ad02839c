//! Which log segments need not be replayed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Mark, ShardSet};
use crate::shard::log::LogId;

/// What the marks of a folder say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// Of each log the position before which it is covered.
    positions: BTreeMap<LogId, u32>,
    /// All logs of starts before this one are covered.
    start: u32,
    shards: ShardSet,
}

impl Coverage {
    /// Of all marks of a folder.
    pub(crate) fn new(marks: &[Mark]) -> Self {
        let mut coverage = Self::default();
        let mut starts: BTreeMap<u32, Vec<&Mark>> = BTreeMap::new();
        for mark in marks {
            let position = coverage.positions.entry(mark.log).or_default();
            *position = mark.position.max(*position);
            coverage.shards = coverage.shards.union(mark.shards);
            starts.entry(mark.log.start).or_default().push(mark);
        }
        // Records of a log may be of any core's shards in a later start, so all its cores must have covered them.
        let covering = starts.iter().rev().find(|(_, marks)| all_cover_earlier(marks));
        coverage.start = covering.map_or(0, |(start, _)| *start);
        coverage
    }

    /// Whether the checkpoints have all that the records of a log's segment say.
    pub(crate) fn covers(&self, log: LogId, position: u32) -> bool {
        log.start < self.start || self.positions.get(&log).is_some_and(|before| position < *before)
    }

    /// The shards whose checkpoints the marks rely on. If one is missing or damaged, nothing is covered.
    pub(crate) fn shards(&self) -> ShardSet {
        self.shards
    }
}

fn all_cover_earlier(marks: &[&Mark]) -> bool {
    let Some(cores) = marks.first().map(|mark| mark.cores) else { return false };
    let covering: BTreeSet<u16> = marks
        .iter()
        .filter(|mark| mark.covers_earlier && mark.cores == cores && mark.log.core < cores)
        .map(|mark| mark.log.core)
        .collect();
    cores > 0 && covering.len() == usize::from(cores)
}
