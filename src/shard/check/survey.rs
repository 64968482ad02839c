//! What the records of the logs refer to, gathered without an index: of each key only a hash is kept.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use crate::model::{ContainerName, TenantId, UploadId};
use crate::shard::extent::block_crc;
use crate::shard::index::key::{self, Keyspace};
use crate::shard::index::parts;
use crate::shard::index::value::{
    Artifact, Content, Location, StoredMetadata, Upload, decode_container,
};
use crate::shard::log::{Place, ReplayedRecord};
use crate::shard::record::{Kind, decode_meta};
use crate::shard::recover::keep::Living;

/// Stands for a shard and a stem.
pub(super) type Owner = u128;

/// Bytes outside the log that a record refers to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) owner: Owner,
    sequence: u64,
    shard: u8,
    container: u64,
    /// The upload, if the record is a part's.
    upload: Option<UploadId>,
    pub(super) location: Location,
    pub(super) size: u64,
}

/// A record that says something exists, in which other things may be.
struct Named<T> {
    owner: Owner,
    sequence: u64,
    what: T,
}

/// The shard, id, tenant and name of a container.
type Container = (u8, u64, TenantId, Option<ContainerName>);

/// All that was gathered.
pub(super) struct Survey {
    hashers: [RandomState; 2],
    newest: HashMap<Owner, u64>,
    containers: Vec<Named<Container>>,
    uploads: Vec<Named<(u8, u64, UploadId)>>,
    claims: Vec<Claim>,
}

/// What is wrong with a record that its frame's checksum did not show.
pub(super) type Wrong = &'static str;

impl Survey {
    pub(super) fn new() -> Self {
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            newest: HashMap::new(),
            containers: Vec::new(),
            uploads: Vec::new(),
            claims: Vec::new(),
        }
    }

    pub(super) fn owner(&self, shard: u8, stem: &[u8]) -> Owner {
        let [one, two] = self.hashers.each_ref().map(|hasher| hasher.hash_one((shard, stem)));
        Owner::from(one) << 64 | Owner::from(two)
    }

    /// Takes a record in and verifies its body.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn add(&mut self, record: ReplayedRecord<'_>, body: &[u8]) -> Result<(), Wrong> {
        let kind = Kind::from_number(record.kind).ok_or("a record of an unknown kind")?;
        let (stem, value) = decode_meta(record.meta).ok_or("a malformed record")?;
        let ReplayedRecord { shard, sequence, place, .. } = record;
        let owner = self.owner(shard, stem);
        let newest = self.newest.entry(owner).or_default();
        *newest = sequence.max(*newest);
        if kind == Kind::Remove {
            return Ok(());
        }
        let keyspace = stem[0];
        if keyspace == Keyspace::Container as u8 {
            let container = decode_container(value).ok_or("a malformed container")?;
            let tenant = stem.get(1..).and_then(|rest| rest.first_chunk());
            let tenant = TenantId(tenant.map_or(0, |bytes| u32::from_be_bytes(*bytes)));
            let what = (shard, container.id, tenant, key::container_name_of(stem));
            self.containers.push(Named { owner, sequence, what });
            return Ok(());
        }
        let container = key::container_of(stem).ok_or("a malformed key")?;
        if keyspace == Keyspace::Upload as u8 {
            let upload = Upload::decode(place, value).ok_or("a malformed upload")?;
            let id = key::upload_of(stem).ok_or("a malformed key")?;
            self.uploads.push(Named { owner, sequence, what: (shard, container, id) });
            return metadata_is_whole(upload.metadata, place, body);
        }
        let artifact =
            Artifact::decode(shard, sequence, place, value).ok_or("a malformed value")?;
        metadata_is_whole(artifact.metadata, place, body)?;
        let upload = key::part_of(stem).filter(|_| keyspace == Keyspace::Part as u8);
        let upload = upload.map(|(upload, _)| upload);
        let claim =
            |location, size| Claim { owner, sequence, shard, container, upload, location, size };
        match artifact.content {
            Content::Whole(Location::Inline { place: inline, id, crc }) => {
                let bytes = body.get(..inline.length as usize).ok_or("a body that is too short")?;
                if block_crc(id, bytes) != crc {
                    return Err("inline bytes that fail their checksum");
                }
            }
            Content::Whole(location) => self.claims.push(claim(location, artifact.size)),
            Content::Composite(list) => {
                let bytes = body.get(..list.place.length as usize);
                let bytes = bytes.filter(|bytes| crc_fast::crc32_iscsi(bytes) == list.crc);
                let parts = bytes.and_then(parts::decode).ok_or("a damaged list of parts")?;
                let stored = parts.iter().filter(|part| {
                    part.size > 0 && !matches!(part.location, Location::Inline { .. })
                });
                self.claims.extend(stored.map(|part| claim(part.location, part.size)));
            }
        }
        Ok(())
    }

    /// The highest sequence of a stem in the logs.
    pub(super) fn newest(&self, shard: u8, stem: &[u8]) -> Option<u64> {
        self.newest.get(&self.owner(shard, stem)).copied()
    }

    /// What of a shard may have something in it, as far as the logs tell.
    pub(super) fn living(&self, shard: u8) -> Living {
        let containers = self.existing(&self.containers).filter(|one| one.0 == shard);
        let uploads = self.existing(&self.uploads).filter(|one| one.0 == shard);
        Living::new(
            containers.map(|(_, id, ..)| *id),
            uploads.map(|(_, container, upload)| (*container, *upload)),
        )
    }

    /// Those that the newest record of their key names.
    fn existing<'n, T>(&'n self, named: &'n [Named<T>]) -> impl Iterator<Item = &'n T> {
        let is_newest = |one: &&Named<T>| self.newest.get(&one.owner) == Some(&one.sequence);
        named.iter().filter(is_newest).map(|one| &one.what)
    }

    /// The claims that count: of the newest record of a key, in something that exists.
    pub(super) fn live(&self) -> Vec<Claim> {
        let is_newest = |owner: Owner, sequence| self.newest.get(&owner) == Some(&sequence);
        let containers: HashSet<(u8, u64)> =
            self.existing(&self.containers).map(|(shard, id, ..)| (*shard, *id)).collect();
        let uploads: HashSet<(u8, u64, UploadId)> = self.existing(&self.uploads).copied().collect();
        let live = |claim: &&Claim| {
            is_newest(claim.owner, claim.sequence)
                && containers.contains(&(claim.shard, claim.container))
                && claim
                    .upload
                    .is_none_or(|upload| uploads.contains(&(claim.shard, claim.container, upload)))
        };
        self.claims.iter().filter(live).copied().collect()
    }

    /// Says whose a stem is.
    pub(super) fn name(&self, shard: u8, stem: &[u8]) -> String {
        let id = key::container_of(stem).unwrap_or_default();
        let container =
            self.containers.iter().rev().find(|one| (one.what.0, one.what.1) == (shard, id));
        let container = match container.map(|one| &one.what) {
            Some((_, _, tenant, Some(name))) if *tenant == TenantId::DEFAULT => {
                format!("container {}", name.as_str())
            }
            Some((_, _, tenant, Some(name))) => {
                format!("container {} of tenant {}", name.as_str(), tenant.0)
            }
            _ => format!("container number {id}"),
        };
        match (key::name_of(stem), key::part_of(stem)) {
            (_, Some((upload, number))) if stem[0] == Keyspace::Part as u8 => {
                format!("part {number} of upload {:032x} in {container}", upload.0)
            }
            (Some(name), _) => format!("{name:?} in {container}"),
            _ => container,
        }
    }
}

fn metadata_is_whole(
    metadata: StoredMetadata<'_>,
    record: Place,
    body: &[u8],
) -> Result<(), Wrong> {
    let StoredMetadata::InLog { place, crc } = metadata else { return Ok(()) };
    let start = place.offset.saturating_sub(record.offset) as usize;
    let bytes = body.get(start..start + place.length as usize);
    let whole = bytes.is_some_and(|bytes| crc_fast::crc32_iscsi(bytes) == crc);
    whole.then_some(()).ok_or("metadata that fails its checksum")
}
