//! Gathers replayed records and brings them into the index in the order of their keys, which costs a tenth of
//! inserting them in the order of the log: neighbours in the map are neighbours in time. Artifacts that are too many for
//! that leave it as runs instead ([`super::spill`]).

use std::collections::{BTreeSet, HashMap};

use crate::shard::index::{Entry, SHARDS, key, size};
use crate::shard::log::ReplayedRecord;
use crate::shard::planted::{self, Bug};
use crate::shard::record::{Kind, decode_meta};
use crate::shard::shared::Shared;

/// Most records that are held back.
const RECORDS_MAX: usize = 2 << 20;

/// A key with its sequence, and what is kept of the record.
type Versioned = (Box<[u8]>, Entry);

/// One core's records.
pub(super) struct Gathered {
    /// By shard.
    runs: Vec<Vec<Versioned>>,
    records: usize,
    bytes: usize,
    /// The highest sequence of each shard.
    pub(super) sequences: Vec<u64>,
    /// Number of records by segment.
    pub(super) records_of: HashMap<u64, u64>,
    /// Segments with records that could not be read.
    pub(super) malformed: BTreeSet<u64>,
    /// Up to which sequence the checkpoint of each shard has all records.
    known: Vec<u64>,
}

impl Gathered {
    pub(super) fn new(known: Vec<u64>) -> Self {
        let runs = (0..SHARDS).map(|_| Vec::new()).collect();
        let (sequences, records_of) = (vec![0; SHARDS], HashMap::new());
        Self {
            runs,
            records: 0,
            bytes: 0,
            sequences,
            records_of,
            malformed: BTreeSet::new(),
            known,
        }
    }

    pub(super) fn add(&mut self, shared: &Shared, record: ReplayedRecord<'_>) {
        let shard = usize::from(record.shard);
        self.sequences[shard] = record.sequence.max(self.sequences[shard]);
        let (Some(kind), Some((stem, value))) =
            (Kind::from_number(record.kind), decode_meta(record.meta))
        else {
            self.malformed.insert(record.place.segment);
            return;
        };
        if value.is_empty() != (kind == Kind::Remove) {
            self.malformed.insert(record.place.segment);
            return;
        }
        *self.records_of.entry(record.place.segment).or_default() += 1;
        // What a checkpoint knows may have been replaced or removed there, and hides nothing newer.
        if record.sequence <= self.known[shard] {
            return;
        }
        let entry = Entry { place: record.place, value: value.into() };
        let version = key::version_boxed(stem, record.sequence);
        self.bytes += size(&version, &entry);
        self.runs[shard].push((version, entry));
        self.records += 1;
        if self.records >= RECORDS_MAX {
            self.flush(shared);
        }
    }

    /// Bytes of memory of what is held back, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sorts what is held back and leaves of each key the newest version: no other can matter.
    pub(super) fn sort(&mut self) {
        for run in &mut self.runs {
            if planted::is(Bug::ReplayInLogOrder) {
                run.sort_by(|(one, _), (other, _)| key::split(one).0.cmp(key::split(other).0));
            } else {
                run.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            }
            run.dedup_by(|next, before| {
                let replaces = key::split(&next.0).0 == key::split(&before.0).0;
                if replaces {
                    std::mem::swap(next, before);
                }
                replaces
            });
        }
    }

    /// The artifacts that are held back, by shard, each in the order of their keys once they are sorted.
    pub(super) fn artifacts(&self) -> impl Iterator<Item = (u8, &[u8], &Entry)> {
        let runs = (0..=u8::MAX).zip(&self.runs);
        runs.flat_map(|(shard, run)| {
            run.iter().map(move |(version, entry)| (shard, version, entry))
        })
        .filter(|(_, version, _)| key::is_artifact(version))
        .map(|(shard, version, entry)| (shard, &version[..], entry))
    }

    /// Brings all that is held back into the index.
    pub(super) fn flush(&mut self, shared: &Shared) {
        self.sort();
        self.bring(shared, |_| true);
    }

    /// The same, but artifacts lie elsewhere now.
    pub(super) fn flush_resident(&mut self, shared: &Shared) {
        self.bring(shared, |version| !key::is_artifact(version));
    }

    fn bring(&mut self, shared: &Shared, is_wanted: impl Fn(&[u8]) -> bool) {
        for (shard, run) in (0..=u8::MAX).zip(&mut self.runs) {
            if run.is_empty() {
                continue;
            }
            let map = shared.index.shard(shard);
            for (version, entry) in std::mem::take(run) {
                if !is_wanted(&version) {
                    continue;
                }
                if planted::is(Bug::ReplayInLogOrder) {
                    map.forget_stem(key::split(&version).0);
                }
                map.insert_version(version, entry);
            }
        }
        (self.records, self.bytes) = (0, 0);
    }
}
