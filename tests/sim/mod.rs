//! A few simulated worlds in every run of the tests; `scripts/sim` goes through many.

mod cluster;
mod content;
mod full;
mod logs;
mod model;
mod observe;
mod perils;
mod register;
mod rot;
mod tally;
mod workload;
mod world;

use self::world::World;

/// Fails with what was wrong in a world.
fn check(seed: u64, points: u64) {
    let tally = World::live(seed, points, false);
    assert!(tally.is_good(), "seed {seed}: {:#?}", tally.texts);
    assert!(tally.operations > 0 && tally.points > 0, "nothing happened: {tally:?}");
}

#[test]
fn nothing_is_lost_where_the_power_is_cut() {
    for seed in 1..=4 {
        check(seed, 60);
    }
}

#[test]
fn a_seed_tells_all_that_happens() {
    let [one, other] = [9, 9].map(|seed| World::live(seed, 20, false));
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}
