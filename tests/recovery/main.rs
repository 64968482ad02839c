//! The real server on real file systems, and what goes wrong there: power cuts, kill -9, disks that fail or are full,
//! machines that refuse. Most of it needs root and says so; `scripts/root-tests` runs it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests prepare files and threads directly")]

mod client;
mod device;
mod full_disk;
mod io_errors;
mod kill;
mod ledger;
mod load;
mod power_cut;
#[path = "../process/mod.rs"]
mod process;
mod refusals;
mod server;
mod uploads;
mod volatile;

/// A count from the environment: small by default, large for a long run.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}
