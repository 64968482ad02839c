//! A start that spills what it replays comes to the same as one that keeps all of it in memory. On simulated disks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::context::Monotonic;
use crate::io::sim::{Faults, SimDisk};
use crate::io::{Clock, Disk};
use crate::runtime::simulated::{Random, SimulatedClock, Simulation};
use crate::shard::index::Walk;
use crate::shard::index::checkpoint::Derived;
use crate::shard::index::key::{self, Keyspace};
use crate::shard::index::run::directory;
use crate::shard::log::Place;
use crate::shard::log::writer::SyncMethod;

type SimDriver = Local<SimDisk, Patient>;

const STEPS_MAX: u64 = 10_000_000;

/// A clock on which so long a time never passes.
#[derive(Clone)]
struct Patient(SimulatedClock, Duration);

/// So that what is done now and then is never done, unless a test asks for it.
const NOW_AND_THEN: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);

impl Clock for Patient {
    fn now(&self) -> Monotonic {
        self.0.now()
    }

    fn wall_ms(&self) -> i64 {
        self.0.wall_ms()
    }

    async fn sleep(&self, duration: Duration) {
        if duration >= self.1 {
            std::future::pending::<()>().await;
        }
        Clock::sleep(&self.0, duration).await;
    }
}

/// Nothing is done for the index but what a test asks for.
const SIZES: Sizes = Sizes { table_min: 700, index_period_ms: 86_400_000, ..SMALL };

/// More than any test replays.
const ALL: usize = usize::MAX;

/// Shard, stem, sequence, place and value of an entry.
type Shown = (u8, Vec<u8>, u64, Place, Vec<u8>);

/// What an index and the books of the segments say.
#[derive(Debug, PartialEq)]
struct State {
    sequences: Vec<u64>,
    entries: Vec<Shown>,
    lives: (BTreeMap<u64, u64>, BTreeMap<u64, u64>),
}

/// What a start has done.
struct Outcome {
    state: State,
    spills: u64,
    merges: u64,
    /// Runs that were made of what was spilled.
    runs: usize,
}

/// A start of so many cores that keeps so many bytes in memory, and what comes after it; all of it stops at the end as at
/// a power cut that takes nothing.
fn live<T: 'static>(
    disk: &SimDisk,
    (cores, replay): (usize, usize),
    life: impl AsyncFnOnce(Vec<SimDriver>) -> T + 'static,
) -> Result<T, OpenError> {
    live_with(disk, (cores, replay, NOW_AND_THEN), life)
}

/// The same, with a time that never passes.
fn live_with<T: 'static>(
    disk: &SimDisk,
    (cores, replay, never): (usize, usize, Duration),
    life: impl AsyncFnOnce(Vec<SimDriver>) -> T + 'static,
) -> Result<T, OpenError> {
    let simulation = Simulation::new(7, 1_000_000_000);
    let upkeep = UpkeepOptions { scrub: None, uploads_expire: None, sorted_runs: true };
    let sync_method = Some(SyncMethod::WriteThenSync);
    let sizes = Sizes { replay, ..SIZES };
    let options = LocalOptions { sizes, upkeep, sync_method, recount: true };
    let budget = Budget::new(1 << 40);
    let volume = LocalVolume::open_on(disk, Path::new("/data"), cores, budget, options)?;
    let (disk, clock) = (disk.clone(), Patient(simulation.clock(), never));
    let run = simulation.run(STEPS_MAX, async move {
        let drivers = SimDriver::start_all(&volume, cores, &disk, &clock).await?;
        Ok(life(drivers).await)
    });
    run.unwrap()
}

/// Looks at everything right after a start.
async fn look(drivers: Vec<SimDriver>) -> Outcome {
    let core = &drivers[0].0;
    let (index, mut entries, mut runs) = (&core.shared.index, Vec::new(), 0);
    for shard in 0..=u8::MAX {
        let map = index.shard(shard);
        for found in map.resident().entries() {
            let ((stem, sequence), entry) = (key::split(found.key()), found.value());
            entries.push((shard, stem.to_vec(), sequence, entry.place, entry.value.to_vec()));
        }
        let view = map.view();
        runs += view.runs.len();
        let prefix = [Keyspace::Artifact as u8][..].into();
        let mut walk = Walk::new(map, &view, prefix, &[]);
        while let Some(found) = walk.next(core.finder.reader()).await.unwrap() {
            let (stem, value) = (found.stem.to_vec(), found.value.to_vec());
            entries.push((shard, stem, found.sequence, found.place, value));
            walk.step().unwrap();
        }
    }
    let sequences = (0..=u8::MAX).map(|shard| index.shard(shard).published()).collect();
    let folder = directory(core.shared.volume.layout());
    for entry in core.disk.list_directory(&folder).await.unwrap() {
        match Derived::of_name(&entry.name) {
            Some(Derived::Run(run)) => {
                assert!(core.shared.checkpoints.has_run(run), "{} is left", entry.name);
            }
            Some(Derived::Temporary) => panic!("{} is left", entry.name),
            _ => {}
        }
    }
    let counters = &core.shared.checkpoints.counters;
    let spills = counters.spills.load(Ordering::Relaxed);
    let merges = counters.merges.load(Ordering::Relaxed);
    Outcome {
        state: State { sequences, entries, lives: core.shared.segments.lives() },
        spills,
        merges,
        runs,
    }
}

fn start(disk: &SimDisk, cores: usize, replay: usize) -> Result<Outcome, OpenError> {
    live(disk, (cores, replay), look)
}

fn box_name(number: usize) -> ContainerName {
    name(&format!("box{number}"))
}

/// One thing that clients do.
async fn act(drivers: &[SimDriver], random: &mut Random) {
    let driver = &drivers[random.below(drivers.len())];
    let container = box_name(random.below(5));
    let text = format!("key{}", random.below(12));
    let target = Target { container: &container, key: key(&text) };
    let seed = random.number();
    let refused = match random.below(12) {
        kind @ 0..=6 => {
            let length = [100, 100, 100, 100, 900, 5_000, 13_000][kind];
            let source = &mut Given::new(body(length, seed));
            driver.put(&ctx(), target, WriteSpec::default(), source).await.err()
        }
        7 | 8 => {
            let deletion = [Deletion { key: key(&text), condition: WriteCondition::None }];
            driver.delete(&ctx(), &container, &deletion).await.err()
        }
        9 => driver.delete_container(&ctx(), &container).await.err(),
        10 => driver.create_container(&ctx(), &container).await.err(),
        _ => upload(driver, target, seed).await.err(),
    };
    use DriverError::{ContainerExists, ContainerNotEmpty, NoSuchContainer};
    let is_expected = |error: &DriverError| {
        matches!(error, ContainerExists | ContainerNotEmpty | NoSuchContainer)
    };
    assert!(refused.as_ref().is_none_or(is_expected), "{refused:?}");
}

/// Completes an upload, drops it, or leaves it.
async fn upload(driver: &SimDriver, target: Target<'_>, seed: u64) -> Result<(), DriverError> {
    let id = driver.create_upload(&ctx(), target, UploadSpec::default()).await?;
    let source = &mut Given::new(body([300, 7_000][usize::from(seed.is_multiple_of(2))], seed));
    let info = driver.put_part(&ctx(), target, id, 1, source).await?;
    let parts = [CompletePart { number: 1, etag: info.etag, checksum: None }];
    match seed % 3 {
        0 => driver.complete_upload(&ctx(), target, id, &completion(&parts)).await.map(drop),
        1 => driver.abort_upload(&ctx(), target, id).await,
        _ => Ok(()),
    }
}

/// A folder with a history of some starts, with checkpoints of some of it if that is wanted.
fn history(seed: u64, checkpoints: bool) -> SimDisk {
    long_history(seed, checkpoints, 90)
}

/// The same with so many things done in each start.
fn long_history(seed: u64, checkpoints: bool, acts: usize) -> SimDisk {
    let disk = SimDisk::with_seed(seed);
    let mut random = Random::new(seed);
    for life in 0..3 {
        let cores = 1 + random.below(3);
        let mut fork = Random::new(random.number());
        let done = live_with(&disk, (cores, ALL, HOUR), async move |drivers| {
            for number in 0..if life == 0 { 5 } else { 0 } {
                drivers[0].create_container(&ctx(), &box_name(number)).await.unwrap();
            }
            for number in 0..acts {
                act(&drivers, &mut fork).await;
                if checkpoints && life < 2 && number % 40 == 39 {
                    let core = &drivers[fork.below(cores)].0;
                    core.shared.checkpoints.want(core.core);
                    core.keeper.tick(&core.clock).await;
                }
            }
        });
        done.unwrap();
    }
    disk
}

/// A copy that may be started without changing it.
fn copy(disk: &SimDisk) -> SimDisk {
    disk.snapshot().after_power_cut(&mut Random::new(1))
}

#[test]
fn what_was_spilled_is_as_what_stays_in_memory() {
    let mut runs = 0;
    for seed in 1..=12 {
        let disk = history(seed, seed % 2 == 0);
        let expected = start(&disk, 1, ALL).unwrap();
        assert_eq!(expected.spills, 0);
        for (cores, replay) in [(1, 0), (2, 0), (3, 0), (1, 20_000), (2, 20_000), (2, ALL)] {
            let outcome = start(&disk, cores, replay).unwrap();
            assert!(outcome.state == expected.state, "seed {seed}, {cores} cores, {replay}");
            assert!(outcome.spills > 0 || replay > 0, "seed {seed}");
            runs += outcome.runs - expected.runs;
        }
    }
    assert!(runs > 50, "{runs} runs were made");
}

#[test]
fn runs_that_are_many_become_one_before_their_time() {
    let disk = long_history(1, false, 500);
    let expected = start(&disk, 1, ALL).unwrap();
    let outcome = start(&disk, 1, 0).unwrap();
    assert!(outcome.state == expected.state);
    assert!(outcome.merges > 0, "{} spills", outcome.spills);
}

#[test]
fn what_became_a_run_at_start_is_in_the_next_checkpoint() {
    for seed in 1..=6 {
        let disk = history(seed, seed % 2 == 0);
        let expected = start(&disk, 2, ALL).unwrap();
        let made = live(&disk, (2, 0), async |drivers| {
            for driver in &drivers {
                driver.0.keeper.tick(&driver.0.clock).await;
            }
            look(drivers).await
        });
        let made = made.unwrap();
        assert!(made.state == expected.state && made.runs > 0, "seed {seed}");
        let next = start(&disk, 1, 0).unwrap();
        assert!(next.state == expected.state && next.spills == 0, "seed {seed}: {}", next.spills);
        assert_eq!(next.runs, made.runs);
    }
}

#[test]
fn a_crash_of_a_start_leaves_nothing_behind_that_the_next_does_not_remove() {
    for seed in 1..=4 {
        let disk = history(seed, seed % 2 == 0);
        let expected = start(&disk, 1, ALL).unwrap();
        disk.snapshot_one_in(3);
        start(&disk, 2, 0).unwrap();
        let snapshots = disk.take_snapshots();
        let (mut random, mut left) = (Random::new(seed), 0);
        for snapshot in &snapshots {
            let disk = snapshot.after_power_cut(&mut random);
            let runs = |(name, _): &(String, u64)| name.ends_with(".run");
            left += disk.files().iter().filter(|one| runs(one)).count();
            for replay in [ALL, 0] {
                let outcome = start(&copy(&disk), 1, replay).unwrap();
                assert!(outcome.state == expected.state, "seed {seed}");
            }
        }
        assert!(snapshots.len() > 20 && left > 0, "{} snapshots, {left} runs", snapshots.len());
    }
}

#[test]
fn a_disk_without_room_for_it_keeps_no_start_from_coming_to_its_end() {
    let disk = history(3, true);
    let expected = start(&copy(&disk), 1, ALL).unwrap();
    let used: u64 = disk.files().iter().map(|(_, length)| length).sum();
    let (mut spills, mut in_memory) = (Vec::new(), 0);
    for free in (64..400).step_by(4) {
        let [with, without] = [0, ALL].map(|replay| {
            let disk = copy(&disk);
            disk.set_capacity(Some(used + (free << 10)));
            start(&disk, 1, replay)
        });
        if without.is_err() {
            continue;
        }
        let outcome = with.unwrap_or_else(|error| panic!("{free} KiB are free: {error}"));
        assert!(outcome.state == expected.state, "{free} KiB are free");
        spills.push(outcome.spills);
        in_memory += u64::from(outcome.runs == expected.runs);
    }
    assert!(spills.is_sorted() && spills.first() < spills.last(), "{spills:?}");
    assert!(in_memory > 0 && in_memory < spills.len() as u64, "{in_memory} of {spills:?}");
    // And one that says so only when it is written to.
    let (mut done, mut refused) = (0, 0);
    for number in 1..120 {
        let disk = copy(&disk);
        disk.fail_after(number, libc::ENOSPC);
        match start(&disk, 1, 0) {
            Ok(outcome) => {
                assert!(outcome.state == expected.state, "operation {number}");
                done += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(done > 10 * refused, "{done}, {refused} were refused");
}

#[test]
fn a_disk_that_fails_refuses_the_start_and_costs_the_next_nothing() {
    let disk = history(5, true);
    let expected = start(&copy(&disk), 1, ALL).unwrap();
    let (mut refused, mut wrong) = (0, 0);
    for seed in 0..60 {
        let disk = disk.snapshot().after_power_cut(&mut Random::new(seed));
        let faults =
            Faults { write_error: 20, sync_error: 20, read_error: 40, ..Faults::default() };
        disk.set_faults(faults);
        match start(&disk, 2, 0) {
            Ok(outcome) => wrong += u64::from(outcome.state != expected.state),
            Err(_) => refused += 1,
        }
        disk.set_faults(Faults::default());
        assert!(start(&disk, 2, 0).unwrap().state == expected.state, "seed {seed}");
    }
    assert!(refused > 20 && wrong == 0, "{refused} {wrong}");
}
