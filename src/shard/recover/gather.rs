//! Gathers replayed records and brings them into the index in the order of their keys, which costs a tenth of
//! inserting them in the order of the log: neighbours in the map are neighbours in time.

use std::collections::HashMap;

use crate::shard::index::{Entry, SHARDS, key};
use crate::shard::log::ReplayedRecord;
use crate::shard::planted::{self, Bug};
use crate::shard::record::{Kind, decode_meta};
use crate::shard::shared::Shared;

/// Most records that are held back.
const RECORDS_MAX: usize = 2 << 20;

/// One core's records.
pub(super) struct Gathered {
    /// By shard.
    runs: Vec<Vec<(Box<[u8]>, Entry)>>,
    records: usize,
    /// The highest sequence of each shard.
    pub(super) sequences: Vec<u64>,
    /// Number of records by segment.
    pub(super) records_of: HashMap<u64, u64>,
    /// Records that could not be read.
    pub(super) malformed: u64,
    /// Up to which sequence the checkpoint of each shard has all records.
    known: Vec<u64>,
}

impl Gathered {
    pub(super) fn new(known: Vec<u64>) -> Self {
        let runs = (0..SHARDS).map(|_| Vec::new()).collect();
        let (sequences, records_of) = (vec![0; SHARDS], HashMap::new());
        Self { runs, records: 0, sequences, records_of, malformed: 0, known }
    }

    pub(super) fn add(&mut self, shared: &Shared, record: ReplayedRecord<'_>) {
        let shard = usize::from(record.shard);
        self.sequences[shard] = record.sequence.max(self.sequences[shard]);
        let (Some(kind), Some((stem, value))) =
            (Kind::from_number(record.kind), decode_meta(record.meta))
        else {
            self.malformed += 1;
            return;
        };
        if value.is_empty() != (kind == Kind::Remove) {
            self.malformed += 1;
            return;
        }
        *self.records_of.entry(record.place.segment).or_default() += 1;
        // What a checkpoint knows may have been replaced or removed there, and hides nothing newer.
        if record.sequence <= self.known[shard] {
            return;
        }
        let entry = Entry { place: record.place, value: value.into() };
        self.runs[shard].push((key::version_boxed(stem, record.sequence), entry));
        self.records += 1;
        if self.records >= RECORDS_MAX {
            self.flush(shared);
        }
    }

    /// Inserts what was gathered. Of several versions of a key only the newest can matter.
    pub(super) fn flush(&mut self, shared: &Shared) {
        for (shard, run) in (0..=u8::MAX).zip(&mut self.runs) {
            let mut run = std::mem::take(run);
            let by_log = planted::is(Bug::ReplayInLogOrder);
            if by_log {
                run.sort_by(|(one, _), (other, _)| key::split(one).0.cmp(key::split(other).0));
            } else {
                run.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            }
            let map = shared.index.shard(shard);
            let mut run = run.into_iter().peekable();
            while let Some((version, entry)) = run.next() {
                let stem = key::split(&version).0;
                let replaced = run.peek().is_some_and(|(next, _)| key::split(next).0 == stem);
                if by_log {
                    map.forget_stem(stem);
                }
                if !replaced {
                    map.insert_version(version, entry);
                }
            }
        }
        self.records = 0;
    }
}
