//! The bytes of index keys. One ordered map per virtual shard holds four keyspaces:
//!
//! ```text
//! container  1 | tenant u32 BE | name 0x00                        | sequence u64 BE
//! artifact   2 | container id u64 BE | key 0x00                   | sequence
//! upload     3 | container id | key 0x00 | upload id u128 BE      | sequence
//! part       4 | container id | upload id | part number u16 BE    | sequence
//! ```
//!
//! What stands before the sequence is a key's *stem*. Names have no NUL, so no stem is a prefix of another,
//! and the versions of one stem are neighbours. The newest comes last: crossbeam-skiplist 0.1.3 steps from a
//! node that was removed under it to what follows that node, so a newer version must not sort before an older
//! one that is removed because of it, or a walk would skip both. A container's id is the sequence of the record
//! that created it, so a name that is used again gets another; it is kept in the container's value.

use smallvec::SmallVec;

use crate::model::{ContainerName, TenantId, UploadId};

/// A key, a stem or a beginning of one, usually on the stack.
pub(crate) type KeyBytes = SmallVec<[u8; 128]>;

/// The keyspaces, in the order in which recovery needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Keyspace {
    Container = 1,
    Artifact = 2,
    Upload = 3,
    Part = 4,
}

/// Length of the sequence that ends a key.
pub(crate) const SEQUENCE_LENGTH: usize = 8;

/// Greater than every byte of a name (UTF-8 has no such byte): ends a seek past all names with a prefix.
pub(crate) const AFTER_ALL: u8 = 0xFF;

/// Less than every byte of a name: ends one, and ends a seek past all versions of it when raised by one.
pub(crate) const NAME_END: u8 = 0;

/// The beginning of all of a tenant's container keys.
pub(crate) fn tenant(tenant: TenantId) -> KeyBytes {
    let mut key = KeyBytes::new();
    key.push(Keyspace::Container as u8);
    key.extend_from_slice(&tenant.0.to_be_bytes());
    key
}

/// The stem of a container.
pub(crate) fn container(owner: TenantId, name: &ContainerName) -> KeyBytes {
    let mut key = tenant(owner);
    key.extend_from_slice(name.as_bytes());
    key.push(NAME_END);
    key
}

/// The beginning of all keys of one keyspace in a container.
pub(crate) fn within(keyspace: Keyspace, container: u64) -> KeyBytes {
    let mut key = KeyBytes::new();
    key.push(keyspace as u8);
    key.extend_from_slice(&container.to_be_bytes());
    key
}

/// The stem of an artifact.
pub(crate) fn artifact(container: u64, name: &[u8]) -> KeyBytes {
    named(Keyspace::Artifact, container, name)
}

/// The stem of an upload. Uploads of one key sort by their ids, which begin with the time of creation.
pub(crate) fn upload(container: u64, name: &[u8], upload: UploadId) -> KeyBytes {
    let mut key = named(Keyspace::Upload, container, name);
    key.extend_from_slice(&upload.0.to_be_bytes());
    key
}

/// The beginning of all parts of an upload.
pub(crate) fn parts(container: u64, upload: UploadId) -> KeyBytes {
    let mut key = within(Keyspace::Part, container);
    key.extend_from_slice(&upload.0.to_be_bytes());
    key
}

/// The stem of a part.
pub(crate) fn part(container: u64, upload: UploadId, number: u16) -> KeyBytes {
    let mut key = parts(container, upload);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn named(keyspace: Keyspace, container: u64, name: &[u8]) -> KeyBytes {
    let mut key = within(keyspace, container);
    key.extend_from_slice(name);
    key.push(NAME_END);
    key
}

/// The key of one version of `stem`.
pub(crate) fn version(stem: &[u8], sequence: u64) -> KeyBytes {
    let mut key = KeyBytes::with_capacity(stem.len() + SEQUENCE_LENGTH);
    key.extend_from_slice(stem);
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// [`version`], for keeping.
pub(crate) fn version_boxed(stem: &[u8], sequence: u64) -> Box<[u8]> {
    let mut key = Vec::with_capacity(stem.len() + SEQUENCE_LENGTH);
    key.extend_from_slice(stem);
    key.extend_from_slice(&sequence.to_be_bytes());
    key.into_boxed_slice()
}

/// Splits a key into its stem and its sequence.
pub(crate) fn split(key: &[u8]) -> (&[u8], u64) {
    match key.split_last_chunk::<SEQUENCE_LENGTH>() {
        Some((stem, sequence)) => (stem, u64::from_be_bytes(*sequence)),
        None => (key, 0),
    }
}

/// Whether a key or stem is that of an artifact.
pub(crate) fn is_artifact(key: &[u8]) -> bool {
    key.first() == Some(&(Keyspace::Artifact as u8))
}

/// The container id in a stem of any keyspace but the containers' own.
pub(crate) fn container_of(stem: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*stem.get(1..)?.first_chunk()?))
}

/// The name in the stem of an artifact or upload: what stands between the container id and the NUL.
pub(crate) fn name_of(stem: &[u8]) -> Option<&str> {
    let rest = stem.get(9..)?;
    let end = memchr::memchr(NAME_END, rest)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// The upload id at the end of an upload's stem.
pub(crate) fn upload_of(stem: &[u8]) -> Option<UploadId> {
    Some(UploadId(u128::from_be_bytes(*stem.last_chunk()?)))
}

/// The upload id and the number in a part's stem.
pub(crate) fn part_of(stem: &[u8]) -> Option<(UploadId, u16)> {
    let (upload, number) = stem.get(9..)?.split_first_chunk::<16>()?;
    Some((UploadId(u128::from_be_bytes(*upload)), u16::from_be_bytes(number.try_into().ok()?)))
}

/// The name in a container's stem.
pub(crate) fn container_name_of(stem: &[u8]) -> Option<ContainerName> {
    let name = stem.get(5..stem.len().checked_sub(1)?)?;
    ContainerName::new(std::str::from_utf8(name).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_versions_sort_last_and_names_sort_by_their_bytes() {
        let mut keys = [
            version(&artifact(7, b"a"), 1),
            version(&artifact(7, b"a"), u64::MAX - 1),
            version(&artifact(7, b"a\x01"), 9),
            version(&artifact(7, b"aa"), 3),
            version(&artifact(7, "aé".as_bytes()), 2),
            version(&artifact(8, b"a"), 5),
        ];
        keys.sort();
        let order: Vec<_> = keys
            .iter()
            .map(|key| {
                let (stem, sequence) = split(key);
                (container_of(stem).unwrap(), name_of(stem).unwrap().to_owned(), sequence)
            })
            .collect();
        let expected = [
            (7, "a", 1),
            (7, "a", u64::MAX - 1),
            (7, "a\x01", 9),
            (7, "aa", 3),
            (7, "aé", 2),
            (8, "a", 5),
        ];
        assert_eq!(order, expected.map(|(id, name, sequence)| (id, name.to_owned(), sequence)));
    }

    #[test]
    fn stems_give_back_what_they_were_made_of() {
        let name = ContainerName::new("some-name").unwrap();
        assert_eq!(container_name_of(&container(TenantId(3), &name)), Some(name));
        let id = UploadId(0x0123_4567 << 96 | 9);
        assert_eq!(upload_of(&upload(1, b"key", id)), Some(id));
        assert_eq!(name_of(&upload(1, b"key", id)), Some("key"));
        assert_eq!(part_of(&part(1, id, 10_000)), Some((id, 10_000)));
    }
}
