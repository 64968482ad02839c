//! What entries hold on disk.

use std::collections::BTreeMap;

use crate::shard::extent::extent_length;
use crate::shard::index::list::Malformed;
use crate::shard::index::run::Version;
use crate::shard::index::value::{Artifact, Content, Location, PartList};

/// What a set of artifact entries holds: records of log segments, bytes of data segments, files of their own, and
/// lists of parts, whose parts are counted by whoever reads the list.
///
/// Exact: what was added and then subtracted has left nothing behind. What is not there is never subtracted; a debug
/// build asserts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    pub(crate) records: BTreeMap<u64, u64>,
    pub(crate) bytes: BTreeMap<u64, u64>,
    pub(crate) own_files: BTreeMap<u64, u64>,
    /// By segment and offset of the list, with how often it is held.
    pub(crate) composites: BTreeMap<(u64, u32), (PartList, u64)>,
}

impl Accounts {
    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what one artifact's entry holds; nothing for a tombstone.
    ///
    /// # Errors
    /// If its value is malformed: then only its record was added.
    pub(crate) fn add(&mut self, shard: u8, version: &Version<'_>) -> Result<(), Malformed> {
        if version.is_tombstone() {
            return Ok(());
        }
        let Version { sequence, place, value, .. } = *version;
        *self.records.entry(place.segment).or_default() += 1;
        let artifact = Artifact::decode(shard, sequence, place, value).ok_or(Malformed)?;
        match artifact.content {
            Content::Whole(Location::Extent { segment, .. }) if artifact.size > 0 => {
                *self.bytes.entry(segment).or_default() += extent_length(artifact.size);
            }
            Content::Whole(Location::Inline { .. } | Location::Extent { .. }) => {}
            Content::Whole(Location::OwnFile { id }) => {
                *self.own_files.entry(id).or_default() += 1;
            }
            Content::Composite(list) => self.add_composite(list, 1),
        }
        Ok(())
    }

    /// Adds all that others hold.
    pub(crate) fn add_all(&mut self, others: &Self) {
        for (ours, theirs) in [
            (&mut self.records, &others.records),
            (&mut self.bytes, &others.bytes),
            (&mut self.own_files, &others.own_files),
        ] {
            for (key, count) in theirs {
                *ours.entry(*key).or_default() += count;
            }
        }
        for (list, count) in others.composites.values() {
            self.add_composite(*list, *count);
        }
    }

    /// Takes away all that others hold, which was added before.
    pub(crate) fn subtract_all(&mut self, others: &Self) {
        for (ours, theirs) in [
            (&mut self.records, &others.records),
            (&mut self.bytes, &others.bytes),
            (&mut self.own_files, &others.own_files),
        ] {
            for (key, count) in theirs {
                let held = ours.entry(*key).or_default();
                debug_assert!(*held >= *count, "{key} holds {held}, not {count}");
                *held = held.saturating_sub(*count);
                if *held == 0 {
                    ours.remove(key);
                }
            }
        }
        for (key, (list, count)) in &others.composites {
            let (_, held) = self.composites.entry(*key).or_insert((*list, 0));
            debug_assert!(*held >= *count, "a list of parts is held {held} times, not {count}");
            *held = held.saturating_sub(*count);
            if *held == 0 {
                self.composites.remove(key);
            }
        }
    }

    pub(crate) fn add_composite(&mut self, list: PartList, count: u64) {
        let key = (list.place.segment, list.place.offset);
        self.composites.entry(key).or_insert((list, 0)).1 += count;
    }

    /// Log segments and how many of their records are held.
    pub(crate) fn records(&self) -> impl Iterator<Item = (u64, u64)> {
        self.records.iter().map(|(segment, count)| (*segment, *count))
    }

    /// Data segments and how many of their bytes are held, as whole extents.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = (u64, u64)> {
        self.bytes.iter().map(|(segment, bytes)| (*segment, *bytes))
    }

    /// The files of their own.
    pub(crate) fn own_files(&self) -> impl Iterator<Item = u64> {
        self.own_files.keys().copied()
    }

    /// The lists of parts.
    pub(crate) fn composites(&self) -> impl Iterator<Item = PartList> {
        self.composites.values().map(|(list, _)| *list)
    }
}
