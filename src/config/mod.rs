//! Configuration: flags over environment over file over defaults, all of it checked at start.
//!
//! [`cli::parse`] gives a checked [`Config`] or an error that says where the wrong value stands.

pub mod cli;

mod error;
mod file;
mod merge;
mod value;

pub use error::ConfigError;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::tenant::Credential;
use crate::model::ETagHash;

/// A configuration file with every key, its meaning and its default.
pub const SAMPLE: &str = include_str!("sample.toml");

/// A checked configuration. Everything has a limit, and every limit is here.
#[derive(Clone)]
pub struct Config {
    /// Where S3 is served.
    pub listen: SocketAddr,
    /// Where metrics and health are served.
    pub admin: SocketAddr,
    /// CPUs to run on, one executor each; never empty.
    pub cores: Vec<usize>,
    /// The region that signatures name.
    pub region: String,
    /// Host names under which containers are addressed as `container.NAME`; empty for path style only.
    pub domains: Vec<String>,
    /// The access keys; empty if one is to be generated and kept in the data folder.
    pub credentials: Vec<Credential>,
    /// The drivers by name.
    pub drivers: Vec<DriverConfig>,
    /// Which driver holds a container: the first rule whose prefix fits; else the first driver.
    pub rules: Vec<ContainerRule>,
    /// What the entity tags of new artifacts are made of.
    pub etag: ETagHash,
    /// Bytes in flight and in caches.
    pub memory_bytes: u64,
    /// Writes an access log line per event to stderr.
    pub access_log: bool,
    /// Runs on epoll where io_uring is missing.
    pub legacy_runtime: bool,
    /// How long a core stays awake after each request; zero if it sleeps at once.
    pub spin: Duration,
    /// Whether answers are sent from memory that the kernel does not copy.
    pub zero_copy: ZeroCopy,
    /// Limits of a connection.
    pub limits: Limits,
    /// What local drivers do in the background.
    pub upkeep: Upkeep,
}

/// What it says in a few lines; secrets are left out.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listen         {}", self.listen)?;
        writeln!(f, "admin          {}", self.admin)?;
        writeln!(f, "cores          {}", merge::span_list(&self.cores))?;
        writeln!(f, "region         {}", self.region)?;
        if !self.domains.is_empty() {
            writeln!(f, "domains        {}", self.domains.join(", "))?;
        }
        let etag = match self.etag {
            ETagHash::Md5 => "md5",
            ETagHash::Crc64 => "crc64",
        };
        writeln!(f, "etag           {etag}")?;
        writeln!(f, "memory         {} MiB", self.memory_bytes >> 20)?;
        writeln!(f, "access log     {}", self.access_log)?;
        writeln!(f, "legacy runtime {}", self.legacy_runtime)?;
        writeln!(f, "spin           {} us", self.spin.as_micros())?;
        let zero_copy = match self.zero_copy {
            ZeroCopy::Auto => "auto",
            ZeroCopy::Always => "always",
            ZeroCopy::Never => "never",
        };
        writeln!(f, "zero copy      {zero_copy}")?;
        for driver in &self.drivers {
            match &driver.kind {
                DriverKind::Local { path } => {
                    writeln!(f, "driver         {}: local, {}", driver.name, path.display())?;
                }
                DriverKind::Memory => writeln!(f, "driver         {}: memory", driver.name)?,
            }
        }
        for rule in &self.rules {
            writeln!(f, "rule           {}* to {}", rule.prefix, rule.driver)?;
        }
        for credential in &self.credentials {
            writeln!(f, "access key     {}", credential.access_key_id)?;
        }
        if self.credentials.is_empty() {
            writeln!(f, "access key     generated at the first start")?;
        }
        Ok(())
    }
}

/// A configured driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverConfig {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: DriverKind,
}

/// The types of drivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// On local disks.
    Local {
        /// The data folder.
        path: PathBuf,
    },
    /// In memory, gone with the process.
    Memory,
}

/// Chooses a driver for containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRule {
    /// Containers whose name begins with this…
    pub prefix: String,
    /// …are kept by the driver of this name.
    pub driver: String,
}

/// What local drivers do in the background, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// Within which time everything that is stored is read and verified; `None` for never.
    pub scrub: Option<Duration>,
    /// After which time an upload that was not completed is aborted; `None` for never.
    pub uploads_expire: Option<Duration>,
    /// Whether the index of artifacts goes from memory to sorted runs on disk.
    pub sorted_runs: bool,
}

impl Default for Upkeep {
    fn default() -> Self {
        let week = Duration::from_secs(7 * 86_400);
        Self { scrub: Some(week), uploads_expire: None, sorted_runs: true }
    }
}

/// Whether answers are sent from memory that the kernel does not copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroCopy {
    /// To clients behind devices that do not copy it either.
    #[default]
    Auto,
    /// To all: for measurements.
    Always,
    /// To none.
    Never,
}

/// Limits of a connection and of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request head, in bytes.
    pub head_bytes: usize,
    /// Most header fields.
    pub headers: usize,
    /// Longest wait for the next request on an idle connection.
    pub idle: Duration,
    /// Longest time for a request head to arrive.
    pub head: Duration,
    /// Longest wait for the next byte of a body.
    pub body_idle: Duration,
    /// Longest time for a whole request.
    pub request: Duration,
    /// Least rate of a client, in bytes a second, averaged after a grace of `body_idle`.
    pub client_rate: u64,
    /// Most connections, over all cores.
    pub connections: usize,
    /// Longest time to finish requests after SIGTERM.
    pub drain: Duration,
    /// Largest body of one PUT or part, in bytes.
    pub body_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 << 10,
            headers: 128,
            idle: Duration::from_secs(120),
            head: Duration::from_secs(20),
            body_idle: Duration::from_secs(30),
            request: Duration::from_secs(3600),
            client_rate: 64,
            connections: 8192,
            drain: Duration::from_secs(20),
            body_bytes: 5 << 30,
        }
    }
}
