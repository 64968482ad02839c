//! Sums up what many worlds have shown.

use super::tally::Tally;

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.numbers().into_iter().zip(other.clone().numbers()) {
            *sum += *more;
        }
        self.texts.extend(other.texts.iter().cloned());
    }

    fn numbers(&mut self) -> [&mut u64; 21] {
        [
            &mut self.points,
            &mut self.lost,
            &mut self.phantom,
            &mut self.wrong,
            &mut self.cuts,
            &mut self.in_recovery,
            &mut self.in_reclaim,
            &mut self.flawed,
            &mut self.lives,
            &mut self.checked,
            &mut self.operations,
            &mut self.errors,
            &mut self.full,
            &mut self.refused,
            &mut self.damaged,
            &mut self.accepted,
            &mut self.unreadable,
            &mut self.flushes,
            &mut self.merges,
            &mut self.checkpoints,
            &mut self.spills,
        ]
    }

    /// Two lines; the last tells how it went.
    pub(crate) fn lines(&self) -> String {
        let Self { points, lost, phantom, wrong, cuts, in_recovery, in_reclaim, flawed, .. } = self;
        let Self { lives, checked, operations, errors, full, refused, .. } = self;
        let Self { damaged, accepted, unreadable, .. } = self;
        let Self { flushes, merges, checkpoints, spills, .. } = self;
        format!(
            "lives={lives} checked={checked} operations={operations} cuts={cuts} in_recovery={in_recovery} \
             in_reclaim={in_reclaim} flawed={flawed} errors={errors} full={full} refused={refused} damaged={damaged} accepted={accepted} \
             unreadable={unreadable} flushes={flushes} merges={merges} checkpoints={checkpoints} spills={spills}\n\
             points={points} lost={lost} phantom={phantom} wrong={wrong}"
        )
    }
}
