//! Start, drain, stop.

use crate::config::Config;

/// Why the server did not start, or did not stop in order.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Nothing serves yet.
    #[error("there is no server yet")]
    Missing,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// It did not start, or did not stop in order.
pub fn run(config: Config) -> Result<(), ServerError> {
    let _ = config;
    Err(ServerError::Missing)
}
