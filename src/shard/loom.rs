//! What crosses cores, in every order of steps that loom can think of: `scripts/loom`.

mod index;
mod mailbox;
mod pins;

use std::time::Duration;

use loom::model::Builder;

use crate::context::Monotonic;
use crate::io::Clock;

/// Runs a model with up to so many steps at which a thread is interrupted though it could go on.
fn model(interruptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.check(run);
}

/// Starts a thread of a model that has room for deeper calls than loom's own have.
fn spawn(run: impl FnOnce() + Send + 'static) -> loom::thread::JoinHandle<()> {
    loom::thread::Builder::new().stack_size(1 << 16).spawn(run).expect("a model has few threads")
}

/// A clock that has stopped: nobody's patience ends.
#[derive(Clone)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Monotonic {
        Monotonic::default()
    }

    fn wall_ms(&self) -> i64 {
        0
    }

    fn sleep(&self, _duration: Duration) -> impl Future<Output = ()> {
        std::future::pending()
    }
}
