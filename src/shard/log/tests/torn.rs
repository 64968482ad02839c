//! What a power cut may have left torn is told from what was whole once.

use super::*;
use crate::shard::log::verify::{FlawKind, Verified, verify_segment};

/// Looks at a segment, counted from the last, with a byte of it turned over.
async fn flipped(bench: &Bench, from_last: usize, at: impl Fn(&SegmentRef) -> u64) -> Verified {
    let all = list_segments(&bench.disk, &bench.layout()).await.unwrap();
    let segment = &all[all.len() - 1 - from_last];
    bench.disk.flip(&segment.path, at(segment), 1).unwrap();
    let found = verify_segment(&bench.disk, segment, &all, &mut |_, _| ()).await.unwrap();
    bench.disk.flip(&segment.path, at(segment), 1).unwrap();
    found
}

fn kinds(found: &Verified) -> (Vec<FlawKind>, Vec<FlawKind>) {
    let of = |flaws: &[verify::Flaw]| flaws.iter().map(|flaw| flaw.kind).collect();
    (of(&found.flaws), of(&found.torn))
}

#[test]
fn a_footer_is_taken_for_torn_only_while_nothing_tells_that_it_was_whole() {
    let bench = Bench::new();
    let trailer = |segment: &SegmentRef| segment.length - BLOCK as u64 + 20;
    let (torn, damaged) = ((vec![], vec![FlawKind::Footer]), (vec![FlawKind::Footer], vec![]));
    drive(async {
        let mut writer = bench.writer(SyncMethod::DurableWrites).await;
        for batch in 1..=60 {
            writer.append(&[record(batch, 12_000)]).await.unwrap();
        }
        let count = list_segments(&bench.disk, &bench.layout()).await.unwrap().len();
        assert!(count > 2, "{count} segments");
        // The last is being written.
        assert_eq!(kinds(&flipped(&bench, 1, trailer).await), torn);
        assert_eq!(kinds(&flipped(&bench, 2, trailer).await), damaged, "the next has a footer");
        writer.seal().await.unwrap();
        for from_last in 0..count {
            assert_eq!(kinds(&flipped(&bench, from_last, trailer).await), damaged, "{from_last}");
        }
    });
}

#[test]
fn a_header_is_taken_for_torn_only_while_nothing_follows_it() {
    let bench = Bench::new();
    let header = |_: &SegmentRef| 40;
    drive(async {
        let mut writer = bench.writer(SyncMethod::DurableWrites).await;
        writer.append(&[record(1, 100)]).await.unwrap();
        let damaged = (vec![FlawKind::Header], vec![]);
        assert_eq!(kinds(&flipped(&bench, 0, header).await), damaged);
        let layout = bench.layout();
        let all = list_segments(&bench.disk, &layout).await.unwrap();
        let zeros = vec![0; usize::try_from(all[0].length).unwrap() - BLOCK];
        bench.disk.spoil(&all[0].path, BLOCK as u64, &zeros).unwrap();
        assert_eq!(kinds(&flipped(&bench, 0, header).await), (vec![], vec![FlawKind::Header]));
    });
}

#[test]
fn padding_is_taken_for_torn_only_while_nothing_tells_that_its_frame_was_durable() {
    let bench = Bench::new();
    // The last bytes of the frame that begins the log, and of two batches.
    let [start, first, second] = [2, 3, 4].map(|block| block * BLOCK as u64 - 1);
    let (torn, damaged) = ((vec![], vec![FlawKind::Padding]), (vec![FlawKind::Padding], vec![]));
    drive(async {
        let mut writer = bench.writer(SyncMethod::DurableWrites).await;
        assert_eq!(kinds(&flipped(&bench, 0, |_| start).await), torn);
        writer.append(&[record(1, 100)]).await.unwrap();
        assert_eq!(kinds(&flipped(&bench, 0, |_| start).await), damaged, "a batch follows");
        assert_eq!(kinds(&flipped(&bench, 0, |_| first).await), torn);
        writer.append(&[record(2, 100)]).await.unwrap();
        assert_eq!(kinds(&flipped(&bench, 0, |_| first).await), damaged);
        assert_eq!(kinds(&flipped(&bench, 0, |_| second).await), torn);

        let all = list_segments(&bench.disk, &bench.layout()).await.unwrap();
        bench.disk.flip(&all[0].path, second, 1).unwrap();
        let known = SegmentRef { durable: u32::try_from(second).unwrap(), ..all[0].clone() };
        let found = verify_segment(&bench.disk, &known, &all, &mut |_, _| ()).await.unwrap();
        assert_eq!(kinds(&found), damaged, "a checkpoint knows that it was durable");
        bench.disk.flip(&all[0].path, second, 1).unwrap();

        writer.seal().await.unwrap();
        assert_eq!(kinds(&flipped(&bench, 0, |_| second).await), damaged, "a footer follows");
    });
}
