//! The engine: tenants, containers, artifacts, conditions. It knows neither HTTP nor shards.
//!
//! One [`Engine`] per core; it chooses the driver of a container by rule and speaks to all of
//! them through [`crate::driver::Driver`].

mod containers;
mod copy;
pub mod digest;
mod drivers;
mod error;
mod get;
mod multipart;
mod put;
pub mod tenant;

pub use copy::{COPY_BYTES_MAX, CopyMetadata, CopyPartRequest, CopyRequest};
pub use drivers::{AnyDriver, AnyOpen, AnyReader, DriverRules};
pub use error::EngineError;
pub use get::{Opened, Selection};

use crate::context::Context;
use crate::driver::{Driver, Health};
use crate::model::ETagHash;

/// The engine of one core.
pub struct Engine {
    drivers: DriverRules,
    /// What the entity tags of new artifacts are made of.
    pub etag: ETagHash,
}

impl Engine {
    /// An engine over these drivers.
    #[must_use]
    pub fn new(drivers: DriverRules) -> Self {
        Self::with_etag(drivers, ETagHash::default())
    }

    /// One that makes the entity tags of new artifacts of this.
    #[must_use]
    pub fn with_etag(drivers: DriverRules, etag: ETagHash) -> Self {
        Self { drivers, etag }
    }

    /// How the worst of the drivers is.
    #[must_use]
    pub fn health(&self, ctx: &Context) -> Health {
        let severity = |health: &Health| match health {
            Health::Ready => 0,
            Health::ReadOnly => 1,
            Health::Unavailable => 2,
        };
        let all = self.drivers.all().map(|driver| driver.health(ctx));
        all.max_by_key(severity).unwrap_or(Health::Unavailable)
    }
}

#[cfg(test)]
mod tests;
