//! Listings: pages of artifacts, uploads, parts and containers, at a cost proportional to what is returned.

use super::key::{self, AFTER_ALL, KeyBytes, Keyspace};
use super::run::{Reader, RunError, RunFiles, Version};
use super::scan::Visible;
use super::value::{self, Artifact, Upload};
use super::walk::Walk;
use super::{Cursor, Index, ShardMap};
use crate::model::{
    ContainerInfo, ContainerPage, ContainerQuery, ListEntry, ListPage, ListQuery, Metadata,
    PartInfo, PartQuery, TenantId, UploadId, UploadQuery,
};

/// A value in the index could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value of the index is malformed")]
pub(crate) struct Malformed;

/// Why artifacts could not be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Run(#[from] RunError),
}

/// What a walk over names meets next.
enum Met<'a> {
    Entry(Visible<'a>),
    Prefix(String),
}

/// Walks over the names of a container's uploads, rolling those up that share a delimiter after the prefix.
struct Names<'a, 'q> {
    cursor: Cursor<'a>,
    container: u64,
    prefix: &'q str,
    delimiter: &'q str,
    /// Rolled-up prefixes up to this were on earlier pages.
    after: &'q str,
}

impl<'a, 'q> Names<'a, 'q> {
    fn new(
        shard: &'a ShardMap,
        container: u64,
        (prefix, delimiter): (&'q str, &'q str),
        (after, from): (&'q str, KeyBytes),
    ) -> Self {
        let mut beginning = key::within(Keyspace::Upload, container);
        beginning.extend_from_slice(prefix.as_bytes());
        let cursor = shard.scan(beginning, &from);
        Self { cursor, container, prefix, delimiter, after }
    }

    fn next(&mut self) -> Result<Option<Met<'a>>, Malformed> {
        while let Some(found) = self.cursor.next() {
            let name = key::name_of(found.stem()).ok_or(Malformed)?;
            let Some(rolled) = rolled_up(name, self.prefix, self.delimiter) else {
                return Ok(Some(Met::Entry(found)));
            };
            let mut past = key::within(Keyspace::Upload, self.container);
            past.extend_from_slice(rolled.as_bytes());
            past.push(AFTER_ALL);
            self.cursor.seek(&past);
            if rolled > self.after {
                return Ok(Some(Met::Prefix(rolled.to_owned())));
            }
        }
        Ok(None)
    }
}

/// The beginning of a name up to the first delimiter after the prefix; `None` if there is none.
fn rolled_up<'n>(name: &'n str, prefix: &str, delimiter: &str) -> Option<&'n str> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = name.get(prefix.len()..)?;
    let at = memchr::memmem::find(rest.as_bytes(), delimiter.as_bytes())?;
    name.get(..prefix.len() + at + delimiter.len())
}

/// Where to begin strictly after a name, whatever its versions and uploads.
fn past_name(keyspace: Keyspace, container: u64, name: &str) -> KeyBytes {
    let mut from = key::within(keyspace, container);
    if !name.is_empty() {
        from.extend_from_slice(name.as_bytes());
        from.push(key::NAME_END + 1);
    }
    from
}

/// Entries after which a page is taken for a full one.
const FEW: usize = 64;
/// Most entries that are then made room for.
const MANY: usize = 1000;

/// Lists artifacts. The caller has made a pin.
pub(crate) async fn artifacts<F: RunFiles>(
    shard: &ShardMap,
    number: u8,
    container: u64,
    query: &ListQuery,
    reader: Reader<'_, F>,
) -> Result<ListPage, ListError> {
    let after = query.after.as_deref().unwrap_or_default();
    let from = past_name(Keyspace::Artifact, container, after);
    let within = key::within(Keyspace::Artifact, container);
    let mut beginning = within.clone();
    beginning.extend_from_slice(query.prefix.as_bytes());
    let view = shard.view();
    let mut walk = Walk::new(shard, &view, beginning, &from);
    let mut page = ListPage::default();
    while query.limit > 0
        && let Some(found) = walk.next(reader).await?
    {
        let name = key::name_of(found.stem).ok_or(Malformed)?;
        let rolled = rolled_up(name, &query.prefix, &query.delimiter);
        if rolled.is_none_or(|rolled| rolled > after) {
            if page.entries.len() == query.limit {
                page.truncated = true;
                break;
            }
            if page.entries.len() == FEW {
                page.entries.reserve_exact((query.limit - FEW).min(MANY));
            }
            page.entries.push(match rolled {
                Some(prefix) => ListEntry::Prefix(prefix.to_owned()),
                None => {
                    let Version { sequence, place, value, .. } = found;
                    let artifact =
                        Artifact::decode(number, sequence, place, value).ok_or(Malformed)?;
                    ListEntry::Artifact(name.to_owned(), artifact.info(Metadata::default()))
                }
            });
        }
        match rolled {
            None => walk.step()?,
            Some(rolled) => {
                let mut past = within.clone();
                past.extend_from_slice(rolled.as_bytes());
                past.push(AFTER_ALL);
                walk.seek(&past);
            }
        }
    }
    Ok(page)
}

/// An upload met in a listing.
pub(crate) enum UploadMet<'a> {
    /// An upload in progress; its metadata may have to be read.
    Upload { key: String, id: UploadId, entry: Visible<'a> },
    /// A rolled-up prefix.
    Prefix(String),
}

/// Lists uploads, and says whether more follow.
pub(crate) fn uploads<'a>(
    shard: &'a ShardMap,
    container: u64,
    query: &UploadQuery,
) -> Result<(Vec<UploadMet<'a>>, bool), Malformed> {
    let (after, from) = match &query.after {
        None => ("", past_name(Keyspace::Upload, container, "")),
        Some((name, None)) => (name.as_str(), past_name(Keyspace::Upload, container, name)),
        Some((name, Some(id))) => {
            let mut from = key::upload(container, name.as_bytes(), *id);
            from.push(AFTER_ALL);
            from.resize(from.len() + key::SEQUENCE_LENGTH, AFTER_ALL);
            (name.as_str(), from)
        }
    };
    let rolling = (query.prefix.as_str(), query.delimiter.as_str());
    let mut names = Names::new(shard, container, rolling, (after, from));
    let mut met = Vec::new();
    while query.limit > 0
        && let Some(next) = names.next()?
    {
        if met.len() == query.limit {
            return Ok((met, true));
        }
        met.push(match next {
            Met::Prefix(prefix) => UploadMet::Prefix(prefix),
            Met::Entry(entry) => UploadMet::Upload {
                key: key::name_of(entry.stem()).ok_or(Malformed)?.to_owned(),
                id: key::upload_of(entry.stem()).ok_or(Malformed)?,
                entry,
            },
        });
    }
    Ok((met, false))
}

/// Decodes an upload that a walk or look-up found.
pub(crate) fn upload<'e>(entry: &'e super::Entry) -> Result<Upload<'e>, Malformed> {
    Upload::decode(entry.place, &entry.value).ok_or(Malformed)
}

/// Lists the parts of an upload, and says whether more follow.
pub(crate) fn parts(
    shard: &ShardMap,
    number: u8,
    container: u64,
    upload: UploadId,
    query: PartQuery,
) -> Result<(Vec<PartInfo>, bool), Malformed> {
    let mut from = key::part(container, upload, query.after);
    if query.after > 0 {
        from.resize(from.len() + key::SEQUENCE_LENGTH, AFTER_ALL);
    }
    let mut cursor = shard.scan(key::parts(container, upload), &from);
    let mut found = Vec::new();
    while query.limit > 0
        && let Some(part) = cursor.next()
    {
        if found.len() == query.limit {
            return Ok((found, true));
        }
        let (_, part_number) = key::part_of(part.stem()).ok_or(Malformed)?;
        let entry = part.entry();
        let decoded = Artifact::decode(number, part.sequence(), entry.place, &entry.value)
            .ok_or(Malformed)?;
        found.push(PartInfo {
            number: part_number,
            size: decoded.size,
            etag: decoded.etag,
            checksum: decoded.checksum,
            modified_ms: decoded.modified_ms,
        });
    }
    Ok((found, false))
}

/// Lists a tenant's containers, which lie in all shards.
pub(crate) fn containers(index: &Index, tenant: TenantId, query: &ContainerQuery) -> ContainerPage {
    let mut page = ContainerPage::default();
    if query.limit == 0 {
        return page;
    }
    let mut prefix = key::tenant(tenant);
    let mut from = prefix.clone();
    prefix.extend_from_slice(query.prefix.as_bytes());
    if let Some(after) = &query.after {
        from.extend_from_slice(after.as_bytes());
        from.push(key::NAME_END + 1);
    }
    // In most shards of a small folder nothing was ever published.
    for shard in index.used().filter(|shard| shard.published() > 0) {
        let mut cursor = shard.scan(prefix.clone(), &from);
        let mut of_shard = 0;
        while of_shard <= query.limit
            && let Some(found) = cursor.next()
        {
            let container = value::decode_container(&found.entry().value);
            let (Some(name), Some(container)) = (key::container_name_of(found.stem()), container)
            else {
                continue;
            };
            page.containers.push(ContainerInfo { name, created_ms: container.created_ms });
            of_shard += 1;
        }
    }
    page.containers.sort_unstable_by_key(|container| container.name);
    page.truncated = page.containers.len() > query.limit;
    page.containers.truncate(query.limit);
    page
}
