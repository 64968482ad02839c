//! The same million keys in our sorted runs, in fjall and in redb: inserting them in no order, looking them up, walking
//! over 1,000 of them, opening again. After each figure, which is of wall time, it prints the CPU time, with what other
//! threads of a store do.
//!
//! RocksDB joins them with a feature: to build it takes longer than all the rest of this package, and needs a C++
//! compiler and libclang (Debian's `libclang1`; `LIBCLANG_PATH` names its folder where it is not found).
//!
//! ```text
//! CXXFLAGS=-march=native BINDGEN_EXTRA_CLANG_ARGS="-I$(gcc -print-file-name=include)" \
//!     cargo bench --features rocksdb --bench stores
//! ```
//!
//! The first variable is what RocksDB's own Makefile sets, and without it RocksDB has no hardware CRC-32C, which ours
//! finds while it runs. The second shows libclang the compiler's headers. `ROCKSDB_LIB_DIR`, where it names the folder
//! of a `librocksdb.so` of version 10.4, spares the compiling.
//!
//! All sync after batches of the same size: redb and RocksDB write each as one, which takes RocksDB half the time of
//! single keys; fjall gains nothing by that and syncs its journal; ours writes a run and has no log here. All have a
//! cache of the same size, and all but redb Bloom filters of about 10 bits a key. Blocks are of 16 KiB in ours and of
//! 4 KiB in the others, as by default. None compresses but fjall, which does from its third level on, as by default.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{
    BenchmarkGroup, Criterion, SamplingMode, criterion_group, criterion_main, measurement::WallTime,
};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use redb::{ReadableDatabase, TableDefinition};
use vaultaire::runtime::core::{Backend, BlockingPool, block_on};
use vaultaire::shard::bench::Runs;

const KEYS: u64 = 1_000_000;
/// After so many keys they are made durable.
const BATCH: u64 = 125_000;
const SCAN: usize = 1000;
const CACHE: u64 = 512 << 20;
/// As large as the value of an ordinary artifact.
const VALUE: usize = 100;
/// So many different keys are looked up, and so many different places walked from.
const LOOKED_UP: u64 = 200_000;
const WALKED_FROM: u64 = 300;

/// The stems in an order that has nothing to do with theirs.
fn stem(number: u64) -> Vec<u8> {
    let number = number * 611_953 % 1_000_003;
    format!(
        "\u{2}\0\0\0\0\0\0\0\u{1}logs/2026/{:02}/host-{:03}/{number:08}.json.gz\0",
        number % 12,
        number % 211
    )
    .into_bytes()
}

/// Bytes that do not compress.
fn value(number: u64) -> [u8; VALUE] {
    let mut state = number ^ 0x9e37_79b9_7f4a_7c15;
    std::array::from_fn(|_| {
        state = (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state.to_le_bytes()[7]
    })
}

/// The stem that is looked up, or walked from, in a turn.
fn looked_up(turn: u64) -> Vec<u8> {
    stem(turn % LOOKED_UP * 5)
}

/// Some begin near the end.
fn walked_from(turn: u64) -> Vec<u8> {
    stem(turn % WALKED_FROM * 3001)
}

fn bytes_of_scan() -> usize {
    SCAN * (stem(0).len() + VALUE)
}

/// CPU time of the process.
fn cpu() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(usage.tv_sec.try_into().unwrap_or(0), usage.tv_nsec.try_into().unwrap_or(0))
}

/// A store with all keys. What takes turns goes on with the turn after the last one.
trait Store: Sized {
    const NAME: &'static str;

    /// Makes one in an empty folder and inserts all keys, in batches that are durable.
    fn fill(folder: &Path) -> Self;

    /// Brings it into the form that it reads best.
    fn compact(self, folder: &Path) -> Self;

    /// Opens it again, with nothing cached, and reads a key.
    fn reopen(self, folder: &Path) -> Self;

    /// Looks up keys that are there.
    fn get(&mut self, turns: std::ops::Range<u64>);

    /// Walks over the next keys and their values from some on.
    fn scan(&mut self, turns: std::ops::Range<u64>);
}

struct Ours(Runs);

/// Runs something on an executor of our own.
fn on_core<T>(work: impl Future<Output = std::io::Result<T>>) -> T {
    let done = block_on(Backend::Uring, &BlockingPool::new(2), work);
    done.expect("an executor").expect("our runs")
}

impl Store for Ours {
    const NAME: &'static str = "ours";

    fn fill(folder: &Path) -> Self {
        on_core(async {
            let mut runs = Runs::new(folder, CACHE);
            for number in 0..KEYS {
                runs.insert(&stem(number), &value(number));
                if (number + 1) % BATCH == 0 {
                    runs.flush().await?;
                }
            }
            Ok(Self(runs))
        })
    }

    fn compact(mut self, _folder: &Path) -> Self {
        on_core(async {
            self.0.merge().await?;
            Ok(self)
        })
    }

    fn reopen(mut self, _folder: &Path) -> Self {
        on_core(async {
            self.0.reopen().await?;
            assert_eq!(self.0.get(&stem(1)).await?, Some(VALUE));
            Ok(self)
        })
    }

    fn get(&mut self, turns: std::ops::Range<u64>) {
        on_core(async {
            for turn in turns {
                assert_eq!(self.0.get(&looked_up(turn)).await?, Some(VALUE));
            }
            Ok(())
        });
    }

    fn scan(&mut self, turns: std::ops::Range<u64>) {
        on_core(async {
            for turn in turns {
                assert!(self.0.scan(&walked_from(turn), SCAN).await? <= bytes_of_scan());
            }
            Ok(())
        });
    }
}

struct Fjall(Database, Keyspace);

impl Fjall {
    fn open(folder: &Path) -> Self {
        let database = Database::builder(folder).cache_size(CACHE).open().expect("opened");
        let keys = database.keyspace("keys", KeyspaceCreateOptions::default).expect("opened");
        Self(database, keys)
    }
}

impl Store for Fjall {
    const NAME: &'static str = "fjall";

    fn fill(folder: &Path) -> Self {
        let store = Self::open(folder);
        for number in 0..KEYS {
            store.1.insert(stem(number), value(number)).expect("inserted");
            if (number + 1) % BATCH == 0 {
                store.0.persist(PersistMode::SyncData).expect("durable");
            }
        }
        store
    }

    fn compact(self, _folder: &Path) -> Self {
        self.1.rotate_memtable_and_wait().expect("flushed");
        self.1.major_compact().expect("compacted");
        self
    }

    fn reopen(self, folder: &Path) -> Self {
        drop(self);
        let store = Self::open(folder);
        assert!(store.1.get(stem(1)).expect("read").is_some());
        store
    }

    fn get(&mut self, turns: std::ops::Range<u64>) {
        for turn in turns {
            assert!(self.1.get(looked_up(turn)).expect("read").is_some());
        }
    }

    fn scan(&mut self, turns: std::ops::Range<u64>) {
        for turn in turns {
            let mut bytes = 0;
            for entry in self.1.range(walked_from(turn)..).take(SCAN) {
                let (key, value) = entry.into_inner().expect("read");
                bytes += key.len() + value.len();
            }
            assert!(bytes <= bytes_of_scan());
        }
    }
}

struct Redb(redb::Database);

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("keys");

impl Redb {
    fn open(folder: &Path) -> Self {
        let cache = usize::try_from(CACHE).unwrap_or(usize::MAX);
        let opened = redb::Builder::new().set_cache_size(cache).create(folder.join("redb"));
        Self(opened.expect("opened"))
    }

    fn table(&self) -> redb::ReadOnlyTable<&'static [u8], &'static [u8]> {
        self.0.begin_read().expect("read").open_table(TABLE).expect("opened")
    }
}

impl Store for Redb {
    const NAME: &'static str = "redb";

    fn fill(folder: &Path) -> Self {
        let store = Self::open(folder);
        for batch in 0..KEYS / BATCH {
            let writing = store.0.begin_write().expect("begun");
            let mut table = writing.open_table(TABLE).expect("opened");
            for number in batch * BATCH..(batch + 1) * BATCH {
                table.insert(&stem(number)[..], &value(number)[..]).expect("inserted");
            }
            drop(table);
            writing.commit().expect("durable");
        }
        store
    }

    fn compact(self, _folder: &Path) -> Self {
        self
    }

    fn reopen(self, folder: &Path) -> Self {
        drop(self);
        let store = Self::open(folder);
        assert!(store.table().get(&stem(1)[..]).expect("read").is_some());
        store
    }

    fn get(&mut self, turns: std::ops::Range<u64>) {
        let table = self.table();
        for turn in turns {
            assert!(table.get(&looked_up(turn)[..]).expect("read").is_some());
        }
    }

    fn scan(&mut self, turns: std::ops::Range<u64>) {
        let table = self.table();
        for turn in turns {
            let mut bytes = 0;
            for entry in table.range(&walked_from(turn)[..]..).expect("read").take(SCAN) {
                let (key, value) = entry.expect("read");
                bytes += key.value().len() + value.value().len();
            }
            assert!(bytes <= bytes_of_scan());
        }
    }
}

#[cfg(feature = "rocksdb")]
struct Rocks(rocksdb::DB);

#[cfg(feature = "rocksdb")]
impl Rocks {
    fn open(folder: &Path) -> Self {
        let mut blocks = rocksdb::BlockBasedOptions::default();
        let cache = usize::try_from(CACHE).unwrap_or(usize::MAX);
        blocks.set_block_cache(&rocksdb::Cache::new_lru_cache(cache));
        blocks.set_bloom_filter(10.0, false);
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.set_compression_type(rocksdb::DBCompressionType::None);
        options.set_block_based_table_factory(&blocks);
        Self(rocksdb::DB::open(&options, folder).expect("opened"))
    }
}

#[cfg(feature = "rocksdb")]
impl Store for Rocks {
    const NAME: &'static str = "rocksdb";

    fn fill(folder: &Path) -> Self {
        let store = Self::open(folder);
        let mut durable = rocksdb::WriteOptions::default();
        durable.set_sync(true);
        for batch in 0..KEYS / BATCH {
            let mut writing = rocksdb::WriteBatch::default();
            for number in batch * BATCH..(batch + 1) * BATCH {
                writing.put(stem(number), value(number));
            }
            store.0.write_opt(writing, &durable).expect("durable");
        }
        store
    }

    fn compact(self, _folder: &Path) -> Self {
        self.0.flush().expect("flushed");
        self.0.compact_range(None::<&[u8]>, None::<&[u8]>);
        self
    }

    fn reopen(self, folder: &Path) -> Self {
        drop(self);
        let store = Self::open(folder);
        assert!(store.0.get_pinned(stem(1)).expect("read").is_some());
        store
    }

    fn get(&mut self, turns: std::ops::Range<u64>) {
        for turn in turns {
            assert!(self.0.get_pinned(looked_up(turn)).expect("read").is_some());
        }
    }

    fn scan(&mut self, turns: std::ops::Range<u64>) {
        for turn in turns {
            let (mut bytes, mut entries) = (0, self.0.raw_iterator());
            entries.seek(walked_from(turn));
            for _ in 0..SCAN {
                let Some((key, value)) = entries.item() else { break };
                bytes += key.len() + value.len();
                entries.next();
            }
            entries.status().expect("read");
            assert!(bytes <= bytes_of_scan());
        }
    }
}

/// Measures `work`, which is given the number of turns and says how long they took, and prints the CPU time of a turn.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    store: &str,
    mut work: impl FnMut(u64) -> Duration,
) {
    let (used, turns) = (Cell::new(Duration::ZERO), Cell::new(0));
    group.bench_function(store, |bencher| {
        bencher.iter_custom(|rounds| {
            let before = cpu();
            let took = work(rounds);
            used.set(used.get() + (cpu() - before));
            turns.set(turns.get() + rounds);
            took
        });
    });
    if turns.get() > 0 {
        let each = used.get().as_secs_f64() * 1e6 / turns.get() as f64;
        println!("{store}: {each:.2} us of CPU, with what is not timed in between");
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (work(), began.elapsed())
}

fn bench_store<S: Store>(criterion: &mut Criterion) {
    let folder = || tempfile::tempdir_in(std::env::temp_dir()).expect("a folder");
    let mut group = criterion.benchmark_group("stores: insert 1,000,000");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    let mut last = None;
    measure(&mut group, S::NAME, |rounds| {
        let mut all = Duration::ZERO;
        for _ in 0..rounds {
            last = None;
            let here = folder();
            let (store, took) = timed(|| S::fill(here.path()));
            all += took;
            last = Some((store, here));
        }
        all
    });
    group.finish();
    let (store, here) = last.unwrap_or_else(|| {
        let here = folder();
        (S::fill(here.path()), here)
    });
    let mut store = Some(store.compact(here.path()));

    let mut group = criterion.benchmark_group("stores: reopen");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    measure(&mut group, S::NAME, |rounds| {
        let mut all = Duration::ZERO;
        for _ in 0..rounds {
            let closed = store.take().expect("a store");
            let (open, took) = timed(|| closed.reopen(here.path()));
            all += took;
            store = Some(open);
        }
        all
    });
    group.finish();
    let mut store = store.expect("a store");

    let mut turn = 0;
    let mut next = |rounds: u64| {
        let first = turn;
        turn += rounds;
        first..turn
    };
    store.get(0..LOOKED_UP);
    let mut group = criterion.benchmark_group("stores: get");
    measure(&mut group, S::NAME, |rounds| timed(|| store.get(next(rounds))).1);
    group.finish();
    store.scan(0..WALKED_FROM);
    let mut group = criterion.benchmark_group("stores: scan of 1,000");
    group.sample_size(20);
    measure(&mut group, S::NAME, |rounds| timed(|| store.scan(next(rounds))).1);
    group.finish();
}

fn bench(criterion: &mut Criterion) {
    bench_store::<Ours>(criterion);
    bench_store::<Fjall>(criterion);
    bench_store::<Redb>(criterion);
    #[cfg(feature = "rocksdb")]
    bench_store::<Rocks>(criterion);
}

criterion_group!(benches, bench);
criterion_main!(benches);
