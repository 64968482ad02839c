//! Pages over the maps.

use std::ops::Bound;

use crate::model::{
    ArtifactInfo, ContainerInfo, ContainerPage, ContainerQuery, ListEntry, ListPage, ListQuery,
    Metadata, PartPage, PartQuery, UploadEntry, UploadPage, UploadQuery,
};

use super::state::{Container, Upload};

/// The part of `key` that a listing shows instead of it, if it is rolled up.
fn rolled_up<'k>(key: &'k str, prefix: &str, delimiter: &str) -> Option<&'k str> {
    if delimiter.is_empty() {
        return None;
    }
    let found = key.get(prefix.len()..)?.find(delimiter)?;
    key.get(..prefix.len() + found + delimiter.len())
}

/// Cuts entries to a page. A page of none says that nothing follows, since no page could go on from it.
fn page<T>(entries: impl Iterator<Item = T>, limit: usize) -> (Vec<T>, bool) {
    let mut page: Vec<T> = entries.take(limit.saturating_add(1)).collect();
    let truncated = limit > 0 && page.len() > limit;
    page.truncate(limit);
    (page, truncated)
}

/// A page of containers, which come in order.
pub(super) fn containers(
    all: impl Iterator<Item = ContainerInfo>,
    query: &ContainerQuery,
) -> ContainerPage {
    let wanted = all.filter(|info| {
        let name = info.name.as_str();
        name.starts_with(&query.prefix) && query.after.as_deref().is_none_or(|after| name > after)
    });
    let (containers, truncated) = page(wanted, query.limit);
    ContainerPage { containers, truncated }
}

/// A page of artifacts.
pub(super) fn artifacts(container: &Container, query: &ListQuery) -> ListPage {
    let after = query.after.as_deref();
    let first = after.unwrap_or_default().max(&query.prefix);
    let range = container.artifacts.range::<str, _>((Bound::Included(first), Bound::Unbounded));
    let mut last_rolled = None;
    let entries = range
        .take_while(|(key, _)| key.starts_with(&query.prefix))
        .filter_map(|(key, artifact)| match rolled_up(key, &query.prefix, &query.delimiter) {
            Some(prefix) if last_rolled == Some(prefix) => None,
            Some(prefix) => {
                last_rolled = Some(prefix);
                Some(ListEntry::Prefix(prefix.to_owned()))
            }
            None => Some(ListEntry::Artifact(key.clone(), described(&artifact.info))),
        })
        .filter(|entry| after.is_none_or(|after| entry.name() > after));
    let (entries, truncated) = page(entries, query.limit);
    ListPage { entries, truncated }
}

/// A description as listings give it.
fn described(info: &ArtifactInfo) -> ArtifactInfo {
    ArtifactInfo { metadata: Metadata::default(), ..info.clone() }
}

/// A page of uploads.
pub(super) fn uploads(container: &Container, query: &UploadQuery) -> UploadPage {
    let comes_after = |key: &str, id: Option<_>| match &query.after {
        None => true,
        Some((after, Some(after_id))) if key == after => id.is_some_and(|id| id > *after_id),
        Some((after, _)) => key > after.as_str(),
    };
    let mut last_rolled = None;
    let entries =
        container.uploads.iter().filter(|((key, _), _)| key.starts_with(&query.prefix)).filter_map(
            |((key, id), upload)| match rolled_up(key, &query.prefix, &query.delimiter) {
                Some(prefix) if last_rolled == Some(prefix) => None,
                Some(prefix) => {
                    last_rolled = Some(prefix);
                    comes_after(prefix, None).then(|| UploadEntry::Prefix(prefix.to_owned()))
                }
                None => comes_after(key, Some(*id)).then(|| UploadEntry::Upload {
                    key: key.clone(),
                    id: *id,
                    info: upload.info.clone(),
                }),
            },
        );
    let (entries, truncated) = page(entries, query.limit);
    UploadPage { entries, truncated }
}

/// A page of an upload's parts.
pub(super) fn parts(upload: &Upload, query: PartQuery) -> PartPage {
    let range = upload.parts.range((Bound::Excluded(query.after), Bound::Unbounded));
    let (parts, truncated) = page(range.map(|(_, part)| part.info.clone()), query.limit);
    PartPage { upload: upload.info.clone(), parts, truncated }
}
