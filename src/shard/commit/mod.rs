//! The one that decides: on each core a loop that takes commits from the mailbox, decides them in queue order, makes
//! them durable as one frame, publishes them, and answers.
//!
//! Nothing is published or answered before its frame is durable, a refusal neither, for it may rest on a record of
//! the same batch. If the append fails, everybody in the batch is told that the outcome is unknown.

mod apply;
mod batch;
mod complete;
mod request;
mod resolve;

use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};

pub(crate) use request::{
    Answer, BodyContent, Commit, Committed, Expiry, Moved, NewBody, NewCompletion, NewPart, NewPut,
    NewUpload, Relocation, Request, Subject,
};

use self::batch::{Batch, Later};
use super::error::ShardError;
use super::finder::Finder;
use super::freeze::{FrozenShards, freeze};
use super::keeper::Keeper;
use super::log::writer::{BATCH_RECORDS_MAX, LogError, LogWriter, Urgency};
use super::log::{Appended, NewRecord};
use super::planted::{self, Bug};
use super::shared::{Shared, WriteState};
use crate::context::Monotonic;
use crate::io::{Clock, Disk};

/// One core's commit loop.
pub(crate) struct Committer<D: Disk, C: Clock> {
    shared: Arc<Shared>,
    core: usize,
    clock: C,
    finder: Rc<Finder<D>>,
    keeper: Rc<Keeper<D>>,
    log: LogWriter<D>,
    /// Taken from the mailbox, not yet decided.
    waiting: VecDeque<Commit>,
    /// Bytes that were committed since somebody looked whether the tables are full.
    since_look: usize,
    /// The tables are full for the rest of this start: what adds is refused.
    exhausted: bool,
    /// Somebody wants to know whether there is room again.
    looking: bool,
    /// Found no room, and wait until some is made.
    postponed: VecDeque<Commit>,
    /// When they try again.
    retry_at: Monotonic,
}

/// How long commits wait for tables to be flushed, and how often they look.
const FLUSH_PATIENCE: Duration = Duration::from_secs(10);
const FLUSH_LOOK: Duration = Duration::from_millis(2);

/// How long what makes room waits for room itself, and how often it looks. What was deleted before gives some soon.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);
const ROOM_LOOK: Duration = Duration::from_millis(50);

/// A decided request, to be answered once the batch is durable.
type Outcome = (Commit, Result<Answer, ShardError>);

impl<D: Disk, C: Clock> Committer<D, C> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        core: usize,
        clock: C,
        (finder, keeper): (Rc<Finder<D>>, Rc<Keeper<D>>),
        log: LogWriter<D>,
    ) -> Self {
        Self {
            shared,
            core,
            clock,
            finder,
            keeper,
            log,
            waiting: VecDeque::new(),
            since_look: 0,
            exhausted: false,
            looking: false,
            postponed: VecDeque::new(),
            retry_at: Monotonic::default(),
        }
    }

    /// Runs until the mailbox is closed and empty, then seals the log.
    pub(crate) async fn run(mut self) {
        while self.ready().await {
            self.receive();
            self.wait_for_flush().await;
            if self.waiting.is_empty() {
                continue;
            }
            self.commit_batch().await;
            self.look_for_room().await;
        }
        for commit in self.postponed.drain(..) {
            let _ = commit.answer.send(Err(ShardError::Full));
        }
        if self.shared.is_abandoned() {
            return;
        }
        if let Err(error) = self.log.seal().await {
            tracing::error!(core = self.core, %error, "the log could not be sealed");
        } else {
            self.keeper.set_sealed();
        }
    }

    /// Waits for something to do; `false` once nothing is left and nothing will come.
    async fn ready(&mut self) -> bool {
        let has_postponed = !self.postponed.is_empty();
        if has_postponed && self.clock.now() >= self.retry_at {
            while let Some(last) = self.postponed.pop_back() {
                self.waiting.push_front(last);
            }
        }
        if !self.waiting.is_empty() {
            return true;
        }
        let comes = self.shared.mailboxes[self.core].ready();
        if !has_postponed {
            return comes.await;
        }
        let left = self.retry_at.since(self.clock.now());
        let retry = pin!(self.clock.sleep(Duration::from_nanos(left)));
        match select(pin!(comes), retry).await {
            Either::Left((comes, _)) => comes,
            Either::Right(_) => true,
        }
    }

    /// Takes up what waits in the mailbox. No batch is under way, so shards are frozen at once.
    fn receive(&mut self) {
        while self.waiting.len() < BATCH_RECORDS_MAX
            && let Some(commit) = self.shared.mailboxes[self.core].try_receive()
        {
            let Request::Freeze(shards) = &commit.request else {
                self.waiting.push_back(commit);
                continue;
            };
            let least = self.keeper.least();
            let point = Some(self.log.point());
            let frozen = shards.iter().map(|&shard| freeze(&self.shared, shard, least, point));
            let frozen = FrozenShards { position: self.log.position(), shards: frozen.collect() };
            let answer = Answer::Frozen(Box::new(frozen));
            let _ = commit.answer.send(Ok(Committed { batch: 0, answer }));
        }
    }

    /// Waits while the tables are full, for some time.
    async fn wait_for_flush(&mut self) {
        if self.since_look < self.shared.sizes.tables / 64 {
            return;
        }
        self.since_look = 0;
        if self.keeper.is_filling() {
            self.shared.checkpoints.want(self.core);
        }
        self.exhausted = self.keeper.is_exhausted();
        let end = self.clock.now().after(FLUSH_PATIENCE);
        while self.keeper.is_full() && !self.keeper.cannot_flush() && self.clock.now() < end {
            self.clock.sleep(FLUSH_LOOK).await;
            self.receive();
        }
    }

    /// Decides and commits as many of those that wait as fit one frame.
    async fn commit_batch(&mut self) {
        let shared = Arc::clone(&self.shared);
        // What is found under the tables is used until the batch is in the index.
        let _pin = self.finder.pins().pin();
        let resolved = resolve::resolve(&shared, &self.finder, self.waiting.iter()).await;
        let mut batch = Batch::new(&shared, self.clock.wall_ms(), resolved);
        let mut outcomes = Vec::with_capacity(self.waiting.len());
        let (mut records, mut bytes) = (0, 0);
        while let Some(commit) = self.waiting.pop_front() {
            let (more_records, more_bytes) = commit.request.size_max();
            let fits = records + more_records <= BATCH_RECORDS_MAX
                && bytes + more_bytes <= self.shared.sizes.batch;
            if !outcomes.is_empty() && !fits {
                self.waiting.push_front(commit);
                break;
            }
            (records, bytes) = (records + more_records, bytes + more_bytes);
            if self.exhausted && commit.request.urgency() == Urgency::Normal {
                outcomes.push((commit, Err(ShardError::Overloaded)));
                continue;
            }
            match batch.decide(commit.shard, &commit.request) {
                Ok(decided) => {
                    if matches!(commit.request, Request::LookForRoom) {
                        self.looking = true;
                    }
                    outcomes.push((commit, decided));
                }
                Err(Later) => {
                    self.waiting.push_front(commit);
                    break;
                }
            }
        }
        if batch.records.is_empty() {
            answer(outcomes, 0);
            return;
        }
        let urgencies = outcomes.iter().map(|(commit, _)| commit.request.urgency());
        let urgency = urgencies.min().unwrap_or_default();
        let poisoned_before = self.log.is_poisoned();
        let early = planted::is(Bug::PublishBeforeSync)
            .then(|| self.log.places_ahead(&batch.records))
            .flatten();
        if let Some(places) = &early {
            apply::publish(&batch, places);
        }
        match self.append(&batch.records, urgency).await {
            Ok(appended) => {
                // What makes room is taken by a full disk too.
                if urgency == Urgency::Normal {
                    self.shared.set_write_state(WriteState::Open);
                }
                let position = self.log.position();
                self.keeper.set_position(position);
                if let Some(place) = appended.places.last() {
                    self.shared.writing_log(self.core, place.segment, position);
                }
                self.since_look += bytes;
                apply::count_frame(&batch, &appended);
                if early.is_none() {
                    apply::publish(&batch, &appended.places);
                }
                finish(batch, outcomes, &appended);
            }
            Err(LogError::Full) => {
                self.shared.set_write_state(WriteState::Full);
                self.refuse(outcomes, urgency);
            }
            Err(error) => {
                tracing::error!(core = self.core, %error, "a commit failed");
                self.fail(outcomes, &error, poisoned_before);
            }
        }
    }

    async fn append(
        &mut self,
        records: &[NewRecord],
        urgency: Urgency,
    ) -> Result<Appended, LogError> {
        if planted::is(Bug::BatchOverTwoFrames) && records.len() > 1 {
            let (some, others) = records.split_at(records.len() / 2);
            let mut places = self.log.append_with(some, urgency).await?.places;
            let second = self.log.append_with(others, urgency).await?;
            places.extend(&second.places);
            return Ok(Appended { places, ..second });
        }
        self.log.append_with(records, urgency).await
    }

    /// The disk is full for what is no more urgent than this; what is more urgent is tried again by itself.
    fn refuse(&mut self, outcomes: Vec<Outcome>, urgency: Urgency) {
        let now = self.clock.now();
        if self.postponed.is_empty() {
            self.retry_at = now.after(ROOM_LOOK);
        }
        for (mut commit, _) in outcomes.into_iter().rev() {
            let until = *commit.waits_until.get_or_insert(now.after(ROOM_PATIENCE));
            if commit.request.urgency() > urgency {
                self.waiting.push_front(commit);
            } else if commit.request.waits_for_room()
                && now < until
                && self.postponed.len() < BATCH_RECORDS_MAX
            {
                self.postponed.push_front(commit);
            } else {
                // Nobody waits for the answer if it cannot be sent.
                let _ = commit.answer.send(Err(ShardError::Full));
            }
        }
    }

    fn fail(&self, outcomes: Vec<Outcome>, error: &LogError, poisoned_before: bool) {
        let poisoned = matches!(error, LogError::Poisoned(_));
        if poisoned {
            self.shared.set_write_state(WriteState::Poisoned);
        }
        for (commit, _) in outcomes {
            if poisoned && !poisoned_before {
                // The next start may find the frame: the bytes that it names must stay.
                keep_lease(commit.request);
            }
            let error = if poisoned {
                ShardError::Poisoned
            } else {
                ShardError::Io(Arc::new(std::io::Error::other(error.to_string())))
            };
            let _ = commit.answer.send(Err(error));
        }
    }

    async fn look_for_room(&mut self) {
        if std::mem::take(&mut self.looking) && self.log.has_next_segment().await {
            self.shared.set_write_state(WriteState::Open);
        }
    }
}

/// Answers what a durable batch has decided, and cleans up after it.
fn finish(batch: Batch<'_>, outcomes: Vec<Outcome>, appended: &Appended) {
    let shared = batch.shared;
    let mut answers = Vec::with_capacity(outcomes.len());
    for (commit, decided) in outcomes {
        if !matches!(decided, Err(_) | Ok(Answer::Stale)) {
            keep_lease(commit.request);
        }
        let committed = decided.map(|answer| Committed { batch: appended.batch, answer });
        answers.push((commit.answer, committed));
    }
    for (asker, committed) in answers {
        let _ = asker.send(committed);
    }
    apply::clean_up(shared, batch);
}

fn answer(outcomes: Vec<Outcome>, batch: u64) {
    for (commit, decided) in outcomes {
        let _ = commit.answer.send(decided.map(|answer| Committed { batch, answer }));
    }
}

fn keep_lease(request: Request) {
    let body = match request {
        Request::Put(_, put) => put.body,
        Request::PutPart(_, part) => part.body,
        Request::Relocate(relocation) => {
            relocation.moved.into_iter().for_each(|moved| moved.to.keep());
            return;
        }
        _ => return,
    };
    if let BodyContent::Stored(lease) = body.content {
        lease.keep();
    }
}
