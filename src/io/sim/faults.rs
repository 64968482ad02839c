//! What a disk with a seed does besides what it was asked, and how operations take effect on any disk.

use std::io;

use super::content::BLOCK;
use super::crash::mix;
use super::state::{Change, State};
use super::{SimDisk, SimEvent, SimFile, Snapshot, World, text};
use crate::runtime::simulated::Random;

/// How often things go wrong: once in so many times, never if it is 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A write fails, and some of its sectors may have been written.
    pub write_error: u64,
    /// A sync fails, and any of the writes before it may not be durable, though the cache shows them.
    pub sync_error: u64,
    /// A write is reported as done, and is not.
    pub lost: u64,
    /// A write is done elsewhere.
    pub misdirected: u64,
    /// A read fails.
    pub read_error: u64,
}

/// What a disk did wrong without saying so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misdeed {
    /// The file of which something is not as it was written.
    pub path: String,
    /// Where.
    pub offset: u64,
}

/// What belongs to a disk with a seed.
pub(super) struct Chance {
    pub(super) random: Random,
    faults: Faults,
    misdeeds: Vec<Misdeed>,
    /// Errors that were reported.
    errors: u64,
    /// Writes that nobody waits for any more, and that the disk may do yet.
    late: Vec<(usize, Change)>,
    mark: usize,
    snapshots: Vec<Snapshot>,
    /// A snapshot is taken once in so many steps; never if it is 0.
    snapshots_one_in: u64,
    steps: u64,
}

fn strikes(random: &mut Random, one_in: u64) -> bool {
    one_in > 0 && random.one_in(one_in)
}

impl SimDisk {
    pub(super) fn seeded_state(state: State, seed: u64) -> Self {
        let disk = Self::default();
        let chance = Chance {
            random: Random::new(seed),
            faults: Faults::default(),
            misdeeds: Vec::new(),
            errors: 0,
            late: Vec::new(),
            mark: 0,
            snapshots: Vec::new(),
            snapshots_one_in: 0,
            steps: 0,
        };
        {
            let mut world = disk.0.borrow_mut();
            world.state = state;
            world.chance = Some(Box::new(chance));
        }
        disk
    }

    /// An empty disk of this seed.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self::seeded_state(State::default(), seed)
    }

    /// From now on goes wrong this often. For a disk with a seed.
    pub fn set_faults(&self, faults: Faults) {
        if let Some(chance) = &mut self.0.borrow_mut().chance {
            chance.faults = faults;
        }
    }

    /// What it did wrong without saying so.
    #[must_use]
    pub fn misdeeds(&self) -> Vec<Misdeed> {
        self.0.borrow().chance.as_ref().map(|chance| chance.misdeeds.clone()).unwrap_or_default()
    }

    /// How many errors it has reported.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.0.borrow().chance.as_ref().map_or(0, |chance| chance.errors)
    }

    /// How often something was about to change.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.0.borrow().chance.as_ref().map_or(0, |chance| chance.steps)
    }

    /// Takes a snapshot once in so many steps from now on; none if it is 0.
    pub fn snapshot_one_in(&self, steps: u64) {
        if let Some(chance) = &mut self.0.borrow_mut().chance {
            chance.snapshots_one_in = steps;
        }
    }

    /// What snapshots from now on are marked with.
    pub fn mark(&self, mark: usize) {
        if let Some(chance) = &mut self.0.borrow_mut().chance {
            chance.mark = mark;
        }
    }

    /// Gives out the snapshots that were taken.
    #[must_use]
    pub fn take_snapshots(&self) -> Vec<Snapshot> {
        let mut world = self.0.borrow_mut();
        world
            .chance
            .as_mut()
            .map(|chance| std::mem::take(&mut chance.snapshots))
            .unwrap_or_default()
    }

    /// This moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let world = self.0.borrow();
        let mark = world.chance.as_ref().map_or(0, |chance| chance.mark);
        Snapshot { mark, state: world.state.clone() }
    }
}

impl World {
    /// Something is about to change.
    pub(super) fn step(&mut self) {
        let Some(chance) = &mut self.chance else { return };
        chance.steps += 1;
        if strikes(&mut chance.random, chance.snapshots_one_in) {
            chance.snapshots.push(Snapshot { mark: chance.mark, state: self.state.clone() });
        }
        if !chance.late.is_empty() && chance.random.one_in(4) {
            for (file, change) in std::mem::take(&mut chance.late) {
                self.state.change(file, change);
            }
        }
    }

    pub(super) fn read(
        &mut self,
        index: usize,
        bytes: &mut [u8],
        offset: u64,
        direct: bool,
    ) -> io::Result<usize> {
        if let Some(chance) = &mut self.chance
            && strikes(&mut chance.random, chance.faults.read_error)
        {
            chance.errors += 1;
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let file = self.state.file(index);
        if direct || file.hidden.is_empty() {
            return Ok(file.now.read(bytes, offset));
        }
        let mut cached = file.now.clone();
        for (number, block) in &file.hidden {
            cached.set_block(*number, block.clone());
        }
        Ok(cached.read(bytes, offset))
    }

    /// Begins a write; what it changes is shown at once. Returns its number.
    pub(super) fn write(&mut self, to: &SimFile, bytes: &[u8], offset: u64) -> io::Result<u64> {
        self.step();
        self.count()?;
        let end = offset.saturating_add(bytes.len() as u64);
        self.grow(to.index, end)?;
        if self.chance.is_none() {
            self.events.push(SimEvent::Write {
                path: to.path.to_path_buf(),
                offset,
                length: bytes.len(),
                durable: to.durable,
            });
        }
        let (first, blocks) = self.state.file(to.index).now.blocks_of(bytes, offset);
        if let Some(chance) = &mut self.chance {
            let lost = strikes(&mut chance.random, chance.faults.lost);
            let misdirected = strikes(&mut chance.random, chance.faults.misdirected);
            if lost || misdirected {
                let path = text(&to.path).to_owned();
                chance.misdeeds.push(Misdeed { path, offset });
                let mut here = first;
                if misdirected {
                    here =
                        chance.random.number() % (self.state.file(to.index).now.length / BLOCK + 1);
                    let path = text(&to.path).to_owned();
                    chance.misdeeds.push(Misdeed { path, offset: here * BLOCK });
                }
                let blocks = if misdirected { blocks } else { Vec::new() };
                return Ok(self
                    .state
                    .change(to.index, Change::Blocks { first: here, blocks, end }));
            }
        }
        Ok(self.state.change(to.index, Change::Blocks { first, blocks, end }))
    }

    pub(super) fn finish(&mut self, to: &SimFile, number: u64) -> io::Result<()> {
        self.step();
        let fails = self
            .chance
            .as_mut()
            .is_some_and(|chance| strikes(&mut chance.random, chance.faults.write_error));
        if fails {
            self.spoil(to.index, number);
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.state.finish(to.index, number, to.durable);
        Ok(())
    }

    /// A change fails: any of its sectors may be on the medium.
    fn spoil(&mut self, index: usize, number: u64) {
        let Some(chance) = &mut self.chance else { return };
        chance.errors += 1;
        let file = self.state.file_mut(index);
        let pending = file.pending.iter().find(|pending| pending.number == number);
        if let Some(Change::Blocks { first, blocks, end }) = pending.map(|one| &one.change) {
            let (first, blocks) = (*first, blocks.clone());
            file.durable.length = file.durable.length.max(*end);
            let keep = chance.random.below(3);
            for (number, block) in (first..).zip(&blocks) {
                let left = match keep {
                    0 => continue,
                    1 => block.clone(),
                    _ => mix(&file.durable.block(number), block, &mut chance.random),
                };
                file.durable.set_block(number, left);
            }
        }
        self.state.give_up(index, number);
    }

    /// The changes that a sync makes durable.
    pub(super) fn begin_sync(&mut self, index: usize) -> Vec<u64> {
        self.step();
        self.state.finished(index)
    }

    pub(super) fn end_sync(&mut self, index: usize, changes: &[u64]) -> io::Result<()> {
        self.step();
        self.count()?;
        let fails = self
            .chance
            .as_mut()
            .is_some_and(|chance| strikes(&mut chance.random, chance.faults.sync_error));
        if !fails {
            self.state.sync(index, changes);
            return Ok(());
        }
        // The kernel takes what it could not write for clean: the next sync has nothing to say about it.
        for number in changes {
            self.spoil(index, *number);
        }
        if let Some(chance) = &mut self.chance {
            chance.errors += 1;
        }
        Err(io::Error::from_raw_os_error(libc::EIO))
    }
}

/// A write under way. If nobody waits for it any more, the disk may still do it, later.
pub(super) struct Flight<'f> {
    pub(super) file: &'f SimFile,
    pub(super) number: u64,
    pub(super) ended: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut world = self.file.disk.0.borrow_mut();
        let world = &mut *world;
        let Some(chance) = &mut world.chance else { return };
        let pending = &world.state.file(self.file.index).pending;
        if let Some(pending) = pending.iter().find(|pending| pending.number == self.number) {
            chance.late.push((self.file.index, pending.change.clone()));
        }
    }
}
