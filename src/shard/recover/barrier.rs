//! Where the cores wait for each other at start.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

/// A barrier that can be met again and again.
pub(super) struct Barrier {
    cores: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    round: u64,
    arrived: usize,
    failed: bool,
    waiting: Vec<Waker>,
}

impl Barrier {
    pub(super) fn new(cores: usize) -> Self {
        Self { cores, state: Mutex::default() }
    }

    /// Waits until all cores have come here; `false` if one of them failed instead.
    pub(super) async fn wait(&self) -> bool {
        let round = self.with(|state| {
            state.arrived += 1;
            if state.arrived == self.cores {
                state.arrived = 0;
                state.round += 1;
                state.waiting.drain(..).for_each(Waker::wake);
                None
            } else {
                Some(state.round)
            }
        });
        poll_fn(|context| {
            self.with(|state| {
                if state.failed {
                    Poll::Ready(false)
                } else if round.is_none_or(|round| state.round > round) {
                    Poll::Ready(true)
                } else {
                    state.waiting.push(context.waker().clone());
                    Poll::Pending
                }
            })
        })
        .await
    }

    /// Lets nobody wait for us.
    pub(super) fn fail(&self) {
        self.with(|state| {
            state.failed = true;
            state.waiting.drain(..).for_each(Waker::wake);
        });
    }

    fn with<T>(&self, step: impl FnOnce(&mut State) -> T) -> T {
        step(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
