//! What benchmarks need of this layer's inside.

use std::sync::Arc;

use futures_util::FutureExt;

use super::mailbox::Mailbox;
use crate::io::clock::SystemClock;
use crate::runtime::core::{Backend, BackendError, BlockingPool, block_on};

/// Sends messages and receives each at once, on this thread.
///
/// # Panics
/// If the mailbox refuses one.
pub fn mail_here(messages: u64) -> u64 {
    let mailbox = Mailbox::new(64);
    let mut sum = 0;
    for message in 0..messages {
        let sent = mailbox.send(message, &SystemClock).now_or_never();
        assert!(matches!(sent, Some(Ok(()))), "there was room");
        sum += mailbox.try_receive().unwrap_or_default();
    }
    sum
}

/// Sends messages to another thread and waits for its answers, `in_flight` at a time. Each side has an executor.
///
/// # Errors
/// If an executor cannot start.
pub fn mail_across(messages: u64, in_flight: u64) -> Result<u64, BackendError> {
    let there = Arc::new(Mailbox::new(1024));
    let back = Arc::new(Mailbox::new(1024));
    let pool = BlockingPool::new(1);
    std::thread::scope(|scope| {
        let answering = scope.spawn(|| {
            block_on(Backend::Uring, &BlockingPool::new(1), async {
                while there.ready().await {
                    while let Some(message) = there.try_receive() {
                        if back.send(message, &SystemClock).await.is_err() {
                            return;
                        }
                    }
                }
            })
        });
        let sum = block_on(Backend::Uring, &pool, async {
            let (mut sent, mut received, mut sum) = (0, 0, 0);
            while received < messages {
                while sent < messages && sent - received < in_flight {
                    if there.send(sent, &SystemClock).await.is_err() {
                        return sum;
                    }
                    sent += 1;
                }
                back.ready().await;
                while let Some(answer) = back.try_receive() {
                    received += 1;
                    sum += answer;
                }
            }
            sum
        });
        there.close();
        let answered = answering.join();
        debug_assert!(answered.is_ok(), "the other thread ends");
        sum
    })
}
