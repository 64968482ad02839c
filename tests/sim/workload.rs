//! Clients that use all of the driver at once, and write down what they asked and what they were answered.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use vaultaire::driver::{
    Completion, Deletion, Driver as _, DriverError, OpenArtifact as _, Target, UploadSpec,
    WriteSpec, composite_etag,
};
use vaultaire::io::Clock;
use vaultaire::io::sim::SimDisk;
use vaultaire::model::{CompletePart, ETag, ListEntry, ListQuery, UploadId, WriteCondition};
use vaultaire::runtime;
use vaultaire::runtime::simulated::{Random, SimulatedClock};

use super::cluster::Driver;
use super::content::{Body, Contents, etag_of};
use super::model::{Event, Model, Name};
use super::observe::{
    BOX_KEY, BOXES, CONTAINERS, KEYS, Unread, box_container, container, ctx, key, key_text, read,
};
use super::perils::Perils;
use super::register::{ABSENT, Action, Answer, Condition, Value};

/// Requests that learn that writing has stopped, before the clients only read. What became of them is not known, and
/// too many of those make too many histories.
const POISONS_MAX: u32 = 3;

/// What the clients share.
pub(crate) struct Bench {
    pub(crate) cores: Vec<Driver>,
    pub(crate) disk: SimDisk,
    pub(crate) clock: SimulatedClock,
    pub(crate) contents: Rc<RefCell<Contents>>,
    pub(crate) history: RefCell<Vec<Event>>,
    /// Follows the history, to notice at once what cannot be.
    pub(crate) model: RefCell<Model>,
    pub(crate) complaints: RefCell<Vec<String>>,
    pub(crate) perils: Perils,
    /// Bytes on the medium may be others than were written.
    pub(crate) flawed: bool,
    /// Lengths of the history after something worth keeping was acknowledged.
    pub(crate) acknowledged: RefCell<Vec<usize>>,
    /// Containers whose writer is known to have given up, and the last operation begun by then.
    pub(crate) poisoned: RefCell<BTreeMap<Name, u32>>,
    /// Requests that were told so.
    pub(crate) poisons: Cell<u32>,
    /// Requests that were refused because the disk was full.
    pub(crate) full: Cell<u64>,
    pub(crate) operations: Rc<Cell<u32>>,
    /// Uploads left from before, each for one client.
    pub(crate) uploads: RefCell<Vec<Upload>>,
}

/// An upload that one client works on.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) container: u8,
    pub(crate) key: u8,
    pub(crate) id: UploadId,
    pub(crate) parts: Vec<(u16, Value)>,
}

/// How an operation ended.
pub(crate) enum End {
    Answered(Answer),
    Nothing,
    Unknown,
}

impl Bench {
    fn note(&self, event: Event) {
        if !self.model.borrow_mut().add(&event) {
            self.complain(format!("no order explains {event:?}"));
        }
        let mut history = self.history.borrow_mut();
        history.push(event);
        self.disk.mark(history.len());
    }

    /// Something was acknowledged that can be lost.
    fn acknowledge(&self) {
        self.acknowledged.borrow_mut().push(self.history.borrow().len());
        self.disk.snapshot_of_each();
    }

    /// Complains if a writer that has given up takes something that was asked of it afterwards.
    fn mind_poison(&self, container: Name, operation: u32, result: &Result<(), DriverError>) {
        let mut poisoned = self.poisoned.borrow_mut();
        match result {
            Err(DriverError::Poisoned) => {
                poisoned.entry(container).or_insert_with(|| self.operations.get());
            }
            Ok(()) if poisoned.get(&container).is_some_and(|last| operation > *last) => {
                self.complain(format!("{operation} was taken after a failed write"));
            }
            _ => {}
        }
    }

    pub(crate) fn complain(&self, text: String) {
        self.complaints.borrow_mut().push(text);
    }

    fn next_operation(&self) -> u32 {
        self.operations.set(self.operations.get() + 1);
        self.operations.get()
    }

    pub(crate) fn invoke(&self, actions: &[(Name, Action)]) -> u32 {
        let operation = self.next_operation();
        self.note(Event::Invoke(operation, actions.into()));
        operation
    }

    pub(crate) fn end(&self, result: Result<(), DriverError>) -> End {
        match result {
            Ok(()) => End::Answered(Answer::Done),
            Err(error) => self.error(&error),
        }
    }

    fn error(&self, error: &DriverError) -> End {
        match error {
            DriverError::NoSuchContainer
            | DriverError::NoSuchArtifact
            | DriverError::NoSuchUpload => End::Answered(Answer::Missing),
            DriverError::ContainerExists
            | DriverError::ContainerNotEmpty
            | DriverError::PreconditionFailed => End::Answered(Answer::Refused),
            DriverError::Overloaded => End::Nothing,
            DriverError::Full if self.perils.capacity.is_some() => {
                self.full.set(self.full.get() + 1);
                End::Nothing
            }
            DriverError::Poisoned if self.perils.fails() => {
                self.poisons.set(self.poisons.get() + 1);
                End::Unknown
            }
            DriverError::Io(_) if self.perils.fails() || self.flawed => End::Nothing,
            // A read that fails twice is taken for damage.
            DriverError::Corrupt if self.perils.fails() || self.flawed => End::Nothing,
            error => {
                self.complain(format!("without a reason: {error}"));
                End::Unknown
            }
        }
    }

    pub(crate) fn finish(&self, operation: u32, names: &[Name], end: End) {
        match end {
            End::Answered(answer) => {
                let worth =
                    answer == Answer::Done && self.model.borrow().changes_something(operation);
                for name in names {
                    self.note(Event::Answer(operation, *name, answer));
                }
                if worth {
                    self.acknowledge();
                }
            }
            End::Nothing => self.note(Event::Nothing(operation)),
            End::Unknown => {}
        }
    }
}

/// One client's own.
pub(crate) struct Client {
    bench: Rc<Bench>,
    random: Random,
    uploads: Vec<Upload>,
    /// Values that it has met, to name in conditions.
    met: Vec<Value>,
}

impl Client {
    pub(crate) fn new(bench: Rc<Bench>, random: Random) -> Self {
        Self { bench, random, uploads: Vec::new(), met: Vec::new() }
    }

    /// Does so many things one after the other.
    pub(crate) async fn run(mut self, count: usize) {
        for _ in 0..count {
            if self.random.one_in(3) {
                let ms = self.random.number() % 90;
                self.bench.clock.sleep(Duration::from_millis(ms)).await;
            }
            self.step().await;
        }
    }

    async fn step(&mut self) {
        if self.bench.poisons.get() >= POISONS_MAX {
            return if self.random.one_in(2) { self.get().await } else { self.list().await };
        }
        match self.random.below(100) {
            0..=37 => self.put().await,
            38..=49 => self.delete().await,
            50..=53 => self.delete_several().await,
            54..=65 => self.get().await,
            66..=71 => self.list().await,
            72..=76 => self.in_box().await,
            77..=78 => self.put_and_give_up().await,
            79..=81 => self.race().await,
            _ => self.multipart().await,
        }
    }

    fn core(&mut self) -> Driver {
        let cores = &self.bench.cores;
        cores[self.random.below(cores.len())].clone()
    }

    fn below(&mut self, limit: u8) -> u8 {
        u8::try_from(self.random.below(usize::from(limit))).unwrap_or_default()
    }

    fn place(&mut self) -> (u8, u8) {
        (self.below(CONTAINERS), self.below(KEYS))
    }

    fn new_content(&mut self, name: Name) -> Value {
        let size = match self.random.below(100) {
            0..=2 => 0,
            3..=64 => 1 + self.random.below(1000),
            65..=94 => 1100 + self.random.below(7000),
            _ => 12_300 + self.random.below(14_000),
        };
        let described = self.random.one_in(8);
        self.bench.contents.borrow_mut().add(name, size, described)
    }

    fn body(&mut self, value: Value) -> Body {
        let bytes = self.bench.contents.borrow().bytes(value);
        let declared = !self.random.one_in(6);
        let piece = [500, 4096, 100_000][self.random.below(3)];
        Body::new(value, bytes, declared, piece)
    }

    fn condition(&mut self) -> (Condition, WriteCondition) {
        match self.random.below(10) {
            0 => (Condition::Absent, WriteCondition::Absent),
            1 => (Condition::Present, WriteCondition::Present),
            2 if !self.met.is_empty() => {
                let value = self.met[self.random.below(self.met.len())];
                match self.tag(value) {
                    Some(tag) => (Condition::Matches(value), WriteCondition::Matches(tag)),
                    None => (Condition::None, WriteCondition::None),
                }
            }
            _ => (Condition::None, WriteCondition::None),
        }
    }

    /// The tag of what was written in one piece.
    fn tag(&self, value: Value) -> Option<ETag> {
        let tag = etag_of(value);
        (self.bench.contents.borrow().with_etag(tag) == Some(value)).then_some(tag)
    }

    async fn put(&mut self) {
        let (c, k) = self.place();
        let name = Name::Key(c, k);
        let value = self.new_content(name);
        let (condition, wire) = self.condition();
        let metadata = self.bench.contents.borrow().metadata(value);
        let mut body = self.body(value);
        let core = self.core();
        let operation = self.bench.invoke(&[(name, Action::Put(value, condition))]);
        let spec = WriteSpec { metadata, condition: wire };
        let (text, container) = (key_text(k), container(c));
        let target = Target { container: &container, key: key(&text) };
        let result = core.put(&ctx(), target, spec, &mut body).await.map(drop);
        self.met.push(value);
        self.bench.mind_poison(Name::Container(c), operation, &result);
        let end = self.bench.end(result);
        self.bench.finish(operation, &[name], end);
    }

    /// Some puts at once under a condition that holds for the first of them alone.
    async fn race(&mut self) {
        let (c, k) = self.place();
        let name = Name::Key(c, k);
        let (container, text) = (container(c), key_text(k));
        let open =
            self.core().open(&ctx(), Target { container: &container, key: key(&text) }).await;
        let (condition, wire) = match open {
            Ok(open) => {
                let tag = open.info().etag;
                let Some(value) = self.bench.contents.borrow().with_etag(tag) else { return };
                (Condition::Matches(value), WriteCondition::Matches(tag))
            }
            Err(_) => (Condition::Absent, WriteCondition::Absent),
        };
        let mut racers = Vec::new();
        for _ in 0..2 + self.random.below(2) {
            let size = 1 + self.random.below(1000);
            let value = self.bench.contents.borrow_mut().add(name, size, false);
            let (mut body, core) = (self.body(value), self.core());
            let (bench, container, text) = (Rc::clone(&self.bench), container, text.clone());
            racers.push(runtime::spawn(async move {
                let operation = bench.invoke(&[(name, Action::Put(value, condition))]);
                let spec = WriteSpec { condition: wire, ..WriteSpec::default() };
                let target = Target { container: &container, key: key(&text) };
                let result = core.put(&ctx(), target, spec, &mut body).await.map(drop);
                bench.mind_poison(Name::Container(c), operation, &result);
                let end = bench.end(result);
                bench.finish(operation, &[name], end);
            }));
        }
        for racer in racers {
            racer.await;
        }
    }

    /// As a client that goes away: nobody learns what became of it.
    async fn put_and_give_up(&mut self) {
        let (c, k) = self.place();
        let name = Name::Key(c, k);
        let value = self.new_content(name);
        let metadata = self.bench.contents.borrow().metadata(value);
        let mut body = self.body(value);
        let core = self.core();
        let operation = self.bench.invoke(&[(name, Action::Put(value, Condition::None))]);
        let spec = WriteSpec { metadata, condition: WriteCondition::None };
        let (text, container) = (key_text(k), container(c));
        let target = Target { container: &container, key: key(&text) };
        let ctx = ctx();
        let put = std::pin::pin!(core.put(&ctx, target, spec, &mut body));
        let patience = self.random.below(30);
        let leaving = std::pin::pin!(async {
            for _ in 0..patience {
                runtime::yield_now().await;
            }
        });
        let first = futures_util::future::select(put, leaving).await;
        if let futures_util::future::Either::Left((result, _)) = first {
            let end = self.bench.end(result.map(drop));
            self.bench.finish(operation, &[name], end);
        }
    }

    async fn delete(&mut self) {
        let (c, k) = self.place();
        let (condition, wire) = self.condition();
        let name = Name::Key(c, k);
        let core = self.core();
        let operation = self.bench.invoke(&[(name, Action::Delete(condition))]);
        let text = key_text(k);
        let deletions = [Deletion { key: key(&text), condition: wire }];
        let result = core.delete(&ctx(), &container(c), &deletions).await;
        let result = result.map(|mut results| results.pop().unwrap_or(Ok(())));
        let end = self.bench.end(result.and_then(std::convert::identity));
        self.bench.finish(operation, &[name], end);
    }

    /// Deletes some keys in one batch, all or none.
    async fn delete_several(&mut self) {
        let c = self.below(CONTAINERS);
        let first = self.below(KEYS);
        let keys: Vec<u8> = (0..3).map(|more| (first + 2 * more) % KEYS).collect();
        let names: Vec<_> = keys.iter().map(|k| Name::Key(c, *k)).collect();
        let actions: Vec<_> =
            names.iter().map(|name| (*name, Action::Delete(Condition::None))).collect();
        let core = self.core();
        let operation = self.bench.invoke(&actions);
        let texts: Vec<_> = keys.iter().map(|k| key_text(*k)).collect();
        let deletions: Vec<_> = texts
            .iter()
            .map(|text| Deletion { key: key(text), condition: WriteCondition::None })
            .collect();
        let result = core.delete(&ctx(), &container(c), &deletions).await;
        let end = self.bench.end(result.map(drop));
        self.bench.finish(operation, &names, end);
    }

    async fn get(&mut self) {
        let (c, k) = self.place();
        let name = Name::Key(c, k);
        let core = self.core();
        let range =
            self.random.one_in(2).then(|| (self.random.below(9000), self.random.below(5000)));
        let operation = self.bench.invoke(&[(name, Action::Read)]);
        let found = read(&core, &container(c), &key_text(k), range, &self.bench.contents).await;
        let end = match found {
            Ok(value) => {
                self.met.push(value);
                End::Answered(Answer::Value(value))
            }
            Err(Unread::Wrong(text)) => {
                self.bench.complain(format!("wrong: {name:?}: {text}"));
                End::Nothing
            }
            Err(Unread::Failed(DriverError::NoSuchArtifact | DriverError::NoSuchContainer)) => {
                End::Answered(Answer::Value(ABSENT))
            }
            Err(Unread::Failed(error)) => match self.bench.error(&error) {
                End::Answered(_) => {
                    self.bench.complain(format!("a read was told {error}"));
                    End::Nothing
                }
                _ => End::Nothing,
            },
        };
        self.bench.finish(operation, &[name], end);
    }

    async fn list(&mut self) {
        let c = self.below(CONTAINERS);
        let actions: Vec<_> = (0..KEYS).map(|k| (Name::Key(c, k), Action::Read)).collect();
        let core = self.core();
        let operation = self.bench.invoke(&actions);
        let query = ListQuery { limit: 1000, ..ListQuery::default() };
        let page = match core.list(&ctx(), &container(c), &query).await {
            Ok(page) => page,
            Err(error) => {
                if let End::Answered(_) = self.bench.error(&error) {
                    self.bench.complain(format!("a listing was told {error}"));
                }
                self.bench.note(Event::Nothing(operation));
                return;
            }
        };
        for k in 0..KEYS {
            let text = key_text(k);
            let found = page.entries.iter().find_map(|entry| match entry {
                ListEntry::Artifact(name, info) if *name == text => Some(info.etag),
                _ => None,
            });
            let value = match found {
                None => ABSENT,
                Some(tag) => match self.bench.contents.borrow().with_etag(tag) {
                    Some(value) => value,
                    None => {
                        self.bench.complain(format!("wrong: {text} is listed with {tag}"));
                        continue;
                    }
                },
            };
            self.bench.note(Event::Answer(operation, Name::Key(c, k), Answer::Value(value)));
        }
    }

    /// A container that comes and goes, with one artifact in it.
    async fn in_box(&mut self) {
        let number = self.below(BOXES);
        let name = Name::Box(number);
        let container = box_container(number);
        let core = self.core();
        let (action, wanted) = match self.random.below(5) {
            0 | 1 => {
                let size = 1 + self.random.below(2000);
                let value = self.bench.contents.borrow_mut().add(name, size, false);
                (Action::PutInside(value), value)
            }
            2 => (Action::DeleteInside, ABSENT),
            3 => (Action::Drop, ABSENT),
            _ => (Action::Create, ABSENT),
        };
        let operation = self.bench.invoke(&[(name, action)]);
        let ctx = ctx();
        let result = match action {
            Action::PutInside(_) => {
                let mut body = self.body(wanted);
                let target = Target { container: &container, key: key(BOX_KEY) };
                core.put(&ctx, target, WriteSpec::default(), &mut body).await.map(drop)
            }
            Action::DeleteInside => {
                let deletion = Deletion { key: key(BOX_KEY), condition: WriteCondition::None };
                core.delete(&ctx, &container, &[deletion]).await.map(drop)
            }
            Action::Drop => core.delete_container(&ctx, &container).await,
            _ => core.create_container(&ctx, &container).await,
        };
        let end = self.bench.end(result);
        self.bench.finish(operation, &[name], end);
    }

    async fn multipart(&mut self) {
        if self.uploads.is_empty() {
            let left = self.bench.uploads.borrow_mut().pop();
            self.uploads.extend(left);
        }
        if self.uploads.is_empty() || self.random.one_in(6) {
            return self.begin().await;
        }
        let at = self.random.below(self.uploads.len());
        let parts = self.uploads[at].parts.len();
        match self.random.below(12) {
            0 => self.abort(at).await,
            1..=4 if parts > 0 => self.complete(at).await,
            _ => self.put_part(at).await,
        }
    }

    async fn begin(&mut self) {
        let (container_number, key_number) = self.place();
        let operation = self.bench.next_operation();
        self.bench.note(Event::Begin(operation, container_number, key_number));
        let core = self.core();
        let (text, container) = (key_text(key_number), container(container_number));
        let target = Target { container: &container, key: key(&text) };
        match core.create_upload(&ctx(), target, UploadSpec::default()).await {
            Ok(id) => {
                self.bench.note(Event::Begun(operation, id));
                self.bench.acknowledge();
                let parts = Vec::new();
                self.uploads.push(Upload {
                    container: container_number,
                    key: key_number,
                    id,
                    parts,
                });
            }
            Err(error) => match self.bench.error(&error) {
                End::Answered(_) => self.bench.complain(format!("no upload: {error}")),
                End::Nothing => self.bench.note(Event::Nothing(operation)),
                End::Unknown => {}
            },
        }
    }

    async fn put_part(&mut self, at: usize) {
        let Upload { container: c, key: k, id, .. } = self.uploads[at];
        let number = 1 + u16::from(self.below(4));
        let size = 1 + self.random.below(6000);
        let name = Name::Part(id.0, number);
        let value = self.bench.contents.borrow_mut().add(name, size, false);
        let mut body = self.body(value);
        let core = self.core();
        let operation = self.bench.invoke(&[(name, Action::Put(value, Condition::None))]);
        let (text, container) = (key_text(k), container(c));
        let target = Target { container: &container, key: key(&text) };
        let result = core.put_part(&ctx(), target, id, number, &mut body).await.map(drop);
        self.bench.mind_poison(Name::Container(c), operation, &result);
        let end = self.bench.end(result);
        let upload = &mut self.uploads[at];
        upload.parts.retain(|(other, _)| *other != number);
        match end {
            End::Answered(Answer::Done) => upload.parts.push((number, value)),
            End::Nothing => {}
            // Nobody knows which part is there.
            _ => drop(self.uploads.swap_remove(at)),
        }
        self.bench.finish(operation, &[name], end);
    }

    async fn complete(&mut self, at: usize) {
        let mut upload = self.uploads.swap_remove(at);
        upload.parts.sort_unstable();
        let values: Vec<Value> = upload.parts.iter().map(|(_, value)| *value).collect();
        let artifact = Name::Key(upload.container, upload.key);
        let value = self.bench.contents.borrow_mut().compose(artifact, &values, false);
        let name = Name::Upload(upload.container, upload.key, upload.id.0);
        let put = Action::Put(value, Condition::None);
        let core = self.core();
        let actions = [(name, Action::Delete(Condition::Present)), (artifact, put)];
        let operation = self.bench.invoke(&actions);
        let named: Vec<_> = upload
            .parts
            .iter()
            .map(|(number, value)| CompletePart {
                number: *number,
                etag: etag_of(*value),
                checksum: None,
            })
            .collect();
        debug_assert_eq!(
            self.bench.contents.borrow().with_etag(composite_etag(named.iter().map(|p| p.etag))),
            Some(value)
        );
        let completion = Completion {
            parts: &named,
            condition: WriteCondition::None,
            checksum: None,
            size: None,
            part_size_min: 0,
        };
        let (text, container) = (key_text(upload.key), container(upload.container));
        let target = Target { container: &container, key: key(&text) };
        let result = core.complete_upload(&ctx(), target, upload.id, &completion).await;
        let end = self.bench.end(result.map(drop));
        self.bench.finish(operation, &[name, artifact], end);
    }

    async fn abort(&mut self, at: usize) {
        let upload = self.uploads.swap_remove(at);
        let name = Name::Upload(upload.container, upload.key, upload.id.0);
        let core = self.core();
        let operation = self.bench.invoke(&[(name, Action::Delete(Condition::Present))]);
        let (text, container) = (key_text(upload.key), container(upload.container));
        let target = Target { container: &container, key: key(&text) };
        let end = self.bench.end(core.abort_upload(&ctx(), target, upload.id).await);
        self.bench.finish(operation, &[name], end);
    }
}

/// Makes sure that the containers are there; false if they cannot be made.
pub(crate) async fn create_containers(bench: &Rc<Bench>) -> bool {
    for number in 0..CONTAINERS {
        let mut made = false;
        // A log that found the disk full at its start looks again after a while.
        for _ in 0..10 {
            let core = &bench.cores[usize::from(number) % bench.cores.len()];
            let name = Name::Container(number);
            let operation = bench.invoke(&[(name, Action::Create)]);
            let end = bench.end(core.create_container(&ctx(), &container(number)).await);
            made = matches!(end, End::Answered(_));
            let refused = matches!(end, End::Nothing);
            bench.finish(operation, &[name], end);
            if !refused {
                break;
            }
            wait(bench, 300).await;
        }
        if !made {
            return false;
        }
    }
    true
}

/// Milliseconds that pass.
pub(crate) async fn wait(bench: &Rc<Bench>, ms: u64) {
    Clock::sleep(&bench.clock, Duration::from_millis(ms)).await;
}
