//! Who lives where: the live records of each log segment and the live bytes of each data segment, and what became
//! garbage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::SegQueue;
use crossbeam_skiplist::SkipMap;

use super::extent::extent_length;
use super::index::value::{Location, PartList};
use super::log::Place;
use super::planted::{self, Bug};

/// So few live records that they are written again at once.
pub(crate) const FEW_RECORDS: u64 = 1000;

/// One in so many bytes of the data segments may be dead.
const LITTLE_DATA: u64 = 10;

/// One in so many records of a log may be dead. It is less, for each takes more room in a log than its artifact has
/// bytes.
const LITTLE_LOG: u64 = 16;

/// How soon something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Before more is written.
    AtOnce,
    /// While there is little else to do.
    AtLeisure,
}

/// A log or data segment.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    /// Log segment: records that are current, and inline parts of current artifacts. Data segment: bytes that are
    /// current or being written.
    live: AtomicU64,
    /// Log segment: records that were ever written to it. Data segment: bytes of its file, once it is sealed.
    written: AtomicU64,
    /// Log segment: bytes of the frames that this start wrote to it, and how many of them pad commits that came alone.
    frames: AtomicU64,
    padding: AtomicU64,
    /// Nothing is added any more.
    sealed: AtomicBool,
    /// Data segment: queued to be freed, or freed.
    gone: AtomicBool,
    /// Data segment: some of its bytes are damaged, so it cannot be emptied.
    stuck: AtomicBool,
}

impl Segment {
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Acquire)
    }
}

/// What nobody can find in the index any more.
#[derive(Debug)]
pub(crate) enum Garbage {
    /// The file of an artifact.
    OwnFile(u64),
    /// A sealed data segment without a live byte.
    DataSegment(u64),
    /// An artifact completed from parts; its list tells what else becomes garbage. Its record still counts as live.
    Composite(PartList),
}

/// The segments of a data folder, shared by all cores.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    log: SkipMap<u64, Arc<Segment>>,
    data: SkipMap<u64, Arc<Segment>>,
    garbage: SegQueue<Garbage>,
}

/// A segment's entry, made at first sight.
fn entry(segments: &SkipMap<u64, Arc<Segment>>, id: u64) -> Arc<Segment> {
    // Making one looks for its place first, in a kilobyte of memory, though it is mostly there.
    let entry = segments.get(&id);
    Arc::clone(entry.unwrap_or_else(|| segments.get_or_insert_with(id, Arc::default)).value())
}

impl Segments {
    /// A log segment's entry, made at first sight.
    pub(crate) fn log(&self, id: u64) -> Arc<Segment> {
        entry(&self.log, id)
    }

    /// A data segment's entry, made at first sight.
    pub(crate) fn data(&self, id: u64) -> Arc<Segment> {
        entry(&self.data, id)
    }

    /// Live records of a log segment.
    pub(crate) fn live_records(&self, id: u64) -> u64 {
        self.log.get(&id).map_or(0, |entry| entry.value().live())
    }

    /// Whether a log segment may still be read.
    pub(crate) fn has_log(&self, id: u64) -> bool {
        self.log.contains_key(&id)
    }

    /// Whether a data segment may still be read.
    pub(crate) fn has_data(&self, id: u64) -> bool {
        self.data.contains_key(&id)
    }

    /// Forgets a log segment that nobody reads any more: whoever has its file open closes it.
    pub(crate) fn forget_log(&self, id: u64) {
        self.log.remove(&id);
    }

    /// Forgets a data segment of which nobody uses anything: whoever has its file open closes it.
    pub(crate) fn forget_data(&self, id: u64) {
        self.data.remove(&id);
    }

    /// Counts records of a log segment as live.
    pub(crate) fn hold_records(&self, segment: u64, count: u64) {
        self.log(segment).live.fetch_add(count, Ordering::AcqRel);
    }

    /// Notes records that were written to a log segment, some of which are live.
    pub(crate) fn add_records(&self, segment: u64, written: u64, live: u64) {
        let segment = self.log(segment);
        segment.written.fetch_add(written, Ordering::AcqRel);
        segment.live.fetch_add(live, Ordering::AcqRel);
    }

    /// Notes the room that a frame takes in a log segment, and how much of that it would not take if what it holds
    /// were written again together with other records.
    pub(crate) fn add_frame(&self, segment: u64, bytes: u64, padding: u64) {
        let segment = self.log(segment);
        segment.frames.fetch_add(bytes, Ordering::AcqRel);
        segment.padding.fetch_add(padding, Ordering::AcqRel);
    }

    /// The log segments.
    pub(crate) fn logs(&self) -> Vec<u64> {
        self.log.iter().map(|entry| *entry.key()).collect()
    }

    /// The log segments, and how many records were ever written to each.
    pub(crate) fn log_records(&self) -> Vec<(u64, u64)> {
        let written = |segment: &Segment| segment.written.load(Ordering::Acquire);
        self.log.iter().map(|entry| (*entry.key(), written(entry.value()))).collect()
    }

    /// What lives in each log segment and in each data segment.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn lives(
        &self,
    ) -> (std::collections::BTreeMap<u64, u64>, std::collections::BTreeMap<u64, u64>) {
        let lives = |map: &SkipMap<u64, Arc<Segment>>| {
            let all = map.iter().map(|entry| (*entry.key(), entry.value().live()));
            all.filter(|(_, live)| *live > 0).collect()
        };
        (lives(&self.log), lives(&self.data))
    }

    /// Whether it pays to write the live records of the oldest of some log segments again. At once when half of it is
    /// dead, or half of all of them, for it keeps the others from going; or when it is of an earlier start and nearly
    /// empty. At leisure while a sixteenth of all of them is dead, and no less than one segment has; the padding of what
    /// was committed alone counts as dead then.
    pub(crate) fn worth_moving(&self, oldest: u64, is_old: bool, all: &[u64]) -> Option<Haste> {
        if !self.has_log(oldest) {
            return None;
        }
        let (written, live) = self.records_of(&[oldest]);
        if live * 2 <= written || (is_old && live <= FEW_RECORDS) {
            return Some(Haste::AtOnce);
        }
        let (all_written, all_live) = self.records_of(all);
        let dead = all_written.saturating_sub(all_live);
        if dead >= all_live {
            return Some(Haste::AtOnce);
        }
        let wasted = dead + self.padding_of(all);
        (wasted * LITTLE_LOG >= all_written && wasted >= written).then_some(Haste::AtLeisure)
    }

    /// How many records would find room in the padding of the live ones.
    fn padding_of(&self, logs: &[u64]) -> u64 {
        let one = |segment: &Segment| {
            let padding = u128::from(segment.padding.load(Ordering::Acquire));
            let frames = u128::from(segment.frames.load(Ordering::Acquire)).max(1);
            u64::try_from(u128::from(segment.live()) * padding / frames).unwrap_or(u64::MAX)
        };
        logs.iter().filter_map(|id| self.log.get(id)).map(|entry| one(entry.value())).sum()
    }

    /// How many records were ever written to log segments, and how many of them are live.
    pub(crate) fn records_of(&self, logs: &[u64]) -> (u64, u64) {
        logs.iter().filter_map(|id| self.log.get(id)).fold((0, 0), |(written, live), entry| {
            let one = entry.value();
            (written + one.written.load(Ordering::Acquire), live + one.live())
        })
    }

    /// A record is not current any more.
    pub(crate) fn release_record(&self, place: Place) {
        let before = self.log(place.segment).live.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "a record was released twice");
    }

    /// Counts bytes of a data segment as live.
    pub(crate) fn hold_bytes(&self, segment: u64, bytes: u64) {
        self.data(segment).live.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Counts the bytes of an artifact or part as live. Its record is counted apart; inline bytes of a part that an
    /// artifact took over count as one more.
    pub(crate) fn hold(&self, location: Location, size: u64) {
        if let Location::Extent { segment, .. } = location {
            self.data(segment).live.fetch_add(extent_length(size), Ordering::AcqRel);
        }
    }

    /// The bytes of an artifact or part are not current any more, and not in the index.
    pub(crate) fn release(&self, location: Location, size: u64) {
        match location {
            Location::Inline { .. } => (),
            Location::OwnFile { id } => self.garbage.push(Garbage::OwnFile(id)),
            Location::Extent { segment: id, .. } => {
                let segment = self.data(id);
                let length = extent_length(size);
                let before = segment.live.fetch_sub(length, Ordering::AcqRel);
                debug_assert!(before >= length, "an extent was released twice");
                self.free_if_dead(id, &segment);
            }
        }
    }

    /// An artifact completed from parts is not current any more.
    pub(crate) fn release_composite(&self, list: PartList) {
        self.garbage.push(Garbage::Composite(list));
    }

    /// A data segment of an earlier start, whose file has this length: nothing is added to it. With `keep` it is
    /// never freed.
    pub(crate) fn adopt_data(&self, id: u64, length: u64, keep: bool) {
        let segment = self.data(id);
        segment.written.store(length, Ordering::Release);
        segment.sealed.store(!keep, Ordering::SeqCst);
    }

    /// Nothing more will be added to a data segment, whose file has this length.
    pub(crate) fn seal_data(&self, id: u64, length: u64) {
        let segment = self.data(id);
        segment.written.store(length, Ordering::Release);
        segment.sealed.store(true, Ordering::SeqCst);
        self.free_if_dead(id, &segment);
    }

    /// Some bytes of a data segment cannot be read, so that it is of no use to try to empty it.
    pub(crate) fn set_stuck(&self, id: u64) {
        self.data(id).stuck.store(true, Ordering::Release);
    }

    /// Bytes of the sealed data segments' files, and how many of them are live.
    pub(crate) fn data_bytes(&self) -> (u64, u64) {
        self.sealed_data().fold((0, 0), |(written, live), (_, one)| {
            (written + one.written.load(Ordering::Acquire), live + one.live())
        })
    }

    /// The data segments whose live bytes are worth writing again, so that their files can go: those of which half is
    /// dead; and while a tenth of all is dead, those with the largest dead share. At most so many that `bytes_max` are
    /// to be copied, but one at least.
    pub(crate) fn worth_emptying(&self, bytes_max: u64) -> Vec<u64> {
        let (written, live) = self.data_bytes();
        let is_much = |written: u64| written.saturating_sub(live) * LITTLE_DATA > written;
        let too_much = is_much(written);
        let mut found: Vec<(u64, u64, u64)> = self
            .sealed_data()
            .filter(|(_, one)| !one.stuck.load(Ordering::Acquire))
            .map(|(id, one)| (id, one.written.load(Ordering::Acquire), one.live()))
            .filter(|&(_, written, live)| {
                live > 0 && (live * 2 <= written || (too_much && live <= written - written / 16))
            })
            .collect();
        // By the live share, the smallest first.
        found.sort_by_key(|&(id, written, live)| (live.saturating_mul(1000) / written.max(1), id));
        let (mut copied, mut freed) = (0, 0);
        let mut chosen = Vec::new();
        for (id, length, live_here) in found {
            // Half-dead ones pay in any case, others only until enough is freed.
            let pays = live_here * 2 <= length || is_much(written - freed);
            if !pays || (!chosen.is_empty() && copied + live_here > bytes_max) {
                break;
            }
            copied += live_here;
            freed += length - live_here;
            chosen.push(id);
        }
        chosen
    }

    fn sealed_data(&self) -> impl Iterator<Item = (u64, Arc<Segment>)> {
        self.data.iter().map(|entry| (*entry.key(), Arc::clone(entry.value()))).filter(
            |(_, one)| one.sealed.load(Ordering::SeqCst) && !one.gone.load(Ordering::Acquire),
        )
    }

    /// The next piece of garbage.
    pub(crate) fn next_garbage(&self) -> Option<Garbage> {
        self.garbage.pop()
    }

    fn free_if_dead(&self, id: u64, segment: &Segment) {
        let dead = segment.sealed.load(Ordering::SeqCst) && segment.live() == 0;
        if dead && !segment.gone.swap(true, Ordering::AcqRel) {
            self.garbage.push(Garbage::DataSegment(id));
        }
    }
}

/// Bytes that were written, or are being written, and have no owner yet. Dropping it gives them back; it travels
/// with the commit that will own them.
#[derive(Debug)]
pub(crate) struct Lease {
    segments: Arc<Segments>,
    location: Location,
    size: u64,
    owned: bool,
}

impl Lease {
    /// Leases a location whose bytes have not been counted yet.
    pub(crate) fn new(segments: Arc<Segments>, location: Location, size: u64) -> Self {
        if !planted::is(Bug::ExtentSweptWhileWaiting) {
            segments.hold(location, size);
        }
        Self { segments, location, size, owned: false }
    }

    pub(crate) fn location(&self) -> Location {
        self.location
    }

    /// The bytes have an owner, or may have one: they stay.
    pub(crate) fn keep(mut self) {
        self.owned = true;
        if planted::is(Bug::ExtentSweptWhileWaiting) {
            self.segments.hold(self.location, self.size);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.owned && !planted::is(Bug::ExtentSweptWhileWaiting) {
            self.segments.release(self.location, self.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(of: &[(u64, u64, u64)]) -> Segments {
        let segments = Segments::default();
        for &(id, written, live) in of {
            segments.adopt_data(id, written, false);
            segments.data(id).live.store(live, Ordering::Release);
        }
        segments
    }

    #[test]
    fn half_dead_segments_are_emptied_and_others_while_too_much_is_dead() {
        assert_eq!(
            segments(&[(1, 100, 51), (2, 100, 50), (3, 100, 100)]).worth_emptying(1000),
            [2, 1]
        );
        // Little is dead in all: only the half-dead one pays.
        let mostly_live = [(1, 100, 90), (2, 100, 50), (3, 1000, 1000)];
        assert_eq!(segments(&mostly_live).worth_emptying(1000), [2]);
        // None is half dead, but a quarter of all is.
        let all_alike = [(1, 100, 75), (2, 100, 74), (3, 100, 76), (4, 100, 75)];
        assert_eq!(segments(&all_alike).worth_emptying(1000), [2, 1, 4]);
        assert_eq!(segments(&all_alike).worth_emptying(10), [2], "one at least");
        assert_eq!(segments(&[(1, 100, 0), (2, 100, 100)]).worth_emptying(1000), [0; 0]);
    }

    #[test]
    fn a_log_is_emptied_at_leisure_while_a_sixteenth_of_it_is_dead() {
        let worth = |of: &[(u64, u64, u64)], is_old| {
            let segments = Segments::default();
            for &(id, written, live) in of {
                segments.add_records(id, written, live);
            }
            segments.worth_moving(1, is_old, &segments.logs())
        };
        let many = 10 * FEW_RECORDS;
        let full = |id| (id, many, many);
        assert_eq!(worth(&[(1, many, many / 2), full(2), full(3)], false), Some(Haste::AtOnce));
        assert_eq!(worth(&[full(1), (2, many, 0), (3, many, 0)], false), Some(Haste::AtOnce));
        assert_eq!(worth(&[(1, FEW_RECORDS, FEW_RECORDS), full(2)], true), Some(Haste::AtOnce));
        assert_eq!(worth(&[full(1), full(2), (3, many, 0)], false), Some(Haste::AtLeisure));
        assert_eq!(worth(&[full(1), full(2), (3, many, 1)], false), None, "no whole segment");
        let rest = (3..17).map(full);
        let little: Vec<_> = [full(1), (2, many, 0)].into_iter().chain(rest.clone()).collect();
        assert_eq!(worth(&little, false), Some(Haste::AtLeisure));
        let less: Vec<_> = little.into_iter().chain([full(17)]).collect();
        assert_eq!(worth(&less, false), None, "less than that");
        assert_eq!(worth(&[full(2)], false), None, "it is gone");
    }

    #[test]
    fn padding_of_live_records_is_taken_for_dead_at_leisure() {
        let segments = Segments::default();
        for id in 1..=3 {
            segments.add_records(id, 1000, 1000);
            segments.add_frame(id, 8_192_000, 3_000_000);
        }
        assert_eq!(segments.worth_moving(1, false, &[1, 2, 3]), Some(Haste::AtLeisure));
        assert_eq!(segments.worth_moving(1, false, &[1, 2]), None, "no whole segment");
        // What was moved has none.
        for id in 4..=30 {
            segments.add_records(id, 1000, 1000);
            segments.add_frame(id, 4_700_000, 0);
        }
        assert_eq!(segments.worth_moving(1, false, &segments.logs()), None, "a little of all");
        // Nor has what is dead.
        let place = Place { segment: 2, offset: 0, length: 0 };
        (0..1000).for_each(|_| segments.release_record(place));
        assert_eq!(segments.padding_of(&[2]), 0);
    }

    #[test]
    fn what_is_stuck_is_left_alone() {
        let segments = segments(&[(1, 100, 10)]);
        segments.set_stuck(1);
        assert_eq!(segments.worth_emptying(1000), [0; 0]);
    }
}
