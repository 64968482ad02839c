//! The real server, driven over the wire: by the AWS SDK, and by raw sockets for what no SDK sends.
//!
//! Needs io_uring: the server says so and every test fails with its message where it is missing.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests prepare files and threads directly")]

mod artifacts;
mod bad_input;
mod conditions;
mod harness;
mod listing;
mod load;
mod multipart;
#[path = "../process/mod.rs"]
mod process;
mod recovery;
mod sign;
