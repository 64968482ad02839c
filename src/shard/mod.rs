//! What one core owns of the local driver: its log, the index of its virtual shards, commits, recovery.
//!
#![doc = include_str!("FORMAT.md")]

#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod bench;
pub mod check;
pub(crate) mod checkpoints;
pub(crate) mod commit;
pub(crate) mod data;
pub(crate) mod error;
pub(crate) mod extent;
pub(crate) mod files;
pub(crate) mod finder;
pub(crate) mod freeze;
pub(crate) mod index;
pub(crate) mod integrity;
pub(crate) mod keeper;
pub mod log;
pub(crate) mod losses;
pub(crate) mod mailbox;
pub(crate) mod pins;
pub mod planted;
pub(crate) mod record;
pub(crate) mod recover;
pub(crate) mod segments;
pub(crate) mod shared;
pub mod sizes;
pub(crate) mod turn;
pub(crate) mod verified;
pub(crate) mod verify;
pub mod volume;

#[cfg(all(test, feature = "loom"))]
mod loom;
#[cfg(test)]
mod tests;
