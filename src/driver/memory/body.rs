//! Bodies in pieces.

use bytes::Bytes;

use crate::context::Context;
use crate::driver::{BodyError, DriverError, Source};
use crate::model::{ByteRange, Digests};

use super::{Times, alive};

/// Bytes of a full piece.
const PIECE_BYTES: usize = 64 << 10;

/// The bytes of an artifact or part, in order; no piece is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Body(Vec<Bytes>);

impl Body {
    /// Number of bytes.
    pub(super) fn size(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }

    /// Adds what another body holds; the memory is shared.
    pub(super) fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// All of its pieces.
    pub(super) fn pieces(&self) -> &[Bytes] {
        &self.0
    }

    /// The pieces of a range.
    pub(super) fn range(&self, range: ByteRange) -> Vec<Bytes> {
        let mut selected = Vec::new();
        let mut start = 0;
        for piece in &self.0 {
            let end = start + piece.len() as u64;
            let (first, last) = (range.offset.max(start), range.end().min(end));
            if first < last {
                selected.push(piece.slice(within(first - start)..within(last - start)));
            }
            start = end;
        }
        selected
    }
}

/// An offset within a piece, which is in memory.
fn within(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Pulls a whole body and lets the source check it.
pub(super) async fn take<S: Source>(
    ctx: &Context,
    times: &dyn Times,
    source: &mut S,
) -> Result<(Body, Digests), DriverError> {
    let mut body = Body::default();
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let length = fill(ctx, times, source, &mut piece).await?;
        if length > 0 {
            piece.truncate(length);
            piece.shrink_to_fit();
            body.0.push(piece.into());
        }
        if length < PIECE_BYTES {
            break;
        }
    }
    let digests = source.finish(ctx).await?;
    if source.size().is_some_and(|declared| declared != body.size()) {
        return Err(BodyError::Truncated.into());
    }
    Ok((body, digests))
}

/// Reads until the buffer is full or the source ends.
async fn fill<S: Source>(
    ctx: &Context,
    times: &dyn Times,
    source: &mut S,
    buffer: &mut [u8],
) -> Result<usize, DriverError> {
    let mut length = 0;
    while length < buffer.len() {
        alive(ctx, times)?;
        match source.read(ctx, &mut buffer[length..]).await? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
