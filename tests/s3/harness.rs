//! Starts a server of its own for every test: random ports, a temporary data folder.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use tempfile::TempDir;

use crate::process::Process;

pub(crate) const ACCESS_KEY_ID: &str = "test-access-key";
pub(crate) const SECRET_ACCESS_KEY: &str = "test-secret-access-key";

/// A running server.
pub(crate) struct Server {
    process: Process,
    pub(crate) folder: Arc<TempDir>,
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
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
        .env("VAULTAIRE_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
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
        let mut command = command(&folder.path().join("data"));
        command.args(flags);
        let process = Process::run(command).unwrap_or_else(|refusal| {
            panic!("the server did not get ready ({:?}): {}", refusal.code, refusal.said)
        });
        Self { process, folder }
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
