//! The real server as a process: started on a folder, killed or stopped, its log at hand when a test fails.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::client::{ACCESS_KEY_ID, Client, SECRET_ACCESS_KEY};

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

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    log: Arc<Mutex<String>>,
}

/// How a server ended that never answered.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Option<i32>,
    /// On stderr.
    pub(crate) said: String,
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
        Self::run(command(data, options))
    }

    /// Runs a command that starts a server, and waits until it answers or ends.
    pub(crate) fn run(mut command: Command) -> Result<Self, Refusal> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server's binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let mut stderr = child.stderr.take().expect("piped");
        let sink = log.clone();
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut piece) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        });
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address =
            lines.find_map(|line| line.ok()?.strip_prefix("ready http://").map(str::to_owned));
        let Some(address) = address else {
            let code = child.wait().expect("it ends").code();
            let _ = reader.join();
            let said = log.lock().unwrap().clone();
            return Err(Refusal { code, said });
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, address, log })
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.address)
    }

    /// kill -9, without waiting for the end.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself, which the caller sees by other means.
        let _ = self.child.kill();
    }

    /// kill -9; it is gone on return.
    pub(crate) fn kill_and_wait(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }

    /// Sends SIGTERM and returns its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends").code()
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

    /// What it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill_and_wait();
    }
}
