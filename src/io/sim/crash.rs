//! What a power cut leaves: of the changes that were not durable any may have reached the medium, in any order, and
//! a write any of its sectors.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::SECTOR;
use super::content::{Block, Content};
use super::state::{Change, FileState, Name, NameChange, Names, Pending, State, parent};
use crate::runtime::simulated::Random;

/// What becomes of the changes that were not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Kept,
    /// Kept up to some moment.
    Until(u64),
    /// Kept from some moment on.
    From(u64),
    /// Each by chance.
    Any,
    /// Each by chance, and of those some sectors.
    Torn,
}

impl Fate {
    fn choose(random: &mut Random, oldest: u64, newest: u64) -> Self {
        let span = usize::try_from(newest - oldest + 2).unwrap_or(usize::MAX);
        match random.below(6) {
            0 => Self::Lost,
            1 => Self::Kept,
            2 => Self::Until(oldest + random.below(span) as u64),
            3 => Self::From(oldest + random.below(span) as u64),
            4 => Self::Any,
            _ => Self::Torn,
        }
    }

    fn keeps(self, number: u64, random: &mut Random) -> bool {
        match self {
            Self::Lost => false,
            Self::Kept => true,
            Self::Until(end) => number < end,
            Self::From(start) => number >= start,
            Self::Any | Self::Torn => random.one_in(2),
        }
    }
}

/// The disk after a power cut.
pub(super) fn after_power_cut(state: &State, random: &mut Random) -> State {
    let names = names_left(state, random);
    let pending = || state.files.iter().flat_map(|file| &file.pending).map(|one| one.number);
    let oldest = pending().min().unwrap_or_default();
    let newest = pending().max().unwrap_or_default();
    let fate = Fate::choose(random, oldest, newest);
    let mut left = State::default();
    let mut moved = HashMap::new();
    let mut renumbered = Names::new();
    for (name, target) in &names {
        let target = match target {
            Name::Directory => Name::Directory,
            Name::File(index) => Name::File(*moved.entry(*index).or_insert_with(|| {
                left.files.push(file_left(&state.files[*index], fate, random));
                left.files.len() - 1
            })),
        };
        renumbered.insert(name.clone(), target);
    }
    left.names = Rc::new(renumbered);
    left.durable_names = Rc::clone(&left.names);
    left
}

fn names_left(state: &State, random: &mut Random) -> Names {
    let mut names = Names::clone(&state.durable_names);
    let count = state.changes.len() as u64;
    // A journal keeps the order; a file system without one need not.
    let fate = match random.below(4) {
        0 => Fate::Lost,
        1 => Fate::Kept,
        2 => Fate::Until(random.number() % (count + 1)),
        _ => Fate::Any,
    };
    for (number, change) in (0..).zip(&state.changes) {
        if fate.keeps(number, random) {
            NameChange::apply(change, &mut names);
        }
    }
    // What lies in a directory that is lost is lost with it. Names come before what lies below them.
    let mut left = Names::new();
    for (name, target) in names {
        let above = parent(&name);
        if above.is_empty() || left.get(above) == Some(&Name::Directory) || is_lax(state) {
            left.insert(name, target);
        }
    }
    left
}

/// Whether directories are not kept track of.
fn is_lax(state: &State) -> bool {
    !state.names.values().any(|name| *name == Name::Directory)
}

fn file_left(file: &Rc<FileState>, fate: Fate, random: &mut Random) -> Rc<FileState> {
    if file.pending.is_empty() && file.hidden.is_empty() && file.last_write == 0 {
        return Rc::clone(file);
    }
    let mut content = file.durable.clone();
    for pending in &file.pending {
        if fate.keeps(pending.number, random) {
            keep(pending, fate == Fate::Torn, &mut content, random);
        }
    }
    let now = content.clone();
    Rc::new(FileState {
        now,
        durable: content,
        pending: Vec::new(),
        hidden: BTreeMap::new(),
        last_write: file.last_write,
    })
}

fn keep(pending: &Pending, torn: bool, content: &mut Content, random: &mut Random) {
    match &pending.change {
        Change::Blocks { first, blocks, end } if torn && random.one_in(2) => {
            for (number, block) in (*first..).zip(blocks) {
                let mixed = mix(&content.block(number), block, random);
                content.set_block(number, mixed);
            }
            content.length = content.length.max(*end);
        }
        change => change.apply(content),
    }
}

/// Some sectors of the new block, the others of the old one.
pub(super) fn mix(old: &Block, new: &Block, random: &mut Random) -> Block {
    let zeros = [0; super::content::BLOCK_BYTES];
    let old = old.as_deref().unwrap_or(&zeros);
    let new = new.as_deref().unwrap_or(&zeros);
    let mut mixed = *old;
    let which = match random.below(3) {
        // From the front, as a disk would usually write them.
        0 => (1 << random.below(9)) - 1,
        _ => random.number(),
    };
    for (at, sector) in mixed.chunks_mut(SECTOR).enumerate() {
        if which & 1 << at != 0 {
            sector.copy_from_slice(&new[at * SECTOR..(at + 1) * SECTOR]);
        }
    }
    Some(Rc::new(mixed))
}
