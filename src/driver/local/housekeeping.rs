//! Gives space back: unlinks what is dead and recycles log segments of which nothing is live.
//!
//! What is freed has been out of the index for as long as any reader that may have found it. Log segments go in the
//! order of their logs only, the logs of earlier starts first, so that no tombstone goes before the older records
//! of its key.

use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::Core;
use super::relocate::{self, Lot};
use crate::context::Context;
use crate::driver::DriverError;
use crate::io::{Clock, Disk};
use crate::model::TenantId;
use crate::shard::commit::Request;
use crate::shard::data::{self, FileName};
use crate::shard::index::value::{Location, PartList};
use crate::shard::log::footer::has_footer;
use crate::shard::log::replay::SegmentRef;
use crate::shard::planted::{self, Bug};
use crate::shard::segments::{FEW_RECORDS, Garbage, Haste};
use crate::shard::shared::WriteState;

/// How often to look.
const PERIOD: Duration = Duration::from_millis(200);

/// Rounds after which a file of one artifact is closed that nobody has asked for: sooner than one that is dead goes.
const IDLE_ROUNDS: u32 = 2;

/// Most of what is looked at before others have a turn.
const STEPS_MAX: usize = 256;

/// A core has much else to do if so many artifacts are asked for there, or written to its log, between two looks.
const BUSY: u64 = 20;

/// Then one in so many of the bytes are moved at leisure.
const BUSY_SHARE: u64 = 48;

/// Nothing is moved at leisure unless so many log segments would find room.
const SEGMENTS_FREE: u64 = 16;

/// Something to be freed once no reader can use it any more.
enum Condemned {
    File(FileName),
    LogSegment(u64),
}

/// Files that nobody uses, and how many rounds each of them stays.
pub(super) struct Closing<T>(VecDeque<(u32, T)>);

impl<T> Default for Closing<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Closing<T> {
    pub(super) fn push(&mut self, file: T, rounds: u32) {
        self.0.push_back((rounds, file));
    }

    /// One round more is over.
    fn age(&mut self) {
        self.0.iter_mut().for_each(|(rounds, _)| *rounds = rounds.saturating_sub(1));
    }

    /// The next that has been closed; any if space is short.
    fn take(&mut self, is_short: bool) -> Option<T> {
        self.0.pop_front_if(|(rounds, _)| *rounds == 0 || is_short).map(|(_, file)| file)
    }
}

/// What one core has to free.
pub(super) struct Housekeeper {
    /// With the epoch's stamp.
    condemned: VecDeque<(u64, Condemned)>,
    closing_data: Closing<FileName>,
    pub(super) closing_logs: Closing<u64>,
    /// Log segments of earlier starts that are left, in their order. Core 0 keeps them.
    old_logs: VecDeque<SegmentRef>,
    /// No log segment goes any more in this start.
    keep_logs: bool,
    /// A log segment that could not be emptied, and how many of its records were live.
    stuck: Option<(u64, u64)>,
    leisure: Leisure,
}

/// What else a core has to do.
enum Load {
    Writes,
    Reads,
    Little,
}

/// What one core does while there is little else to do, and whether there is.
#[derive(Default)]
struct Leisure {
    /// What is left of the log segment that is being emptied.
    lot: Option<Lot>,
    /// Records that were moved in this round.
    moved: u64,
    /// Records that were ever written to each segment of the core's log, as they were in the last round.
    seen: HashMap<u64, u64>,
}

impl Leisure {
    /// Looks what others than this have done since the last call.
    fn look<D: Disk, C: Clock>(&mut self, core: &Core<D, C>, own: &[u64]) -> Load {
        let segments = &core.shared.segments;
        let written = own.iter().map(|&id| (id, segments.records_of(&[id]).0));
        let seen = std::mem::replace(&mut self.seen, written.collect());
        let more = |(id, written): (&u64, &u64)| written - seen.get(id).unwrap_or(&0).min(written);
        let all: u64 = self.seen.iter().map(more).sum();
        let written = all.saturating_sub(std::mem::take(&mut self.moved));
        let asked = core.asked.take();
        if written > BUSY {
            Load::Writes
        } else if asked > BUSY {
            Load::Reads
        } else {
            Load::Little
        }
    }
}

/// Keeps house on one core until the driver stops.
pub(super) async fn run<D: Disk, C: Clock>(
    core: Weak<Core<D, C>>,
    clock: C,
    number: usize,
    segments: Vec<SegmentRef>,
    damaged: bool,
) {
    let old_logs = if number == 0 { segments.into() } else { VecDeque::new() };
    let mut keeper = Housekeeper::new(old_logs, damaged);
    if number == 0
        && let Some(core) = core.upgrade()
    {
        core.shared.set_old_logs(keeper.old_logs.len());
    }
    loop {
        clock.sleep(PERIOD).await;
        let Some(core) = core.upgrade().filter(|core| !core.stopping.get()) else { return };
        core.data.close_if_idle().await;
        keeper.collect(&core).await;
        keeper.condemn_logs(&core);
        keeper.empty_oldest_log(&core).await;
        keeper.free(&core).await;
        keeper.unlink_closed(&core).await;
        keeper.retire_closed(&core).await;
        if core.shared.write_state() == WriteState::Full {
            // Nobody may be writing to find out: whoever asks for its health is told that it refuses writes.
            let look = core.shared.commit(
                shard_of_core(core.core),
                Request::LookForRoom,
                &core.clock,
                |_| (),
            );
            let _ = look.await;
        }
    }
}

/// Closes what one core has open and nobody uses any more, until the driver stops.
pub(super) async fn close_files<D: Disk, C: Clock>(core: Weak<Core<D, C>>, clock: C) {
    loop {
        clock.sleep(PERIOD).await;
        let Some(core) = core.upgrade().filter(|core| !core.stopping.get()) else { return };
        let segments = &core.shared.segments;
        core.logs.close_if(|id| !segments.has_log(id));
        core.segments.close_if(|id| !segments.has_data(id));
        core.own_files.close_idle(IDLE_ROUNDS);
        core.finder.close_if(|id| !core.shared.checkpoints.has_run(id));
    }
}

impl Housekeeper {
    pub(super) fn new(old_logs: VecDeque<SegmentRef>, keep_logs: bool) -> Self {
        let (closing_data, closing_logs) = (Closing::default(), Closing::default());
        let (condemned, stuck, leisure) = (VecDeque::new(), None, Leisure::default());
        Self { condemned, closing_data, closing_logs, old_logs, keep_logs, stuck, leisure }
    }

    /// Takes up what has become garbage.
    async fn collect<D: Disk, C: Clock>(&mut self, core: &Rc<Core<D, C>>) {
        let mut files = Vec::new();
        for _ in 0..STEPS_MAX {
            match core.shared.segments.next_garbage() {
                None => break,
                Some(Garbage::OwnFile(id)) => files.push(FileName::OwnFile(id)),
                Some(Garbage::DataSegment(id)) => files.push(FileName::Segment(id)),
                Some(Garbage::Composite(list)) => {
                    if let Err(error) = release_parts(core, list).await {
                        // The next start sweeps what it referred to.
                        tracing::error!(%error, "the parts of a dead artifact are not freed");
                    }
                }
            }
        }
        if !files.is_empty() {
            let stamp = core.shared.epochs.stamp();
            self.condemned.extend(files.into_iter().map(|file| (stamp, Condemned::File(file))));
        }
    }

    /// Looks for log segments that may go.
    fn condemn_logs<D: Disk, C: Clock>(&mut self, core: &Rc<Core<D, C>>) {
        if self.keep_logs {
            return;
        }
        let shared = &core.shared;
        let mut dead = Vec::new();
        while let Some(first) = self.old_logs.front()
            && shared.segments.live_records(first.segment) == 0
            && shared.checkpoints.may_retire_old(first.segment)
        {
            dead.push(first.segment);
            self.old_logs.pop_front();
        }
        if planted::is(Bug::TombstoneDroppedEarly) {
            self.old_logs.retain(|log| {
                let is_live = shared.segments.live_records(log.segment) > 0;
                dead.extend((!is_live).then_some(log.segment));
                is_live
            });
        }
        if shared.old_logs() == 0 {
            dead.extend(shared.take_dead_logs(core.core));
        }
        if !dead.is_empty() {
            let stamp = shared.epochs.stamp();
            let dead = dead.into_iter().map(|segment| (stamp, Condemned::LogSegment(segment)));
            self.condemned.extend(dead);
        }
    }

    /// Writes what is live in the oldest log segment again, if that pays.
    async fn empty_oldest_log<D: Disk, C: Clock>(&mut self, core: &Rc<Core<D, C>>) {
        let shared = &core.shared;
        let own = shared.logs_of(core.core);
        let load = self.leisure.look(core, &own);
        if self.keep_logs || shared.write_state() == WriteState::Poisoned {
            return;
        }
        let (oldest, is_old, is_settled) = match self.old_logs.front() {
            Some(segment) => (segment.segment, true, true),
            None if shared.old_logs() > 0 => return,
            None => match shared.oldest_log(core.core) {
                Some((segment, is_settled)) => (segment, false, is_settled),
                None => return,
            },
        };
        let live = shared.segments.live_records(oldest);
        if self.stuck == Some((oldest, live)) {
            return;
        }
        let all = if is_old { shared.segments.logs() } else { own };
        let Some(haste) = shared.segments.worth_moving(oldest, is_old, &all) else { return };
        // More than a few of the one that was filled last may die before the next is full.
        let is_due = haste == Haste::AtOnce && (is_settled || live <= FEW_RECORDS);
        let bytes = match (has_much_room(core).await, load) {
            (false, _) if !is_due => return,
            (false, _) => u64::MAX,
            // What dies by writes must go as fast.
            (true, Load::Writes) if is_due => u64::MAX,
            (true, Load::Writes | Load::Reads) => shared.sizes.leisure / BUSY_SHARE,
            (true, Load::Little) => shared.sizes.leisure,
        };
        match self.empty_log(core, oldest, is_settled, bytes).await {
            Ok(()) => (),
            // Memory, queues or the disk are short; it can wait.
            Err(DriverError::Overloaded | DriverError::Full) => (),
            Err(error) => {
                tracing::warn!(segment = oldest, %error, "a log segment could not be emptied");
                self.stuck = Some((oldest, shared.segments.live_records(oldest)));
            }
        }
    }

    /// Writes about so many of the live bytes of a log segment again. What is left of it is kept unless that fails.
    async fn empty_log<D: Disk, C: Clock>(
        &mut self,
        core: &Rc<Core<D, C>>,
        oldest: u64,
        is_settled: bool,
        bytes: u64,
    ) -> Result<(), DriverError> {
        let mut lot = match self.leisure.lot.take().filter(|lot| lot.segment == oldest) {
            Some(lot) => lot,
            None => {
                let segment = match self.old_logs.front() {
                    Some(segment) => Some(segment.clone()),
                    None => relocate::reference(core, oldest).await,
                };
                let Some(segment) = segment else { return Ok(()) };
                if !is_settled && !has_footer(&core.disk, &segment).await {
                    return Ok(());
                }
                Lot::of(core, &segment).await?
            }
        };
        self.leisure.moved = lot.go_on(core, bytes).await?;
        if lot.is_empty() {
            self.stuck = Some((oldest, core.shared.segments.live_records(oldest)));
        } else {
            self.leisure.lot = Some(lot);
        }
        Ok(())
    }

    /// Frees what no reader can use any more.
    async fn free<D: Disk, C: Clock>(&mut self, core: &Rc<Core<D, C>>) {
        while let Some((stamp, _)) = self.condemned.front()
            && core.shared.epochs.is_free(*stamp)
            && let Some((_, condemned)) = self.condemned.pop_front()
        {
            match condemned {
                Condemned::File(name) => {
                    if let FileName::Segment(id) = name {
                        core.shared.segments.forget_data(id);
                    }
                    self.closing_data.push(name, core.shared.sizes.closing_rounds);
                }
                Condemned::LogSegment(segment) => {
                    core.shared.segments.forget_log(segment);
                    self.closing_logs.push(segment, core.shared.sizes.closing_rounds);
                }
            }
        }
    }

    /// Unlinks the files of data that were closed.
    async fn unlink_closed<D: Disk, C: Clock>(&mut self, core: &Rc<Core<D, C>>) {
        self.closing_data.age();
        while let Some(name) = self.closing_data.take(core.shared.write_state() == WriteState::Full)
        {
            unlink(core, name).await;
        }
    }

    /// Retires the log segments that were closed.
    pub(super) async fn retire_closed<D: Disk, C: Clock>(&mut self, core: &Rc<Core<D, C>>) {
        self.closing_logs.age();
        while !self.keep_logs
            && let Some(id) = self.closing_logs.take(core.shared.write_state() == WriteState::Full)
        {
            if let Err(error) = core.retirer.retire(id).await {
                // It may be there at the next start, and then what follows it must be there too.
                self.keep_logs = true;
                if !core.stopping.get() {
                    tracing::error!(segment = id, %error, "log segments stay: one could not be retired");
                }
                return;
            }
            if self.is_old(core, id) {
                core.shared.set_old_logs(core.shared.old_logs() - 1);
            }
        }
    }

    fn is_old<D: Disk, C: Clock>(&self, core: &Rc<Core<D, C>>, segment: u64) -> bool {
        segment >> 32 < u64::from(core.shared.volume.start())
    }
}

/// Whether so much is free that nothing is refused soon: what is moved takes room before it gives some.
async fn has_much_room<D: Disk, C: Clock>(core: &Rc<Core<D, C>>) -> bool {
    let free = core.disk.free_bytes(&core.shared.volume.layout().log()).await;
    let much = SEGMENTS_FREE * core.shared.log_length();
    core.shared.write_state() == WriteState::Open && free.is_ok_and(|free| free > much)
}

/// A shard that this core owns: shards are dealt out in turn.
fn shard_of_core(core: usize) -> u8 {
    u8::try_from(core).unwrap_or_default()
}

async fn unlink<D: Disk, C: Clock>(core: &Rc<Core<D, C>>, name: FileName) {
    let path = data::path(core.shared.volume.layout(), name);
    // One whose upload failed early was never made.
    if let Err(error) = core.disk.remove_if_there(&path).await {
        tracing::warn!(path = %path.display(), %error, "dead data stays");
    }
}

/// Gives back what an artifact completed from parts referred to.
async fn release_parts<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    list: PartList,
) -> Result<(), DriverError> {
    let ctx = Context::internal(TenantId::DEFAULT);
    let parts = core.read_parts(&ctx, list).await?;
    let segments = &core.shared.segments;
    for part in parts {
        match part.location {
            Location::Inline { place, .. } => segments.release_record(place),
            location => segments.release(location, part.size),
        }
    }
    segments.release_record(list.place);
    Ok(())
}
