//! The configured drivers: opened once, then started on each core.

use std::sync::Arc;

use crate::config::{DriverConfig, DriverKind, Upkeep};
use crate::driver::local::{LocalDriver, LocalVolume, UpkeepOptions};
use crate::driver::memory::MemoryDriver;
use crate::engine::AnyDriver;
use crate::io::budget::Budget;

use super::ServerError;

/// A driver, opened but not yet started on any core.
#[derive(Clone)]
enum Opened {
    Local(Arc<LocalVolume>),
    Memory(MemoryDriver),
}

/// All configured drivers by name. Clones are the same drivers.
#[derive(Clone)]
pub(super) struct Storage {
    drivers: Vec<(String, Opened)>,
}

/// The drivers of one core, to be stopped in order.
pub(super) struct CoreStorage {
    drivers: Vec<(String, AnyDriver)>,
}

impl Storage {
    /// Opens every driver for this many cores. Blocks.
    pub(super) fn open(
        configs: &[DriverConfig],
        cores: usize,
        budget: &Budget,
        upkeep: Upkeep,
    ) -> Result<Self, ServerError> {
        let Upkeep { scrub, uploads_expire, sorted_runs } = upkeep;
        let upkeep = UpkeepOptions { scrub, uploads_expire, sorted_runs };
        let open = |config: &DriverConfig| -> Result<_, ServerError> {
            let opened = match &config.kind {
                DriverKind::Memory => Opened::Memory(MemoryDriver::default()),
                DriverKind::Local { path } => {
                    Opened::Local(LocalVolume::open_with(path, cores, budget.clone(), upkeep)?)
                }
            };
            Ok((config.name.clone(), opened))
        };
        let drivers = configs.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { drivers })
    }

    /// The data folders.
    pub(super) fn volumes(&self) -> Vec<Arc<LocalVolume>> {
        let local = |(_, opened): &(String, Opened)| match opened {
            Opened::Local(volume) => Some(Arc::clone(volume)),
            Opened::Memory(_) => None,
        };
        self.drivers.iter().filter_map(local).collect()
    }

    /// Starts every driver on the calling core, which takes its share of the recovery.
    pub(super) async fn start(&self, core: usize) -> Result<CoreStorage, ServerError> {
        let mut drivers = Vec::with_capacity(self.drivers.len());
        for (name, opened) in &self.drivers {
            let driver = match opened {
                Opened::Local(volume) => {
                    AnyDriver::Local(LocalDriver::start(volume.clone(), core).await?)
                }
                Opened::Memory(driver) => AnyDriver::Memory(driver.clone()),
            };
            drivers.push((name.clone(), driver));
        }
        Ok(CoreStorage { drivers })
    }
}

impl CoreStorage {
    /// The drivers by name.
    pub(super) fn drivers(&self) -> Vec<(String, AnyDriver)> {
        self.drivers.clone()
    }

    /// Ends in order, after the last request of any core.
    pub(super) async fn shutdown(&self) {
        for (_, driver) in &self.drivers {
            match driver {
                AnyDriver::Local(driver) => driver.shutdown().await,
                AnyDriver::Memory(_) | AnyDriver::Fault(_) => {}
            }
        }
    }
}
