//! What is asked of the generator.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// The operation, or the mix, to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// Writes every key once and stops.
    Fill,
    /// PUT, over and over the keys.
    Put,
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// PUT a key of its own, then DELETE it: half of the requests each.
    Delete,
    /// A page of `--page` keys from a random place.
    List,
    /// 45 % GET, 30 % HEAD, 15 % PUT, 10 % LIST of 50.
    Mixed,
}

impl Operation {
    /// Whether it needs keys that exist.
    pub(crate) fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::List | Self::Mixed)
    }
}

/// How keys are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Distribution {
    /// All alike.
    Uniform,
    /// A few much more often than the others (exponent 0.99).
    Zipf,
}

/// Load for an S3 server.
#[derive(Debug, Parser)]
#[command(name = "vaultaire-load", version)]
pub(crate) struct Args {
    /// What to send.
    #[arg(value_enum)]
    pub(crate) operation: Operation,
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub(crate) endpoint: SocketAddr,
    /// Access key id.
    #[arg(long, env = "VAULTAIRE_ACCESS_KEY_ID")]
    pub(crate) access_key_id: String,
    /// Secret access key.
    #[arg(long, env = "VAULTAIRE_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub(crate) secret_access_key: String,
    /// Region that signatures name.
    #[arg(long, default_value = "us-east-1")]
    pub(crate) region: String,
    /// Where to work; created if it is not there.
    #[arg(long, default_value = "load")]
    pub(crate) bucket: String,
    /// Sizes in bytes; each key has one of them, always the same.
    #[arg(long, value_delimiter = ',', default_value = "4096")]
    pub(crate) sizes: Vec<usize>,
    /// Number of keys.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) keys: u64,
    /// How keys are drawn.
    #[arg(long, value_enum, default_value = "uniform")]
    pub(crate) distribution: Distribution,
    /// Keys per LIST.
    #[arg(long, default_value_t = 1000)]
    pub(crate) page: u32,
    /// Connections, over all threads.
    #[arg(long, default_value_t = 32)]
    pub(crate) concurrency: usize,
    /// Threads, each with an executor.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10)]
    pub(crate) duration_s: u64,
    /// Seconds to run before measuring.
    #[arg(long, default_value_t = 1)]
    pub(crate) warm_up_s: u64,
    /// Requests a second, over all connections: open loop.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// The keys exist already: do not write them first.
    #[arg(long)]
    pub(crate) prepared: bool,
    /// Process id of the server, for CPU per operation and resident memory.
    #[arg(long)]
    pub(crate) server_pid: Option<u32>,
    /// Writes the figures as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Writes the latency distribution in the text form of HdrHistogram.
    #[arg(long)]
    pub(crate) hgrm: Option<PathBuf>,
    /// Shows progress on stderr.
    #[arg(long)]
    pub(crate) progress: bool,
}
