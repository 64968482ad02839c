//! Moments of a disk's life, and which of them are kept.

use super::faults::{Misdeed, strikes};
use super::state::{NameChange, State};
use super::{SimDisk, World, crash};
use crate::runtime::simulated::Random;

/// A moment of a disk's life.
#[derive(Clone)]
pub struct Snapshot {
    /// What [`SimDisk::mark`] had been told.
    pub mark: usize,
    /// What the disk had done wrong without saying so.
    pub misdeeds: Vec<Misdeed>,
    state: State,
}

impl Snapshot {
    /// A disk as it would be after a power cut at this moment.
    #[must_use]
    pub fn after_power_cut(&self, random: &mut Random) -> SimDisk {
        SimDisk::seeded_state(crash::after_power_cut(&self.state, random), random.number())
    }

    /// Whether there is anything that a power cut could take.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.state.changes.is_empty()
            && self.state.files.iter().all(|file| file.pending.is_empty() && file.hidden.is_empty())
    }

    /// Whether a removal or renaming of a file is not durable yet.
    #[must_use]
    pub fn is_reclaiming(&self) -> bool {
        self.state.changes.iter().any(|change| !matches!(change, NameChange::Add(..)))
    }
}

/// Which moments are kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Keep {
    #[default]
    None,
    /// Once in so many steps.
    OneIn(u64),
    /// One of each interval: the steps of the present one, and whether one of it is kept.
    OfEach { steps: u64, kept: bool },
}

/// The snapshots of a disk with a seed.
#[derive(Default)]
pub(super) struct Snapshots {
    pub(super) mark: usize,
    keep: Keep,
    taken: Vec<Snapshot>,
    steps: u64,
}

impl Snapshots {
    /// Something is about to change.
    pub(super) fn step(&mut self, random: &mut Random, misdeeds: &[Misdeed], state: &State) {
        self.steps += 1;
        let mark = self.mark;
        let now = || Snapshot { mark, misdeeds: misdeeds.to_vec(), state: state.clone() };
        match &mut self.keep {
            Keep::None => {}
            Keep::OneIn(times) => {
                if strikes(random, *times) {
                    self.taken.push(now());
                }
            }
            Keep::OfEach { steps, kept } => {
                *steps += 1;
                // Each step of the interval is as likely to be kept in the end.
                if random.one_in(*steps) {
                    if std::mem::replace(kept, true) {
                        self.taken.pop();
                    }
                    self.taken.push(now());
                }
            }
        }
    }
}

impl SimDisk {
    fn snapshots<T>(&self, then: impl FnOnce(&mut Snapshots) -> T) -> Option<T> {
        self.0.borrow_mut().chance.as_mut().map(|chance| then(&mut chance.snapshots))
    }

    /// How often something was about to change.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.snapshots(|snapshots| snapshots.steps).unwrap_or_default()
    }

    /// Takes a snapshot once in so many steps from now on; none if it is 0.
    pub fn snapshot_one_in(&self, steps: u64) {
        let keep = if steps == 0 { Keep::None } else { Keep::OneIn(steps) };
        self.snapshots(|snapshots| snapshots.keep = keep);
    }

    /// Takes one snapshot, at any step, between now and the next call, and so on after each call.
    pub fn snapshot_of_each(&self) {
        let keep = Keep::OfEach { steps: 0, kept: false };
        self.snapshots(|snapshots| snapshots.keep = keep);
    }

    /// What snapshots from now on are marked with.
    pub fn mark(&self, mark: usize) {
        self.snapshots(|snapshots| snapshots.mark = mark);
    }

    /// Gives out the snapshots that were taken, in order.
    #[must_use]
    pub fn take_snapshots(&self) -> Vec<Snapshot> {
        self.snapshots(|snapshots| std::mem::take(&mut snapshots.taken)).unwrap_or_default()
    }

    /// This moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mark = self.snapshots(|snapshots| snapshots.mark).unwrap_or_default();
        Snapshot { mark, misdeeds: self.misdeeds(), state: self.0.borrow().state.clone() }
    }
}

impl World {
    /// Something is about to change.
    pub(super) fn step(&mut self) {
        let Some(chance) = &mut self.chance else { return };
        chance.snapshots.step(&mut chance.random, &chance.misdeeds, &self.state);
        if !chance.late.is_empty() && chance.random.one_in(4) {
            for (file, change) in std::mem::take(&mut chance.late) {
                self.state.change(file, change);
            }
        }
    }
}
