//! From a response to bytes on a socket: the one place that knows how each kind of chunk is sent.

use std::pin::pin;

use super::transport::{Gone, Transport};
use crate::context::Context;
use crate::driver::{Chunk, DriverError, Reader};
use crate::http::ResponseBody;

/// From so many bytes on an answer goes out in full packets only, but for its end: an acknowledgement that comes while it
/// is sent would let go whatever lies there, and each small packet brings another acknowledgement.
const LARGE: u64 = 128 << 10;

/// Why an answer was not sent to its end.
#[derive(Debug)]
pub enum SendError {
    /// The artifact could not be read, and nothing was sent: another answer can be given.
    Unstarted(DriverError),
    /// The artifact could not be read on: the connection must end short of the declared length.
    Cut(DriverError),
    /// The connection is of no more use.
    Gone(Gone),
}

impl From<Gone> for SendError {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

/// Sends a rendered head and, unless only the head is wanted, the body.
///
/// # Errors
/// [`SendError`].
pub async fn send<R: Reader>(
    ctx: &Context,
    transport: &Transport,
    head: &[u8],
    body: ResponseBody<R>,
    head_only: bool,
) -> Result<(), SendError> {
    match body {
        _ if head_only => transport.send(head, &[], false).await?,
        ResponseBody::Empty | ResponseBody::Declared(_) => transport.send(head, &[], false).await?,
        ResponseBody::Bytes(bytes) => transport.send(head, &bytes, false).await?,
        ResponseBody::Stream { reader, length } => {
            send_stream(ctx, transport, head, reader, length).await?;
        }
    }
    Ok(())
}

async fn send_stream<R: Reader>(
    ctx: &Context,
    transport: &Transport,
    head: &[u8],
    reader: R,
    length: u64,
) -> Result<(), SendError> {
    if length < LARGE {
        return send_chunks(ctx, transport, head, reader, length).await;
    }
    transport.hold_back(true);
    let sent = send_chunks(ctx, transport, head, reader, length).await;
    transport.hold_back(false);
    sent
}

async fn send_chunks<R: Reader>(
    ctx: &Context,
    transport: &Transport,
    mut head: &[u8],
    mut reader: R,
    length: u64,
) -> Result<(), SendError> {
    let mut left = length;
    while left > 0 {
        let chunk = match next(ctx, transport, &mut reader).await {
            Ok(Some(chunk)) if chunk.len() <= left => chunk,
            // A reader that yields another length than it promised has read the wrong thing.
            Ok(_) => return Err(cut(head, DriverError::Corrupt)),
            Err(error) => return Err(cut(head, error)),
        };
        left -= chunk.len();
        match chunk {
            // The head, if it is still to be sent, goes with the first chunk.
            Chunk::Memory(bytes) => transport.send_lent(head, bytes, left > 0).await?,
            Chunk::File { file, offset, length } => {
                transport.send(head, &[], true).await?;
                transport.send_file(&file, offset, length).await?;
            }
        }
        head = &[];
    }
    // Nothing is left of it but for an empty artifact.
    Ok(transport.send(head, &[], false).await?)
}

/// The next chunk, given up where it waits for the disk once the client is gone.
async fn next<R: Reader>(
    ctx: &Context,
    transport: &Transport,
    reader: &mut R,
) -> Result<Option<Chunk>, DriverError> {
    let reading = pin!(reader.next(ctx));
    let guarded = pin!(ctx.cancellation().guard(reading));
    transport.attend(guarded).await?
}

fn cut(unsent_head: &[u8], error: DriverError) -> SendError {
    if unsent_head.is_empty() { SendError::Cut(error) } else { SendError::Unstarted(error) }
}
