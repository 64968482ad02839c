//! The bounded queue through which every core hands commits to the core that owns the shard.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::io::Clock;
use crate::stdx::sync::{ArrayQueue, AtomicBool, AtomicWaker, SegQueue};

/// Commits that wait at one core.
pub(crate) const CAPACITY: usize = 4096;

/// How long a sender waits for room.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A bounded queue with one receiver and many senders.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    queue: ArrayQueue<T>,
    receiver: AtomicWaker,
    /// Senders that found it full.
    senders: SegQueue<Waker>,
    closed: AtomicBool,
}

/// Nothing could be sent: the mailbox stayed full, or it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mailbox takes nothing")]
pub(crate) struct Refused;

impl<T> Mailbox<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            queue: ArrayQueue::new(capacity),
            receiver: AtomicWaker::new(),
            senders: SegQueue::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Number of messages that wait.
    pub(crate) fn depth(&self) -> usize {
        self.queue.len()
    }

    /// Queues a message, waiting for room for [`PATIENCE`].
    ///
    /// # Cancel safety
    /// A message whose future is dropped while it waits is not sent.
    ///
    /// # Errors
    /// [`Refused`] if there was no room in time, or the receiver has gone.
    pub(crate) async fn send(&self, message: T, clock: &impl Clock) -> Result<(), Refused> {
        let Err(message) = self.try_send(message)? else { return Ok(()) };
        let mut waiting = Some(message);
        let sent = poll_fn(|context| {
            let Some(message) = waiting.take() else { return Poll::Ready(Err(Refused)) };
            // Registered first, so that room made between the attempt and now is not missed.
            self.senders.push(context.waker().clone());
            match self.try_send(message) {
                Ok(Ok(())) => Poll::Ready(Ok(())),
                Ok(Err(message)) => {
                    waiting = Some(message);
                    Poll::Pending
                }
                Err(refused) => Poll::Ready(Err(refused)),
            }
        });
        let patience = std::pin::pin!(clock.sleep(PATIENCE));
        match select(sent, patience).await {
            Either::Left((sent, _)) => sent,
            Either::Right(_) => Err(Refused),
        }
    }

    fn try_send(&self, message: T) -> Result<Result<(), T>, Refused> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Refused);
        }
        let sent = self.queue.push(message);
        if sent.is_ok() {
            self.receiver.wake();
        }
        Ok(sent)
    }

    /// The next message if one waits.
    pub(crate) fn try_receive(&self) -> Option<T> {
        let message = self.queue.pop();
        if message.is_some() {
            while let Some(sender) = self.senders.pop() {
                sender.wake();
            }
        }
        message
    }

    /// Waits until a message can be received. For one receiver. `false` when the mailbox was closed and is empty.
    pub(crate) async fn ready(&self) -> bool {
        poll_fn(|context| {
            if !self.queue.is_empty() {
                return Poll::Ready(true);
            }
            self.receiver.register(context.waker());
            if !self.queue.is_empty() {
                Poll::Ready(true)
            } else if self.closed.load(Ordering::Acquire) {
                Poll::Ready(!self.queue.is_empty())
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Wakes the receiver's [`Mailbox::ready`] to look at something else.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.receiver.wake();
        while let Some(sender) = self.senders.pop() {
            sender.wake();
        }
    }
}
