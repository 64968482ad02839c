use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::io::sim::SimDisk;
use crate::io::testing::drive;
use crate::model::{ETag, UploadId};
use crate::shard::extent::extent_length;
use crate::shard::index::run::Version;
use crate::shard::index::value::{NewArtifact, NewContent};
use crate::shard::log::{LogPoint, Place};

const SHARD: u8 = 0xa5;
const POINT: LogPoint = LogPoint { segment: 12, offset: 8192 };

fn layout() -> Layout {
    Layout { root: PathBuf::from("/d") }
}

/// An artifact's entry, by value.
#[derive(Clone, Debug)]
struct Owned {
    stem: Vec<u8>,
    sequence: u64,
    place: Place,
    value: Vec<u8>,
}

impl Owned {
    fn version(&self) -> Version<'_> {
        let Self { stem, sequence, place, value } = self;
        Version { stem, sequence: *sequence, place: *place, value }
    }
}

fn artifact(sequence: u64, size: u64, content: Option<NewContent>) -> Owned {
    let etag = ETag { hash: [7; 16], parts: 0 };
    let mut value = Vec::new();
    if let Some(content) = content {
        NewArtifact { size, modified_ms: 5, etag, checksum: None, metadata: b"", content }
            .encode(&mut value);
    }
    let offset = u32::try_from(sequence % 1000).unwrap() * 4096;
    let place = Place { segment: 1 + sequence % 3, offset, length: 8 };
    Owned { stem: format!("\u{2}{sequence:020}\0").into_bytes(), sequence, place, value }
}

/// Artifacts, each with a record of its own.
fn artifacts(count_max: usize) -> impl Strategy<Value = Vec<Owned>> {
    let content = prop_oneof![
        Just(None),
        any::<u32>().prop_map(|crc| Some(NewContent::Inline { crc })),
        (1_u64..4).prop_map(|id| Some(NewContent::Extent { segment: id, offset: 0, id })),
        (10_u64..14).prop_map(|id| Some(NewContent::OwnFile { id })),
        (1_u16..9, any::<u128>()).prop_map(|(count, upload)| {
            let upload = UploadId(upload);
            Some(NewContent::Composite { count, upload, length: 99, crc: 3 })
        }),
    ];
    vec((0_u64..1 << 20, content), 0..count_max).prop_map(|all| {
        let numbered = (1..).zip(all);
        numbered.map(|(sequence, (size, content))| artifact(sequence, size, content)).collect()
    })
}

fn accounts_of<'o>(entries: impl IntoIterator<Item = &'o Owned>) -> Accounts {
    let mut accounts = Accounts::default();
    for entry in entries {
        accounts.add(SHARD, &entry.version()).unwrap();
    }
    accounts
}

#[test]
fn accounts_count_what_each_kind_of_artifact_holds() {
    let upload = UploadId(9);
    let extent = NewContent::Extent { segment: 40, offset: 0, id: 1 };
    let all = [
        artifact(1, 5, Some(NewContent::Inline { crc: 1 })),
        artifact(2, 70_000, Some(extent)),
        artifact(3, 3, Some(extent)),
        artifact(4, 9 << 20, Some(NewContent::OwnFile { id: 50 })),
        artifact(5, 10, Some(NewContent::Composite { count: 2, upload, length: 77, crc: 6 })),
        artifact(6, 0, None),
    ];
    let accounts = accounts_of(&all);
    assert_eq!(accounts.records().collect::<Vec<_>>(), [(1, 1), (2, 2), (3, 2)]);
    let extents = extent_length(70_000) + extent_length(3);
    assert_eq!(accounts.bytes().collect::<Vec<_>>(), [(40, extents)]);
    assert_eq!(accounts.own_files().collect::<Vec<_>>(), [50]);
    let lists: Vec<_> = accounts.composites().collect();
    assert_eq!(lists.len(), 1);
    assert_eq!((lists[0].upload, lists[0].count, lists[0].crc), (upload, 2, 6));
    assert_eq!(lists[0].place, Place { length: 77, ..all[4].place });

    let mut malformed = all[0].clone();
    malformed.value.pop();
    let mut accounts = Accounts::default();
    assert!(accounts.add(SHARD, &malformed.version()).is_err());
    assert_eq!(accounts.records().collect::<Vec<_>>(), [(2, 1)], "its record is held all the same");
}

#[test]
#[should_panic(expected = "holds 0, not 1")]
fn what_is_not_held_is_not_taken_away() {
    let one = artifact(1, 5, Some(NewContent::Inline { crc: 1 }));
    Accounts::default().subtract_all(&accounts_of([&one]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn accounts_are_exact_in_whatever_order(
        entries in artifacts(40),
        split in any::<prop::sample::Index>(),
    ) {
        let split = split.index(entries.len() + 1);
        let (gone, left) = entries.split_at(split);
        let mut one_by_one = accounts_of(&entries);
        for entry in gone {
            one_by_one.subtract_all(&accounts_of([entry]));
        }
        prop_assert_eq!(&one_by_one, &accounts_of(left));
        let mut at_once = accounts_of(gone);
        at_once.add_all(&accounts_of(left));
        prop_assert_eq!(&at_once, &accounts_of(&entries));
        at_once.subtract_all(&accounts_of(gone));
        prop_assert_eq!(&at_once, &accounts_of(left));
        at_once.subtract_all(&accounts_of(left));
        prop_assert_eq!(at_once, Accounts::default());
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written(
        sequence in any::<u64>(),
        point in option::of((any::<u64>(), any::<u32>())),
        runs in vec(any::<u64>(), 0..5),
        held in artifacts(20),
        resident in vec((vec(any::<u8>(), 1..2000), vec(any::<u8>(), 0..5000)), 0..20),
    ) {
        drive(async {
            let disk = SimDisk::new();
            let accounts = accounts_of(&held);
            let point = point.map(|(segment, offset)| LogPoint { segment, offset });
            let mut builder = CheckpointBuilder::new(SHARD, sequence, point, &runs, &accounts);
            let place = Place { segment: 1 << 40, offset: u32::MAX, length: 1 };
            for (number, (stem, value)) in (0..).zip(&resident) {
                builder.resident(&Version { stem, sequence: number, place, value });
            }
            builder.write(&disk, &layout()).await.unwrap();
            let read = Checkpoint::read(&disk, &layout(), SHARD).await.unwrap().unwrap();
            prop_assert_eq!((read.shard, read.sequence, read.point), (SHARD, sequence, point));
            prop_assert_eq!(&read.runs, &runs);
            prop_assert_eq!(&read.accounts, &accounts);
            let entries: Vec<_> = read.resident().collect();
            prop_assert_eq!(entries.len(), resident.len());
            for ((number, (stem, value)), version) in (0..).zip(&resident).zip(entries) {
                prop_assert_eq!(version, Version { stem, sequence: number, place, value });
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_mark_is_read_as_it_was_written(
        (start, core, cores) in any::<(u32, u16, u16)>(),
        (position, covers_earlier) in any::<(u32, bool)>(),
        shards in vec(any::<u8>(), 0..300),
        written in vec(any::<(u64, u64)>(), 0..600),
    ) {
        drive(async {
            let disk = SimDisk::new();
            let mut set = ShardSet::default();
            for shard in &shards {
                set.insert(*shard);
            }
            let mut ordered = shards.clone();
            ordered.sort_unstable();
            ordered.dedup();
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), ordered);
            let log = LogId { start, core };
            let mark = Mark { log, cores, position, covers_earlier, shards: set, written };
            mark.write(&disk, &layout()).await.unwrap();
            prop_assert_eq!(Mark::read(&disk, &layout(), log).await.unwrap(), Some(mark));
            Ok(())
        })?;
    }
}

fn example() -> CheckpointBuilder {
    let content = NewContent::Composite { count: 2, upload: UploadId(4), length: 77, crc: 6 };
    let held = [
        artifact(1, 70_000, Some(NewContent::Extent { segment: 40, offset: 0, id: 1 })),
        artifact(4, 9 << 20, Some(NewContent::OwnFile { id: 50 })),
        artifact(5, 10, Some(content)),
    ];
    let mut builder = CheckpointBuilder::new(SHARD, 77, Some(POINT), &[9, 3], &accounts_of(&held));
    builder.resident(&held[0].version());
    builder.resident(&artifact(9, 0, None).version());
    builder
}

#[test]
fn every_flipped_bit_of_a_checkpoint_or_mark_is_seen() {
    let whole = example().finish();
    let mark = Mark {
        log: LogId { start: 3, core: 1 },
        cores: 2,
        position: 7,
        covers_earlier: true,
        shards: ShardSet::default(),
        written: vec![(1, 2), (3, 4)],
    };
    let mark = mark.encode();
    assert!(Checkpoint::decode(whole.clone()).is_some() && Mark::decode(&mark).is_some());
    for bit in 0..8 {
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            assert!(Checkpoint::decode(damaged).is_none(), "bit {bit} of byte {at}");
        }
        for at in 0..mark.len() {
            let mut damaged = mark.clone();
            damaged[at] ^= 1 << bit;
            assert!(Mark::decode(&damaged).is_none(), "bit {bit} of byte {at}");
        }
    }
    for length in 0..whole.len() {
        assert!(Checkpoint::decode(whole[..length].to_vec()).is_none(), "{length}");
    }
    for length in 0..mark.len() {
        assert!(Mark::decode(&mark[..length]).is_none(), "{length}");
    }
}

#[test]
fn counts_that_a_right_checksum_covers_may_lie_and_nothing_panics() {
    let whole = example().finish();
    for at in 8..56 {
        for byte in [1, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= byte;
            let crc = crc_fast::crc32_iscsi(&damaged[..60]);
            damaged[60..64].copy_from_slice(&crc.to_le_bytes());
            if let Some(read) = Checkpoint::decode(damaged) {
                assert!(read.resident().count() <= 2);
            }
        }
    }
}

#[test]
fn a_checkpoint_is_replaced_whole_or_not_at_all() {
    drive(async {
        let disk = SimDisk::new();
        let read = async || Checkpoint::read(&disk, &layout(), SHARD).await.unwrap();
        let folder = directory(&layout());
        assert!(read().await.is_none());
        example().write(&disk, &layout()).await.unwrap();
        disk.sync_directory(&folder).await.unwrap();
        let newer = || CheckpointBuilder::new(SHARD, 78, None, &[], &Accounts::default());
        newer().write(&disk, &layout()).await.unwrap();
        assert_eq!(read().await.unwrap().sequence, 78);
        disk.power_cut(|_| 0);
        assert_eq!(read().await.unwrap().sequence, 77, "its directory was not synced");
        newer().write(&disk, &layout()).await.unwrap();
        disk.sync_directory(&folder).await.unwrap();
        disk.power_cut(|_| 0);
        assert_eq!(read().await.unwrap().sequence, 78);
        for operation in 1..=2 {
            disk.fail_after(operation, 5);
            let newest = CheckpointBuilder::new(SHARD, 79, None, &[], &Accounts::default());
            assert!(newest.write(&disk, &layout()).await.is_err());
            assert_eq!(read().await.unwrap().sequence, 78);
        }
        let path = Derived::Checkpoint(SHARD).path(&layout());
        disk.flip(&path, 17, 1).unwrap();
        let damaged = Checkpoint::read(&disk, &layout(), SHARD).await;
        assert!(matches!(damaged, Err(CheckpointError::Damaged(at)) if at == path));
        disk.flip(&path, 17, 1).unwrap();
        disk.rename(&path, &Derived::Checkpoint(3).path(&layout())).await.unwrap();
        let misplaced = Checkpoint::read(&disk, &layout(), 3).await;
        assert!(matches!(misplaced, Err(CheckpointError::Damaged(_))), "it is of another shard");
    });
}

#[test]
fn a_file_of_any_length_is_read_whole() {
    let disk = SimDisk::new();
    let path = Path::new("/d/file");
    let block = crate::io::buffer::ALIGNMENT;
    for length in [0, block, PIECE_FIRST - block, PIECE_FIRST, PIECE_FIRST + PIECE, 3 * PIECE] {
        let bytes: Vec<u8> = (0..length).map(|at| (at / 7 % 251).to_le_bytes()[0]).collect();
        drive(replace(&disk, path, &bytes)).unwrap();
        assert!(drive(read_whole(&disk, path)).unwrap().unwrap() == bytes, "{length} bytes");
    }
    assert!(drive(read_whole(&disk, Path::new("/d/other"))).unwrap().is_none());
}

#[test]
fn names_of_files_are_told_apart() {
    let log = LogId { start: 0x1234, core: 0xab };
    let all = [Derived::Run(0x1_0000_0002), Derived::Checkpoint(0xfe), Derived::Mark(log)];
    for derived in all {
        let path = derived.path(&layout());
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(Derived::of_name(name), Some(derived), "{name}");
        assert_eq!(Derived::of_name(&format!("{name}.tmp")), Some(Derived::Temporary));
    }
    let names = all.map(|derived| derived.path(&layout()).display().to_string());
    let expected =
        ["/d/index/0000000100000002.run", "/d/index/fe.checkpoint", "/d/index/00001234-00ab.mark"];
    assert_eq!(names, expected);
    for name in ["1.run", "+000000000000001.run", "FE.checkpoint", "1-2.mark", "reserve", "run"] {
        assert_eq!(Derived::of_name(name), None, "{name}");
    }
}

/// A mark of a core of a start that has `cores`.
fn mark(start: u32, core: u16, cores: u16, position: u32, covers_earlier: bool) -> Mark {
    let log = LogId { start, core };
    let mut shards = ShardSet::default();
    shards.insert(u8::try_from(start).unwrap());
    Mark { log, cores, position, covers_earlier, shards, written: Vec::new() }
}

#[test]
fn a_log_is_covered_by_its_own_mark_or_by_all_cores_of_a_later_start() {
    let log = |start, core| LogId { start, core };
    let none = Coverage::new(&[]);
    assert!(!none.covers(log(1, 0), 0) && none.shards() == ShardSet::default());

    let own = Coverage::new(&[mark(1, 0, 2, 3, false)]);
    let covered: BTreeMap<u32, bool> =
        (0..5).map(|position| (position, own.covers(log(1, 0), position))).collect();
    assert_eq!(covered.into_values().collect::<Vec<_>>(), [true, true, true, false, false]);
    assert!(!own.covers(log(1, 1), 0), "another core's log");
    assert!(!own.covers(log(2, 0), 0), "another start's");

    // One of two cores is not enough, nor are two that do not say so, nor three of four.
    for marks in [
        vec![mark(5, 0, 2, 0, true)],
        vec![mark(5, 0, 2, 0, true), mark(5, 1, 2, 9, false)],
        vec![mark(5, 0, 4, 0, true), mark(5, 1, 4, 0, true), mark(5, 3, 4, 0, true)],
        vec![mark(5, 0, 2, 0, true), mark(5, 7, 2, 0, true)],
        vec![mark(5, 0, 2, 0, true), mark(5, 1, 3, 0, true)],
    ] {
        let coverage = Coverage::new(&marks);
        assert!(!coverage.covers(log(4, 0), 0) && !coverage.covers(log(1, 9), 5), "{marks:?}");
    }

    let both = [mark(5, 0, 2, 1, true), mark(5, 1, 2, 0, true), mark(6, 0, 1, 2, false)];
    let coverage = Coverage::new(&both);
    assert!(coverage.covers(log(4, 3), 99) && coverage.covers(log(1, 0), 0));
    assert!(coverage.covers(log(5, 0), 0) && !coverage.covers(log(5, 0), 1));
    assert!(!coverage.covers(log(5, 1), 0), "its own log is not of an earlier start");
    assert!(coverage.covers(log(6, 0), 1) && !coverage.covers(log(6, 0), 2));
    assert_eq!(coverage.shards().iter().collect::<Vec<_>>(), [5, 6]);

    // The latest start that covers earlier ones counts, whatever later ones say.
    let all = [&both[..], &[mark(7, 0, 2, 0, true)]].concat();
    assert!(!Coverage::new(&all).covers(log(6, 0), 2));
    let all = [&all[..], &[mark(7, 1, 2, 0, true)]].concat();
    assert!(Coverage::new(&all).covers(log(6, 0), 2));
}
