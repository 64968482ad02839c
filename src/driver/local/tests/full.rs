//! A disk that is full, and one that fails, simulated.

use std::cell::Cell;
use std::time::Duration;

use super::*;
use crate::io::sim::{Faults, SimDisk};
use crate::runtime::simulated::{SimulatedClock, Simulation};
use crate::shard::log::writer::SyncMethod;

pub(super) type SimDriver = Local<SimDisk, SimulatedClock>;

const STEPS_MAX: u64 = 10_000_000;

const SIZES: Sizes = Sizes {
    log_segment: 64 << 10,
    batch: 20 << 10,
    data_segment: 64 << 10,
    data_segment_min: 32 << 10,
    inline_max: 8 << 10,
    extent_max: 12 << 10,
    mailbox: 64,
    tables: 4 << 10,
    table_min: 512,
    replay: 1 << 20,
    checkpoint_segments: 2,
    index_period_ms: 2,
    leisure: 4 << 10,
    closing_rounds: 1,
};

/// One core on the disk; all of it stops at the end as at a power cut.
pub(super) fn live<T: 'static>(
    disk: &SimDisk,
    sorted_runs: bool,
    life: impl AsyncFnOnce(SimDriver, SimulatedClock) -> T + 'static,
) -> T {
    let alone = async |mut drivers: Vec<SimDriver>, clock| life(drivers.remove(0), clock).await;
    live_on(disk, (1, 5), sorted_runs, alone).unwrap()
}

/// So many cores on the disk, with a seed for their order.
fn live_on<T: 'static>(
    disk: &SimDisk,
    (cores, seed): (usize, u64),
    sorted_runs: bool,
    life: impl AsyncFnOnce(Vec<SimDriver>, SimulatedClock) -> T + 'static,
) -> Result<T, OpenError> {
    let simulation = Simulation::new(seed, 1_000_000_000);
    let upkeep = UpkeepOptions { scrub: None, uploads_expire: None, sorted_runs };
    let options = LocalOptions { sizes: SIZES, upkeep, ..LocalOptions::default() };
    let options = LocalOptions { sync_method: Some(SyncMethod::WriteThenSync), ..options };
    let budget = Budget::new(16 << 20);
    let volume = LocalVolume::open_on(disk, Path::new("/data"), cores, budget, options)?;
    let (disk, clock) = (disk.clone(), simulation.clock());
    let run = simulation.run(STEPS_MAX, async move {
        let drivers = SimDriver::start_all(&volume, cores, &disk, &clock).await?;
        Ok(life(drivers, clock).await)
    });
    run.unwrap()
}

async fn put(driver: &SimDriver, to: &str, length: usize) -> Result<(), DriverError> {
    let container = name("box");
    let target = Target { container: &container, key: key(to) };
    let source = &mut Given::new(body(length, 1));
    driver.put(&ctx(), target, WriteSpec::default(), source).await.map(drop)
}

/// Fills a disk and deletes everything, for which there must be room before long; then something is put again.
/// One that was filled before may be full at first of what is dead.
async fn fill_and_empty(
    driver: &SimDriver,
    clock: &SimulatedClock,
    (least, was_filled): (usize, bool),
) {
    let keys: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let (mut filled, tries) = (0, Cell::new(0));
    // What makes room has used up its reserve, or nothing has been freed yet.
    let wait = async |error: DriverError| {
        assert!(matches!(error, DriverError::Full), "{error}");
        tries.set(tries.get() + 1);
        assert!(tries.get() < 100, "there is no room: {:?}", driver.0.disk.files());
        Clock::sleep(clock, Duration::from_millis(400)).await;
    };
    while filled <= least {
        match put(driver, &keys[filled], 7000).await {
            Ok(()) => filled += 1,
            Err(error) => wait(error).await,
        }
    }
    assert!(was_filled || tries.get() == 0, "an empty disk has room at once");
    let refused = loop {
        match put(driver, &keys[filled], 7000).await {
            Ok(()) => filled += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, DriverError::Full), "{filled}, {refused}");
    for key_text in &keys[..filled] {
        let deletion = [Deletion { key: key(key_text), condition: WriteCondition::None }];
        driver.delete(&ctx(), &name("box"), &deletion).await.unwrap();
    }
    // It is well before anybody writes.
    while driver.health(&ctx()) == Health::ReadOnly {
        wait(DriverError::Full).await;
    }
    // What moves so that a segment can go may take the room before us.
    while let Err(error) = put(driver, "again", 7000).await {
        wait(error).await;
    }
}

#[test]
fn what_is_deleted_makes_room_though_something_lives_in_the_oldest_log_segment() {
    let disk = SimDisk::with_seed(1);
    live(&disk, false, async |driver, _| {
        driver.create_container(&ctx(), &name("box")).await.unwrap();
    });
    disk.set_capacity(Some(512 << 10));
    live(&disk, false, async |driver, clock| fill_and_empty(&driver, &clock, (10, false)).await);
}

#[test]
fn runs_that_hold_nothing_any_more_make_room_too() {
    for seed in 1..=60 {
        let disk = SimDisk::with_seed(seed);
        live(&disk, true, async |driver, _| {
            driver.create_container(&ctx(), &name("box")).await.unwrap();
        });
        disk.set_capacity(Some(768 << 10));
        for round in 0..5 {
            let one_round = async move |drivers: Vec<SimDriver>, clock| {
                fill_and_empty(&drivers[0], &clock, (5, round > 0)).await;
                let counters = &drivers[0].0.shared.checkpoints.counters;
                let flushes = counters.flushes.load(Ordering::Relaxed);
                assert!(round > 0 || flushes > 0, "there were runs");
            };
            live_on(&disk, (1, seed), true, one_round).unwrap();
        }
    }
}

#[test]
fn no_core_writes_ahead_what_another_cannot_start_without() {
    for seed in 1..=20 {
        let disk = SimDisk::with_seed(seed);
        live(&disk, false, async |driver, _| {
            driver.create_container(&ctx(), &name("box")).await.unwrap();
            driver.shutdown().await;
        });
        let used = || disk.files().iter().map(|(_, length)| length).sum::<u64>();
        // What a start writes beside its logs.
        let little = 8 << 10;
        let before = used();
        for _ in 0..3 {
            disk.set_capacity(Some(before + SIZES.log_segment + little));
            let refused = live_on(&disk, (2, seed), false, async |_, _| ());
            assert!(matches!(refused, Err(OpenError::Full { .. })), "seed {seed}: {refused:?}");
        }
        assert!(used() <= before + little, "seed {seed}: those refused have left {}", used());
        disk.set_capacity(Some(before + 2 * SIZES.log_segment + little));
        live_on(&disk, (2, seed), false, async |drivers, _| {
            drivers[0].head_container(&ctx(), &name("box")).await.unwrap();
        })
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[test]
fn no_data_file_is_made_once_names_of_some_may_be_lost() {
    let disk = SimDisk::with_seed(1);
    live(&disk, false, async |driver, clock| {
        driver.create_container(&ctx(), &name("box")).await.unwrap();
        put(&driver, "of its own", 13_000).await.unwrap();
        driver.0.disk.set_faults(Faults { sync_error: 1, ..Faults::default() });
        // Nobody waits for it any more.
        drop(driver.0.data.own_file(Some(13_000)).await.unwrap());
        while driver.0.shared.can_name().is_ok() {
            Clock::sleep(&clock, Duration::from_millis(1)).await;
        }
        driver.0.disk.set_faults(Faults::default());
        let refused = put(&driver, "of its own", 13_000).await;
        assert!(matches!(refused, Err(DriverError::Io(_))), "{refused:?}");
        put(&driver, "in the log", 100).await.unwrap();
    });
}
