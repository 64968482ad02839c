use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::FutureExt;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::io::budget::Budget;
use crate::io::sim::{SimDisk, SimFile};
use crate::io::testing::drive;
use crate::io::{Disk, OpenOptions};

const SHARD: u8 = 7;

/// What a run holds, by stem.
type Model = BTreeMap<Vec<u8>, (u64, Place, Vec<u8>)>;

/// Runs on a disk in memory.
struct Files(SimDisk);

impl RunFiles for Files {
    type File = SimFile;

    async fn file(&self, run: u64, _keep: bool) -> io::Result<SimFile> {
        let options = OpenOptions { direct: true, ..OpenOptions::default() };
        self.0.open(&file(run), options).await
    }
}

fn file(run: u64) -> PathBuf {
    path(&Layout { root: PathBuf::from("/d") }, run)
}

fn cache(bytes: u64) -> Arc<BlockCache> {
    BlockCache::new(Budget::new(1 << 30), bytes)
}

fn place(number: u64) -> Place {
    Place { segment: number << 32 | 1, offset: 4096, length: 17 }
}

async fn write(disk: &SimDisk, id: u64, model: &Model) -> Run {
    let stems = model.len() as u64;
    let mut writer = RunWriter::create(disk, &file(id), id, SHARD, stems).await.unwrap();
    for (stem, (sequence, place, value)) in model {
        writer.push(stem, *sequence, *place, value).await.unwrap();
    }
    writer.finish().await.unwrap()
}

async fn open_run(files: &Files, id: u64) -> Result<Run, RunError> {
    Run::open(&files.file(id, false).await?, id).await
}

/// All that a walk from `from` on shows, at most `limit`.
async fn walk(
    reader: Reader<'_, Files>,
    sources: Vec<RunCursor>,
    from: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, (u64, Place, Vec<u8>))>, RunError> {
    let mut merge = Merge::new(sources);
    if let Some(from) = from {
        merge.seek(from);
    }
    let mut seen = Vec::new();
    while seen.len() < limit {
        if !merge.try_ready(reader.cache)? {
            merge.ready(reader).await?;
        }
        let Some(version) = merge.peek() else { break };
        let Version { stem, sequence, place, value } = version;
        seen.push((stem.to_vec(), (sequence, place, value.to_vec())));
        merge.next()?;
    }
    Ok(seen)
}

async fn assert_same(files: &Files, run: &Arc<Run>, model: &Model, absent: &[Vec<u8>]) {
    let cache = cache(1 << 20);
    let reader = Reader { files, cache: &cache };
    for (stem, (sequence, place, value)) in model {
        let found = run.get(reader, &Probe::new(stem)).await.unwrap().expect("it is there");
        assert_eq!((found.sequence, found.place, found.value()), (*sequence, *place, &value[..]));
        assert_eq!(found.is_tombstone(), value.is_empty());
    }
    for stem in absent.iter().filter(|stem| !model.contains_key(*stem)) {
        assert!(run.get(reader, &Probe::new(stem)).await.unwrap().is_none());
    }
    let all: Vec<_> = model.clone().into_iter().collect();
    for keep in [true, false] {
        let cursor = RunCursor::new(Arc::clone(run), keep);
        assert_eq!(walk(reader, vec![cursor], None, usize::MAX).await.unwrap(), all);
    }
    for from in absent {
        let expected: Vec<_> = model
            .range(from.clone()..)
            .take(3)
            .map(|(stem, version)| (stem.clone(), version.clone()))
            .collect();
        let cursor = RunCursor::new(Arc::clone(run), true);
        assert_eq!(walk(reader, vec![cursor], Some(from), 3).await.unwrap(), expected);
    }
}

/// Stems that begin alike for a long way, and some that do not; values from none to more than a block.
fn stems() -> impl Strategy<Value = Vec<u8>> {
    let tail = prop_oneof![vec(b'a'..b'd', 1..6), vec(any::<u8>(), 1..4), vec(0_u8..3, 900..1024)];
    (0_usize..3, tail).prop_map(|(beginning, tail)| {
        let beginnings = [&b""[..], b"2/a/long/common/beginning/of/stems/", &[b'x'; 300]];
        [beginnings[beginning], &tail].concat()
    })
}

fn values() -> impl Strategy<Value = (u64, Place, Vec<u8>)> {
    let value = prop_oneof![
        1 => Just(Vec::new()),
        6 => vec(any::<u8>(), 1..200),
        1 => vec(any::<u8>(), 4000..5000),
        1 => (15_000_usize..65_536).prop_map(|length| vec![7; length]),
    ];
    (any::<u64>(), any::<u64>(), value).prop_map(|(sequence, segment, value)| {
        let place = Place { segment, offset: 8192, length: u32::try_from(value.len()).unwrap() };
        (sequence, place, value)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_run_answers_like_a_map(
        model in btree_map(stems(), values(), 0..120),
        absent in vec(stems(), 20),
    ) {
        drive(async {
            let files = Files(SimDisk::new());
            let written = write(&files.0, 5, &model).await;
            let opened = open_run(&files, 5).await.unwrap();
            prop_assert_eq!(written.entries(), model.len() as u64);
            prop_assert_eq!(written.length(), files.0.content(&file(5)).unwrap().len() as u64);
            prop_assert_eq!(&written.footer, &opened.footer);
            for run in [written, opened] {
                assert_same(&files, &Arc::new(run), &model, &absent).await;
            }
            Ok(())
        })?;
    }

    #[test]
    fn a_merge_shows_of_each_stem_what_the_newest_run_says(
        models in vec(btree_map(stems(), values(), 0..60), 1..5),
        froms in vec(stems(), 5),
    ) {
        drive(async {
            let files = Files(SimDisk::new());
            let cache = cache(1 << 20);
            let reader = Reader { files: &files, cache: &cache };
            let mut runs = Vec::new();
            let mut together = Model::new();
            for (id, model) in (1..).zip(&models) {
                runs.insert(0, Arc::new(write(&files.0, id, model).await));
                together.extend(model.clone());
            }
            let cursors = || runs.iter().map(|run| RunCursor::new(Arc::clone(run), true)).collect();
            let all: Vec<_> = together.clone().into_iter().collect();
            prop_assert_eq!(&walk(reader, cursors(), None, usize::MAX).await.unwrap(), &all);
            for from in &froms {
                let expected: Vec<_> = together.range(from.clone()..).take(9).collect();
                let seen = walk(reader, cursors(), Some(from), 9).await.unwrap();
                prop_assert_eq!(seen.iter().map(|(stem, version)| (stem, version)).collect::<Vec<_>>(), expected);
                let newest = get_newest(&runs, reader, &Probe::new(from)).await.unwrap();
                let newest = newest.map(|found| (found.sequence, found.place, found.value().to_vec()));
                prop_assert_eq!(newest.as_ref(), together.get(from));
            }
            for drop_tombstones in [false, true] {
                let id = 100 + u64::from(drop_tombstones);
                let mut writer =
                    RunWriter::create(&files.0, &file(id), id, SHARD, all.len() as u64).await.unwrap();
                for (stem, (sequence, place, value)) in &walk(reader, cursors(), None, usize::MAX).await.unwrap() {
                    if !(drop_tombstones && value.is_empty()) {
                        writer.push(stem, *sequence, *place, value).await.unwrap();
                    }
                }
                let merged = Arc::new(writer.finish().await.unwrap());
                let mut expected = together.clone();
                expected.retain(|_, (_, _, value)| !(drop_tombstones && value.is_empty()));
                let tombstones = expected.values().filter(|(_, _, value)| value.is_empty()).count();
                prop_assert_eq!(merged.footer.tombstones, tombstones as u64);
                assert_same(&files, &merged, &expected, &froms).await;
            }
            Ok(())
        })?;
    }
}

fn numbered(count: u64) -> Model {
    let name = |number: u64| format!("\u{2}container/common/{number:08}\0").into_bytes();
    (0..count).map(|number| (name(number), (number + 1, place(number), vec![1; 90]))).collect()
}

#[test]
fn a_walk_seeks_forward_within_and_over_blocks() {
    drive(async {
        let files = Files(SimDisk::new());
        let model = numbered(1000);
        let run = Arc::new(write(&files.0, 1, &model).await);
        assert!(run.blocks.count() > 4, "several blocks");
        let cache = cache(1 << 20);
        let reader = Reader { files: &files, cache: &cache };
        let mut merge = Merge::new([RunCursor::new(run, true)]);
        for step in [1, 3, 17, 150] {
            let wanted = model.iter().step_by(step);
            for (stem, (sequence, ..)) in wanted {
                merge.seek(stem);
                merge.ready(reader).await.unwrap();
                let version = merge.peek().expect("it is there");
                assert_eq!((version.stem, version.sequence), (&stem[..], *sequence));
            }
        }
        merge.seek(b"\x03");
        merge.ready(reader).await.unwrap();
        assert_eq!(merge.peek(), None);
    });
}

#[test]
fn what_is_cached_is_found_without_waiting() {
    drive(async {
        let files = Files(SimDisk::new());
        let model = numbered(1000);
        let run = Arc::new(write(&files.0, 1, &model).await);
        let cache = cache(1 << 20);
        let reader = Reader { files: &files, cache: &cache };
        let stem = model.keys().nth(500).unwrap();
        let probe = Probe::new(stem);
        assert!(run.get(reader, &probe).now_or_never().is_none(), "it must be read");
        assert_eq!(cache.hits(), 0);
        assert!(run.get(reader, &probe).await.unwrap().is_some());
        let found = run.get(reader, &probe).now_or_never().expect("nothing to wait for");
        assert_eq!(found.unwrap().map(|found| found.sequence), Some(501));
        assert_eq!(cache.hits(), 1);
        assert!(cache.bytes() > 16 << 10);
        let absent = run.get(reader, &Probe::new(b"\x02a stem that no run has\0")).now_or_never();
        assert!(matches!(absent, Some(Ok(None))));
        cache.forget(1);
        assert_eq!(cache.bytes(), 0);
        assert!(run.get(reader, &probe).now_or_never().is_none());

        // A merge leaves the cache alone.
        let cursor = RunCursor::new(run, false);
        assert_eq!(walk(reader, vec![cursor], None, usize::MAX).await.unwrap().len(), 1000);
        assert_eq!(cache.bytes(), 0);
    });
}

#[test]
fn the_cache_pays_from_the_budget_stays_within_its_share_and_gives_way() {
    drive(async {
        let files = Files(SimDisk::new());
        let run = Arc::new(write(&files.0, 1, &numbered(5000)).await);
        let budget = Budget::new(1 << 20);
        let cache = BlockCache::new(budget.clone(), 256 << 10);
        let reader = Reader { files: &files, cache: &cache };
        let cursor = RunCursor::new(run, true);
        assert_eq!(walk(reader, vec![cursor], None, usize::MAX).await.unwrap().len(), 5000);
        assert!(cache.bytes() <= 256 << 10 && cache.bytes() > 100 << 10, "{}", cache.bytes());
        assert_eq!(budget.in_use(), cache.bytes());
        let all = budget.try_reserve(1 << 20);
        assert!(all.is_some(), "caches give way to requests");
        assert_eq!(cache.bytes(), 0);
    });
}

#[test]
fn false_positives_of_the_filter_are_rare() {
    for count in [10, 1000, 100_000] {
        let mut bloom = Bloom::for_stems(count);
        let name =
            |kind: &str, number: u64| format!("\u{2}0000000{kind}{number:010}\0").into_bytes();
        for number in 0..count {
            bloom.insert(bloom::hash(&name("here", number)));
        }
        assert!((0..count).all(|number| bloom.may_hold(bloom::hash(&name("here", number)))));
        let asked = 200_000;
        let wrong =
            (0..asked).filter(|number| bloom.may_hold(bloom::hash(&name("gone", *number)))).count();
        assert!((wrong as u64) * 1000 < asked * 15, "{wrong} of {asked} with {count} stems");
        let again = Bloom::from_bytes(&bloom.bytes()).unwrap();
        assert!((0..count).all(|number| again.may_hold(bloom::hash(&name("here", number)))));
    }
}

#[test]
fn what_does_not_fit_or_is_out_of_order_is_refused() {
    drive(async {
        let disk = SimDisk::new();
        let mut writer = RunWriter::create(&disk, &file(1), 1, SHARD, 4).await.unwrap();
        writer.push(b"b", 1, place(1), &vec![1; VALUE_MAX]).await.unwrap();
        writer.push(&vec![b'c'; STEM_MAX], 2, place(1), &vec![1; VALUE_MAX]).await.unwrap();
        let too_long = vec![b'd'; STEM_MAX + 1];
        for (stem, value) in
            [(&b"a"[..], 1), (b"b", 1), (b"", 1), (&too_long, 1), (b"d", VALUE_MAX + 1)]
        {
            let pushed = writer.push(stem, 3, place(1), &vec![1; value]).await;
            assert_eq!(pushed.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        let run = writer.finish().await.unwrap();
        assert_eq!(run.entries(), 2);
        let exists = RunWriter::create(&disk, &file(1), 1, SHARD, 4).await;
        assert_eq!(exists.err().map(|error| error.kind()), Some(io::ErrorKind::AlreadyExists));
    });
}

#[test]
fn a_failed_write_or_sync_makes_no_run() {
    drive(async {
        let model = numbered(20_000);
        for failing in 1..=4 {
            let disk = SimDisk::new();
            let mut writer =
                RunWriter::create(&disk, &file(1), 1, SHARD, model.len() as u64).await.unwrap();
            disk.fail_after(failing, 5);
            let mut outcome = Ok(());
            for (stem, (sequence, place, value)) in &model {
                outcome = writer.push(stem, *sequence, *place, value).await;
                if outcome.is_err() {
                    break;
                }
            }
            let failed = outcome.is_err() || writer.finish().await.is_err();
            assert!(failed, "operation {failing} of {}", disk.operations());
        }
    });
}

/// Everything that can be asked of a run, as far as it answers.
async fn answers(files: &Files, id: u64, model: &Model) -> Result<Model, RunError> {
    let run = Arc::new(open_run(files, id).await?);
    let cache = cache(0);
    let reader = Reader { files, cache: &cache };
    for stem in model.keys().step_by(model.len().div_ceil(3)) {
        run.get(reader, &Probe::new(stem)).await?.expect("what a whole run has is not missed");
    }
    let cursor = RunCursor::new(run, true);
    Ok(walk(reader, vec![cursor], None, usize::MAX).await?.into_iter().collect())
}

#[test]
fn every_flipped_byte_is_an_error_that_names_its_place() {
    drive(async {
        let files = Files(SimDisk::new());
        let mut model = numbered(150);
        model.insert(b"\x02container/gone\0".to_vec(), (9, Place::default(), Vec::new()));
        let run = write(&files.0, 0x12, &model).await;
        let footer = run.footer;
        assert!(footer.blocks > 1, "several blocks");
        let opened = files.file(0x12, false).await.unwrap();
        for offset in 0..run.length() {
            let mask = 1 << (offset % 8);
            let in_block = (0..footer.blocks).find(|&number| {
                let (start, length) = run.blocks.place(number).unwrap();
                (start..start + length as u64).contains(&offset)
            });
            files.0.flip(&file(0x12), offset, mask).unwrap();
            let (expected, outcome) = match in_block {
                Some(number) => {
                    let read = open::read_block(&run, &opened, number).await;
                    (RunPart::Block(number), read.map(|_| ()))
                }
                None if offset < footer.index_offset => {
                    (RunPart::Bloom, open_run(&files, 0x12).await.map(|_| ()))
                }
                None if offset < footer.footer_offset => {
                    (RunPart::Index, open_run(&files, 0x12).await.map(|_| ()))
                }
                None => (RunPart::Footer, open_run(&files, 0x12).await.map(|_| ())),
            };
            match outcome {
                Err(RunError::Damaged { run: 0x12, part }) => {
                    assert_eq!(part, expected, "{offset}")
                }
                other => panic!("byte {offset}: {other:?}"),
            }
            if offset % 1009 == 0 {
                let outcome = answers(&files, 0x12, &model).await;
                assert!(matches!(outcome, Err(RunError::Damaged { part, .. }) if part == expected));
                if let Some(number) = in_block {
                    let found = run.verify(&opened, async || ()).await.unwrap();
                    assert_eq!(found, [RunPart::Block(number)]);
                }
            }
            files.0.flip(&file(0x12), offset, mask).unwrap();
        }
        assert_eq!(answers(&files, 0x12, &model).await.unwrap(), model);
        assert_eq!(run.verify(&opened, async || ()).await.unwrap(), []);
    });
}

#[test]
fn verifying_sees_entries_that_would_not_be_found() {
    drive(async {
        let files = Files(SimDisk::new());
        let mut run = write(&files.0, 1, &numbered(300)).await;
        let opened = files.file(1, false).await.unwrap();
        assert_eq!(run.verify(&opened, async || ()).await.unwrap(), []);
        run.footer.tombstones += 1;
        assert_eq!(run.verify(&opened, async || ()).await.unwrap(), [RunPart::Footer]);
        run.footer.tombstones -= 1;
        run.bloom = Bloom::for_stems(300);
        let all: Vec<_> = (0..run.blocks.count()).map(RunPart::Block).collect();
        assert_eq!(run.verify(&opened, async || ()).await.unwrap(), all);
    });
}

#[test]
fn a_run_of_any_other_length_and_one_of_another_id_is_damaged() {
    drive(async {
        let files = Files(SimDisk::new());
        let run = write(&files.0, 1, &numbered(300)).await;
        let options = OpenOptions { write: true, ..OpenOptions::default() };
        let mut lengths: Vec<u64> = (0..run.length()).step_by(512).collect();
        lengths.extend([run.length() - 1, run.length() + 1, run.length() + 4096]);
        let whole = files.0.content(&file(1)).unwrap();
        for (id, length) in (100..).zip(lengths) {
            let copy =
                files.0.open(&file(id), OpenOptions { create_new: true, ..options }).await.unwrap();
            let mut buffer = crate::io::buffer::AlignedBuffer::with_capacity(whole.len());
            buffer.extend_from_slice(&whole);
            copy.write_at(buffer, 0).await.0.unwrap();
            copy.set_length(length).await.unwrap();
            let opened = Run::open(&files.file(id, false).await.unwrap(), 1).await;
            assert!(matches!(opened, Err(RunError::Damaged { .. })), "{length}");
        }
        let other = Run::open(&files.file(1, false).await.unwrap(), 2).await;
        assert!(matches!(other, Err(RunError::Damaged { run: 2, part: RunPart::Footer })));
        assert!(open_run(&files, 1).await.is_ok());
    });
}

#[test]
fn a_block_in_the_place_of_another_is_damaged() {
    drive(async {
        let files = Files(SimDisk::new());
        let model = numbered(300);
        let run = write(&files.0, 1, &model).await;
        let whole = files.0.content(&file(1)).unwrap();
        let ((first, length), (second, _)) =
            (run.blocks.place(0).unwrap(), run.blocks.place(1).unwrap());
        let (first, second) = (usize::try_from(first).unwrap(), usize::try_from(second).unwrap());
        let options = OpenOptions { write: true, ..OpenOptions::default() };
        let opened = files.0.open(&file(1), options).await.unwrap();
        let mut buffer = crate::io::buffer::AlignedBuffer::with_capacity(length);
        buffer.extend_from_slice(&whole[first..first + length]);
        opened.write_at(buffer, second as u64).await.0.unwrap();
        let outcome = answers(&files, 1, &model).await;
        assert!(matches!(outcome, Err(RunError::Damaged { part: RunPart::Block(1), .. })));
    });
}

/// What the checksum does not see is seen when it is used: no bytes make a reader panic or go astray.
#[test]
fn any_bytes_with_a_right_checksum_are_an_answer_or_an_error() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2000));
    let whole = {
        let mut builder = block::Builder::new();
        for (stem, (sequence, place, value)) in &numbered(60) {
            builder.push(&Version { stem, sequence: *sequence, place: *place, value });
        }
        builder.finish(1, 0)
    };
    let changes = vec((0..whole.len(), any::<u8>()), 1..6);
    let test = runner.run(&(changes, any::<bool>()), |(changes, at_front)| {
        let mut bytes = whole.clone();
        for (at, byte) in changes {
            bytes[if at_front { 4 + at % 60 } else { at }] = byte;
        }
        let crc = seeded_crc(1, 0, &bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        let mut buffer = crate::io::buffer::AlignedBuffer::with_capacity(bytes.len());
        buffer.extend_from_slice(&bytes);
        if let Some(block) = Block::verify(1, 0, buffer) {
            for stem in numbered(60).keys() {
                let _ = block
                    .find(stem)
                    .map(|found| found.map(|(_, _, value)| block.slice(&value).len()));
            }
            let (mut stem, mut at) = (crate::shard::index::key::KeyBytes::new(), block::FIRST);
            while let Ok(Some(fields)) = block.entry_at(at, &mut stem) {
                assert!(fields.next() > at, "it ends");
                at = fields.next();
            }
        }
        Ok(())
    });
    test.unwrap();
}
