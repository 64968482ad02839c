//! Reads everything within a period, so that damage is known before somebody asks for what is damaged.
//!
//! A pass walks over the logs, segment by segment: it verifies each frame, and the extents and own files of each
//! record that is current. It goes as slowly as the period allows, and where it has come to survives a restart. What
//! is found damaged is noted and stays where it is: a read of it fails at once, an overwrite or a delete ends it. Reads
//! that meet a wrong checksum leave their suspicion here too.

use std::cell::Cell;
use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::Core;
use super::pace::Pace;
use super::records::{Live, Records, has_bytes, logs};
use crate::context::Context;
use crate::driver::DriverError;
use crate::io::{Clock, Disk, OpenOptions};
use crate::model::TenantId;
use crate::shard::commit::{Expiry, Request};
use crate::shard::data::{self, FileName};
use crate::shard::extent::{block_count, block_crc};
use crate::shard::index::key::Keyspace;
use crate::shard::index::value::{Artifact, Content, Location, Upload};
use crate::shard::integrity::Progress;
use crate::shard::log::ReplayedRecord;
use crate::shard::log::replay::SegmentRef;
use crate::shard::log::verify::verify_segment;
use crate::shard::record::decode_meta;
use crate::shard::verify::{Damage, Extent, PIECE, verify};

/// How often to look for suspects, and whether a pass is due.
const PERIOD: Duration = Duration::from_millis(500);

/// Least and most bytes a second.
const RATE: (u64, u64) = (4 << 20, 512 << 20);

/// How often at most the progress is written down.
const SAVE_AFTER: Duration = Duration::from_secs(60);

/// How often uploads are looked at, at most.
const EXPIRY_AFTER: Duration = Duration::from_secs(3600);

/// What is to be done in the background, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpkeepOptions {
    /// Within which time everything is read and verified; `None` for never.
    pub scrub: Option<Duration>,
    /// After which time an upload that was not completed is aborted; `None` for never.
    pub uploads_expire: Option<Duration>,
    /// Whether artifacts go from memory to sorted runs on disk. If not, what is there of runs is removed at the start.
    pub sorted_runs: bool,
}

impl Default for UpkeepOptions {
    fn default() -> Self {
        let week = Duration::from_secs(7 * 86_400);
        Self { scrub: Some(week), uploads_expire: None, sorted_runs: true }
    }
}

/// The progress of a pass that is finished: the next begins when the period is over.
const FINISHED: u64 = u64::MAX;

struct Scrub<C: Clock> {
    clock: C,
    options: UpkeepOptions,
    progress: Progress,
    saved: Cell<crate::context::Monotonic>,
    /// Places of the log that were found damaged in this pass.
    flaws: u64,
    expired: Option<crate::context::Monotonic>,
}

/// Scrubs until the driver stops. For one core.
pub(super) async fn run<D: Disk, C: Clock>(
    core: Weak<Core<D, C>>,
    clock: C,
    options: UpkeepOptions,
    progress: Progress,
) {
    let saved = Cell::new(clock.now());
    let mut scrub = Scrub { clock, options, progress, saved, flaws: 0, expired: None };
    loop {
        scrub.clock.sleep(PERIOD).await;
        let Some(core) = core.upgrade().filter(|core| !core.stopping.get()) else { return };
        let done = scrub.step(&core).await;
        if let Err(error) = done {
            // Memory is short, or a log segment went away under the walk. The pass goes on where it was.
            tracing::debug!(%error, "the scrub was interrupted");
        }
    }
}

impl<C: Clock> Scrub<C> {
    async fn step<D: Disk>(&mut self, core: &Rc<Core<D, C>>) -> Result<(), DriverError> {
        self.question(core).await?;
        self.expire(core).await?;
        let Some(period) = self.options.scrub else { return Ok(()) };
        let period_ms = i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
        let now_ms = self.clock.wall_ms();
        if self.progress.began_ms == 0 || self.progress.next == FINISHED {
            if now_ms < self.progress.began_ms.saturating_add(period_ms) {
                return Ok(());
            }
            self.progress = Progress { began_ms: now_ms.max(1), next: 0, ..self.progress };
            self.flaws = 0;
            core.shared.integrity.begin_pass();
            self.save(core).await?;
        }
        let mut logs = logs(core).await?;
        let left_ms = self.progress.began_ms.saturating_add(period_ms).saturating_sub(now_ms);
        let left_s = u64::try_from(left_ms / 1000).unwrap_or_default().max(1);
        logs.retain(|log| log.segment >= self.progress.next);
        logs.sort_unstable_by_key(|log| log.segment);
        // What lies outside the logs is taken to be spread over them evenly, and a fifth of the time is kept back.
        let in_logs: u64 = logs.iter().map(|log| log.length).sum();
        let total = in_logs.saturating_add(core.shared.segments.data_bytes().1);
        let pace = Pace::new(core, (total / left_s * 5 / 4).clamp(RATE.0, RATE.1));
        for log in &logs {
            self.log_segment(core, log, &logs, &pace).await?;
            if core.stopping.get() {
                return self.save(core).await;
            }
            self.progress.next = log.segment + 1;
            if self.clock.now().since(self.saved.get()) >= nanos(SAVE_AFTER) {
                self.save(core).await?;
            }
            self.question(core).await?;
        }
        self.progress =
            Progress { next: FINISHED, passes: self.progress.passes + 1, ..self.progress };
        core.shared.integrity.set_log_flaws(self.flaws);
        core.shared.integrity.end_pass();
        tracing::info!(
            damaged = core.shared.integrity.damaged(),
            "everything was read and verified"
        );
        self.save(core).await
    }

    /// Looks at what readers have found suspicious.
    async fn question<D: Disk>(&mut self, core: &Rc<Core<D, C>>) -> Result<(), DriverError> {
        let pace = Pace::new(core, RATE.1);
        let mut news = false;
        while let Some(suspect) = core.shared.integrity.next_suspect() {
            news |= look(core, suspect.location, suspect.size, &pace).await?;
        }
        if news { self.save(core).await } else { Ok(()) }
    }

    async fn save<D: Disk>(&self, core: &Rc<Core<D, C>>) -> Result<(), DriverError> {
        self.saved.set(self.clock.now());
        let Core { shared, disk, .. } = &**core;
        Ok(shared.integrity.save(disk, shared.volume.layout(), self.progress).await?)
    }

    /// Verifies a log segment, unless it is being written, and what its current records refer to.
    async fn log_segment<D: Disk>(
        &mut self,
        core: &Rc<Core<D, C>>,
        log: &SegmentRef,
        all: &[SegmentRef],
        pace: &Pace<D, C>,
    ) -> Result<(), DriverError> {
        if !core.shared.is_being_written(log.segment) {
            pace.spend(log.length).await;
            let mut found = verify_segment(&core.disk, log, all, &mut |_, _| ()).await;
            if found.as_ref().is_ok_and(|found| !found.flaws.is_empty()) {
                // Not only once: it may have been retired and recycled under us.
                self.clock.sleep(PERIOD).await;
                found = verify_segment(&core.disk, log, all, &mut |_, _| ()).await;
            }
            if !core.shared.segments.has_log(log.segment) {
                return Ok(());
            }
            let found = found?;
            core.shared.integrity.scrubbed(log.length);
            let losses = core.shared.integrity.losses();
            for flaw in found.flaws {
                let (segment, offset, kind) = (log.segment, flaw.offset, flaw.kind);
                if flaw.loss_of(segment).is_none_or(|loss| !losses.were_accepted(loss)) {
                    tracing::error!(segment, offset, ?kind, "a log segment is damaged");
                    self.flaws += 1;
                }
            }
        }
        let wanted = |artifact: &Artifact<'_>| {
            !matches!(artifact.content, Content::Whole(Location::Inline { .. }))
        };
        let mut records = Records::new(log);
        let mut news = false;
        while let Some(some) = records.next(core, &|record| has_bytes(record, &wanted)).await? {
            for live in &some {
                if core.stopping.get() {
                    return Ok(());
                }
                news |= self.record(core, live, pace).await?;
            }
        }
        if news { self.save(core).await } else { Ok(()) }
    }

    /// Verifies what a record refers to, if it is still current; whether something new was noted.
    async fn record<D: Disk>(
        &mut self,
        core: &Rc<Core<D, C>>,
        live: &Live,
        pace: &Pace<D, C>,
    ) -> Result<bool, DriverError> {
        let ctx = Context::internal(TenantId::DEFAULT);
        let _pin = core.pins.pin();
        let read = |place, value: &[u8]| {
            let artifact = Artifact::decode(live.shard, live.sequence, place, value)?;
            Some((artifact.content, artifact.size))
        };
        match live.get(core, read).await?.flatten() {
            None => Ok(false),
            Some((Content::Whole(location), size)) => look(core, location, size, pace).await,
            Some((Content::Composite(list), _)) => {
                let parts = match core.read_parts(&ctx, list).await {
                    Ok(parts) => parts,
                    Err(DriverError::Corrupt) => {
                        self.flaws += 1;
                        return Ok(false);
                    }
                    Err(error) => return Err(error),
                };
                let mut news = false;
                for part in parts {
                    news |= look(core, part.location, part.size, pace).await?;
                }
                Ok(news)
            }
        }
    }

    /// Ends uploads that were given up long ago.
    async fn expire<D: Disk>(&mut self, core: &Rc<Core<D, C>>) -> Result<(), DriverError> {
        let Some(limit) = self.options.uploads_expire else { return Ok(()) };
        let now = self.clock.now();
        let every = nanos((limit / 24).clamp(PERIOD, EXPIRY_AFTER));
        if self.expired.is_some_and(|last| now.since(last) < every) {
            return Ok(());
        }
        self.expired = Some(now);
        let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let before_ms = self.clock.wall_ms().saturating_sub(limit_ms);
        for log in logs(core).await? {
            let mut records = Records::new(&log);
            while let Some(some) =
                records.next(core, &|record| is_old_upload(record, before_ms)).await?
            {
                for Live { shard, stem, sequence } in some {
                    let expiry = Request::Expire(Box::new(Expiry { stem, sequence }));
                    core.shared.commit(shard, expiry, &core.clock, |_| ()).await?;
                }
            }
        }
        Ok(())
    }
}

fn is_old_upload(record: &ReplayedRecord<'_>, before_ms: i64) -> bool {
    let Some((stem, value)) = decode_meta(record.meta) else { return false };
    let is_upload = stem.first() == Some(&(Keyspace::Upload as u8)) && !value.is_empty();
    is_upload
        && Upload::decode(record.place, value).is_some_and(|upload| upload.created_ms < before_ms)
}

/// Verifies the bytes of one place, twice before it is called damaged; whether something new was noted. The caller
/// has pinned it, or does not mind that it may be gone.
async fn look<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    location: Location,
    size: u64,
    pace: &Pace<D, C>,
) -> Result<bool, DriverError> {
    let Some(first) = damage(core, location, size, pace).await? else { return Ok(false) };
    if first.is_none() {
        return Ok(false);
    }
    let Some(again) = damage(core, location, size, pace).await? else { return Ok(false) };
    if again.is_none() {
        return Ok(false);
    }
    let blocks = again.blocks.len();
    tracing::error!(?location, size, blocks, "stored bytes are damaged; reads of them are refused");
    Ok(core.shared.integrity.note(location, &again.blocks, core.clock.wall_ms()))
}

/// What is wrong with the bytes of one place; `None` if the place is not in use any more.
async fn damage<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    location: Location,
    size: u64,
    pace: &Pace<D, C>,
) -> Result<Option<Damage>, DriverError> {
    let ctx = Context::internal(TenantId::DEFAULT);
    let (name, base, id) = match location {
        Location::Inline { place, id, crc } => {
            if !core.shared.segments.has_log(place.segment) {
                return Ok(None);
            }
            let bytes = core.read_log(&ctx, place).await?;
            let whole = block_crc(id, &bytes) == crc;
            let mut damage = Damage::default();
            if !whole {
                damage.add(0..block_count(size).max(1));
            }
            return Ok(Some(damage));
        }
        Location::Extent { segment, offset, id } => (FileName::Segment(segment), offset, id),
        Location::OwnFile { id } => (FileName::OwnFile(id), 0, id),
    };
    if size == 0 {
        return Ok(Some(Damage::default()));
    }
    let path = data::path(core.shared.volume.layout(), name);
    let options = OpenOptions { direct: true, ..OpenOptions::default() };
    let file = match core.disk.open(&path, options).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (memory, lease) = core.pool.take_wait(&ctx, PIECE).await?.into_inner();
    let mut paced = async |bytes: usize| {
        core.shared.integrity.scrubbed(bytes as u64);
        pace.spend(bytes as u64).await;
    };
    let extent = Extent { base, id, size };
    let (damage, memory) = verify(&file, extent, memory, &mut paced).await;
    drop(crate::io::pool::PooledBuffer::from((memory, lease)));
    Ok(Some(damage))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
