//! Writer and replay together, on the disk in memory and on the real one.

mod torn;
mod turns;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures_util::future::{Either, select};

use super::format::BLOCK;
use super::replay::{
    Origin, ReplayError, SegmentRef, SegmentSummary, list_segments, replay_segment,
};
use super::writer::{LogError, LogOptions, LogWriter, SyncMethod, Urgency};
use super::*;
use crate::io::sim::{SimDisk, SimEvent};
use crate::io::testing::{drive, run};
use crate::io::uring::UringDisk;
use crate::io::{Disk, DiskFile, OpenOptions};
use crate::shard::volume::Volume;

/// A small segment, so that tests cross its border soon.
const SMALL: u64 = 256 << 10;

fn options(method: SyncMethod) -> LogOptions {
    LogOptions { sync_method: Some(method), segment_length: SMALL }
}

/// A data folder whose start number lives on the real disk, and its segments wherever the test wants.
struct Bench {
    folder: tempfile::TempDir,
    disk: SimDisk,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), disk: SimDisk::new() }
    }

    fn start(&self) -> std::sync::Arc<Volume> {
        std::sync::Arc::new(Volume::open(self.folder.path()).unwrap())
    }

    async fn writer(&self, method: SyncMethod) -> LogWriter<SimDisk> {
        LogWriter::open(self.disk.clone(), self.start(), 0, Vec::new(), options(method))
            .await
            .unwrap()
    }

    fn layout(&self) -> Layout {
        Layout { root: self.folder.path().to_path_buf() }
    }
}

fn record(sequence: u64, length: usize) -> NewRecord {
    NewRecord {
        shard: u8::try_from(sequence % 256).unwrap(),
        kind: 1,
        sequence,
        meta: Bytes::from(format!("meta of {sequence}")),
        body: Bytes::from(vec![u8::try_from(sequence % 251).unwrap(); length]),
    }
}

/// Sequences and places, checked against what [`record`] makes.
type Seen = Vec<(u64, Place)>;

async fn replay_one<D: Disk>(
    disk: &D,
    segment: &SegmentRef,
) -> (Seen, Result<SegmentSummary, ReplayError>) {
    let mut seen = Vec::new();
    let result = replay_segment(disk, segment, &mut |found| {
        assert_eq!(found.meta, format!("meta of {}", found.sequence).as_bytes());
        assert_eq!(u64::from(found.shard), found.sequence % 256);
        seen.push((found.sequence, found.place));
    })
    .await;
    (seen, result)
}

async fn replay_all<D: Disk>(disk: &D, layout: &Layout) -> (Seen, Vec<SegmentSummary>) {
    let mut seen = Vec::new();
    let mut summaries = Vec::new();
    for segment in list_segments(disk, layout).await.unwrap() {
        let (more, summary) = replay_one(disk, &segment).await;
        seen.extend(more);
        summaries.push(summary.unwrap());
    }
    (seen, summaries)
}

fn sequences(seen: &Seen) -> Vec<u64> {
    seen.iter().map(|(sequence, _)| *sequence).collect()
}

/// The body at a place, read from the segment's file.
async fn body<D: Disk>(disk: &D, layout: &Layout, place: Place) -> Vec<u8> {
    let options = OpenOptions { direct: true, ..OpenOptions::default() };
    let file = disk.open(&layout.segment_path(place.segment), options).await.unwrap();
    let begin = place.offset as usize / BLOCK * BLOCK;
    let end = (place.offset + place.length) as usize;
    let mut buffer = crate::io::buffer::AlignedBuffer::with_capacity(end - begin);
    buffer.set_length(buffer.capacity());
    let (result, buffer) = file.read_at(buffer, begin as u64).await;
    assert!(result.unwrap() >= end - begin);
    buffer[place.offset as usize - begin..end - begin].to_vec()
}

const METHODS: [SyncMethod; 2] = [SyncMethod::DurableWrites, SyncMethod::WriteThenSync];

#[test]
fn what_was_appended_is_replayed_across_segments() {
    for method in METHODS {
        let bench = Bench::new();
        drive(async {
            let mut writer = bench.writer(method).await;
            let mut places = Vec::new();
            for batch in 1..=60 {
                let records = [record(2 * batch, 3000), record(2 * batch + 1, 9000)];
                let appended = writer.append(&records).await.unwrap();
                assert_eq!(appended.batch, batch);
                places.extend(appended.places);
            }
            drop(writer);
            bench.disk.power_cut(|_| 0);
            let layout = bench.layout();
            for round in 0..3 {
                let (seen, summaries) = replay_all(&bench.disk, &layout).await;
                assert_eq!(sequences(&seen), (2..=121).collect::<Vec<_>>());
                assert_eq!(seen.iter().map(|(_, place)| *place).collect::<Vec<_>>(), places);
                assert!(summaries.len() >= 3);
                let (last, sealed) = summaries.split_last().unwrap();
                assert!(sealed.iter().all(|summary| summary.origin == Origin::Footer));
                let origin = if round == 0 { Origin::Frames } else { Origin::Keys };
                assert_eq!((last.origin, last.last_batch), (origin, 60));
                assert!(sealed.iter().all(|summary| summary.log_end().is_none()));
                assert_eq!(last.log_end().unwrap().offset, last.end);
            }
            for (index, place) in places.into_iter().enumerate() {
                let sequence = index as u64 + 2;
                let expected = record(sequence, place.length as usize).body;
                assert_eq!(body(&bench.disk, &layout, place).await, expected);
            }
        });
    }
}

#[test]
fn background_work_seals_and_prepares() {
    let bench = Bench::new();
    drive(async {
        let mut writer = bench.writer(SyncMethod::DurableWrites).await;
        let background = pin!(writer.background());
        let appends = pin!(async {
            for batch in 1..=60 {
                writer.append(&[record(batch, 12000)]).await.unwrap();
            }
            writer.seal().await.unwrap();
            assert!(matches!(writer.append(&[]).await, Err(LogError::Poisoned(_))));
        });
        match select(background, appends).await {
            Either::Left(((), appends)) => appends.await,
            Either::Right(((), background)) => background.await,
        }
        let (seen, summaries) = replay_all(&bench.disk, &bench.layout()).await;
        assert_eq!(sequences(&seen), (1..=60).collect::<Vec<_>>());
        assert!(summaries.iter().all(|summary| summary.origin == Origin::Footer));
        // What was written ahead and the unused end of the last segment are given back.
        let log = bench.layout().log();
        let files = bench.disk.list_directory(&log).await.unwrap();
        assert_eq!(files.len(), summaries.len());
        assert!(files.iter().any(|file| file.length < SMALL));
    });
}

#[test]
fn nothing_is_acknowledged_before_it_is_durable() {
    for method in METHODS {
        let bench = Bench::new();
        drive(async {
            let mut writer = bench.writer(method).await;
            for batch in 1..=30 {
                let before = bench.disk.events().len();
                writer.append(&[record(batch, 10_000)]).await.unwrap();
                let events = bench.disk.events();
                let last = events[before..].iter().rev();
                let mut unsynced = last.take_while(|event| !matches!(event, SimEvent::Sync { .. }));
                assert!(
                    unsynced
                        .all(|event| { matches!(event, SimEvent::Write { durable: true, .. }) })
                );
                assert!(events.len() > before);
            }
        });
    }
}

#[test]
fn a_power_cut_at_any_moment_keeps_exactly_what_was_acknowledged() {
    let bench = Bench::new();
    let volume = bench.start();
    let mut finished = 0;
    for method in METHODS {
        for steps in 0..400 {
            let disk = SimDisk::new();
            let mut writer = drive(LogWriter::open(
                disk.clone(),
                std::sync::Arc::clone(&volume),
                0,
                Vec::new(),
                options(method),
            ))
            .unwrap();
            let mut acknowledged = 0;
            {
                let mut appends = pin!(async {
                    for batch in 1..=40 {
                        writer.append(&[record(batch, 12_000)]).await.unwrap();
                        acknowledged = batch;
                    }
                });
                let mut cx = Context::from_waker(Waker::noop());
                for _ in 0..steps {
                    if appends.as_mut().poll(&mut cx).is_ready() {
                        finished += 1;
                        break;
                    }
                }
            }
            drop(writer);
            // What was under way reaches the medium in part, up to a sector in its middle.
            disk.power_cut(|length| length * (steps % 5) / 4);
            drive(async {
                let (seen, summaries) = replay_all(&disk, &bench.layout()).await;
                let found = seen.len() as u64;
                assert_eq!(sequences(&seen), (1..=found).collect::<Vec<_>>());
                assert!(
                    found == acknowledged || found == acknowledged + 1,
                    "{acknowledged} acknowledged, {found} found after {steps} steps"
                );
                // And the same again, from what the first replay has left.
                let again = replay_all(&disk, &bench.layout()).await;
                assert_eq!(again.0, seen);
                assert_eq!(again.1.len(), summaries.len());
            });
        }
    }
    assert!(finished > 0, "the steps reach the end");
}

#[test]
fn a_dropped_append_poisons() {
    let bench = Bench::new();
    let mut writer = drive(bench.writer(SyncMethod::WriteThenSync));
    {
        let records = [record(1, 10)];
        let mut append = pin!(writer.append(&records));
        assert!(matches!(
            append.as_mut().poll(&mut Context::from_waker(Waker::noop())),
            Poll::Pending
        ));
    }
    assert!(writer.is_poisoned());
    assert!(matches!(drive(writer.append(&[record(2, 10)])), Err(LogError::Poisoned(_))));
    assert!(drive(writer.seal()).is_err());
}

#[test]
fn a_torn_tail_is_dropped_and_its_end_is_remembered() {
    let bench = Bench::new();
    drive(async {
        let mut writer = bench.writer(SyncMethod::DurableWrites).await;
        for batch in 1..=3 {
            writer.append(&[record(batch, 5000)]).await.unwrap();
        }
        let path = bench.layout().segment_path(writer.current_segment());
        let whole = bench.disk.content(&path).unwrap();
        drop(writer);
        let segments = list_segments(&bench.disk, &bench.layout()).await.unwrap();
        // Start at 4096; three frames of 8192 follow.
        let torn = 4096 * 2 + 8192 * 2 + 3000;
        bench.disk.flip(&path, torn, 1).unwrap();
        let (seen, summary) = replay_one(&bench.disk, &segments[0]).await;
        let summary = summary.unwrap();
        assert_eq!(sequences(&seen), [1, 2]);
        assert_eq!((summary.end, summary.last_batch), (4096 * 2 + 8192 * 2, 2));

        // The write that was cut off arrives after all; this start has named the end before.
        let end = summary.log_end().unwrap();
        let volume = bench.start();
        let writer = LogWriter::open(
            bench.disk.clone(),
            volume,
            0,
            vec![end],
            options(SyncMethod::DurableWrites),
        );
        drop(writer.await.unwrap());
        bench.disk.flip(&path, torn, 1).unwrap();
        assert_eq!(bench.disk.content(&path).unwrap(), whole);
        for keys_are_there in [true, false] {
            let segments = list_segments(&bench.disk, &bench.layout()).await.unwrap();
            let old = segments.iter().find(|found| found.segment == end.segment).unwrap();
            assert_eq!(old.end, Some(end));
            let (seen, summary) = replay_one(&bench.disk, old).await;
            assert_eq!(sequences(&seen), [1, 2]);
            let expected = if keys_are_there { Origin::Keys } else { Origin::Frames };
            assert_eq!(summary.unwrap().origin, expected);
            bench.disk.remove(&bench.layout().keys_path(end.segment)).await.unwrap();
        }
    });
}

#[test]
fn rot_in_the_middle_is_reported_and_left_alone() {
    // In a header, in the table, in a body; in the frame that begins the log.
    for (damage, batch, lost) in
        [(8192 + 8192 + 30, 2, 2), (8192 + 8192 + 100, 2, 2), (8192 + 3000, 1, 1), (4096, 0, 0)]
    {
        let bench = Bench::new();
        drive(async {
            let mut writer = bench.writer(SyncMethod::WriteThenSync).await;
            for batch in 1..=5 {
                writer.append(&[record(batch, 5000)]).await.unwrap();
            }
            let path = bench.layout().segment_path(writer.current_segment());
            drop(writer);
            bench.disk.flip(&path, damage, 4).unwrap();
            let before = bench.disk.content(&path).unwrap();
            let segments = list_segments(&bench.disk, &bench.layout()).await.unwrap();
            let (seen, result) = replay_one(&bench.disk, &segments[0]).await;
            let Err(ReplayError::Rot { rot, summary, .. }) = result else {
                panic!("rot at {damage} went unnoticed: {result:?}")
            };
            assert_eq!((rot.len(), rot[0].batch), (1, batch), "{damage}");
            let expected: Vec<u64> = (1..=5).filter(|&batch| batch != lost).collect();
            assert_eq!(sequences(&seen), expected);
            assert_eq!(summary.last_batch, 5);
            assert_eq!(bench.disk.content(&path).unwrap(), before);
            let keys = bench.layout().keys_path(segments[0].segment);
            assert!(bench.disk.content(&keys).is_err(), "no keys that leave a record out");
        });
    }
}

#[test]
fn rot_before_the_end_is_told_at_every_start() {
    // The third frame is damaged. Behind it comes the Seal frame, whose trailer is not there; or a frame that is torn.
    for sealed in [true, false] {
        let bench = Bench::new();
        drive(async {
            let mut writer = bench.writer(SyncMethod::WriteThenSync).await;
            let (segment, frames) = (writer.current_segment(), if sealed { 3 } else { 4 });
            for batch in 1..=frames {
                writer.append(&[record(batch, 5000)]).await.unwrap();
            }
            if sealed {
                writer.seal().await.unwrap();
            }
            drop(writer);
            let path = bench.layout().segment_path(segment);
            let last = bench.disk.content(&path).unwrap().len() as u64 - BLOCK as u64;
            let damaged = [8192 * 3 + 100, if sealed { last } else { 8192 * 4 + 3000 }];
            damaged.iter().for_each(|at| bench.disk.flip(&path, *at, 4).unwrap());
            let mut ends = Vec::new();
            for start in 0..3 {
                let segments = list_segments(&bench.disk, &bench.layout()).await.unwrap();
                let old = segments.iter().find(|found| found.segment == segment).unwrap();
                let (seen, result) = replay_one(&bench.disk, old).await;
                let Err(ReplayError::Rot { rot, summary, .. }) = result else {
                    panic!("start {start} says nothing: {result:?}")
                };
                assert_eq!((rot[0].batch, sequences(&seen)), (3, vec![1, 2]));
                ends = vec![ends.first().copied().or(summary.log_end()).unwrap()];
                let (disk, volume) = (bench.disk.clone(), bench.start());
                let options = options(SyncMethod::WriteThenSync);
                let next = LogWriter::open(disk, volume, 0, ends.clone(), options);
                drop(next.await.unwrap());
            }
        });
    }
}

#[test]
fn rot_in_the_last_frame_shows_when_the_next_segment_vouches_for_it() {
    let bench = Bench::new();
    drive(async {
        let mut writer = bench.writer(SyncMethod::DurableWrites).await;
        let first = writer.current_segment();
        let mut last = None;
        let mut batch = 0;
        while writer.current_segment() == first {
            batch += 1;
            let place = writer.append(&[record(batch, 5000)]).await.unwrap().places[0];
            if place.segment == first {
                last = Some(place);
            }
        }
        let path = bench.layout().segment_path(first);
        // The footer goes too, as if the power had gone before it was written.
        let seal = u64::from(last.unwrap().offset) / 4096 * 4096 + 8192;
        for at in [u64::from(last.unwrap().offset) + 9, seal, SMALL - 4096] {
            bench.disk.flip(&path, at, 1).unwrap();
        }
        let segments = list_segments(&bench.disk, &bench.layout()).await.unwrap();
        assert_eq!(segments[0].committed, Some(batch - 1));
        // A start that goes on nevertheless does not hide it from the next.
        let (_, result) = replay_one(&bench.disk, &segments[0]).await;
        let Err(ReplayError::Rot { summary, .. }) = result else { panic!("{result:?}") };
        let named = SegmentRef { end: summary.log_end(), committed: None, ..segments[0].clone() };
        let (_, result) = replay_one(&bench.disk, &named).await;
        assert!(matches!(result, Err(ReplayError::Rot { .. })), "{result:?}");
    });
}

#[test]
fn rot_in_the_last_frame_shows_when_a_checkpoint_was_made_behind_it() {
    let bench = Bench::new();
    drive(async {
        let mut writer = bench.writer(SyncMethod::DurableWrites).await;
        writer.append(&[record(1, 50)]).await.unwrap();
        let place = writer.append(&[record(2, 50)]).await.unwrap().places[0];
        let point = writer.point();
        bench
            .disk
            .flip(&bench.layout().segment_path(point.segment), place.offset.into(), 1)
            .unwrap();
        let segments = list_segments(&bench.disk, &bench.layout()).await.unwrap();
        let known = SegmentRef { durable: point.offset, ..segments[0].clone() };
        let (_, result) = replay_one(&bench.disk, &known).await;
        let Err(ReplayError::Rot { rot, summary, .. }) = result else { panic!("{result:?}") };
        assert_eq!((rot.len(), summary.records), (1, 1));
        // A start that goes on nevertheless does not hide it from the next.
        let named = SegmentRef { end: summary.log_end(), ..segments[0].clone() };
        let (_, result) = replay_one(&bench.disk, &named).await;
        assert!(matches!(result, Err(ReplayError::Rot { .. })), "{result:?}");
        // Nobody else could tell it from a torn write.
        let (_, result) = replay_one(&bench.disk, &segments[0]).await;
        assert_eq!(result.unwrap().records, 1);
    });
}

#[test]
fn a_damaged_footer_costs_a_walk_and_no_record() {
    let bench = Bench::new();
    drive(async {
        let mut writer = bench.writer(SyncMethod::DurableWrites).await;
        for batch in 1..=3 {
            writer.append(&[record(batch, 5000)]).await.unwrap();
        }
        let segment = writer.current_segment();
        writer.seal().await.unwrap();
        let path = bench.layout().segment_path(segment);
        let (_, summaries) = replay_all(&bench.disk, &bench.layout()).await;
        assert_eq!(summaries[0].origin, Origin::Footer);
        bench.disk.flip(&path, u64::from(summaries[0].end) + 120, 1).unwrap();
        let (seen, summaries) = replay_all(&bench.disk, &bench.layout()).await;
        assert_eq!((sequences(&seen), summaries[0].origin), (vec![1, 2, 3], Origin::Frames));
    });
}

#[test]
fn a_failed_write_or_sync_poisons() {
    for (method, operation) in [
        (SyncMethod::DurableWrites, 1),
        (SyncMethod::WriteThenSync, 1),
        (SyncMethod::WriteThenSync, 2),
    ] {
        for errno in [libc::EIO, libc::ENOSPC] {
            let bench = Bench::new();
            drive(async {
                let mut writer = bench.writer(method).await;
                writer.append(&[record(1, 100)]).await.unwrap();
                bench.disk.fail_after(operation, errno);
                let failed = writer.append(&[record(2, 100)]).await;
                assert!(matches!(failed, Err(LogError::Poisoned(_))));
                assert!(writer.is_poisoned() && !writer.has_room(1));
                let operations = bench.disk.operations();
                let after = writer.append_with(&[record(3, 100)], Urgency::Reserve).await;
                assert!(matches!(after, Err(LogError::Poisoned(_))));
                assert!(writer.seal().await.is_err());
                assert_eq!(bench.disk.operations(), operations, "nothing is tried again");
                drop(writer);
                bench.disk.power_cut(|_| 0);
                let (seen, _) = replay_all(&bench.disk, &bench.layout()).await;
                assert_eq!(sequences(&seen), [1]);
            });
        }
    }
}

#[test]
fn whichever_operation_fails_what_was_acknowledged_stays_and_nothing_follows() {
    let bench = Bench::new();
    let volume = bench.start();
    for method in METHODS {
        let mut poisoned = 0;
        for operation in 1..90 {
            let disk = SimDisk::new();
            drive(async {
                let volume = std::sync::Arc::clone(&volume);
                let mut writer =
                    LogWriter::open(disk.clone(), volume, 0, Vec::new(), options(method))
                        .await
                        .unwrap();
                disk.fail_after(operation, libc::EIO);
                let mut acknowledged = 0;
                let mut failed = false;
                for batch in 1..=40 {
                    let result = writer.append(&[record(batch, 12_000)]).await;
                    assert!(!(failed && result.is_ok()), "acknowledged after a failure");
                    failed |= result.is_err();
                    acknowledged += u64::from(result.is_ok());
                }
                assert_eq!(failed, writer.is_poisoned());
                poisoned += u64::from(failed);
                drop(writer);
                disk.power_cut(|_| 0);
                let (seen, _) = replay_all(&disk, &bench.layout()).await;
                let found = seen.len() as u64;
                assert_eq!(sequences(&seen), (1..=found).collect::<Vec<_>>());
                assert!(found == acknowledged, "{acknowledged} acknowledged, {found} found");
            });
        }
        assert!(poisoned > 40);
    }
}

#[test]
fn a_full_disk_refuses_and_keeps_a_segment_for_deletes() {
    let bench = Bench::new();
    drive(async {
        let mut writer = bench.writer(SyncMethod::DurableWrites).await;
        // Room for the spare, and for no further segment.
        bench.disk.set_free(Some(SMALL + 8192));
        let mut background = pin!(writer.background());
        let mut cx = Context::from_waker(Waker::noop());
        let mut settle =
            || (0..2000).for_each(|_| assert!(background.as_mut().poll(&mut cx).is_pending()));
        settle();
        let mut normal = 0;
        let error = loop {
            match writer.append(&[record(normal + 1, 9000)]).await {
                Ok(_) => normal += 1,
                Err(error) => break error,
            }
            settle();
        };
        assert!(matches!(error, LogError::Full), "{error:?}");
        assert!(!writer.has_room(9000) && !writer.is_poisoned());
        assert!(normal > 10);
        settle();

        let mut deletes = 0;
        while deletes < 10 {
            deletes += 1;
            let delete = [record(normal + deletes, 0)];
            writer.append_with(&delete, Urgency::Reserve).await.unwrap();
        }
        // Not even what fits belongs to the others now.
        assert!(matches!(writer.append(&[record(1000, 10)]).await, Err(LogError::Full)));
        // Nor all of it to deletes: without what has to be moved they would make no room.
        loop {
            let delete = [record(normal + deletes + 1, 0)];
            match writer.append_with(&delete, Urgency::Reserve).await {
                Ok(_) => deletes += 1,
                Err(error) => break assert!(matches!(error, LogError::Full), "{error:?}"),
            }
        }
        deletes += 1;
        let moved = [record(normal + deletes, 16_000)];
        writer.append_with(&moved, Urgency::Last).await.unwrap();

        // Whoever comes first when there is room again is not refused.
        bench.disk.set_free(None);
        let delete = [record(normal + deletes + 1, 0)];
        writer.append_with(&delete, Urgency::Reserve).await.unwrap();
        settle();
        assert!(writer.has_room(9000));
        writer.append(&[record(normal + deletes + 2, 9000)]).await.unwrap();
        let (seen, _) = replay_all(&bench.disk, &bench.layout()).await;
        assert_eq!(sequences(&seen), (1..=normal + deletes + 2).collect::<Vec<_>>());
    });
}

#[test]
fn on_a_full_disk_a_segment_goes_to_the_log_that_cannot_even_delete() {
    let bench = Bench::new();
    let volume = bench.start();
    drive(async {
        let open = |core| {
            let options = options(SyncMethod::DurableWrites);
            LogWriter::open(
                bench.disk.clone(),
                std::sync::Arc::clone(&volume),
                core,
                Vec::new(),
                options,
            )
        };
        let mut full = open(0).await.unwrap();
        let other = open(1).await.unwrap();
        let first = full.current_segment();
        let mut background = pin!(other.background());
        let mut cx = Context::from_waker(Waker::noop());
        let mut settle =
            || (0..2000).for_each(|_| assert!(background.as_mut().poll(&mut cx).is_pending()));
        bench.disk.set_free(Some(SMALL + 8192));
        let mut number = 1;
        while full.current_segment() == first {
            full.append(&[record(number, 9000)]).await.unwrap();
            number += 1;
        }
        settle();
        while full.append_with(&[record(number, 9000)], Urgency::Reserve).await.is_ok() {
            number += 1;
        }
        // What is dead is taken away by the other, which has no spare either, but nothing to delete.
        other.retirer().retire(first).await.unwrap();
        settle();
        full.append_with(&[record(number, 9000)], Urgency::Reserve).await.unwrap();
        // The next is for whoever comes first again.
        bench.disk.set_free(None);
        other.retirer().retire(0).await.unwrap();
        settle();
        assert!(other.has_room(9000));
    });
}

#[test]
fn a_failed_write_ahead_is_not_taken_for_a_full_disk() {
    let bench = Bench::new();
    drive(async {
        let mut writer = bench.writer(SyncMethod::WriteThenSync).await;
        let mut background = pin!(writer.background());
        let mut cx = Context::from_waker(Waker::noop());
        bench.disk.fail_after(1, libc::EIO);
        (0..2000).for_each(|_| assert!(background.as_mut().poll(&mut cx).is_pending()));
        // There is no spare now. Nothing that matters has failed: what fits is taken, and another is made when it
        // is needed.
        assert!(writer.has_room(9000) && !writer.is_poisoned());
        for number in 1..=20 {
            writer.append(&[record(number, 9000)]).await.unwrap();
            (0..2000).for_each(|_| assert!(background.as_mut().poll(&mut cx).is_pending()));
        }
    });
}

#[test]
fn a_recycled_file_never_shows_its_former_life() {
    let bench = Bench::new();
    drive(async {
        let mut writer = bench.writer(SyncMethod::DurableWrites).await;
        let first = writer.current_segment();
        let mut batch = 0;
        while writer.current_segment() == first {
            batch += 1;
            writer.append(&[record(batch, 9000)]).await.unwrap();
        }
        writer.retirer().retire(first).await.unwrap();
        assert!(bench.disk.content(&bench.layout().segment_path(first)).is_err());
        let begin = batch;
        let second = writer.current_segment();
        while writer.current_segment() == second {
            batch += 1;
            writer.append(&[record(batch, 9000)]).await.unwrap();
        }
        // The third segment lives in the first one's file, most of whose frames are still there.
        let files = bench.disk.list_directory(&bench.layout().log()).await.unwrap();
        assert_eq!(files.len(), 2);
        drop(writer);
        bench.disk.power_cut(|_| 0);
        let (seen, summaries) = replay_all(&bench.disk, &bench.layout()).await;
        assert_eq!(sequences(&seen), (begin..=batch).collect::<Vec<_>>());
        assert_eq!(summaries.len(), 2);
    });
}

#[test]
fn limits_are_kept() {
    let bench = Bench::new();
    drive(async {
        let mut writer = LogWriter::open(
            bench.disk.clone(),
            bench.start(),
            3,
            Vec::new(),
            LogOptions { sync_method: Some(SyncMethod::DurableWrites), ..LogOptions::default() },
        )
        .await
        .unwrap();
        let mut largest = record(1, format::BODY_BYTES_MAX);
        largest.meta = Bytes::from(vec![b'm'; format::META_BYTES_MAX]);
        let place = writer.append(std::slice::from_ref(&largest)).await.unwrap().places[0];
        assert_eq!(body(&bench.disk, &bench.layout(), place).await, largest.body);
        for refused in [
            vec![record(1, format::BODY_BYTES_MAX + 1)],
            vec![record(1, 3 << 20), record(2, 2 << 20)],
            vec![record(1, 0); writer::BATCH_RECORDS_MAX + 1],
        ] {
            assert!(matches!(writer.append(&refused).await, Err(LogError::TooLarge)));
        }
        let many = vec![record(7, 0); writer::BATCH_RECORDS_MAX];
        writer.append(&many).await.unwrap();
    });
}

#[test]
fn an_empty_log_replays_to_nothing() {
    let bench = Bench::new();
    drive(async {
        let writer = bench.writer(SyncMethod::DurableWrites).await;
        drop(writer);
        let (seen, summaries) = replay_all(&bench.disk, &bench.layout()).await;
        assert!(seen.is_empty());
        assert_eq!((summaries[0].records, summaries[0].last_batch), (0, 0));
        let (_, again) = replay_all(&bench.disk, &bench.layout()).await;
        assert_eq!(again, summaries);
    });
}

#[test]
fn the_real_disk_does_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout { root: folder.path().to_path_buf() };
    for start in 1..=3_u64 {
        let volume = std::sync::Arc::new(Volume::open(folder.path()).unwrap());
        run(async {
            let disk = UringDisk;
            let (seen, summaries) = replay_all(&disk, &layout).await;
            assert_eq!(seen.len() as u64, (start - 1) * 50);
            for (sequence, place) in seen {
                let expected = record(sequence, place.length as usize).body;
                assert_eq!(body(&disk, &layout, place).await, expected);
            }
            let ends = summaries.iter().filter_map(SegmentSummary::log_end).collect();
            // Measures, too.
            let options = LogOptions { sync_method: None, segment_length: SMALL };
            let mut writer = LogWriter::open(disk, volume, 0, ends, options).await.unwrap();
            let background = crate::runtime::spawn(writer.background());
            for batch in 1..=50 {
                let before = crate::io::uring::counters();
                writer.append(&[record(start * 1000 + batch, 11_000)]).await.unwrap();
                let after = crate::io::uring::counters();
                let durable = match writer.sync_method() {
                    SyncMethod::DurableWrites => after.durable_writes - before.durable_writes,
                    SyncMethod::WriteThenSync => after.syncs - before.syncs,
                };
                assert!(durable >= 1);
            }
            // The second start ends in good order, the others are cut off.
            if start == 2 {
                writer.seal().await.unwrap();
            }
            drop(writer);
            background.await;
        });
    }
}
