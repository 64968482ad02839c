//! What is asked of the generator.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::keys::Sizes;
use crate::mix::Mix;

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
    /// DELETE of every key once; ends when none is left.
    Delete,
    /// DELETE of `--batch` keys in one request, every key once; an operation is one key.
    DeleteMany,
    /// A page of `--page` keys from a random place, or with `--delimiter` one page of common prefixes.
    List,
    /// An upload of `--parts` parts: create, parts, complete. An operation is one upload.
    Multipart,
    /// Requests drawn by `--mix`.
    Mixed,
}

impl Operation {
    /// Whether it needs keys that exist.
    pub(crate) fn reads(self) -> bool {
        !matches!(self, Self::Fill | Self::Put | Self::Multipart)
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

/// How a body is vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Payload {
    /// UNSIGNED-PAYLOAD.
    Unsigned,
    /// The SHA-256 of the whole body in the head.
    Signed,
    /// aws-chunked, every 64 KiB with a signature of its own.
    Chunks,
    /// aws-chunked without signatures, a CRC-64/NVME behind the body: what SDKs send of late.
    Trailer,
}

/// When requests begin in open loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arrivals {
    /// At equal distances.
    Even,
    /// At exponential distances, as from many clients that know nothing of each other.
    Poisson,
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
    #[arg(
        long,
        env = "VAULTAIRE_ACCESS_KEY_ID",
        default_value = "",
        required_unless_present = "unsigned"
    )]
    pub(crate) access_key_id: String,
    /// Secret access key.
    #[arg(
        long,
        env = "VAULTAIRE_SECRET_ACCESS_KEY",
        hide_env_values = true,
        default_value = "",
        required_unless_present = "unsigned"
    )]
    pub(crate) secret_access_key: String,
    /// Region that signatures name.
    #[arg(long, default_value = "us-east-1")]
    pub(crate) region: String,
    /// Sends no signature and creates no bucket: plain GET and HEAD of /BUCKET/KEY, for a static file server.
    #[arg(long)]
    pub(crate) unsigned: bool,
    /// How bodies are vouched for.
    #[arg(long, value_enum, default_value = "unsigned")]
    pub(crate) payload: Payload,
    /// Where to work; created if it is not there.
    #[arg(long, default_value = "load")]
    pub(crate) bucket: String,
    /// Sizes: a list such as 4KiB,1MiB or 4KiB:80,1MiB:20 (with weights), or a range such as 1KiB-8MiB (each power of
    /// two alike). A key has one of them, always the same.
    #[arg(long, default_value = "4KiB")]
    pub(crate) sizes: Sizes,
    /// Number of keys.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,
    /// How keys are drawn.
    #[arg(long, value_enum, default_value = "uniform")]
    pub(crate) distribution: Distribution,
    /// GET and HEAD take every key once, in order, and end when none is left.
    #[arg(long)]
    pub(crate) once: bool,
    /// Weights of a mix, of get, head, put, delete (of a key that it put before) and list.
    #[arg(long, default_value = "get:45,head:30,put:15,delete:10")]
    pub(crate) mix: Mix,
    /// Keys a LIST.
    #[arg(long, default_value_t = 1000)]
    pub(crate) page: u32,
    /// LIST from the beginning with this delimiter.
    #[arg(long)]
    pub(crate) delimiter: Option<char>,
    /// Keys a DeleteObjects.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) batch: u64,
    /// Parts of an upload; each has the size of its key, and S3 wants 5 MiB at least.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) parts: u64,
    /// Connections, over all threads.
    #[arg(long, default_value_t = 32)]
    pub(crate) concurrency: usize,
    /// Threads, each with an executor.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// CPUs for the threads, such as 1,3; without it they run where the process may.
    #[arg(long, value_delimiter = ',')]
    pub(crate) cores: Vec<usize>,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) duration_s: f64,
    /// Seconds to run before measuring.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warm_up_s: f64,
    /// Ends after so many requests, if that comes first.
    #[arg(long)]
    pub(crate) requests: Option<u64>,
    /// Requests a second, over all connections: open loop.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// When they begin.
    #[arg(long, value_enum, default_value = "even")]
    pub(crate) arrivals: Arrivals,
    /// The keys exist already: do not write them first.
    #[arg(long)]
    pub(crate) prepared: bool,
    /// With `fill`: writes the keys as files below this folder instead of sending them.
    #[arg(long)]
    pub(crate) folder: Option<PathBuf>,
    /// Compares every byte of a GET with what was put. Without it bodies are dropped in the kernel, uncopied.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Process id of the server, for CPU per operation and resident memory.
    #[arg(long)]
    pub(crate) server_pid: Option<u32>,
    /// Writes the figures as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Writes the latency distribution in the text form of HdrHistogram, in microseconds.
    #[arg(long)]
    pub(crate) hgrm: Option<PathBuf>,
    /// Shows progress on stderr, once a second.
    #[arg(long)]
    pub(crate) progress: bool,
}
