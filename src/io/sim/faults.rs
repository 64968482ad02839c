//! What a disk with a seed does besides what it was asked, and how operations take effect on any disk.

use std::io;

use super::content::{BLOCK, Block};
use super::crash::mix;
use super::snapshot::Snapshots;
use super::state::{Change, Name, State};
use super::{SimDisk, SimEvent, SimFile, World, text};
use crate::io::buffer::ALIGNMENT;
use crate::runtime::simulated::Random;

/// How often things go wrong: once in so many times, never if it is 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A write fails, and some of its sectors may have been written.
    pub write_error: u64,
    /// A sync fails, and any of the writes before it may not be durable, though the cache shows them. That of a
    /// directory fails as often.
    pub sync_error: u64,
    /// A read fails.
    pub read_error: u64,
    /// A read or write does only a part of what it was asked for, or nothing because of a signal.
    pub short: u64,
    /// A write is reported as done, and is not. This and the next happen once in the life of a disk.
    pub lost: u64,
    /// A write is done elsewhere, in its own file or in another.
    pub misdirected: u64,
}

/// What a disk did wrong without saying so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misdeed {
    /// The file of which something is not as it was written.
    pub path: String,
    /// Where.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

/// What belongs to a disk with a seed.
pub(super) struct Chance {
    pub(super) random: Random,
    faults: Faults,
    pub(super) misdeeds: Vec<Misdeed>,
    /// Errors that were reported.
    errors: u64,
    /// Writes that nobody waits for any more, and that the disk may do yet.
    pub(super) late: Vec<(usize, Change)>,
    pub(super) snapshots: Snapshots,
}

impl Chance {
    /// Reports an error once in so many times.
    fn fails(&mut self, one_in: u64) -> io::Result<()> {
        if !strikes(&mut self.random, one_in) {
            return Ok(());
        }
        self.errors += 1;
        Err(io::Error::from_raw_os_error(libc::EIO))
    }
}

pub(super) fn strikes(random: &mut Random, one_in: u64) -> bool {
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
            snapshots: Snapshots::default(),
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
}

impl World {
    /// How many of so many bytes an attempt transfers.
    pub(super) fn attempt(&mut self, length: usize, direct: bool) -> io::Result<usize> {
        let Some(chance) = &mut self.chance else { return Ok(length) };
        if !strikes(&mut chance.random, chance.faults.short) {
            return Ok(length);
        }
        if chance.random.one_in(2) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let unit = if direct { ALIGNMENT } else { 1 };
        let units = length.div_ceil(unit).max(2) - 1;
        Ok(length.min((1 + chance.random.below(units)) * unit))
    }

    /// Makes the names in a directory durable, or fails.
    pub(super) fn sync_names(&mut self, directory: &str) -> io::Result<()> {
        if let Some(chance) = &mut self.chance {
            chance.fails(chance.faults.sync_error)?;
        }
        self.state.sync_names(directory);
        Ok(())
    }

    pub(super) fn read(
        &mut self,
        index: usize,
        bytes: &mut [u8],
        offset: u64,
        direct: bool,
    ) -> io::Result<usize> {
        let count = self.attempt(bytes.len(), direct)?;
        let bytes = &mut bytes[..count];
        if let Some(chance) = &mut self.chance {
            chance.fails(chance.faults.read_error)?;
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
        let blocks = self.mislay(to, first, blocks);
        Ok(self.state.change(to.index, Change::Blocks { first, blocks, end }))
    }

    /// Loses what is to be written, or writes it elsewhere, if it is time for that; gives back what is left to do.
    fn mislay(&mut self, to: &SimFile, first: u64, blocks: Vec<Block>) -> Vec<Block> {
        let Some(chance) = self.chance.as_mut().filter(|chance| chance.misdeeds.is_empty()) else {
            return blocks;
        };
        let lost = strikes(&mut chance.random, chance.faults.lost);
        let misdirected = strikes(&mut chance.random, chance.faults.misdirected);
        if !lost && !misdirected {
            return blocks;
        }
        let misdeed = |path: &str, first: u64, count: usize| Misdeed {
            path: path.to_owned(),
            offset: first * BLOCK,
            length: count as u64 * BLOCK,
        };
        chance.misdeeds.push(misdeed(text(&to.path), first, blocks.len()));
        if misdirected {
            let files = || {
                let names = self.state.names.iter();
                names.filter_map(|(name, target)| match target {
                    Name::File(index) if self.state.file(*index).now.length > 0 => {
                        Some((name, *index))
                    }
                    _ => None,
                })
            };
            let own = chance.random.one_in(2);
            let other = files().nth(chance.random.below(files().count().max(1)));
            let target = other.filter(|_| !own).map(|(name, index)| (name.to_string(), index));
            let (path, index) = target.unwrap_or_else(|| (text(&to.path).to_owned(), to.index));
            let length = self.state.file(index).now.length.div_ceil(BLOCK);
            let there = chance.random.number() % length.max(1);
            let count = usize::try_from(length - there.min(length)).unwrap_or(usize::MAX);
            let count = count.min(blocks.len());
            chance.misdeeds.push(misdeed(&path, there, count));
            let file = self.state.file_mut(index);
            for (number, block) in (there..).zip(&blocks[..count]) {
                file.now.set_block(number, block.clone());
                file.durable.set_block(number, block.clone());
            }
        }
        Vec::new()
    }

    pub(super) fn finish(&mut self, to: &SimFile, number: u64) -> io::Result<()> {
        self.step();
        if let Some(chance) = &mut self.chance
            && let Err(error) = chance.fails(chance.faults.write_error)
        {
            self.spoil(to.index, number);
            return Err(error);
        }
        self.state.finish(to.index, number, to.durable);
        Ok(())
    }

    /// A change fails: any of its sectors may be on the medium.
    fn spoil(&mut self, index: usize, number: u64) {
        let Some(chance) = &mut self.chance else { return };
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
        if let Some(chance) = &mut self.chance
            && let Err(error) = chance.fails(chance.faults.sync_error)
        {
            // The kernel takes what it could not write for clean: the next sync has nothing to say about it.
            for number in changes {
                self.spoil(index, *number);
            }
            return Err(error);
        }
        self.state.sync(index, changes);
        Ok(())
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
