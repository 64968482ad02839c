//! Whoever reads a long segment lets the other tasks of the core have turns.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::runtime;
use crate::shard::log::replay::RECORDS_AT_ONCE;

const BATCHES: u64 = 100;
const BATCH: u64 = 100;

/// Reads a segment and returns the sequences, from where they came, and the most that were shown in one turn.
async fn read_in_turns(disk: &SimDisk, segment: &SegmentRef) -> (Vec<u64>, Origin, u64) {
    let turns = Rc::new(Cell::new(0));
    let goes_on = Rc::new(());
    let (theirs, stop) = (Rc::clone(&turns), Rc::downgrade(&goes_on));
    let other = runtime::spawn(async move {
        while stop.upgrade().is_some() {
            theirs.set(theirs.get() + 1);
            runtime::yield_now().await;
        }
    });
    let (mut seen, mut turn, mut now, mut most) = (Vec::new(), 0, 0, 0);
    let result = replay_segment(disk, segment, &mut |found| {
        if std::mem::replace(&mut turn, turns.get()) != turns.get() {
            now = 0;
        }
        now += 1;
        most = most.max(now);
        seen.push(found.sequence);
    })
    .await;
    drop(goes_on);
    other.await;
    (seen, result.unwrap().origin, most)
}

#[test]
fn others_have_turns_while_a_long_segment_is_read() {
    let bench = Bench::new();
    run(async {
        let long = LogOptions { segment_length: 4 << 20, ..options(SyncMethod::DurableWrites) };
        let disk = bench.disk.clone();
        let mut writer = LogWriter::open(disk, bench.start(), 0, Vec::new(), long).await.unwrap();
        for batch in 0..BATCHES {
            let records: Vec<_> =
                (1..=BATCH).map(|number| record(batch * BATCH + number, 10)).collect();
            writer.append(&records).await.unwrap();
        }
        let unsealed = bench.disk.clone();
        let path = bench.layout().segment_path(writer.current_segment());
        let read = async |expected| {
            let segments = list_segments(&bench.disk, &bench.layout()).await.unwrap();
            let [segment] = &segments[..] else { panic!("one segment: {segments:?}") };
            let (seen, origin, most) = read_in_turns(&bench.disk, segment).await;
            assert_eq!(origin, expected);
            assert!(seen.into_iter().eq(1..=BATCHES * BATCH), "{origin:?}");
            assert!(most < RECORDS_AT_ONCE as u64 + BATCH, "{most} in one turn: {origin:?}");
        };
        read(Origin::Frames).await;
        read(Origin::Keys).await;
        writer.seal().await.unwrap();
        read(Origin::Footer).await;
        // Its keys are of several pieces.
        let length = unsealed.content(&path.with_extension("keys")).unwrap().len();
        assert!(length > 256 << 10, "{length}");
    });
}
