//! A socket as connections use it: it waits with patience, and lends no memory while it waits.
//!
//! The exception is the wait for the next request, which lends the connection's own head buffer to
//! the ring: one operation instead of two for every small request.

use std::cell::Cell;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;

use bytes::{Buf, Bytes};
use monoio::io::AsyncReadRent;
use monoio::net::TcpStream;

use super::pulse::{Pulse, Stop};
use crate::io::lending::{Account, Lender, Lent};
use crate::io::socket;
use crate::runtime::Pauses;

/// Bytes moved before the other tasks of the core get their turn: a fast client must not hold it.
const TURN_BYTES: usize = 1 << 20;

/// Bytes of a file that are sent at once. The kernel moves them without copying, in a quarter of the time.
const FILE_BYTES: usize = 2 << 20;

/// Why nothing more can be moved over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The client went away.
    Client,
    /// The wait was ended.
    Stopped(Stop),
    /// A file ended before the range that was to be sent.
    File,
}

impl From<Stop> for Gone {
    fn from(stop: Stop) -> Self {
        Self::Stopped(stop)
    }
}

/// The socket of one connection.
pub struct Transport {
    stream: TcpStream,
    pulse: Rc<Pulse>,
    sent: Cell<u64>,
    pauses: Pauses,
    left: Cell<bool>,
    lender: Rc<Lender>,
    account: Rc<Account>,
}

impl Transport {
    /// Takes over a non-blocking stream.
    #[must_use]
    pub fn new(stream: TcpStream, pulse: Rc<Pulse>, lender: Rc<Lender>) -> Self {
        Self {
            stream,
            pulse,
            sent: Cell::new(0),
            pauses: Pauses::after(TURN_BYTES),
            left: Cell::new(false),
            lender,
            account: Rc::default(),
        }
    }

    /// What patience sees of it.
    #[must_use]
    pub fn pulse(&self) -> &Rc<Pulse> {
        &self.pulse
    }

    /// Bytes handed to the kernel so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Waits for the first bytes of a request and returns them in `buffer`, up to its capacity; no
    /// bytes at the end of the stream.
    ///
    /// # Errors
    /// [`Gone`]; the buffer is lost then.
    pub async fn first_bytes(&mut self, mut buffer: Vec<u8>) -> Result<Vec<u8>, Gone> {
        buffer.clear();
        let (result, buffer) = self.pulse.watch(self.stream.read(buffer)).await?;
        match result {
            Ok(_) => Ok(buffer),
            Err(_) => Err(Gone::Client),
        }
    }

    /// Receives what has arrived, at least a byte, into the beginning of `buffer`; 0 at the end of
    /// the stream.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn receive(&self, buffer: &mut [u8]) -> Result<usize, Gone> {
        loop {
            if let Some(count) = self.receive_now(buffer)? {
                self.pulse.count(count);
                self.pauses.count(count).await;
                return Ok(count);
            }
            // Not relaxed: on epoll that would return at once for ever.
            let ready = self.pulse.watch(self.stream.readable(false)).await?;
            ready.map_err(|_| Gone::Client)?;
        }
    }

    /// As [`receive`](Self::receive), without waiting: `None` if nothing has arrived.
    ///
    /// # Errors
    /// [`Gone::Client`].
    pub fn receive_now(&self, buffer: &mut [u8]) -> Result<Option<usize>, Gone> {
        socket::receive(&self.stream, buffer).map_err(|_| Gone::Client)
    }

    /// Sends two pieces of memory, in one call if the socket takes them. `more` tells the kernel
    /// that something follows at once.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn send(&self, mut first: &[u8], mut second: &[u8], more: bool) -> Result<(), Gone> {
        while !first.is_empty() || !second.is_empty() {
            let pieces = [IoSlice::new(first), IoSlice::new(second)];
            let sent = socket::send(&self.stream, &pieces, more).map_err(|_| Gone::Client)?;
            let Some(count) = sent else {
                self.writable().await?;
                continue;
            };
            let of_first = count.min(first.len());
            first = &first[of_first..];
            second = &second[count - of_first..];
            self.moved(count).await;
        }
        Ok(())
    }

    /// Sends memory that may be lent to the kernel, which is kept until the kernel is done with it. What is not worth
    /// lending, or not now, goes as by [`send`](Self::send), together with the head if there is one.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn send_lent(&self, head: &[u8], mut bytes: Bytes, more: bool) -> Result<(), Gone> {
        if !self.lender.accepts(&self.account, bytes.len()) {
            return self.send(head, &bytes, more).await;
        }
        self.send(head, &[], true).await?;
        while !bytes.is_empty() {
            match self.lender.send(&self.stream, &self.account, &bytes, more) {
                Err(_) => return Err(Gone::Client),
                Ok(Lent::Full) => self.writable().await?,
                Ok(Lent::Declined) => return self.send(&[], &bytes, more).await,
                Ok(Lent::Sent(count)) => {
                    bytes.advance(count);
                    self.moved(count).await;
                }
            }
        }
        Ok(())
    }

    /// Sends a range of a file from the page cache.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn send_file(
        &self,
        file: &OwnedFd,
        mut offset: u64,
        mut length: u64,
    ) -> Result<(), Gone> {
        while length > 0 {
            let piece = usize::try_from(length).unwrap_or(usize::MAX).min(FILE_BYTES);
            match socket::send_file(&self.stream, file, offset, piece) {
                Err(_) => return Err(Gone::Client),
                Ok(None) => self.writable().await?,
                Ok(Some(0)) => return Err(Gone::File),
                Ok(Some(count)) => {
                    offset += count as u64;
                    length -= count as u64;
                    self.moved(count).await;
                }
            }
        }
        Ok(())
    }

    /// Runs what may wait for something else than the client. A client that goes away meanwhile is noticed within
    /// a few sweeps, and the request is cancelled. One that ends its side of the stream counts as gone, as
    /// nothing tells the two apart.
    pub async fn attend<F: Future>(&self, work: Pin<&mut F>) -> F::Output {
        let has_left = || {
            let left = socket::has_left(&self.stream);
            self.left.set(left);
            left
        };
        self.pulse.attend(work, has_left).await
    }

    /// Whether the client was found to be gone while its request waited.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.left.get()
    }

    /// Whether to hold back what does not fill a packet; at the end of it all goes out.
    pub fn hold_back(&self, hold: bool) {
        socket::hold_back(&self.stream, hold);
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&self) {
        socket::finish_sending(&self.stream);
    }

    async fn writable(&self) -> Result<(), Gone> {
        let ready = self.pulse.watch(self.stream.writable(false)).await?;
        ready.map_err(|_| Gone::Client)
    }

    async fn moved(&self, count: usize) {
        self.sent.set(self.sent.get() + count as u64);
        self.pulse.count(count);
        self.pauses.count(count).await;
    }
}
