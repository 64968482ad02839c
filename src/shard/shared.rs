//! What the cores share of one data folder: the read side of the index, the mailboxes and the books of the segments.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_channel::oneshot;

use super::checkpoints::Checkpoints;
use super::commit::{Commit, Committed, Request};
use super::error::ShardError;
use super::index::Index;
use super::index::run::BlockCache;
use super::integrity::Integrity;
use super::mailbox::Mailbox;
use super::pins::Epochs;
use super::segments::Segments;
use super::sizes::Sizes;
use super::verified::Verified;
use super::volume::Volume;
use crate::io::Clock;

/// The segments of a log, with their positions.
type Log = VecDeque<(u64, u32)>;

/// Whether writes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum WriteState {
    Open = 0,
    Full = 1,
    Poisoned = 2,
}

/// One data folder, seen from all cores.
pub(crate) struct Shared {
    pub(crate) volume: Arc<Volume>,
    pub(crate) sizes: Sizes,
    pub(crate) index: Index,
    pub(crate) segments: Arc<Segments>,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) integrity: Integrity,
    pub(crate) verified: Verified,
    pub(crate) checkpoints: Checkpoints,
    /// Blocks of runs.
    pub(crate) blocks: Arc<BlockCache>,
    pub(crate) mailboxes: Box<[Mailbox<Commit>]>,
    write_state: AtomicU8,
    /// The names of data files could not be made durable.
    names_lost: AtomicBool,
    /// Log segments of earlier starts that are left; more than any number until they are known.
    old_logs: AtomicUsize,
    /// The log segments of each core in this start, in order, with their positions; the last is being written.
    logs: Box<[Mutex<Log>]>,
    /// Length of a log segment in this start; it depends on the disk.
    log_length: AtomicU64,
    abandoned: AtomicBool,
}

impl Shared {
    /// For so many cores, which is at least one.
    pub(crate) fn new(
        volume: Arc<Volume>,
        cores: usize,
        sizes: Sizes,
        sorted_runs: bool,
        blocks: Arc<BlockCache>,
    ) -> Self {
        let cores = cores.max(1);
        Self {
            volume,
            sizes,
            index: Index::new(cores),
            segments: Arc::default(),
            epochs: Arc::new(Epochs::new(cores)),
            integrity: Integrity::default(),
            verified: Verified::default(),
            checkpoints: Checkpoints::new(cores, sorted_runs),
            blocks,
            mailboxes: (0..cores).map(|_| Mailbox::new(sizes.mailbox)).collect(),
            write_state: AtomicU8::new(WriteState::Open as u8),
            names_lost: AtomicBool::new(false),
            old_logs: AtomicUsize::new(usize::MAX),
            logs: (0..cores).map(|_| Mutex::default()).collect(),
            log_length: AtomicU64::new(sizes.log_segment),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Number of cores.
    pub(crate) fn cores(&self) -> usize {
        self.mailboxes.len()
    }

    /// The core that decides the commits of a shard.
    pub(crate) fn owner(&self, shard: u8) -> usize {
        self.index.owner(shard)
    }

    /// The shards whose commits a core decides.
    pub(crate) fn shards_of(&self, core: usize) -> impl Iterator<Item = u8> {
        self.index.shards_of(core)
    }

    /// Those of them that were ever asked for; the others are empty.
    pub(crate) fn used_shards_of(&self, core: usize) -> impl Iterator<Item = u8> {
        self.shards_of(core).filter(|&shard| self.index.if_used(shard).is_some())
    }

    /// Whether writes are taken.
    pub(crate) fn write_state(&self) -> WriteState {
        match self.write_state.load(Ordering::Acquire) {
            0 => WriteState::Open,
            1 => WriteState::Full,
            _ => WriteState::Poisoned,
        }
    }

    /// Notes how writes went. A poisoned folder stays so until a restart.
    pub(crate) fn set_write_state(&self, state: WriteState) {
        let keep_poisoned = |now: u8| (now != WriteState::Poisoned as u8).then_some(state as u8);
        // It fails only where it stays poisoned.
        let _ = self.write_state.fetch_update(Ordering::AcqRel, Ordering::Acquire, keep_poisoned);
    }

    /// Whether a shard has runs, and its active table hides all that they hold. For the shard's owner.
    pub(crate) fn has_dead_runs(&self, shard: u8) -> bool {
        let view = self.index.shard(shard).view();
        !view.runs.is_empty()
            && view.frozen.is_none()
            && self.checkpoints.book(shard).accounts == *view.active.shadowed()
    }

    /// How long the segments of the logs are.
    pub(crate) fn log_length(&self) -> u64 {
        self.log_length.load(Ordering::Relaxed)
    }

    /// Notes it.
    pub(crate) fn set_log_length(&self, length: u64) {
        self.log_length.store(length, Ordering::Relaxed);
    }

    /// Free bytes of the disk that runs and checkpoints leave to the logs, so that what is dead in these can go. New
    /// artifacts leave twice as much, so that a disk that is full of them has room for a checkpoint. Without runs a log
    /// keeps what it needs itself.
    pub(crate) fn kept_free(&self) -> u64 {
        if self.checkpoints.is_off() {
            return 0;
        }
        let length = self.log_length();
        length + length / 2
    }

    /// Lets the cores stop as a crash would leave them: nothing is sealed or cut.
    #[cfg(test)]
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// The names of data files could not be made durable. A later sync would not tell which of them are.
    pub(crate) fn lose_names(&self) {
        self.names_lost.store(true, Ordering::SeqCst);
    }

    /// Whether data files whose names are to be durable can be made.
    ///
    /// # Errors
    /// [`ShardError::Io`] if not, until the next start.
    pub(crate) fn can_name(&self) -> Result<(), ShardError> {
        if self.names_lost.load(Ordering::SeqCst) {
            let why = "the names of data files could not be made durable: none is made until the next start";
            return Err(io::Error::other(why).into());
        }
        Ok(())
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// How many log segments of earlier starts are left.
    pub(crate) fn old_logs(&self) -> usize {
        self.old_logs.load(Ordering::Acquire)
    }

    pub(crate) fn set_old_logs(&self, left: usize) {
        self.old_logs.store(left, Ordering::Release);
    }

    /// Notes the segment that a core's log has come to.
    pub(crate) fn writing_log(&self, core: usize, segment: u64, position: u32) {
        let mut logs = self.logs[core].lock().unwrap_or_else(PoisonError::into_inner);
        if logs.back() != Some(&(segment, position)) {
            logs.push_back((segment, position));
        }
    }

    /// Whether a log segment of this start may still be written to, or its footer is not there yet.
    pub(crate) fn is_being_written(&self, segment: u64) -> bool {
        if segment >> 32 < u64::from(self.volume.start()) {
            return false;
        }
        let is_full = |logs: &Mutex<Log>| {
            let logs = logs.lock().unwrap_or_else(PoisonError::into_inner);
            // The one before the last may not be sealed yet.
            logs.iter().rev().skip(2).any(|&(full, _)| full == segment)
        };
        !self.logs.iter().any(is_full)
    }

    /// The oldest segment of a core's log that is full, and whether it has been so for a while; else its footer may be
    /// missing yet.
    pub(crate) fn oldest_log(&self, core: usize) -> Option<(u64, bool)> {
        let logs = self.logs[core].lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = logs.front().filter(|_| logs.len() > 1);
        oldest.map(|(segment, _)| (*segment, logs.len() > 2))
    }

    /// The segments of a core's log, in their order.
    pub(crate) fn logs_of(&self, core: usize) -> Vec<u64> {
        let logs = self.logs[core].lock().unwrap_or_else(PoisonError::into_inner);
        logs.iter().map(|&(segment, _)| segment).collect()
    }

    /// Takes the oldest segments of a core's log of which nothing is live and which checkpoints cover, but never the one
    /// being written.
    pub(crate) fn take_dead_logs(&self, core: usize) -> Vec<u64> {
        let mut logs = self.logs[core].lock().unwrap_or_else(PoisonError::into_inner);
        let mut dead = Vec::new();
        while logs.len() > 1
            && let Some(&(first, position)) = logs.front()
            && self.segments.live_records(first) == 0
            && self.checkpoints.may_retire(core, position)
        {
            logs.pop_front();
            dead.push(first);
        }
        dead
    }

    /// Hands a commit to the shard's owner and waits until it is decided and durable. Also says how many waited
    /// there before it.
    ///
    /// # Cancel safety
    /// Once the commit is queued it is carried out, whether or not anybody waits.
    pub(crate) async fn commit(
        &self,
        shard: u8,
        request: Request,
        clock: &impl Clock,
        queued: impl FnOnce(usize),
    ) -> Result<Committed, ShardError> {
        let (answer, decided) = oneshot::channel();
        let mailbox = &self.mailboxes[self.owner(shard)];
        queued(mailbox.depth());
        let sent = mailbox.send(Commit { shard, request, answer, waits_until: None }, clock).await;
        sent.map_err(|_| ShardError::Overloaded)?;
        decided.await.unwrap_or(Err(ShardError::Poisoned))
    }
}
