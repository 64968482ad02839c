//! Starts a server of its own for every test: random ports, a temporary data folder.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use tempfile::TempDir;

pub(crate) const ACCESS_KEY_ID: &str = "test-access-key";
pub(crate) const SECRET_ACCESS_KEY: &str = "test-secret-access-key";

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) folder: Arc<TempDir>,
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    log: Arc<Mutex<String>>,
}

/// The command that starts a server on `folder` and random ports.
pub(crate) fn command(folder: &Path) -> Command {
    command_on(folder, "127.0.0.1:0")
}

/// The same on a given address.
pub(crate) fn command_on(folder: &Path, address: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vaultaire"));
    command
        .args(["serve", "--listen", address, "--admin", "127.0.0.1:0", "--data"])
        .arg(folder)
        .env_clear()
        .env("VAULTAIRE_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("VAULTAIRE_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Server {
    /// Starts on a fresh folder and waits until it answers.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_on(Arc::new(folder), &[])
    }

    /// Starts on a folder with further flags.
    pub(crate) fn start_on(folder: Arc<TempDir>, flags: &[&str]) -> Self {
        let mut child = command(&folder.path().join("data"))
            .args(flags)
            .spawn()
            .expect("the server's binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let mut stderr = child.stderr.take().expect("piped");
        let sink = log.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut piece) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        });
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address =
            lines.find_map(|line| line.ok()?.strip_prefix("ready http://").map(str::to_owned));
        let Some(address) = address else {
            let status = child.wait();
            panic!("the server did not get ready ({status:?}): {}", log.lock().unwrap());
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, folder, address, log }
    }

    /// An SDK client for it.
    pub(crate) fn client(&self) -> Client {
        self.client_with(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
    }

    /// An SDK client with other credentials.
    pub(crate) fn client_with(&self, access_key_id: &str, secret: &str) -> Client {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{}", self.address))
            .force_path_style(true)
            .credentials_provider(Credentials::new(access_key_id, secret, None, None, "test"))
            .http_client(http)
            .build();
        Client::from_conf(config)
    }

    /// Kills it as a crash would, and starts it again on the same folder.
    pub(crate) fn crash_and_restart(mut self) -> Self {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        Self::start_on(self.folder.clone(), &[])
    }

    /// Sends SIGTERM and returns its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends").code()
    }

    /// What it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes that no two places share: `length` of them, from `seed`.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
