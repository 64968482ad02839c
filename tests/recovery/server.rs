//! The real server, started on a folder, killed or stopped.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::{ACCESS_KEY_ID, Client, SECRET_ACCESS_KEY};
use crate::process::{Process, Refusal};

/// How a server is started.
#[derive(Clone, Default)]
pub(crate) struct Options {
    /// The bug that a build with `planted` shall have.
    pub(crate) planted: Option<&'static str>,
    /// `--cores`
    pub(crate) cores: Option<&'static str>,
    /// `--legacy-runtime`
    pub(crate) legacy_runtime: bool,
}

/// A running server.
pub(crate) struct Server(Process);

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}

/// The server's binary: the one that was built with this test, or another for long runs.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("BINARY").map_or_else(|| env!("CARGO_BIN_EXE_vaultaire").into(), Into::into)
}

/// The command that starts a server on `data`.
pub(crate) fn command(data: &Path, options: &Options) -> Command {
    let mut command = command_at(data, "127.0.0.1:0", "127.0.0.1:0");
    command
        .args(options.cores.iter().flat_map(|cores| ["--cores", cores]))
        .args(options.legacy_runtime.then_some("--legacy-runtime"))
        .envs(options.planted.map(|bug| ("VAULTAIRE_PLANTED", bug)));
    command
}

/// The command that starts a server on `data` at these addresses.
pub(crate) fn command_at(data: &Path, listen: &str, admin: &str) -> Command {
    let mut command = Command::new(binary());
    command
        .args(["serve", "--listen", listen, "--admin", admin, "--data"])
        .arg(data)
        .env_clear()
        .env("VAULTAIRE_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("VAULTAIRE_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    command
}

impl Server {
    /// Starts on a folder and waits until it answers.
    pub(crate) fn start(data: &Path, options: &Options) -> Self {
        Self::try_start(data, options).unwrap_or_else(|refusal| panic!("no server: {refusal:?}"))
    }

    /// The same, if it does not end instead.
    pub(crate) fn try_start(data: &Path, options: &Options) -> Result<Self, Refusal> {
        Process::run(command(data, options)).map(Self)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.address)
    }

    /// kill -9, without waiting for the end.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself, which the caller sees by other means.
        let _ = self.child.kill();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A field of /proc/PID/status in KiB, such as `VmHWM`.
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }
}
