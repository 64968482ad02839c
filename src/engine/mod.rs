//! The engine: tenants, containers, artifacts, conditions. It knows neither HTTP nor shards.
//!
//! One [`Engine`] per core; it chooses the driver of a container by rule and speaks to all of
//! them through [`crate::driver::Driver`].

pub mod digest;

mod error;

pub mod tenant;

pub use error::EngineError;
