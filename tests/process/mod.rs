//! A server as a process: it answers or says why not, and its log is at hand when a test fails.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A running server; killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
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

impl Process {
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

    /// kill -9; it is gone on return.
    pub(crate) fn kill_and_wait(&mut self) {
        // It may have ended by itself, which the caller sees by other means.
        let _ = self.child.kill();
        let _ = self.child.wait();
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

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_and_wait();
    }
}
