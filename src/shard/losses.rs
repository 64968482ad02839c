//! What logs have lost: damage of committed records that a start cannot make good.
//!
//! A start that finds such a loss removes nothing and recycles nothing, for what is lost might have named it, or might
//! be repaired from elsewhere. That ends when somebody who has seen what is lost says so ([`Losses::accept_next`]): the
//! next start then takes all that it finds for lost, notes it, and keeps house again. What it noted is no news to later
//! starts; anything else that is lost later is. It all is news again when the index is dropped: runs may have had what
//! the log has lost. Nobody but the index knows of a segment that is missing, so that is remembered when it goes
//! ([`Losses::gone`]).

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most that is noted; a folder with more is not for this.
const LOSSES_MAX: usize = 100_000;

/// The kind of one of [`Accepted::gone`] as stored, besides those of [`Loss`].
const GONE: u8 = 9;

/// Something that a log has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    /// Committed frames that begin at an offset of a segment.
    Frames { segment: u64, offset: u32 },
    /// A segment, of which nothing can be read.
    Segment(u64),
    /// A segment that is not there, though something lies in it.
    Missing(u64),
    /// The list of an artifact's parts.
    Parts { segment: u64, offset: u32 },
    /// Records of a segment that say nothing.
    Records(u64),
}

impl Loss {
    /// Its kind as stored, the segment, and the offset in it.
    pub(crate) fn encode(self) -> (u8, u64, u32) {
        match self {
            Self::Frames { segment, offset } => (4, segment, offset),
            Self::Segment(segment) => (5, segment, 0),
            Self::Missing(segment) => (6, segment, 0),
            Self::Parts { segment, offset } => (7, segment, offset),
            Self::Records(segment) => (8, segment, 0),
        }
    }

    /// The reverse of [`Loss::encode`]; `None` for another kind.
    pub(crate) fn decode(kind: u8, segment: u64, offset: u32) -> Option<Self> {
        Some(match kind {
            4 => Self::Frames { segment, offset },
            5 => Self::Segment(segment),
            6 => Self::Missing(segment),
            7 => Self::Parts { segment, offset },
            8 => Self::Records(segment),
            _ => return None,
        })
    }
}

/// What was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The next start accepts all that it finds.
    pub(crate) next: bool,
    pub(crate) losses: BTreeSet<Loss>,
    /// Segments that are missing, which was accepted as long as an index told of them: that was dropped since.
    pub(crate) gone: BTreeSet<u64>,
}

impl Accepted {
    /// As [`Loss::encode`], all but what the next start does.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u8, u64, u32)> {
        let gone = self.gone.iter().map(|&segment| (GONE, segment, 0));
        self.losses.iter().map(|loss| loss.encode()).chain(gone)
    }

    /// Takes one of these; false if it is none.
    pub(crate) fn take_entry(&mut self, kind: u8, segment: u64, offset: u32) -> bool {
        match Loss::decode(kind, segment, offset) {
            Some(loss) => _ = self.losses.insert(loss),
            None if kind == GONE => _ = self.gone.insert(segment),
            None => return false,
        }
        true
    }
}

/// What is accepted as lost in a data folder, shared by all cores.
#[derive(Debug, Default)]
pub(crate) struct Losses(Mutex<Accepted>);

impl Losses {
    /// Has the next start accept all that it finds lost.
    pub(crate) fn accept_next(&self) {
        self.lock().next = true;
    }

    /// Whether the start that is under way accepts all that it finds lost.
    pub(crate) fn is_accepting(&self) -> bool {
        self.lock().next
    }

    /// Whether this was accepted, or is now.
    pub(crate) fn accepts(&self, loss: Loss) -> bool {
        let mut accepted = self.lock();
        if accepted.next && accepted.losses.len() < LOSSES_MAX {
            accepted.losses.insert(loss);
            if let Loss::Missing(segment) = loss {
                accepted.gone.remove(&segment);
            }
        }
        accepted.losses.contains(&loss)
    }

    /// Whether this was accepted.
    pub(crate) fn were_accepted(&self, loss: Loss) -> bool {
        self.lock().losses.contains(&loss)
    }

    /// What is lost from now on is news again. Returns what is accepted.
    pub(crate) fn accept_no_more(&self) -> usize {
        let mut accepted = self.lock();
        accepted.next = false;
        accepted.losses.len()
    }

    /// All that was accepted is news again; whether anything was.
    pub(crate) fn forget(&self) -> bool {
        let mut accepted = self.lock();
        let losses = std::mem::take(&mut accepted.losses);
        for loss in &losses {
            if let Loss::Missing(segment) = *loss {
                accepted.gone.insert(segment);
            }
        }
        !losses.is_empty()
    }

    /// Segments of which something is lost though nothing tells of it any more, since the index was dropped.
    pub(crate) fn gone(&self) -> BTreeSet<u64> {
        self.lock().gone.clone()
    }

    /// To be stored.
    pub(crate) fn get(&self) -> Accepted {
        self.lock().clone()
    }

    /// As it was stored.
    pub(crate) fn set(&self, accepted: Accepted) {
        *self.lock() = accepted;
    }

    fn lock(&self) -> MutexGuard<'_, Accepted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_is_no_news_and_all_else_is() {
        let losses = Losses::default();
        let here = Loss::Frames { segment: 1, offset: 4096 };
        let there = Loss::Frames { segment: 1, offset: 8192 };
        assert!(!losses.accepts(here), "nobody has said so");
        losses.accept_next();
        assert!(losses.is_accepting() && losses.accepts(here));
        assert_eq!(losses.accept_no_more(), 1);
        assert!(losses.accepts(here) && !losses.accepts(there));
        assert!(losses.were_accepted(here) && !losses.were_accepted(there));
        assert!(losses.forget() && !losses.forget());
        assert!(!losses.accepts(here));
    }

    #[test]
    fn a_segment_that_is_missing_is_remembered_until_that_is_accepted_again() {
        let losses = Losses::default();
        losses.accept_next();
        assert!(losses.accepts(Loss::Missing(7)) && losses.accepts(Loss::Segment(8)));
        losses.accept_no_more();
        assert!(losses.gone().is_empty(), "the index tells of it");
        assert!(losses.forget());
        assert_eq!(losses.gone(), BTreeSet::from([7]));
        assert!(!losses.accepts(Loss::Missing(7)));
        losses.accept_next();
        assert!(losses.accepts(Loss::Missing(7)) && losses.gone().is_empty());
    }
}
