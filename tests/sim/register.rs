//! What one name may hold, as far as the answers tell: all the orders in which its operations may have taken effect.

/// What a name holds: 0 for nothing, else the number of a content.
pub(crate) type Value = u32;

/// Nothing is there.
pub(crate) const ABSENT: Value = 0;
/// A container that holds nothing, where a container and the one artifact in it are one name.
pub(crate) const EMPTY: Value = 1;
/// The first number of a content.
pub(crate) const FIRST_CONTENT: Value = 16;

/// A condition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    None,
    Absent,
    Present,
    Matches(Value),
}

/// What an operation does to one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    Put(Value, Condition),
    Delete(Condition),
    /// The same for a name that is a container with one artifact in it.
    Create,
    Drop,
    PutInside(Value),
    DeleteInside,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Missing,
    Refused,
    Value(Value),
}

impl Action {
    /// What is there afterwards, and what is answered.
    fn apply(self, before: Value) -> (Value, Answer) {
        match self {
            Self::Read => (before, Answer::Value(before)),
            Self::Put(value, condition) => match condition.check(before) {
                Answer::Done => (value, Answer::Done),
                refused => (before, refused),
            },
            Self::Delete(condition) => match condition.check(before) {
                Answer::Done => (ABSENT, Answer::Done),
                refused => (before, refused),
            },
            Self::Create if before == ABSENT => (EMPTY, Answer::Done),
            Self::Create => (before, Answer::Refused),
            _ if before == ABSENT => (before, Answer::Missing),
            Self::Drop if before == EMPTY => (ABSENT, Answer::Done),
            Self::Drop => (before, Answer::Refused),
            Self::PutInside(value) => (value, Answer::Done),
            Self::DeleteInside => (EMPTY, Answer::Done),
        }
    }
}

impl Condition {
    fn check(self, before: Value) -> Answer {
        let holds = match self {
            Self::None => true,
            Self::Absent => before == ABSENT,
            Self::Present => before != ABSENT,
            Self::Matches(value) => before == value,
        };
        match (holds, before) {
            (true, _) => Answer::Done,
            (false, ABSENT) => Answer::Missing,
            (false, _) => Answer::Refused,
        }
    }
}

/// A name's possible histories.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    worlds: Vec<World>,
    /// Operations that have not been answered.
    pending: Vec<(u32, Action)>,
}

/// One possible history.
#[derive(Clone, Debug, PartialEq, Eq)]
struct World {
    value: Value,
    /// Pending operations that have taken effect already, with what they will answer.
    done: Vec<(u32, Answer)>,
}

/// A way in which a name may have come to hold a value: the operations on several names that took effect in it, and
/// those of which it cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The operations on several names that are about this one.
    about: Vec<u32>,
    pub(crate) took_effect: Vec<u32>,
    pub(crate) open: Vec<u32>,
}

impl Way {
    pub(crate) fn knows(&self, operation: &u32) -> bool {
        self.about.contains(operation)
    }
}

impl Register {
    pub(crate) fn holding(value: Value) -> Self {
        Self { worlds: vec![World { value, done: Vec::new() }], pending: Vec::new() }
    }

    pub(crate) fn invoke(&mut self, operation: u32, action: Action) {
        self.pending.push((operation, action));
    }

    /// An answer has come; false if no history explains it.
    pub(crate) fn answer(&mut self, operation: u32, answer: Answer) -> bool {
        let mut next = Vec::new();
        for world in &self.worlds {
            self.explain(world, operation, answer, &mut next);
        }
        self.pending.retain(|(pending, _)| *pending != operation);
        let explained = !next.is_empty();
        if explained {
            self.worlds = next;
        }
        explained
    }

    /// An operation turned out to have had no effect.
    pub(crate) fn forget(&mut self, operation: u32) -> bool {
        self.pending.retain(|(pending, _)| *pending != operation);
        let before = self.worlds.clone();
        self.worlds.retain(|world| world.done.iter().all(|(done, _)| *done != operation));
        let explained = !self.worlds.is_empty();
        if !explained {
            self.worlds = before;
        }
        explained
    }

    /// All histories that go on from `world` with pending operations up to this one, which gets this answer.
    fn explain(&self, world: &World, operation: u32, answer: Answer, out: &mut Vec<World>) {
        if let Some(at) = world.done.iter().position(|(done, _)| *done == operation) {
            if world.done[at].1 == answer {
                let mut world = world.clone();
                world.done.remove(at);
                if !out.contains(&world) {
                    out.push(world);
                }
            }
            return;
        }
        for (pending, action) in &self.pending {
            if world.done.iter().any(|(done, _)| done == pending) {
                continue;
            }
            let (value, answered) = action.apply(world.value);
            let mut next = world.clone();
            next.value = value;
            next.done.push((*pending, answered));
            next.done.sort_unstable_by_key(|(done, _)| *done);
            self.explain(&next, operation, answer, out);
        }
    }

    /// What may be there if everything stops now.
    pub(crate) fn possible(&self) -> Vec<Value> {
        let mut values = Vec::new();
        for world in &self.worlds {
            self.reach(world, &[], &mut |world| {
                if !values.contains(&world.value) {
                    values.push(world.value);
                }
            });
        }
        values
    }

    /// The ways in which this may be there if everything stops now, as far as operations on several names differ.
    pub(crate) fn ways(&self, value: Value, joint: &[u32]) -> Vec<Way> {
        let mut ways = Vec::new();
        let is_joint = |operation: &u32| joint.contains(operation);
        for world in &self.worlds {
            self.reach(world, joint, &mut |reached| {
                if reached.value != value {
                    return;
                }
                let done = reached.done.iter().map(|(done, _)| *done).filter(is_joint);
                let took_effect: Vec<u32> = done.collect();
                let open = self.pending.iter().filter(|(pending, action)| {
                    is_joint(pending)
                        && !took_effect.contains(pending)
                        && action.apply(value).0 == value
                });
                let open = open.map(|(pending, _)| *pending).collect();
                let about = self.pending.iter().map(|(pending, _)| *pending).filter(is_joint);
                let way = Way { about: about.collect(), took_effect, open };
                if !ways.contains(&way) {
                    ways.push(way);
                }
            });
        }
        ways
    }

    /// Shows every history that pending operations may lead to. Those that change nothing matter only if they are
    /// named.
    fn reach(&self, world: &World, named: &[u32], seen: &mut dyn FnMut(&World)) {
        seen(world);
        for (pending, action) in &self.pending {
            if world.done.iter().any(|(done, _)| done == pending) {
                continue;
            }
            let (value, answered) = action.apply(world.value);
            if value != world.value || named.contains(pending) {
                let mut next = world.clone();
                next.value = value;
                next.done.push((*pending, answered));
                self.reach(&next, named, seen);
            }
        }
    }

    pub(crate) fn is_pending(&self, operation: u32) -> bool {
        self.pending.iter().any(|(pending, _)| *pending == operation)
    }
}
