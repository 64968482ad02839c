//! The end of a turn: how a task lets the others run, and the core look what has happened meanwhile.
//!
//! The executor looks at the wakes of other threads only when it has no task to run. Tasks that yield by joining the
//! end of its queue would keep them waiting, for as long as any two do so in turn. So on a ring a task yields by a wait
//! for what is there already, as [`super::spin`] does: the others run, the core goes through its ring once without
//! sleeping, and comes back.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::spawn;

thread_local! {
    static READY: RefCell<Option<Rc<Ready>>> = const { RefCell::new(None) };
}

/// A stream from which there is always something to be read.
#[derive(Debug)]
pub(super) struct Ready {
    stream: monoio::net::UnixStream,
    _writer: UnixStream,
}

impl Ready {
    /// To be called on an executor.
    pub(super) fn new() -> io::Result<Self> {
        let (mut writer, reader) = UnixStream::pair()?;
        writer.write_all(&[0])?;
        reader.set_nonblocking(true)?;
        Ok(Self { stream: monoio::net::UnixStream::from_std(reader)?, _writer: writer })
    }

    /// Goes through the ring once.
    pub(super) async fn pass(&self) -> io::Result<()> {
        self.stream.readable(false).await
    }
}

/// Until it is dropped, tasks of this thread yield through its ring.
pub(super) struct ThroughRing;

impl ThroughRing {
    /// To be called on an executor with a ring.
    pub(super) fn begin() -> io::Result<Self> {
        let ready = Rc::new(Ready::new()?);
        READY.set(Some(ready));
        Ok(Self)
    }
}

impl Drop for ThroughRing {
    fn drop(&mut self) {
        READY.set(None);
    }
}

/// Lets all others run that are ready, and takes notice of what has happened.
pub(super) async fn end() {
    // A thread that ends has nothing more to look at.
    let ready = READY.try_with(|ready| ready.borrow().clone()).ok().flatten();
    if let Some(ready) = ready
        && ready.pass().await.is_ok()
    {
        return;
    }
    join_queue().await;
}

async fn join_queue() {
    wait_once(|waker| {
        // The executor puts a task that wakes itself at the front of its queue, one that another wakes at the back.
        let waker = waker.clone();
        spawn(async move { waker.wake() });
    })
    .await;
}

/// Gives way once; `wake` sees to it that the task is polled again.
pub(super) async fn wait_once(wake: impl FnOnce(&Waker)) {
    let mut wake = Some(wake);
    poll_fn(|cx| match wake.take() {
        Some(wake) => {
            wake(cx.waker());
            Poll::Pending
        }
        None => Poll::Ready(()),
    })
    .await;
}
