//! What unit tests share: an executor like a core's, a client that is slow to take things in, bytes to compare.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::Clock;
use super::clock::SystemClock;

/// Waits for what another thread or the kernel does by itself.
///
/// # Panics
/// If it has not happened within 20 s; `what` names it.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = SystemClock.now().after(Duration::from_secs(20));
    while !done() {
        assert!(SystemClock.now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Bytes in which most displacements are seen.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index % 251).expect("a byte")).collect()
}

/// A connection that takes in little before it is read, and waits 20 s at most.
pub fn connect_small(address: SocketAddr) -> TcpStream {
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    client.set_recv_buffer_size(4096).expect("a small buffer");
    // Segments of which more than one fits; or each would wait for the sender to ask again.
    client.set_tcp_mss(1000).expect("small segments");
    client.connect(&address.into()).expect("a connection");
    let client = TcpStream::from(client);
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    client
}

/// Runs `future` to its end on a ring of its own, with timers and a small blocking pool.
pub fn run<F: Future>(future: F) -> F::Output {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(256)
        .enable_timer()
        .attach_thread_pool(Box::new(monoio::blocking::DefaultThreadPool::new(2)))
        .build()
        .expect("a ring");
    runtime.block_on(future)
}

/// Polls `future` to its end on this thread, without an executor: for disks in memory.
///
/// # Panics
/// If it waits for something that nobody will do.
pub fn drive<F: Future>(future: F) -> F::Output {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut future = std::pin::pin!(future);
    while flag.0.swap(false, Ordering::SeqCst) {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
    }
    panic!("a future sleeps for ever")
}
