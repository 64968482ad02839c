//! What worlds have shown.

use super::model::Verdict;

/// What a world, or many, have shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Power cuts before each of which something was acknowledged since the one before it.
    pub(crate) points: u64,
    pub(crate) lost: u64,
    pub(crate) phantom: u64,
    pub(crate) wrong: u64,
    /// All power cuts; some of the same moment, with different outcomes.
    pub(crate) cuts: u64,
    /// Cuts in recovery.
    pub(crate) in_recovery: u64,
    /// Cuts while a removal or renaming of a file was not durable.
    pub(crate) in_reclaim: u64,
    /// Cuts after which bytes on the medium were not as they had been written.
    pub(crate) flawed: u64,
    pub(crate) lives: u64,
    /// Folders that were checked offline before their start.
    pub(crate) checked: u64,
    pub(crate) operations: u64,
    /// Errors that the disk reported.
    pub(crate) errors: u64,
    /// Requests that were refused because the disk was full.
    pub(crate) full: u64,
    /// Starts that were refused, and that reported damage.
    pub(crate) refused: u64,
    pub(crate) damaged: u64,
    /// Starts that went on as usual after what was lost had been accepted.
    pub(crate) accepted: u64,
    /// Reads that were refused because of damage.
    pub(crate) unreadable: u64,
    /// Tables that became runs, merges of these, and checkpoints.
    pub(crate) flushes: u64,
    pub(crate) merges: u64,
    pub(crate) checkpoints: u64,
    /// Runs of what a start did not keep in memory.
    pub(crate) spills: u64,
    pub(crate) texts: Vec<String>,
}

impl Tally {
    pub(crate) fn is_good(&self) -> bool {
        self.lost == 0 && self.phantom == 0 && self.wrong == 0
    }

    pub(crate) fn judge(&mut self, verdict: &Verdict, when: &str) {
        self.lost += u64::from(!verdict.lost.is_empty());
        self.phantom += u64::from(!verdict.phantom.is_empty());
        self.wrong += u64::from(!verdict.wrong.is_empty());
        let all =
            [("lost", &verdict.lost), ("phantom", &verdict.phantom), ("wrong", &verdict.wrong)];
        for (what, texts) in all {
            self.texts.extend(texts.iter().map(|text| format!("{what} {when}: {text}")));
        }
    }
}
