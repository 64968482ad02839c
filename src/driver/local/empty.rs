//! Writes the live extents of half-dead data segments again, so that the segments' files can go.
//!
//! Who refers to a segment is found in the keys of the logs, for it is not kept in memory: one walk over them serves
//! all segments that are worth it. An extent keeps its id, with which its checksums begin. It is copied, verified on
//! the way and synced; then its owner commits the new place if the record that names the old one is still current;
//! only after that commit is durable does the old place count as dead. A walk may miss a record that moves meanwhile:
//! then its segment stays, and a later walk finds it.

use std::collections::HashSet;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use super::Core;
use super::pace::Pace;
use super::records::{Live, Records, has_bytes, logs};
use crate::context::Context;
use crate::driver::DriverError;
use crate::io::pool::PooledBuffer;
use crate::io::{Clock, Disk, DiskFile};
use crate::model::TenantId;
use crate::runtime;
use crate::shard::commit::{Answer, Moved, Relocation, Request};
use crate::shard::data::{self, FileName};
use crate::shard::extent::{
    BLOCK, PAGE, block_count, block_crc, data_length, decode_page, encode_table, in_memory,
    page_count,
};
use crate::shard::files::Access;
use crate::shard::index::parts;
use crate::shard::index::value::{self, Artifact, Content, Location};
use crate::shard::log::writer::Urgency;
use crate::shard::planted::{self, Bug};
use crate::shard::shared::WriteState;
use crate::shard::verify::{Extent, PIECE};

/// How often to look whether it pays.
const PERIOD: Duration = Duration::from_millis(500);

/// Most bytes that one walk copies.
const BYTES_MAX: u64 = 1 << 30;

/// Bytes of one composite after which the parts that moved are committed, so that their old places go and readers'
/// files are not kept for as long as all of it takes. Tests commit after each part.
const STEP_BYTES: u64 = if cfg!(test) { 1 } else { 64 << 20 };

/// Extents that are copied at once; they share their sync.
const COPIES_MAX: usize = 4;

/// Least and most bytes a second that are copied. In between, what is dead is to be gone in [`GONE_AFTER`] seconds.
const RATE: (u64, u64) = (32 << 20, 512 << 20);
const GONE_AFTER: u64 = 20;

/// Empties data segments until the driver stops. For one core.
pub(super) async fn run<D: Disk, C: Clock>(core: Weak<Core<D, C>>, clock: C) {
    let mut rest = PERIOD;
    loop {
        clock.sleep(rest).await;
        rest = PERIOD;
        let Some(core) = core.upgrade().filter(|core| !core.stopping.get()) else { return };
        if core.shared.write_state() == WriteState::Poisoned {
            continue;
        }
        let segments = core.shared.segments.worth_emptying(BYTES_MAX);
        if segments.is_empty() {
            continue;
        }
        let began = clock.now();
        match empty(&core, segments.iter().copied().collect()).await {
            Ok(moved) => tracing::debug!(segments = segments.len(), moved, "data segments emptied"),
            // Memory, queues or the disk are short, or a log segment went away under the walk.
            Err(DriverError::Overloaded | DriverError::Full) => (),
            Err(error) => tracing::warn!(%error, "data segments could not be emptied"),
        }
        // A walk costs as much as the log is long: whoever gains nothing by it must not live on it.
        if core.shared.segments.worth_emptying(BYTES_MAX) == segments {
            rest = PERIOD.max(Duration::from_nanos(clock.now().since(began)) * 10);
        }
    }
}

/// Copies what is live in these segments and has it committed; returns how many extents moved.
async fn empty<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    segments: HashSet<u64>,
) -> Result<u64, DriverError> {
    let (written, live) = core.shared.segments.data_bytes();
    let rate = ((written - live.min(written)) / GONE_AFTER).clamp(RATE.0, RATE.1);
    let pace = Pace::new(core, rate);
    let logs = logs(core).await?;
    let mut moved = 0;
    let wanted = |artifact: &Artifact<'_>| match artifact.content {
        Content::Whole(Location::Extent { segment, .. }) => segments.contains(&segment),
        Content::Whole(_) => false,
        Content::Composite(_) => true,
    };
    for log in logs {
        let mut records = Records::new(&log);
        while let Some(some) = records.next(core, &|record| has_bytes(record, &wanted)).await? {
            if core.stopping.get() {
                return Ok(moved);
            }
            let moves = some.iter().map(|live| move_all(core, live, &segments, &pace));
            let mut moves = futures_util::stream::iter(moves).buffer_unordered(COPIES_MAX);
            while let Some(done) = moves.next().await {
                moved += done?;
            }
        }
    }
    Ok(moved)
}

/// Moves the extents of one record that lie in the segments; returns how many.
async fn move_all<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    live: &Live,
    segments: &HashSet<u64>,
    pace: &Pace<D, C>,
) -> Result<u64, DriverError> {
    let mut all = 0;
    loop {
        match move_some(core, live, segments, pace).await? {
            0 => return Ok(all),
            moved => all += moved,
        }
    }
}

/// Moves some of them; returns 0 if nothing is left to move or the record is not current any more.
async fn move_some<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    live: &Live,
    segments: &HashSet<u64>,
    pace: &Pace<D, C>,
) -> Result<u64, DriverError> {
    let ctx = Context::internal(TenantId::DEFAULT);
    let _pin = core.pins.pin();
    let Some((place, mut value)) = live.entry(core).await? else { return Ok(0) };
    let artifact = Artifact::decode(live.shard, live.sequence, place, &value);
    let Artifact { content, size, .. } = artifact.ok_or(DriverError::Corrupt)?;
    let (mut moved, body) = match content {
        Content::Whole(from @ Location::Extent { segment, .. }) if segments.contains(&segment) => {
            let Some(moved) = copy(core, &ctx, from, size, pace).await? else { return Ok(0) };
            if let Location::Extent { segment, offset, .. } = moved.to.location() {
                value::replace_extent(&mut value, segment, offset);
            }
            (vec![moved], core.read_log(&ctx, place).await?)
        }
        Content::Whole(_) => return Ok(0),
        Content::Composite(list) => {
            let body = core.read_log(&ctx, place).await?;
            let (listed, metadata) = body
                .split_at_checked(list.place.length as usize)
                .filter(|(listed, _)| crc_fast::crc32_iscsi(listed) == list.crc)
                .ok_or(DriverError::Corrupt)?;
            let mut parts = parts::decode(listed).ok_or(DriverError::Corrupt)?;
            let mut moved = Vec::new();
            let mut copied = 0;
            for part in &mut parts {
                if copied >= STEP_BYTES {
                    break;
                }
                if let Location::Extent { segment, .. } = part.location
                    && segments.contains(&segment)
                    && part.size > 0
                    && let Some(one) = copy(core, &ctx, part.location, part.size, pace).await?
                {
                    part.location = one.to.location();
                    copied += part.size;
                    moved.push(one);
                }
            }
            let listed = parts::encode(&parts);
            let length = u32::try_from(listed.len()).unwrap_or(u32::MAX);
            value::replace_part_list(&mut value, length, crc_fast::crc32_iscsi(&listed));
            (moved, Bytes::from([&listed[..], metadata].concat()))
        }
    };
    if moved.is_empty() {
        return Ok(0);
    }
    if planted::is(Bug::PlaceFreedEarly) {
        free_now(core, &mut moved).await;
    }
    let count = moved.len() as u64;
    let (stem, sequence) = (live.stem.clone(), live.sequence);
    // Room in the log that only the log's own segments give back is not for this.
    let urgency = Urgency::Reserve;
    let relocation = Relocation { stem, sequence, value, size: None, body, moved, urgency };
    let request = Request::Relocate(Box::new(relocation));
    let committed = core.shared.commit(live.shard, request, &core.clock, |_| ()).await?;
    Ok(if matches!(committed.answer, Answer::Stale) { 0 } else { count })
}

/// [`Bug::PlaceFreedEarly`]: frees what is moved, and unlinks the segments of which nothing else is live.
async fn free_now<D: Disk, C: Clock>(core: &Rc<Core<D, C>>, moved: &mut [Moved]) {
    for one in moved {
        // Nothing is left to be given back later.
        let size = std::mem::take(&mut one.size);
        core.shared.segments.release(one.from, size);
        if let Location::Extent { segment, .. } = one.from
            && core.shared.segments.data(segment).live() == 0
        {
            let path = data::path(core.shared.volume.layout(), FileName::Segment(segment));
            let _ = core.disk.remove(&path).await;
        }
    }
}

/// Writes an extent again, verified and synced; `None` if it is damaged, which is noted.
async fn copy<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    ctx: &Context,
    from: Location,
    size: u64,
    pace: &Pace<D, C>,
) -> Result<Option<Moved>, DriverError> {
    let Location::Extent { segment, offset: base, id } = from else { return Ok(None) };
    if core.stopping.get() {
        return Err(DriverError::Overloaded);
    }
    pace.spend(size).await;
    let layout = core.shared.volume.layout();
    let path = || data::path(layout, FileName::Segment(segment));
    let file = core.segments.get(segment, Access::Direct, path).await?;
    let sink = core.data.extent_as(id, size).await?;
    if copy_bytes(core, ctx, &file, Extent { base, id, size }, &sink).await? {
        return Ok(Some(Moved { from, size, to: core.data.sync(sink).await? }));
    }
    core.shared.segments.set_stuck(segment);
    core.shared.integrity.suspect(from, size);
    Ok(None)
}

/// Copies data and table; false if some of it is not what was written.
async fn copy_bytes<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    ctx: &Context,
    file: &D::File,
    Extent { base, id, size }: Extent,
    sink: &data::Sink<D::File>,
) -> Result<bool, DriverError> {
    let mut table: Vec<u32> = Vec::new();
    for page in 0..page_count(size) {
        let at = base + data_length(size) + page * PAGE as u64;
        let buffer = read(core, ctx, file, at, PAGE).await?;
        let Some(entries) = buffer.and_then(|buffer| decode_page(id, page, &buffer)) else {
            return Ok(false);
        };
        table.extend(entries);
    }
    table.truncate(in_memory(block_count(size)));
    let mut at = 0;
    while at < size {
        let length = (PIECE as u64).min(size - at);
        let piece = read(core, ctx, file, base + at, in_memory(data_length(length))).await?;
        let Some(mut piece) = piece else { return Ok(false) };
        let blocks = piece[..in_memory(length)].chunks(BLOCK);
        let expected = &table[in_memory(at / BLOCK as u64).min(table.len())..];
        if !blocks.zip(expected).all(|(block, crc)| block_crc(id, block) == *crc) {
            return Ok(false);
        }
        piece[in_memory(length)..].fill(0);
        write(sink, piece, at).await?;
        at += length;
        // Others have their turn between two pieces.
        runtime::yield_now().await;
    }
    let mut pages = Vec::new();
    encode_table(id, &table, &mut pages);
    let mut buffer = core.pool.take_wait(ctx, pages.len()).await?;
    buffer.set_length(0);
    buffer.extend_from_slice(&pages);
    write(sink, buffer, data_length(size)).await?;
    Ok(true)
}

/// So many bytes; `None` if they cannot be read.
async fn read<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    ctx: &Context,
    file: &D::File,
    at: u64,
    length: usize,
) -> Result<Option<PooledBuffer>, DriverError> {
    let (mut memory, lease) = core.pool.take_wait(ctx, length).await?.into_inner();
    memory.set_length(length);
    let (read, memory) = file.read_at(memory, at).await;
    let buffer = PooledBuffer::from((memory, lease));
    Ok(read.is_ok_and(|read| read == length).then_some(buffer))
}

/// Writes to an extent. After a failure nothing more is written to its segment.
async fn write<F: DiskFile>(
    sink: &data::Sink<F>,
    buffer: PooledBuffer,
    offset: u64,
) -> Result<(), DriverError> {
    let (memory, lease) = buffer.into_inner();
    let (written, memory) = sink.file().write_at(memory, sink.base() + offset).await;
    drop(PooledBuffer::from((memory, lease)));
    if written.is_err() {
        sink.failed();
    }
    Ok(written?)
}
