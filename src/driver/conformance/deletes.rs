//! Deletions, alone and in batches.

use futures_util::future::join_all;

use crate::driver::{Deletion, Driver, DriverError};
use crate::model::{ETag, WriteCondition};

use super::source::etag_of;
use super::{Bench, artifact_key, noise, refused};

/// Deletions.
pub async fn deletes<D: Driver>(driver: &D) {
    let bench = Bench::new(driver, "deletes").await;
    alone(&bench).await;
    in_a_batch(&bench).await;
    Box::pin(in_a_large_batch(&bench)).await;
}

async fn alone<D: Driver>(bench: &Bench<'_, D>) {
    for size in [3, 300_000] {
        bench.put("key", &noise(1, size)).await;
        bench.delete_if("key", WriteCondition::None).await.expect("delete");
        bench.expect_none("key").await;
        bench.delete_if("key", WriteCondition::None).await.expect("a miss succeeds");
    }
    bench.put("key", b"back").await;
    bench.expect("key", b"back").await;
    let none = bench.driver.delete(&bench.ctx, &bench.container, &[]).await;
    assert!(none.expect("an empty batch").is_empty());
}

async fn in_a_batch<D: Driver>(bench: &Bench<'_, D>) {
    for key in ["a", "b", "c", "d", "e"] {
        bench.put(key, key.as_bytes()).await;
    }
    let other = WriteCondition::Matches(ETag { hash: [9; 16], parts: 0 });
    let conditional = bench.driver.capabilities().conditional_writes;
    let batch = [
        ("a", WriteCondition::None),
        ("missing", WriteCondition::None),
        ("b", if conditional { other } else { WriteCondition::None }),
        (
            "c",
            if conditional { WriteCondition::Matches(etag_of(b"c")) } else { WriteCondition::None },
        ),
        ("missing", if conditional { WriteCondition::Present } else { WriteCondition::None }),
        ("d", WriteCondition::None),
        ("d", WriteCondition::None),
    ];
    let deletions = batch.map(|(key, condition)| Deletion { key: artifact_key(key), condition });
    let results = bench.driver.delete(&bench.ctx, &bench.container, &deletions).await;
    let results = results.expect("the batch is carried out");
    assert_eq!(results.len(), batch.len(), "one result each");
    for (index, ((key, _), result)) in batch.into_iter().zip(results).enumerate() {
        match index {
            2 if conditional => refused!(result, DriverError::PreconditionFailed),
            4 if conditional => {
                refused!(result, DriverError::NoSuchArtifact);
            }
            _ => result.unwrap_or_else(|error| panic!("deletion {index} of {key}: {error}")),
        }
    }
    for key in ["a", "c", "d"] {
        bench.expect_none(key).await;
    }
    if conditional {
        bench.expect("b", b"b").await;
    }
    bench.expect("e", b"e").await;
}

async fn in_a_large_batch<D: Driver>(bench: &Bench<'_, D>) {
    let keys: Vec<String> = (0..1000).map(|nth| format!("batch/{nth:04}")).collect();
    for some in keys.chunks(100) {
        join_all(some.iter().map(|key| Box::pin(bench.put(key, b"x")))).await;
    }
    let unconditional = |key| Deletion { key, condition: WriteCondition::None };
    let deletions: Vec<_> = keys.iter().map(|key| unconditional(artifact_key(key))).collect();
    let results = bench.driver.delete(&bench.ctx, &bench.container, &deletions).await;
    let results = results.expect("the batch is carried out");
    assert!(results.len() == 1000 && results.iter().all(Result::is_ok), "all are deleted");
    let query = crate::model::ListQuery { prefix: "batch/".into(), limit: 1, ..Default::default() };
    let page = bench.driver.list(&bench.ctx, &bench.container, &query).await.expect("list");
    assert!(page.entries.is_empty(), "nothing is left");
}
