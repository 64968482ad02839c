use std::task::{Context, Wake};

use futures_util::future::join_all;
use proptest::prelude::*;

use super::super::digest;
use super::*;

/// Gives the others a turn.
async fn turn() {
    let mut yielded = false;
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn md5_of(pieces: Vec<Vec<u8>>) -> [u8; 16] {
    let mut md5 = Md5::default();
    for piece in pieces {
        let range = 0..piece.len();
        (md5, _) = update_together(md5, piece, range, turn).await;
    }
    md5.finish()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    // Whoever waits for company has asked to be polled again.
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Streams of different lengths, cut anywhere, agree with AWS-LC.
    #[test]
    fn agrees_with_aws_lc(streams in prop::collection::vec(
        prop::collection::vec(0usize..9000, 1..4), 1..40,
    )) {
        let streams: Vec<Vec<Vec<u8>>> = streams
            .into_iter()
            .zip(0u8..)
            .map(|(pieces, lane)| pieces.into_iter().map(|length| pattern(lane, length)).collect())
            .collect();
        let wanted: Vec<_> = streams.iter().map(|pieces| digest(&pieces.concat())).collect();
        let given = run(join_all(streams.into_iter().map(md5_of)));
        prop_assert_eq!(given, wanted);
    }
}

#[test]
fn every_kernel_of_this_processor_computes_right() {
    for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_supported()) {
        assert!(computes_right(kernel), "{kernel:?}");
    }
}

#[test]
fn a_range_of_the_bytes() {
    let bytes = pattern(3, 5000);
    let (md5, back) = run(update_together(Md5::default(), bytes.clone(), 100..4900, turn));
    assert_eq!(back, bytes);
    assert_eq!(md5.finish(), digest(&bytes[100..4900]));
}

/// Begins to add a piece, and says whether that was done at once.
fn is_added_at_once(length: usize) -> bool {
    let bytes = pattern(4, length);
    let added = Box::pin(update_together(Md5::default(), bytes, 0..length, turn));
    std::pin::pin!(added).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// As many turns without company as it takes to expect none.
fn be_alone() {
    for _ in 0..LONELY_TURNS {
        run(md5_of(vec![pattern(4, BYTES_MIN)]));
    }
}

#[test]
fn where_nobody_comes_few_wait_for_company() {
    let short = TURN_BLOCKS * BLOCK;
    assert!(!is_added_at_once(short));
    be_alone();
    assert!(!is_added_at_once(short + 1), "the other tasks of the thread get their turn");
    let waited = (0..4 * LONELY_PIECES).filter(|_| !is_added_at_once(short)).count();
    assert_eq!(waited, 4);

    let waiting = Box::pin(md5_of(vec![pattern(5, 1 << 20)]));
    let mut waiting = std::pin::pin!(waiting);
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(!is_added_at_once(short), "there is somebody");
}

#[test]
fn after_company_all_wait_for_it_again() {
    let short = TURN_BLOCKS * BLOCK;
    be_alone();
    run(join_all([1, 2].map(|lane| md5_of(vec![pattern(lane, 2 * short)]))));
    assert!(!is_added_at_once(short));
}

struct Count(std::sync::atomic::AtomicUsize);

impl Wake for Count {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

/// Whoever works for all may be dropped: another is woken, and the work goes on.
#[test]
fn the_others_survive_the_leader() {
    let counts: [_; 2] = std::array::from_fn(|_| std::sync::Arc::new(Count(0.into())));
    let wakers = counts.clone().map(Waker::from);
    let woken = |at: usize| counts[at].0.load(std::sync::atomic::Ordering::SeqCst);
    let mut contexts = wakers.each_ref().map(Context::from_waker);
    let mut first = Box::pin(md5_of(vec![pattern(1, 1 << 20)]));
    let mut second = Box::pin(md5_of(vec![pattern(2, 200 << 10)]));
    assert!(first.as_mut().poll(&mut contexts[0]).is_pending());
    assert!(second.as_mut().poll(&mut contexts[1]).is_pending());
    assert_eq!((woken(0), woken(1)), (1, 0), "the first leads");
    assert!(first.as_mut().poll(&mut contexts[0]).is_pending());
    let before = woken(1);
    drop(first);
    assert_eq!(woken(1), before + 1, "the second leads");
    let mut polls = 0;
    let digest_of_second = loop {
        polls += 1;
        if let Poll::Ready(digest) = second.as_mut().poll(&mut contexts[1]) {
            break digest;
        }
        assert!(woken(1) > polls, "it is always polled again");
    };
    assert_eq!(digest_of_second, digest(&pattern(2, 200 << 10)));
    LANES.with(|lanes| assert!(lanes.queue.borrow().is_empty() && lanes.leader.borrow().is_none()));
}
