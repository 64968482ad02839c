//! The command line.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use super::Config;
use super::error::{ConfigError, Origin};
use super::file::{self, File};
use super::merge::{Flags, Sources, merge};

/// What the process was started for.
pub enum Command {
    /// To serve.
    Serve(Config),
    /// To check a configuration, which is good.
    Checked(Config),
    /// To print the documented sample file, [`SAMPLE`](super::SAMPLE).
    Sample,
    /// To check a data folder at rest.
    CheckFolder(FolderCheck),
}

/// What to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderCheck {
    /// The data folder.
    pub folder: PathBuf,
    /// Leave notes of what is damaged.
    pub repair: bool,
    /// Accept what the log has lost.
    pub accept_loss: bool,
}

/// Why nothing is started.
#[derive(Debug)]
pub enum Refusal {
    /// The arguments are not understood, or ask for help or the version.
    Usage(clap::Error),
    /// The configuration cannot be used.
    Config(ConfigError),
}

impl Refusal {
    /// Prints it where it belongs and gives the status to exit with: 0 for help, 2 for a mistake.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        match self {
            Self::Usage(error) => {
                // Nothing is left to do when neither stdout nor stderr takes it.
                let _ = error.print();
                if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
            }
            Self::Config(error) => {
                eprintln!("vaultaire: {error}");
                ExitCode::from(2)
            }
        }
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

#[derive(Parser)]
#[command(name = "vaultaire", version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    serve: CliFlags,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Serve S3; what happens without a command
    Serve(Box<CliFlags>),
    /// Look at the configuration
    #[command(subcommand)]
    Config(CliConfig),
    /// Verify every byte of a data folder that no server uses, and change nothing
    ///
    /// Prints what is damaged, what nothing refers to, and a summary. Exits with 0 if nothing is damaged, 1 if
    /// something is, 2 if the folder could not be checked.
    Check(CliCheck),
}

#[derive(Args)]
struct CliCheck {
    /// The data folder
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Leave notes of what is damaged in the folder, so that the server refuses reads of it at once; nothing is
    /// removed
    #[arg(long)]
    repair: bool,
    /// Accept that what is damaged of the log is lost: the next start of the server removes what only lost records
    /// named, and gives space back again, which it does not do before. Names may hold what they held earlier
    #[arg(long)]
    accept_loss: bool,
}

#[derive(Subcommand)]
enum CliConfig {
    /// Check what `serve` would run with, and print it
    Check(Box<CliFlags>),
    /// Print a configuration file with every key, its meaning and its default
    Sample,
}

// Values are kept as they were written: flags, environment and file share one parser and one spelling of errors.
/// Flags win over the environment, which wins over the file.
/// The access key comes from VAULTAIRE_ACCESS_KEY_ID and VAULTAIRE_SECRET_ACCESS_KEY or the file,
/// and is generated at the first start otherwise.
#[derive(Args, Default)]
struct CliFlags {
    /// Folder of the data, created if missing [env: VAULTAIRE_DATA] [default: ./vaultaire-data]
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,
    /// Where S3 is served; port 0 picks a free one [env: VAULTAIRE_LISTEN] [default: 127.0.0.1:9000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Where /metrics, /healthz and /readyz are served [env: VAULTAIRE_ADMIN] [default: 127.0.0.1:9001]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<String>,
    /// CPUs to run on, such as 0-3,6 [env: VAULTAIRE_CORES] [default: all that the process may use]
    #[arg(long, value_name = "LIST")]
    cores: Option<String>,
    /// Region that signatures name [env: VAULTAIRE_REGION] [default: us-east-1]
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Host names for addressing of the virtual-host style, such as s3.example.org,s3.lan [env: VAULTAIRE_DOMAINS]
    #[arg(long, value_name = "LIST")]
    domains: Option<String>,
    /// Configuration file [env: VAULTAIRE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Budget for bytes in flight and caches [env: VAULTAIRE_MEMORY] [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Write a line per request to stderr [env: VAULTAIRE_ACCESS_LOG]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    access_log: Option<String>,
    /// Run on epoll where io_uring is missing; slower [env: VAULTAIRE_LEGACY_RUNTIME]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    legacy_runtime: Option<String>,
    /// How long a core stays awake after each request, such as 200us: less latency for more CPU time
    /// [env: VAULTAIRE_SPIN] [default: 0us]
    #[arg(long, value_name = "TIME")]
    spin: Option<String>,
}

impl CliFlags {
    fn into_flags(self) -> Flags {
        Flags {
            data: self.data,
            listen: self.listen,
            admin: self.admin,
            cores: self.cores,
            region: self.region,
            domains: self.domains,
            memory: self.memory,
            access_log: self.access_log,
            legacy_runtime: self.legacy_runtime,
            spin: self.spin,
        }
    }
}

/// Reads the arguments and the environment of this process, and the file that they name.
///
/// # Errors
/// [`Refusal`], to be [reported](Refusal::report).
pub fn parse() -> Result<Command, Refusal> {
    let environment = |name: &str| {
        // What is not UTF-8 is kept recognisably wrong, so that its parser refuses it.
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    };
    parse_from(std::env::args_os(), &environment, &affinity())
}

/// As [`parse`], from what is given.
fn parse_from(
    arguments: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
    environment: &dyn Fn(&str) -> Option<String>,
    affinity: &[usize],
) -> Result<Command, Refusal> {
    let cli = Cli::try_parse_from(arguments).map_err(Refusal::Usage)?;
    let (flags, command): (CliFlags, fn(Config) -> Command) = match cli.command {
        None => (cli.serve, Command::Serve),
        Some(CliCommand::Serve(flags)) => (*flags, Command::Serve),
        Some(CliCommand::Config(CliConfig::Check(flags))) => (*flags, Command::Checked),
        Some(CliCommand::Config(CliConfig::Sample)) => return Ok(Command::Sample),
        Some(CliCommand::Check(CliCheck { folder, repair, accept_loss })) => {
            return Ok(Command::CheckFolder(FolderCheck { folder, repair, accept_loss }));
        }
    };
    Ok(command(load(flags, environment, affinity)?))
}

fn load(
    mut flags: CliFlags,
    environment: &dyn Fn(&str) -> Option<String>,
    affinity: &[usize],
) -> Result<Config, ConfigError> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    if affinity.is_empty() {
        let message = "the CPUs of this process cannot be told: name them";
        return Err(ConfigError::new(Origin::Flag("--cores"), message));
    }
    let path = flags.config.take().or_else(|| set("VAULTAIRE_CONFIG").map(PathBuf::from));
    let file = path.as_deref().map_or(Ok(File::default()), |path: &Path| file::read(path))?;
    merge(Sources { flags: flags.into_flags(), environment: &set, file, affinity })
}

/// The CPUs that this process may run on.
fn affinity() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

#[cfg(test)]
mod tests;
