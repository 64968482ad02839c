//! What one core owns of the local driver: its log, the index of its virtual shards, commits, recovery.

pub mod log;
pub mod volume;
