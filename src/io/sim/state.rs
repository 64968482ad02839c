//! What is on the disk, and what would be left of it: files, names, and the changes to both that are not durable yet.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::rc::Rc;

use super::content::{Block, Content};

/// All of a disk. A clone shares what neither changes.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) files: Vec<Rc<FileState>>,
    pub(super) names: Rc<Names>,
    pub(super) durable_names: Rc<Names>,
    /// Changes of names that are not durable, in order.
    pub(super) changes: Vec<NameChange>,
    /// Counts writes and changes of length.
    last_change: u64,
}

pub(super) type Names = BTreeMap<Box<str>, Name>;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    File(usize),
    Directory,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Add(Box<str>, Name),
    Remove(Box<str>),
    Rename(Box<str>, Box<str>, usize),
}

#[derive(Clone, Default)]
pub(super) struct FileState {
    /// What is read past the cache.
    pub(super) now: Content,
    pub(super) durable: Content,
    /// Changes that are not durable, in order.
    pub(super) pending: Vec<Pending>,
    /// What only the cache has: it was written, and the disk failed to take it.
    pub(super) hidden: BTreeMap<u64, Block>,
    /// Where the last write began.
    pub(super) last_write: u64,
}

#[derive(Clone)]
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) change: Change,
    /// The operation has ended.
    pub(super) finished: bool,
}

#[derive(Clone)]
pub(super) enum Change {
    /// Blocks from the first on, and the length that the file has at least afterwards.
    Blocks {
        first: u64,
        blocks: Vec<Block>,
        end: u64,
    },
    Length(u64),
}

impl Change {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Self::Blocks { first, blocks, end } => {
                for (number, block) in (*first..).zip(blocks) {
                    content.set_block(number, block.clone());
                }
                content.length = content.length.max(*end);
            }
            Self::Length(length) => content.set_length(*length),
        }
    }
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

pub(super) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

pub(super) fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.to_owned())
}

impl NameChange {
    /// The directory that must be synced for it.
    fn directory(&self) -> &str {
        match self {
            Self::Add(name, _) | Self::Remove(name) | Self::Rename(name, ..) => parent(name),
        }
    }

    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Add(name, target) => {
                names.insert(name.clone(), *target);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), Name::File(*file));
            }
        }
    }
}

impl State {
    pub(super) fn find(&self, path: &str) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Name::File(index)) => Ok(*index),
            _ => Err(missing(path)),
        }
    }

    /// The files of a directory.
    pub(super) fn files_in(&self, directory: &str) -> Vec<(String, usize)> {
        let start = format!("{directory}/");
        let bounds = (Bound::Included(&start[..]), Bound::Unbounded);
        let names = self.names.range::<str, _>(bounds);
        let inside = names.map_while(|(name, target)| Some((name.strip_prefix(&start)?, target)));
        let files = inside.filter_map(|(name, target)| match target {
            Name::File(index) if !name.contains('/') => Some((name.to_owned(), *index)),
            _ => None,
        });
        files.collect()
    }

    pub(super) fn file(&self, index: usize) -> &FileState {
        &self.files[index]
    }

    pub(super) fn file_mut(&mut self, index: usize) -> &mut FileState {
        Rc::make_mut(&mut self.files[index])
    }

    pub(super) fn change_name(&mut self, change: NameChange) {
        change.apply(Rc::make_mut(&mut self.names));
        self.changes.push(change);
    }

    pub(super) fn new_file(&mut self, path: &str) -> usize {
        self.files.push(Rc::default());
        let index = self.files.len() - 1;
        self.change_name(NameChange::Add(path.into(), Name::File(index)));
        index
    }

    pub(super) fn sync_names(&mut self, directory: &str) {
        let durable = Rc::make_mut(&mut self.durable_names);
        self.changes.retain(|change| {
            let here = change.directory() == directory;
            if here {
                change.apply(durable);
            }
            !here
        });
    }

    /// Shows a change at once and remembers it until it is durable; returns its number.
    pub(super) fn change(&mut self, index: usize, change: Change) -> u64 {
        self.last_change += 1;
        let number = self.last_change;
        let file = self.file_mut(index);
        change.apply(&mut file.now);
        if let Change::Blocks { first, blocks, .. } = &change {
            file.last_write = first * super::content::BLOCK;
            for block in *first..*first + blocks.len() as u64 {
                file.hidden.remove(&block);
            }
        }
        file.pending.push(Pending { number, change, finished: false });
        number
    }

    /// A change's operation ends; it is durable at once if the file was opened so.
    pub(super) fn finish(&mut self, index: usize, number: u64, durable: bool) {
        let file = self.file_mut(index);
        let Some(at) = file.pending.iter().position(|pending| pending.number == number) else {
            return;
        };
        if durable {
            file.pending.remove(at).change.apply(&mut file.durable);
        } else {
            file.pending[at].finished = true;
        }
    }

    /// The changes that a sync which begins now makes durable.
    pub(super) fn finished(&self, index: usize) -> Vec<u64> {
        let pending = self.file(index).pending.iter();
        pending.filter(|one| one.finished).map(|one| one.number).collect()
    }

    pub(super) fn sync(&mut self, index: usize, changes: &[u64]) {
        let file = self.file_mut(index);
        let FileState { pending, durable, .. } = file;
        pending.retain(|one| {
            let covered = changes.contains(&one.number);
            if covered {
                one.change.apply(durable);
            }
            !covered
        });
    }

    /// Takes changes back as far as the disk is concerned: the cache believes that they were written.
    pub(super) fn give_up(&mut self, index: usize, number: u64) {
        let file = self.file_mut(index);
        let Some(at) = file.pending.iter().position(|pending| pending.number == number) else {
            return;
        };
        if let Change::Blocks { first, blocks, .. } = file.pending.remove(at).change {
            for (number, block) in (first..).zip(blocks) {
                file.hidden.insert(number, block);
                let before = file.durable.block(number);
                file.now.set_block(number, before);
            }
        }
    }
}
