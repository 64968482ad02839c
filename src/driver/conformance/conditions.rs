//! Conditions on writes, decided at commit.

use futures_util::future::join_all;

use crate::driver::{Driver, DriverError, WriteSpec};
use crate::model::{ETag, WriteCondition};

use super::source::etag_of;
use super::{Bench, TestSource, noise, refused};

/// Conditions. A driver that does not declare them is left in peace.
pub async fn conditions<D: Driver>(driver: &D) {
    if !driver.capabilities().conditional_writes {
        return;
    }
    let bench = Bench::new(driver, "conditions").await;
    one_after_the_other(&bench).await;
    Box::pin(one_creator_wins(&bench)).await;
    Box::pin(one_swap_wins(&bench)).await;
    Box::pin(some_writer_is_last(&bench)).await;
}

const OTHER: ETag = ETag { hash: [7; 16], parts: 0 };

async fn one_after_the_other<D: Driver>(bench: &Bench<'_, D>) {
    let demanding = [WriteCondition::Present, WriteCondition::Matches(OTHER)];
    for condition in demanding {
        // Nothing there is told apart from something else there.
        refused!(bench.put_if("key", condition, b"no").await, DriverError::NoSuchArtifact);
        bench.expect_none("key").await;
    }
    let first = bench.put_if("key", WriteCondition::Absent, b"one").await.expect("absent");
    for condition in [WriteCondition::Absent, WriteCondition::Matches(OTHER)] {
        for size in [3, 100_000] {
            let refused = bench.put_if("key", condition, &noise(1, size)).await;
            refused!(refused, DriverError::PreconditionFailed);
        }
        bench.expect("key", b"one").await;
    }
    let composite = ETag { parts: 1, ..first.etag };
    refused!(
        bench.put_if("key", WriteCondition::Matches(composite), b"no").await,
        DriverError::PreconditionFailed
    );
    bench.put_if("key", WriteCondition::Present, b"two").await.expect("present");
    let second = WriteCondition::Matches(etag_of(b"two"));
    bench.put_if("key", second, &noise(2, 100_000)).await.expect("matches");
    refused!(bench.put_if("key", second, b"no").await, DriverError::PreconditionFailed);
    bench.expect("key", &noise(2, 100_000)).await;
    bench.delete_if("key", WriteCondition::None).await.expect("delete");
    bench.put_if("key", WriteCondition::Absent, b"again").await.expect("absent again");
    bench.expect("key", b"again").await;
}

/// Writes bodies of different sizes side by side under one condition, and returns the index of the
/// only one that took effect.
async fn race<D: Driver>(
    bench: &Bench<'_, D>,
    key: &str,
    condition: WriteCondition,
    bodies: &[Vec<u8>],
) -> usize {
    let writes = bodies.iter().map(|body| {
        Box::pin(async move {
            let spec = WriteSpec { condition, ..WriteSpec::default() };
            bench.try_put(key, spec, &mut TestSource::new(body).in_pieces(&[999, 20_000])).await
        })
    });
    let results = join_all(writes).await;
    let mut winner = None;
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Ok(receipt) => {
                assert_eq!(winner.replace(index), None, "two writers won {key:?}");
                assert_eq!(receipt.etag, etag_of(&bodies[index]));
            }
            Err(DriverError::PreconditionFailed) => {}
            Err(error) => panic!("writer {index} of {key:?}: {error}"),
        }
    }
    winner.unwrap_or_else(|| panic!("nobody won {key:?}"))
}

/// Bodies with distinct bytes, some of them too large for a log.
fn contenders(count: u64) -> Vec<Vec<u8>> {
    let size = |nth: u64| if nth.is_multiple_of(5) { 150_000 } else { 100 };
    (0..count).map(|nth| noise(100 + nth, size(nth))).collect()
}

async fn one_creator_wins<D: Driver>(bench: &Bench<'_, D>) {
    let bodies = contenders(64);
    for round in 0..3 {
        let key = format!("created-{round}");
        let winner = race(bench, &key, WriteCondition::Absent, &bodies).await;
        bench.expect(&key, &bodies[winner]).await;
    }
}

async fn one_swap_wins<D: Driver>(bench: &Bench<'_, D>) {
    let bodies = contenders(16);
    let mut current = bench.put("swapped", b"begin").await.etag;
    for _ in 0..4 {
        let contended: Vec<_> =
            bodies.iter().filter(|body| etag_of(body) != current).cloned().collect();
        let winner = race(bench, "swapped", WriteCondition::Matches(current), &contended).await;
        bench.expect("swapped", &contended[winner]).await;
        current = etag_of(&contended[winner]);
    }
}

async fn some_writer_is_last<D: Driver>(bench: &Bench<'_, D>) {
    let bodies = contenders(32);
    let writes = bodies.iter().map(|body| Box::pin(bench.put("overwritten", body)));
    join_all(writes).await;
    let etag = crate::driver::OpenArtifact::info(&bench.open("overwritten").await).etag;
    let last = bodies.iter().find(|body| etag_of(body) == etag).expect("one of the writers");
    bench.expect("overwritten", last).await;
}
