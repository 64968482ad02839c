use std::path::Path;
use std::sync::Arc as Shared;

use loom::sync::Arc;
use loom::thread;

use super::{model, spawn};
use crate::io::sim::SimDisk;
use crate::io::testing::drive;
use crate::shard::index::key::{self, Keyspace};
use crate::shard::index::run::{Run, RunWriter};
use crate::shard::index::{Entry, Looked, ShardMap, View};
use crate::shard::log::Place;

const CONTAINER: u64 = 1;

fn entry(value: &[u8]) -> Entry {
    Entry { place: Place::default(), value: value.into() }
}

/// What the owner does with one record.
fn commit(map: &ShardMap, stem: &[u8], sequence: u64, value: &[u8]) {
    map.insert(stem, sequence, entry(value));
    map.publish(sequence);
    map.prune(stem, sequence, |_, _| ());
}

/// The sequence of the stem's current version in the tables, or that of the run if it is there.
fn look(map: &ShardMap, stem: &[u8], in_run: u64) -> Option<u64> {
    match map.look(stem, |sequence, _, _| sequence) {
        Looked::Known(found) => found,
        Looked::Below(below) => {
            assert!(below.view.runs_may_hold(stem), "it was sent to a run");
            assert!(in_run <= below.published, "the run holds nothing newer than what it may see");
            Some(in_run)
        }
    }
}

/// A run that holds one stem.
fn run_of(stem: &[u8], sequence: u64) -> Shared<Run> {
    drive(async {
        let disk = SimDisk::new();
        let mut writer = RunWriter::create(&disk, Path::new("/run"), 1, 0, 1).await.unwrap();
        writer.push(stem, sequence, Place::default(), b"value").await.unwrap();
        Shared::new(writer.finish().await.unwrap())
    })
}

#[test]
fn a_part_that_is_replaced_is_never_missed_and_never_goes_back() {
    let stem = key::part(CONTAINER, crate::model::UploadId(9), 1);
    model(3, move || {
        let map = Arc::new(ShardMap::default());
        commit(&map, &stem, 1, b"old");
        let reader = thread::spawn({
            let (map, stem) = (Arc::clone(&map), stem.clone());
            move || {
                let [first, second] =
                    [(), ()].map(|()| map.get(&stem, |sequence, _| sequence).expect("it is there"));
                assert!(first <= second, "it went back");
            }
        });
        commit(&map, &stem, 2, b"new");
        reader.join().expect("it ends");
        assert_eq!(map.get(&stem, |sequence, _| sequence), Some(2));
    });
}

#[test]
fn a_walk_shows_a_part_that_is_replaced_once() {
    let stem = key::part(CONTAINER, crate::model::UploadId(9), 1);
    model(3, move || {
        let map = Arc::new(ShardMap::default());
        commit(&map, &stem, 1, b"old");
        let reader = thread::spawn({
            let map = Arc::clone(&map);
            move || {
                let mut cursor = map.scan(key::within(Keyspace::Part, CONTAINER), &[]);
                assert!(cursor.next().is_some(), "it was there all the while");
                assert!(cursor.next().is_none(), "it is one");
            }
        });
        commit(&map, &stem, 2, b"new");
        reader.join().expect("it ends");
    });
}

#[test]
fn an_artifact_is_never_missed_while_its_table_is_frozen_and_flushed() {
    let stem = key::artifact(CONTAINER, b"a");
    let run = run_of(&stem, 1);
    model(3, move || {
        let map = Arc::new(ShardMap::default());
        commit(&map, &stem, 1, b"old");
        let reader = spawn({
            let (map, stem) = (Arc::clone(&map), stem.clone());
            move || {
                let [first, second] =
                    [(), ()].map(|()| look(&map, &stem, 1).expect("it was there all the while"));
                assert!(first <= second, "it went back");
            }
        });
        let owner = spawn({
            let (map, stem, run) = (Arc::clone(&map), stem.clone(), Shared::clone(&run));
            move || {
                let frozen = Some(Shared::clone(&map.view().active));
                map.set_view(View { frozen, ..View::default() });
                let active = Shared::clone(&map.view().active);
                map.set_view(View { active, frozen: None, runs: Shared::from([run]) });
                commit(&map, &stem, 2, b"new");
                assert_eq!(look(&map, &stem, 1), Some(2));
            }
        });
        reader.join().expect("it ends");
        owner.join().expect("it ends");
    });
}

#[test]
fn an_artifact_that_is_replaced_while_its_table_is_frozen_is_never_missed() {
    let stem = key::artifact(CONTAINER, b"a");
    model(3, move || {
        let map = Arc::new(ShardMap::default());
        commit(&map, &stem, 1, b"old");
        let reader = thread::spawn({
            let (map, stem) = (Arc::clone(&map), stem.clone());
            move || {
                let [first, second] =
                    [(), ()].map(|()| look(&map, &stem, 0).expect("it was there all the while"));
                assert!(first <= second, "it went back");
            }
        });
        commit(&map, &stem, 2, b"new");
        let frozen = Some(Shared::clone(&map.view().active));
        map.set_view(View { frozen, ..View::default() });
        commit(&map, &stem, 3, b"newer");
        reader.join().expect("it ends");
        assert_eq!(look(&map, &stem, 0), Some(3));
    });
}

#[test]
fn what_was_removed_does_not_come_back_from_below() {
    let stem = key::artifact(CONTAINER, b"a");
    model(3, move || {
        let map = Arc::new(ShardMap::default());
        commit(&map, &stem, 1, b"old");
        let frozen = Some(Shared::clone(&map.view().active));
        map.set_view(View { frozen, ..View::default() });
        let reader = thread::spawn({
            let (map, stem) = (Arc::clone(&map), stem.clone());
            move || {
                let [first, second] = [(), ()].map(|()| look(&map, &stem, 0));
                assert!(first.is_some() || second.is_none(), "it came back");
            }
        });
        commit(&map, &stem, 2, b"");
        reader.join().expect("it ends");
        assert_eq!(look(&map, &stem, 0), None);
    });
}
