//! The same million keys in our sorted runs, in fjall and in redb: inserting them in no order, looking them up, walking
//! over 1,000 of them, opening again. Prints wall and CPU time, the latter with what other threads of a store do.
//!
//! RocksDB is not among them: to build it takes longer than all the rest of this package.

use std::path::Path;
use std::time::{Duration, Instant};

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use redb::{ReadableDatabase, TableDefinition};
use vaultaire::runtime::core::{Backend, BlockingPool, block_on};
use vaultaire::shard::bench::Runs;

const KEYS: u64 = 1_000_000;
/// After so many keys they are made durable.
const BATCH: u64 = 125_000;
const GETS: u64 = 200_000;
const SCANS: u64 = 300;
const SCAN: usize = 1000;
const CACHE: u64 = 512 << 20;
/// As large as the value of an ordinary artifact.
const VALUE: usize = 100;

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

fn bytes_of_scan() -> usize {
    SCAN * (stem(0).len() + VALUE)
}

/// CPU time of the process.
fn cpu() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(usage.tv_sec.try_into().unwrap_or(0), usage.tv_nsec.try_into().unwrap_or(0))
}

struct Timer(Instant, Duration);

impl Timer {
    fn start() -> Self {
        Self(Instant::now(), cpu())
    }

    fn tell(&self, store: &str, what: &str, count: u64) {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        let (wall, cpu) = (each(self.0.elapsed()), each(cpu() - self.1));
        println!("{store:<14} {what:<22} {wall:>12.2} us {cpu:>12.2} us CPU");
    }
}

async fn read_ours(store: &str, runs: &mut Runs) -> std::io::Result<()> {
    let timer = Timer::start();
    runs.reopen().await?;
    assert_eq!(runs.get(&stem(1)).await?, Some(VALUE));
    timer.tell(store, "reopen", 1);
    for what in ["get, first", "get"] {
        let timer = Timer::start();
        for number in 0..GETS {
            assert_eq!(runs.get(&stem(number * 5)).await?, Some(VALUE));
        }
        timer.tell(store, what, GETS);
    }
    let timer = Timer::start();
    for number in 0..GETS {
        let mut absent = stem(number * 5);
        absent.insert(20, b'x');
        assert_eq!(runs.get(&absent).await?, None);
    }
    timer.tell(store, "get of what is not", GETS);
    for what in ["scan of 1,000, first", "scan of 1,000"] {
        let timer = Timer::start();
        for number in 0..SCANS {
            // Some begin near the end.
            assert!(runs.scan(&stem(number * 3001), SCAN).await? <= bytes_of_scan());
        }
        timer.tell(store, what, SCANS);
    }
    Ok(())
}

async fn ours(folder: &Path) -> std::io::Result<()> {
    let mut runs = Runs::new(folder, CACHE);
    let timer = Timer::start();
    for number in 0..KEYS {
        runs.insert(&stem(number), &value(number));
        if (number + 1) % BATCH == 0 {
            runs.flush().await?;
        }
    }
    timer.tell("ours", "insert", KEYS);
    let (count, bytes) = runs.size();
    println!("ours: {count} runs, {} bytes a key", bytes / KEYS);
    read_ours("ours, 8 runs", &mut runs).await?;
    let timer = Timer::start();
    runs.merge().await?;
    timer.tell("ours", "merge", KEYS);
    println!("ours: 1 run, {} bytes a key", runs.size().1 / KEYS);
    read_ours("ours, 1 run", &mut runs).await
}

fn in_fjall(folder: &Path) -> fjall::Result<()> {
    let open = || -> fjall::Result<_> {
        let database = Database::builder(folder).cache_size(CACHE).open()?;
        let keys = database.keyspace("keys", KeyspaceCreateOptions::default)?;
        Ok((database, keys))
    };
    let (database, keys) = open()?;
    let timer = Timer::start();
    for number in 0..KEYS {
        keys.insert(stem(number), value(number))?;
        if (number + 1) % BATCH == 0 {
            database.persist(PersistMode::SyncData)?;
        }
    }
    timer.tell("fjall", "insert", KEYS);
    let timer = Timer::start();
    keys.rotate_memtable_and_wait()?;
    keys.major_compact()?;
    timer.tell("fjall", "compact", KEYS);
    println!("fjall: {} bytes a key", keys.disk_space() / KEYS);
    drop((keys, database));
    let timer = Timer::start();
    let (_database, keys) = open()?;
    assert!(keys.get(stem(1))?.is_some());
    timer.tell("fjall", "reopen", 1);
    for what in ["get, first", "get"] {
        let timer = Timer::start();
        for number in 0..GETS {
            assert!(keys.get(stem(number * 5))?.is_some());
        }
        timer.tell("fjall", what, GETS);
    }
    for what in ["scan of 1,000, first", "scan of 1,000"] {
        let timer = Timer::start();
        for number in 0..SCANS {
            let mut bytes = 0;
            for entry in keys.range(stem(number * 3001)..).take(SCAN) {
                let (key, value) = entry.into_inner()?;
                bytes += key.len() + value.len();
            }
            assert!(bytes <= bytes_of_scan());
        }
        timer.tell("fjall", what, SCANS);
    }
    Ok(())
}

fn in_redb(folder: &Path) -> Result<(), redb::Error> {
    const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("keys");
    let path = folder.join("redb");
    let cache = usize::try_from(CACHE).unwrap_or(usize::MAX);
    let open = || redb::Builder::new().set_cache_size(cache).create(&path);
    let database = open()?;
    let timer = Timer::start();
    for batch in 0..KEYS / BATCH {
        let writing = database.begin_write()?;
        {
            let mut table = writing.open_table(TABLE)?;
            for number in batch * BATCH..(batch + 1) * BATCH {
                table.insert(&stem(number)[..], &value(number)[..])?;
            }
        }
        writing.commit()?;
    }
    timer.tell("redb", "insert", KEYS);
    println!("redb: {} bytes a key", path.metadata().map_or(0, |file| file.len()) / KEYS);
    drop(database);
    let timer = Timer::start();
    let database = open()?;
    let reading = database.begin_read()?;
    let table = reading.open_table(TABLE)?;
    assert!(table.get(&stem(1)[..])?.is_some());
    timer.tell("redb", "reopen", 1);
    for what in ["get, first", "get"] {
        let timer = Timer::start();
        for number in 0..GETS {
            assert!(table.get(&stem(number * 5)[..])?.is_some());
        }
        timer.tell("redb", what, GETS);
    }
    for what in ["scan of 1,000, first", "scan of 1,000"] {
        let timer = Timer::start();
        for number in 0..SCANS {
            let mut bytes = 0;
            for entry in table.range(&stem(number * 3001)[..]..)?.take(SCAN) {
                let (key, value) = entry?;
                bytes += key.value().len() + value.value().len();
            }
            assert!(bytes <= bytes_of_scan());
        }
        timer.tell("redb", what, SCANS);
    }
    Ok(())
}

fn main() {
    let folder = || tempfile::tempdir_in(std::env::temp_dir()).expect("a folder");
    let only = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let asked = |store: &str| only.as_deref().is_none_or(|only| only == store);
    if asked("ours") {
        let here = folder();
        let outcome = block_on(Backend::Uring, &BlockingPool::new(2), ours(here.path()));
        outcome.expect("an executor").expect("our runs");
    }
    if asked("fjall") {
        in_fjall(folder().path()).expect("fjall");
    }
    if asked("redb") {
        in_redb(folder().path()).expect("redb");
    }
}
