#![doc = include_str!("ARCHITECTURE.md")]

pub mod config;
pub mod context;
pub mod driver;
pub mod engine;
pub mod event;
pub mod http;
pub mod io;
pub mod model;
pub mod net;
pub mod runtime;
pub mod s3;
pub mod server;
pub mod shard;
pub mod stdx;

// The simulation is a program of its own, and sees the crate from outside.
#[cfg(test)]
extern crate self as vaultaire;
#[cfg(test)]
#[path = "../tests/sim/mod.rs"]
mod simulation;
