//! A request's body as it comes from the socket, with its framing removed.

use super::pulse::Stop;
use super::transport::{Gone, Transport};
use crate::context::Interrupted;
use crate::driver::BodyError;
use crate::http::Body;
use crate::http::body::ChunkDecoder;
use crate::http::head::Framing;

/// Received at once while only chunk framing is expected.
const FRAMING_BYTES: usize = 4 << 10;

/// Bytes that were received while looking for framing and not used yet. Kept with the connection.
#[derive(Debug, Default)]
pub struct Stash {
    bytes: Vec<u8>,
    used: usize,
}

impl Stash {
    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.used = 0;
    }
}

#[derive(Debug)]
enum Remaining {
    Length(u64),
    Chunked(ChunkDecoder),
}

/// What is left of a body that was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Nothing: the next request follows.
    Nothing,
    /// It can be read and thrown away.
    Some,
    /// It is too much, it is broken, or the client may never send it: the connection must close.
    Lost,
}

/// The body of the present request.
pub struct Incoming<'c> {
    transport: &'c Transport,
    /// What came with the head and was not used yet.
    early: &'c [u8],
    stash: &'c mut Stash,
    remaining: Remaining,
    declared: Option<u64>,
    expects_continue: bool,
    failed: bool,
    received: u64,
}

impl<'c> Incoming<'c> {
    /// A body that begins with `early` and goes on in the socket.
    pub fn new(
        transport: &'c Transport,
        early: &'c [u8],
        stash: &'c mut Stash,
        framing: Framing,
        expects_continue: bool,
    ) -> Self {
        stash.clear();
        let (remaining, declared) = match framing {
            Framing::Length(length) => (Remaining::Length(length), Some(length)),
            Framing::Chunked => (Remaining::Chunked(ChunkDecoder::new()), None),
        };
        let failed = false;
        Self { transport, early, stash, remaining, declared, expects_continue, failed, received: 0 }
    }

    /// Body bytes given out.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// How much of what came with the head is not part of this body, if it was read to its end.
    #[must_use]
    pub fn early_left(&self) -> usize {
        self.early.len()
    }

    /// Whether more has been received than this body, if it was read to its end.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        !self.early.is_empty() || !self.stash.rest().is_empty()
    }

    /// Whether the rest can be thrown away, if it is at most `limit` bytes.
    #[must_use]
    pub fn unread(&self, limit: u64) -> Unread {
        match &self.remaining {
            _ if self.failed => Unread::Lost,
            Remaining::Length(0) => Unread::Nothing,
            Remaining::Chunked(decoder) if decoder.is_done() => Unread::Nothing,
            _ if self.expects_continue => Unread::Lost,
            Remaining::Length(left) if *left > limit => Unread::Lost,
            _ => Unread::Some,
        }
    }

    /// Reads up to `limit` bytes and throws them away; whether that was all.
    pub async fn discard(&mut self, mut limit: u64) -> bool {
        let mut scratch = [0; 4 << 10];
        loop {
            match self.read(&mut scratch).await {
                Ok(0) => return true,
                Ok(count) if (count as u64) < limit => limit -= count as u64,
                _ => return false,
            }
        }
    }

    /// Moves body bytes, at most `most`, into `buffer`.
    async fn take(&mut self, buffer: &mut [u8], most: u64) -> Result<usize, BodyError> {
        let room = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..room];
        let count = if !self.early.is_empty() {
            let count = room.min(self.early.len());
            buffer[..count].copy_from_slice(&self.early[..count]);
            self.early = &self.early[count..];
            count
        } else if !self.stash.rest().is_empty() {
            let count = room.min(self.stash.rest().len());
            buffer[..count].copy_from_slice(&self.stash.rest()[..count]);
            self.stash.used += count;
            count
        } else {
            match self.transport.receive(buffer).await.map_err(lost)? {
                0 => return Err(BodyError::Truncated),
                count => count,
            }
        };
        self.received += count as u64;
        Ok(count)
    }

    /// Passes over framing, up to data or to the end.
    async fn pass_framing(&mut self) -> Result<(), BodyError> {
        let Remaining::Chunked(decoder) = &mut self.remaining else { return Ok(()) };
        while decoder.data_left() == 0 && !decoder.is_done() {
            if !self.early.is_empty() {
                let used = decoder.frame(self.early)?;
                self.early = &self.early[used..];
            } else if !self.stash.rest().is_empty() {
                self.stash.used += decoder.frame(self.stash.rest())?;
            } else {
                self.stash.used = 0;
                self.stash.bytes.resize(FRAMING_BYTES, 0);
                let received = self.transport.receive(&mut self.stash.bytes).await;
                // After a failure there is nothing in it.
                self.stash.bytes.truncate(received.unwrap_or(0));
                if received.map_err(lost)? == 0 {
                    return Err(BodyError::Truncated);
                }
            }
        }
        Ok(())
    }

    async fn next(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        if let Remaining::Length(0) = self.remaining {
            return Ok(0);
        }
        if std::mem::take(&mut self.expects_continue) && self.early.is_empty() {
            self.transport
                .send(b"HTTP/1.1 100 Continue\r\n\r\n", &[], false)
                .await
                .map_err(lost)?;
        }
        self.pass_framing().await?;
        let most = match &self.remaining {
            Remaining::Length(left) => *left,
            Remaining::Chunked(decoder) => decoder.data_left(),
        };
        if most == 0 {
            return Ok(0);
        }
        let count = self.take(buffer, most).await?;
        match &mut self.remaining {
            Remaining::Length(left) => *left -= count as u64,
            Remaining::Chunked(decoder) => decoder.took(count as u64),
        }
        Ok(count)
    }
}

impl Body for Incoming<'_> {
    fn length(&self) -> Option<u64> {
        self.declared
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BodyError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.failed {
            return Err(BodyError::Disconnected);
        }
        // Also if this future is dropped halfway.
        self.failed = true;
        let result = self.next(buffer).await;
        self.failed = result.is_err();
        if matches!(result, Err(BodyError::Disconnected)) {
            self.transport.pulse().cancellation().cancel();
        }
        result
    }
}

fn lost(gone: Gone) -> BodyError {
    match gone {
        Gone::Stopped(Stop::Slow | Stop::Idle) => BodyError::TooSlow,
        Gone::Stopped(Stop::Expired) => BodyError::Interrupted(Interrupted::DeadlineExceeded),
        Gone::Stopped(Stop::Aborted) => BodyError::Interrupted(Interrupted::Cancelled),
        Gone::Client | Gone::File => BodyError::Disconnected,
    }
}
