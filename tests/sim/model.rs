//! What must, may and must not be in the data folder, from what was asked and answered.

use std::collections::BTreeMap;
use std::rc::Rc;

use vaultaire::model::UploadId;

use super::content::Contents;
use super::register::{ABSENT, Action, Answer, EMPTY, Register, Value, Way};

/// A name that is kept track of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Container(u8),
    Key(u8, u8),
    /// A container and the one artifact that is ever put into it.
    Box(u8),
    /// Of a key.
    Upload(u8, u8, u128),
    Part(u128, u16),
}

/// Something that was asked or answered.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Invoke(u32, Rc<[(Name, Action)]>),
    Answer(u32, Name, Answer),
    /// Nothing was done.
    Nothing(u32),
    /// An upload of a key was asked for; its name is known only when it is answered.
    Begin(u32, u8, u8),
    Begun(u32, UploadId),
}

/// What a folder holds, seen from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observation {
    pub(crate) held: BTreeMap<Name, Value>,
    /// What could not be read, and why.
    pub(crate) unreadable: BTreeMap<Name, String>,
    /// Listings that failed.
    pub(crate) failed: Vec<String>,
    /// Things that were never written.
    pub(crate) strange: Vec<String>,
    /// Bytes that are not those which were written.
    pub(crate) wrong: Vec<String>,
}

/// What an observation shows of what must not be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) lost: Vec<String>,
    pub(crate) phantom: Vec<String>,
    pub(crate) wrong: Vec<String>,
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        self.lost.is_empty() && self.phantom.is_empty() && self.wrong.is_empty()
    }
}

/// An upload's container, key and id, and its parts.
pub(crate) type OpenUpload = (u8, u8, UploadId, Vec<(u16, Value)>);

/// Everything that is known at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    registers: BTreeMap<Name, Rc<Register>>,
    /// Operations under way, with the names that they are about.
    open: BTreeMap<u32, Rc<[(Name, Action)]>>,
    /// Uploads that were asked for.
    beginning: BTreeMap<u32, (u8, u8)>,
}

impl Model {
    fn register(&mut self, name: Name) -> &mut Register {
        let held = self.registers.entry(name).or_insert_with(|| Rc::new(Register::holding(ABSENT)));
        Rc::make_mut(held)
    }

    /// Takes note of an event; false if it cannot have happened.
    pub(crate) fn add(&mut self, event: &Event) -> bool {
        match event {
            Event::Invoke(operation, actions) => {
                for (name, action) in actions.iter() {
                    self.register(*name).invoke(*operation, *action);
                }
                self.open.insert(*operation, Rc::clone(actions));
                true
            }
            Event::Answer(operation, name, answer) => {
                let explained = self.register(*name).answer(*operation, *answer);
                let is_over = self.open.get(operation).is_none_or(|actions| {
                    !actions.iter().any(|(name, _)| {
                        self.registers.get(name).is_some_and(|one| one.is_pending(*operation))
                    })
                });
                if is_over {
                    self.open.remove(operation);
                }
                explained
            }
            Event::Nothing(operation) => {
                self.beginning.remove(operation);
                let actions = self.open.remove(operation).unwrap_or_default();
                actions.iter().all(|(name, _)| self.register(*name).forget(*operation))
            }
            Event::Begin(operation, container, key) => {
                self.beginning.insert(*operation, (*container, *key));
                true
            }
            Event::Begun(operation, id) => {
                if let Some((container, key)) = self.beginning.remove(operation) {
                    let name = Name::Upload(container, key, id.0);
                    self.registers.insert(name, Rc::new(Register::holding(EMPTY)));
                }
                true
            }
        }
    }

    /// Whether an operation under way changes anything that is there: not the deletion of what is not.
    pub(crate) fn changes_something(&self, operation: u32) -> bool {
        let Some(actions) = self.open.get(&operation) else { return false };
        actions.iter().any(|(name, action)| match action {
            Action::Read => false,
            Action::Delete(_) | Action::DeleteInside => {
                self.registers.get(name).is_some_and(|one| one.possible() != [ABSENT])
            }
            _ => true,
        })
    }

    /// Compares with what is there on a disk of which it is known that something is lost.
    pub(crate) fn check_damaged(seen: &Observation, contents: &Contents) -> Verdict {
        let mut verdict = Verdict { phantom: seen.strange.clone(), ..Verdict::default() };
        verdict.wrong.clone_from(&seen.wrong);
        for (name, value) in &seen.held {
            if *value != EMPTY && contents.get(*value).name != *name {
                verdict.phantom.push(format!("{name:?} holds {value}, which is not its own"));
            }
        }
        verdict
    }

    /// Compares with what is there. What is damaged may be unreadable, if `excused`.
    pub(crate) fn check(&self, seen: &Observation, excused: bool) -> Verdict {
        let mut verdict = Verdict { phantom: seen.strange.clone(), ..Verdict::default() };
        verdict.lost.clone_from(&seen.failed);
        verdict.wrong.clone_from(&seen.wrong);
        let is_joint = |actions: &Rc<[(Name, Action)]>| {
            actions.iter().filter(|(_, action)| *action != Action::Read).count() > 1
        };
        let joint: Vec<u32> =
            self.open.iter().filter(|(_, one)| is_joint(one)).map(|(id, _)| *id).collect();
        let mut ways = Vec::new();
        for (name, register) in &self.registers {
            if let Some(error) = seen.unreadable.get(name).filter(|_| !excused) {
                verdict.lost.push(format!("{name:?} cannot be read: {error}"));
                continue;
            }
            if self.cannot_be_seen(*name, seen) {
                continue;
            }
            let held = seen.held.get(name).copied().unwrap_or(ABSENT);
            let found = register.ways(held, &joint);
            if found.is_empty() {
                let possible = register.possible();
                let text = format!("{name:?} holds {held} and not one of {possible:?}");
                if possible == [ABSENT] || possible == [EMPTY] {
                    verdict.phantom.push(text);
                } else {
                    verdict.lost.push(text);
                }
            } else if !joint.is_empty() {
                ways.push(found);
            }
        }
        if !joint.is_empty() && !consistent(&joint, &ways) {
            verdict.wrong.push(format!("of {joint:?} one took effect in part"));
        }
        self.check_strangers(seen, &mut verdict);
        verdict
    }

    /// Parts of an upload that is over, and what lies in a container that is not there, show nothing.
    fn cannot_be_seen(&self, name: Name, seen: &Observation) -> bool {
        match name {
            Name::Part(upload, _) => !seen
                .held
                .keys()
                .any(|held| matches!(held, Name::Upload(_, _, id) if *id == upload)),
            _ => false,
        }
    }

    /// What is there under names that nobody knows.
    fn check_strangers(&self, seen: &Observation, verdict: &mut Verdict) {
        let mut beginning: Vec<_> = self.beginning.values().copied().collect();
        for (name, value) in &seen.held {
            if self.registers.contains_key(name) {
                continue;
            }
            if let Name::Upload(container, key, _) = name
                && let Some(at) = beginning.iter().position(|one| *one == (*container, *key))
            {
                beginning.swap_remove(at);
                continue;
            }
            verdict.phantom.push(format!("{name:?} holds {value}, and was never written"));
        }
    }

    /// From now on what was seen is so.
    pub(crate) fn settle(seen: &Observation) -> Self {
        let held = seen.held.iter();
        let registers =
            held.map(|(name, value)| (*name, Rc::new(Register::holding(*value)))).collect();
        Self { registers, open: BTreeMap::new(), beginning: BTreeMap::new() }
    }

    /// The uploads that are open, and what is known of their parts.
    pub(crate) fn uploads(&self) -> Vec<OpenUpload> {
        let names = self.registers.keys();
        let uploads = names.filter_map(|name| match name {
            Name::Upload(container, key, id) => Some((*container, *key, *id)),
            _ => None,
        });
        let parts_of = |id: u128| {
            let parts = self.registers.iter().filter_map(move |(name, held)| match name {
                Name::Part(upload, number) if *upload == id => Some((*number, held.possible()[0])),
                _ => None,
            });
            parts.collect()
        };
        uploads.map(|(container, key, id)| (container, key, UploadId(id), parts_of(id))).collect()
    }
}

/// Whether there is a choice of operations that took effect which fits a way of every name.
fn consistent(joint: &[u32], ways: &[Vec<Way>]) -> bool {
    let count = joint.len().min(10);
    (0..1_u32 << count).any(|choice| {
        let chosen = |operation: &u32| {
            joint.iter().position(|one| one == operation).is_none_or(|at| choice & 1 << at != 0)
        };
        ways.iter().all(|ways| {
            ways.iter().any(|way| {
                joint[..count].iter().all(|operation| {
                    way.open.contains(operation)
                        || way.took_effect.contains(operation) == chosen(operation)
                        || !way.knows(operation)
                })
            })
        })
    })
}
