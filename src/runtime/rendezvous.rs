//! Where the cores wait for each other at start and stop.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

#[derive(Default)]
struct State {
    arrived: usize,
    round: u64,
    waiting: Vec<Waker>,
}

/// A barrier for one task of each core. Clones are the same barrier.
#[derive(Clone)]
pub struct Rendezvous {
    cores: usize,
    state: Arc<Mutex<State>>,
}

impl Rendezvous {
    /// A barrier for this many cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self { cores, state: Arc::default() }
    }

    /// Returns when every core has called this, and can then be used again.
    ///
    /// # Cancel safety
    /// None: whoever arrived stays counted.
    pub async fn wait(&self) {
        let mut joined = None;
        poll_fn(|cx| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let round = *joined.get_or_insert_with(|| {
                state.arrived += 1;
                state.round
            });
            if state.arrived == self.cores {
                state.arrived = 0;
                state.round += 1;
                state.waiting.drain(..).for_each(Waker::wake);
            }
            if state.round > round {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::runtime::core::{Backend, BlockingPool, block_on};

    #[test]
    fn nobody_leaves_before_the_last_has_come() {
        const CORES: usize = 3;
        const ROUNDS: usize = 50;
        let meeting = Rendezvous::new(CORES);
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..CORES {
                scope.spawn(|| {
                    block_on(Backend::Uring, &BlockingPool::new(1), async {
                        for round in 1..=ROUNDS {
                            count.fetch_add(1, Ordering::SeqCst);
                            meeting.wait().await;
                            assert!(count.load(Ordering::SeqCst) >= round * CORES);
                            meeting.wait().await;
                        }
                    })
                    .unwrap();
                });
            }
        });
        assert_eq!(count.into_inner(), CORES * ROUNDS);
    }
}
