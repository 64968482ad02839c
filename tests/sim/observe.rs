//! Looks at everything that a data folder holds.

use std::cell::RefCell;
use std::rc::Rc;

use vaultaire::context::Context;
use vaultaire::driver::{Chunk, Driver as _, DriverError, OpenArtifact, Reader, Target};
use vaultaire::model::{
    ArtifactKey, ByteRange, ContainerName, ContainerQuery, ListEntry, ListQuery, PartQuery,
    TenantId, UploadEntry, UploadId, UploadQuery,
};
use vaultaire::runtime::simulated::Random;

use super::cluster::Driver;
use super::content::Contents;
use super::model::{Name, Observation};
use super::register::{EMPTY, Value};

/// Containers that stay.
pub(crate) const CONTAINERS: u8 = 3;
/// Keys in each.
pub(crate) const KEYS: u8 = 7;
/// Containers that come and go.
pub(crate) const BOXES: u8 = 3;

pub(crate) fn ctx() -> Context {
    Context::internal(TenantId::DEFAULT)
}

pub(crate) fn container(number: u8) -> ContainerName {
    name(&format!("container-{number}"))
}

pub(crate) fn box_container(number: u8) -> ContainerName {
    name(&format!("box-{number}"))
}

fn name(text: &str) -> ContainerName {
    ContainerName::new(text).unwrap_or_else(|_| unreachable!("a good name"))
}

pub(crate) fn key_text(number: u8) -> String {
    // Some share a beginning.
    format!("{}/{number}", ["a", "a/b", "ab"][usize::from(number % 3)])
}

pub(crate) fn key(text: &str) -> ArtifactKey<'_> {
    ArtifactKey::new(text).unwrap_or_else(|_| unreachable!("a good key"))
}

/// Where an artifact of the box lies.
pub(crate) const BOX_KEY: &str = "content";

/// Sees all there is, on any of the cores.
pub(crate) async fn observe(
    cores: Vec<Driver>,
    contents: Rc<RefCell<Contents>>,
    mut random: Random,
) -> Observation {
    let mut seen = Observation::default();
    let query = ContainerQuery { limit: 1000, ..ContainerQuery::default() };
    let core = cores[random.below(cores.len())].clone();
    let page = match core.list_containers(&ctx(), &query).await {
        Ok(page) => page,
        Err(error) => {
            seen.failed.push(format!("containers are not listed: {error}"));
            return seen;
        }
    };
    for info in page.containers {
        let core = cores[random.below(cores.len())].clone();
        if let Some(number) = (0..CONTAINERS).find(|number| container(*number) == info.name) {
            seen.held.insert(Name::Container(number), EMPTY);
            let name_of = |text: &str| {
                (0..KEYS).find(|key| key_text(*key) == text).map(|key| Name::Key(number, key))
            };
            artifacts(&core, &info.name, &name_of, &contents, &mut random, &mut seen).await;
            uploads(&core, &info.name, number, &contents, &mut seen).await;
        } else if let Some(number) = (0..BOXES).find(|number| box_container(*number) == info.name) {
            seen.held.insert(Name::Box(number), EMPTY);
            let name_of = |text: &str| (text == BOX_KEY).then_some(Name::Box(number));
            artifacts(&core, &info.name, &name_of, &contents, &mut random, &mut seen).await;
        } else {
            seen.strange.push(format!("container {}", info.name.as_str()));
        }
    }
    seen
}

async fn artifacts(
    core: &Driver,
    container: &ContainerName,
    name_of: &dyn Fn(&str) -> Option<Name>,
    contents: &Rc<RefCell<Contents>>,
    random: &mut Random,
    seen: &mut Observation,
) {
    let mut query = ListQuery { limit: 1 + random.below(20), ..ListQuery::default() };
    loop {
        let page = match core.list(&ctx(), container, &query).await {
            Ok(page) => page,
            Err(error) => {
                seen.failed.push(format!("{} is not listed: {error}", container.as_str()));
                return;
            }
        };
        for entry in &page.entries {
            let ListEntry::Artifact(text, info) = entry else { continue };
            let value = contents.borrow().with_etag(info.etag);
            let (Some(name), Some(value)) = (name_of(text), value) else {
                seen.strange.push(format!(
                    "{} holds {text} with {}",
                    container.as_str(),
                    info.etag
                ));
                continue;
            };
            seen.held.insert(name, value);
            match read(core, container, text, None, contents).await {
                Ok(read) if read == value => (),
                Ok(read) => seen.wrong.push(format!("{name:?} lists {value} and reads {read}")),
                Err(Unread::Wrong(text)) => seen.wrong.push(format!("{name:?}: {text}")),
                Err(Unread::Failed(error)) => {
                    seen.unreadable.insert(name, error.to_string());
                }
            }
        }
        query.after = page.entries.last().map(|entry| entry.name().to_owned());
        if !page.truncated {
            return;
        }
    }
}

async fn uploads(
    core: &Driver,
    name: &ContainerName,
    container: u8,
    contents: &Rc<RefCell<Contents>>,
    seen: &mut Observation,
) {
    let query = UploadQuery { limit: 1000, ..UploadQuery::default() };
    let page = match core.list_uploads(&ctx(), name, &query).await {
        Ok(page) => page,
        Err(error) => {
            seen.failed.push(format!("uploads of {} are not listed: {error}", name.as_str()));
            return;
        }
    };
    for entry in page.entries {
        let UploadEntry::Upload { key: text, id, .. } = entry else { continue };
        let Some(number) = (0..KEYS).find(|key| key_text(*key) == text) else {
            seen.strange.push(format!("an upload of {text}"));
            continue;
        };
        seen.held.insert(Name::Upload(container, number, id.0), EMPTY);
        parts(core, name, &text, id, contents, seen).await;
    }
}

async fn parts(
    core: &Driver,
    name: &ContainerName,
    text: &str,
    id: UploadId,
    contents: &Rc<RefCell<Contents>>,
    seen: &mut Observation,
) {
    let target = Target { container: name, key: key(text) };
    let query = PartQuery { after: 0, limit: 1000 };
    match core.list_parts(&ctx(), target, id, query).await {
        Ok(page) => {
            for part in page.parts {
                match contents.borrow().with_etag(part.etag) {
                    Some(value) => {
                        seen.held.insert(Name::Part(id.0, part.number), value);
                    }
                    None => seen.strange.push(format!("part {} of {id}", part.number)),
                }
            }
        }
        Err(error) => seen.failed.push(format!("parts of {id} are not listed: {error}")),
    }
}

/// Why a content was not read.
pub(crate) enum Unread {
    Failed(DriverError),
    Wrong(String),
}

impl From<DriverError> for Unread {
    fn from(error: DriverError) -> Self {
        Self::Failed(error)
    }
}

/// Reads an artifact, or some bytes of it, and compares them with what was written.
pub(crate) async fn read(
    core: &Driver,
    container: &ContainerName,
    text: &str,
    range: Option<(usize, usize)>,
    contents: &Rc<RefCell<Contents>>,
) -> Result<Value, Unread> {
    let ctx = ctx();
    let open = core.open(&ctx, Target { container, key: key(text) }).await?;
    let info = open.info().clone();
    let value = contents.borrow().with_etag(info.etag);
    let Some(value) = value else {
        return Err(Unread::Wrong(format!("the tag {} was never written", info.etag)));
    };
    let (expected, metadata) = {
        let contents = contents.borrow();
        (contents.bytes(value), contents.metadata(value))
    };
    if info.size != expected.len() as u64 {
        return Err(Unread::Wrong(format!("{} bytes instead of {}", info.size, expected.len())));
    }
    if info.metadata != metadata {
        return Err(Unread::Wrong("other metadata".to_owned()));
    }
    let (first, length) = match range {
        Some((first, length)) => {
            let first = first % (expected.len() + 1);
            (first, length.min(expected.len() - first))
        }
        None => (0, expected.len()),
    };
    let asked = ByteRange { offset: first as u64, length: length as u64 };
    let mut reader = open.read(&ctx, asked).await?;
    let mut at = first;
    while let Some(chunk) = reader.next(&ctx).await? {
        let Chunk::Memory(bytes) = chunk else {
            return Err(Unread::Wrong("a file from memory".to_owned()));
        };
        if expected.get(at..at + bytes.len()) != Some(&bytes[..]) {
            return Err(Unread::Wrong(format!("other bytes from {at} on")));
        }
        at += bytes.len();
    }
    if at != first + length {
        return Err(Unread::Wrong(format!("it ends at {at}")));
    }
    Ok(value)
}
