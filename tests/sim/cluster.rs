//! The real driver on all cores of a simulated machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vaultaire::driver::local::{Local, LocalOptions, LocalVolume, UpkeepOptions};
use vaultaire::io::budget::Budget;
use vaultaire::io::sim::SimDisk;
use vaultaire::runtime::simulated::{Random, SimulatedClock, Simulation};
use vaultaire::shard::log::writer::SyncMethod;
use vaultaire::shard::sizes::Sizes;

/// Most steps of one phase: many more than any needs that comes to its end.
pub(crate) const STEPS_MAX: u64 = 3_000_000;

/// So small that every few writes come to a border.
pub(crate) const SIZES: Sizes = Sizes {
    log_segment: 40 << 10,
    batch: 12 << 10,
    data_segment: 32 << 10,
    data_segment_min: 16 << 10,
    inline_max: 1 << 10,
    extent_max: 12 << 10,
    mailbox: 64,
    tables: 4 << 10,
    table_min: 0,
    replay: 1 << 20,
    checkpoint_segments: 2,
    index_period_ms: 2,
    leisure: 4 << 10,
    closing_rounds: 1,
};

/// Bytes of tables, and of the least that becomes a run: from a run of each few artifacts to none but those of a stop.
const TABLES: [(usize, usize); 4] =
    [(512, 0), (4 << 10, 0), (4 << 10, 1 << 10), (64 << 10, 1 << 10)];

/// The bugs that are planted break rules of the logs: without runs their worlds meet twice as many points in the time.
const PLANTED: bool = cfg!(feature = "planted");

const BUDGET: u64 = 16 << 20;

/// The data folder.
pub(crate) const ROOT: &str = "/data";

pub(crate) type Driver = Local<SimDisk, SimulatedClock>;

/// A machine that runs.
pub(crate) struct Cluster {
    pub(crate) cores: Vec<Driver>,
    pub(crate) volume: Arc<LocalVolume>,
    pub(crate) disk: SimDisk,
    // Last, for its tasks hold what stands above.
    pub(crate) simulation: Simulation,
}

/// Why a machine does not start.
#[derive(Clone, Debug)]
pub(crate) enum StartError {
    Refused(String),
    /// It comes to no end.
    Stuck,
}

impl Cluster {
    /// Starts on a disk.
    ///
    /// # Errors
    /// Why it does not start.
    pub(crate) fn start(
        disk: &SimDisk,
        random: &mut Random,
        now_ns: u64,
    ) -> Result<Self, StartError> {
        let cores = [1, 1, 2, 3][random.below(4)];
        let methods = [SyncMethod::DurableWrites, SyncMethod::WriteThenSync];
        let sync_method = Some(methods[random.below(methods.len())]);
        let scrub = random.one_in(4).then_some(Duration::from_millis(500));
        let (tables, table_min) =
            if PLANTED { (SIZES.tables, 0) } else { TABLES[random.below(TABLES.len())] };
        // Runs come and go.
        let sorted_runs = !PLANTED && !random.one_in(6);
        let upkeep = UpkeepOptions { scrub, uploads_expire: None, sorted_runs };
        let seed = random.number();
        // Few starts spill what they replay, or most of it: such a start takes many more steps.
        let replay = match seed >> 59 {
            0 => 0,
            1 => 3 << 10,
            _ => SIZES.replay,
        };
        let sizes = Sizes { tables, table_min, replay, ..SIZES };
        let options = LocalOptions { sizes, sync_method, upkeep, recount: !PLANTED };
        let simulation = Simulation::new(seed, now_ns);
        let volume =
            LocalVolume::open_on(disk, Path::new(ROOT), cores, Budget::new(BUDGET), options)
                .map_err(|error| StartError::Refused(error.to_string()))?;
        let (ours, clock, disk) = (Arc::clone(&volume), simulation.clock(), disk.clone());
        let theirs = disk.clone();
        let starting = simulation.run(STEPS_MAX, async move {
            let started = Driver::start_all(&ours, cores, &theirs, &clock).await;
            started.map_err(|error| error.to_string())
        });
        let cores = starting.map_err(|_| StartError::Stuck)?.map_err(StartError::Refused)?;
        Ok(Self { cores, volume, disk, simulation })
    }
}
