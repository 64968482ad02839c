//! Writes the live records of a log segment again, so that the segment can go.
//!
//! Each is a commit of its shard's owner, which drops it if the key has changed meanwhile.

use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::join_all;

use super::Core;
use super::records::{self, Live};
use crate::context::Context;
use crate::driver::DriverError;
use crate::io::{Clock, Disk};
use crate::model::TenantId;
use crate::runtime::Pauses;
use crate::shard::commit::{Relocation, Request};
use crate::shard::extent::block_crc;
use crate::shard::index::key::Keyspace;
use crate::shard::index::value::{Artifact, Content, Location};
use crate::shard::log::LAST_SHARE;
use crate::shard::log::replay::SegmentRef;
use crate::shard::log::writer::Urgency;
use crate::shard::shared::WriteState;

/// Records that are moved at once.
const MOVES_MAX: usize = 32;

/// Records that are looked up before others have a turn.
const LOOKS_AT_ONCE: usize = 16;

/// The live records of a sealed log segment that are still to be written again.
pub(super) struct Lot {
    pub(super) segment: u64,
    rest: std::vec::IntoIter<Live>,
    /// About as many bytes as one of them takes.
    each: u64,
    urgency: Urgency,
}

impl Lot {
    /// All that is live in a segment.
    ///
    /// # Errors
    /// [`DriverError::Full`] if there is no room for so much; else what kept the segment from being read.
    pub(super) async fn of<D: Disk, C: Clock>(
        core: &Rc<Core<D, C>>,
        segment: &SegmentRef,
    ) -> Result<Self, DriverError> {
        let live = records::all(core, segment).await?;
        // On a full disk, what is little may use the room that is kept for deletions: a whole segment is won by it.
        let mut bytes = 0;
        let pauses = Pauses::after(LOOKS_AT_ONCE);
        for live in &live {
            bytes += live.bytes(core).await?.unwrap_or_default() as u64;
            pauses.count(1).await;
        }
        let urgency = if bytes * LAST_SHARE <= segment.length {
            Urgency::Last
        } else if core.shared.write_state() == WriteState::Open {
            Urgency::Normal
        } else {
            return Err(DriverError::Full);
        };
        let each = bytes.div_ceil(live.len().max(1) as u64).max(1);
        Ok(Self { segment: segment.segment, rest: live.into_iter(), each, urgency })
    }

    /// Whether none are left.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.len() == 0
    }

    /// Writes the next of them again, about so many bytes; returns how many records these were.
    ///
    /// # Errors
    /// What kept one of them where it is. Those that were tried with it are not tried again.
    pub(super) async fn go_on<D: Disk, C: Clock>(
        &mut self,
        core: &Rc<Core<D, C>>,
        bytes: u64,
    ) -> Result<u64, DriverError> {
        let mut moved: u64 = 0;
        while moved.saturating_mul(self.each) < bytes {
            let some: Vec<_> = self.rest.by_ref().take(MOVES_MAX).collect();
            if some.is_empty() {
                break;
            }
            moved += some.len() as u64;
            let moves = join_all(some.iter().map(|live| relocate_one(core, live, self.urgency)));
            moves.await.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(moved)
    }
}

/// A log segment of this start, as replay wants it.
pub(super) async fn reference<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    segment: u64,
) -> Option<SegmentRef> {
    records::logs(core).await.ok()?.into_iter().find(|each| each.segment == segment)
}

async fn relocate_one<D: Disk, C: Clock>(
    core: &Rc<Core<D, C>>,
    live: &Live,
    urgency: Urgency,
) -> Result<(), DriverError> {
    let ctx = Context::internal(TenantId::DEFAULT);
    let _pin = core.pins.pin();
    let Some((place, value)) = live.entry(core).await? else { return Ok(()) };
    let body = core.read_log(&ctx, place).await?;
    let size = if is_keyspace(&live.stem, Keyspace::Artifact) {
        let artifact = Artifact::decode(live.shard, live.sequence, place, &value);
        verified_size(artifact.ok_or(DriverError::Corrupt)?, &body)?
    } else {
        None
    };
    let (stem, sequence) = (live.stem.clone(), live.sequence);
    let moved = Vec::new();
    let relocation = Relocation { stem, sequence, value, size, body, moved, urgency };
    let request = Request::Relocate(Box::new(relocation));
    core.shared.commit(live.shard, request, &core.clock, |_| ()).await?;
    Ok(())
}

/// The number of inline bytes at the beginning of the body, which must be what was written.
fn verified_size(artifact: Artifact<'_>, body: &Bytes) -> Result<Option<usize>, DriverError> {
    let Content::Whole(Location::Inline { place, id, crc }) = artifact.content else {
        return Ok(None);
    };
    let size = usize::try_from(place.length).unwrap_or(usize::MAX);
    let bytes = body.get(..size).ok_or(DriverError::Corrupt)?;
    if block_crc(id, bytes) == crc { Ok(Some(size)) } else { Err(DriverError::Corrupt) }
}

fn is_keyspace(stem: &[u8], keyspace: Keyspace) -> bool {
    stem.first() == Some(&(keyspace as u8))
}
