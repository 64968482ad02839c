//! What lies under the active table of the artifacts that requests are about: looked up before a batch is decided, for
//! deciding waits for nothing.

use std::collections::HashMap;

use futures_util::StreamExt;

use super::request::{Commit, Request, Subject};
use crate::io::Disk;
use crate::shard::error::ShardError;
use crate::shard::finder::Finder;
use crate::shard::index::key::{self, KeyBytes, Keyspace};
use crate::shard::index::{Entry, ShardMap, Walk};
use crate::shard::log::writer::BATCH_RECORDS_MAX;
use crate::shard::shared::Shared;

/// Look-ups in runs at once.
const READS_MAX: usize = 64;

/// An entry that lies under the active table and is not hidden by it.
pub(super) struct Older {
    pub(super) sequence: u64,
    pub(super) entry: Entry,
}

/// What was looked up. It holds until the batch is in the index, for nobody else writes to these shards.
#[derive(Default)]
pub(super) struct Resolved {
    /// By shard and stem.
    older: HashMap<KeyBytes, Result<Option<Older>, ShardError>>,
    /// Whether no artifact of a container is current, by its shard and id.
    empty: HashMap<(u8, u64), Result<bool, ShardError>>,
}

impl Resolved {
    /// What was found of a stem.
    pub(super) fn older(&self, shard: u8, stem: &[u8]) -> Option<&Older> {
        if self.older.is_empty() {
            return None;
        }
        self.older.get(&super::batch::in_shard(shard, stem)[..])?.as_ref().ok()?.as_ref()
    }

    /// Gives up what was found of a stem, for it is hidden from now on.
    pub(super) fn take(&mut self, shard: u8, stem: &[u8]) -> Option<Older> {
        if self.older.is_empty() {
            return None;
        }
        self.older.remove(&super::batch::in_shard(shard, stem)[..])?.ok()?
    }

    /// What kept a stem from being looked up; `None` if it was not tried.
    pub(super) fn of(&self, shard: u8, stem: &[u8]) -> Option<Result<(), ShardError>> {
        let found = self.older.get(&super::batch::in_shard(shard, stem)[..])?;
        Some(found.as_ref().map(drop).map_err(Clone::clone))
    }

    /// Whether a container had no artifact; `None` if it was not tried.
    pub(super) fn is_empty(&self, shard: u8, container: u64) -> Option<Result<bool, ShardError>> {
        self.empty.get(&(shard, container)).cloned()
    }
}

/// Shows the stems of the artifacts that a request is about, if their container is known.
pub(super) fn artifacts(
    request: &Request,
    container: impl Fn(&Subject) -> Option<u64>,
    mut each: impl FnMut(KeyBytes),
) {
    let (subject, one, many): (_, &str, &[_]) = match request {
        Request::Put(subject, put) => (subject, &put.key, &[]),
        Request::Complete(subject, completion) => (subject, &completion.key, &[]),
        Request::Delete(subject, deletions) => (subject, "", deletions),
        Request::Relocate(relocation) if key::is_artifact(&relocation.stem) => {
            each(relocation.stem.clone());
            return;
        }
        _ => return,
    };
    let Some(container) = container(subject) else { return };
    if !one.is_empty() {
        each(key::artifact(container, one.as_bytes()));
    }
    for (name, _) in many {
        each(key::artifact(container, name.as_bytes()));
    }
}

/// Looks up what the first of those that wait are about, as many as fit one batch. The caller has made a pin.
pub(super) async fn resolve<'c, D: Disk>(
    shared: &Shared,
    finder: &Finder<D>,
    waiting: impl Iterator<Item = &'c Commit>,
) -> Resolved {
    let mut resolved = Resolved::default();
    let mut wanted: Vec<(u8, KeyBytes)> = Vec::new();
    let mut records = 0;
    for Commit { shard, request, .. } in waiting {
        records += request.size_max().0;
        if records > BATCH_RECORDS_MAX && !(wanted.is_empty() && resolved.empty.is_empty()) {
            break;
        }
        let map = shared.index.shard(*shard);
        let container = |subject: &Subject| {
            map.container(subject.tenant, &subject.container).map(|container| container.id)
        };
        if let Request::DeleteContainer(subject) = request {
            if let Some(container) = container(subject) {
                let empty = is_empty(shared, finder, *shard, container).await;
                resolved.empty.insert((*shard, container), empty);
            }
            continue;
        }
        if map.is_flat() {
            continue;
        }
        artifacts(request, container, |stem| {
            if needs_look(map, &stem) {
                wanted.push((*shard, stem));
            }
        });
    }
    if wanted.is_empty() {
        return resolved;
    }
    let looks = wanted.into_iter().map(|(shard, stem)| async move {
        let found = finder.get(shard, &stem, |sequence, place, value| Older {
            sequence,
            entry: Entry { place, value: value.into() },
        });
        (super::batch::in_shard(shard, &stem), found.await)
    });
    let mut looks = futures_util::stream::iter(looks).buffer_unordered(READS_MAX);
    while let Some((stem, found)) = looks.next().await {
        resolved.older.insert(stem, found);
    }
    resolved
}

/// Whether what lies under the active table says what is current of a stem, if anything.
pub(super) fn needs_look(map: &ShardMap, stem: &[u8]) -> bool {
    let view = map.view();
    !view.active.table.holds(stem) && view.may_lie_below(stem)
}

/// Whether no artifact of a container is current.
async fn is_empty<D: Disk>(
    shared: &Shared,
    finder: &Finder<D>,
    shard: u8,
    container: u64,
) -> Result<bool, ShardError> {
    let map = shared.index.shard(shard);
    let view = map.view();
    let mut walk = Walk::new(map, &view, key::within(Keyspace::Artifact, container), &[]);
    let first = walk.next(finder.reader()).await;
    Ok(first.map_err(|error| shared.run_failed(error))?.is_none())
}
