//! What is remembered of look-ups is never older than what was acknowledged before the look-up.

use std::sync::atomic::AtomicU64;

use super::*;

/// Writes: every third is a deletion.
const STEPS: u64 = 300;

fn deletes(step: u64) -> bool {
    step.is_multiple_of(3)
}

async fn write(driver: &LocalDriver, begun: &AtomicU64, acknowledged: &AtomicU64) {
    for step in 1..=STEPS {
        begun.store(step, Ordering::SeqCst);
        if deletes(step) {
            delete(driver, &["key"]).await;
        } else {
            put(driver, "key", Given::new(step.to_string().into())).await.unwrap();
        }
        acknowledged.store(step, Ordering::SeqCst);
    }
}

/// Reads until the last write, as often as it can, and returns how often that was.
async fn look(driver: &LocalDriver, begun: &AtomicU64, acknowledged: &AtomicU64) -> u64 {
    let mut looks = 0;
    loop {
        let floor = acknowledged.load(Ordering::SeqCst);
        let found = get(driver, "key").await;
        let ceiling = begun.load(Ordering::SeqCst);
        let fits = match &found {
            Ok(bytes) => {
                let step: u64 = String::from_utf8_lossy(bytes).parse().unwrap();
                (floor..=ceiling).contains(&step)
            }
            Err(DriverError::NoSuchArtifact) => (floor..=ceiling).any(deletes),
            Err(error) => panic!("{error}"),
        };
        assert!(fits, "{found:?} between {floor} and {ceiling}");
        looks += 1;
        if floor == STEPS {
            return looks;
        }
        crate::runtime::sleep(std::time::Duration::from_micros(100)).await;
    }
}

#[test]
fn nobody_is_told_what_was_overwritten_or_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, acknowledged) = (AtomicU64::new(0), AtomicU64::new(0));
    let made = AtomicUsize::new(0);
    on_cores(folder.path(), 3, async |core, driver| {
        if core == 0 {
            driver.create_container(&ctx(), &name("box")).await.unwrap();
            made.store(1, Ordering::SeqCst);
            let writer = driver.clone();
            let reading = look(&driver, &begun, &acknowledged);
            futures_util::future::join(write(&writer, &begun, &acknowledged), reading).await;
        } else {
            until(|| made.load(Ordering::SeqCst) == 1).await;
            assert!(look(&driver, &begun, &acknowledged).await > 1);
        }
    });
}

#[test]
fn a_container_that_is_made_again_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    on_one_core(folder.path(), async |driver| {
        for round in 0..3 {
            driver.create_container(&ctx(), &name("box")).await.unwrap();
            assert!(matches!(get(&driver, "key").await, Err(DriverError::NoSuchArtifact)));
            put(&driver, "key", Given::new(vec![round])).await.unwrap();
            for _ in 0..3 {
                assert_eq!(get(&driver, "key").await.unwrap(), [round]);
            }
            delete(&driver, &["key"]).await;
            driver.delete_container(&ctx(), &name("box")).await.unwrap();
            assert!(matches!(get(&driver, "key").await, Err(DriverError::NoSuchContainer)));
        }
    });
}
