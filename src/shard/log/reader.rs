//! A moving window over a segment file, for replay.

use std::io;

use super::format::BLOCK;
use crate::io::DiskFile;
use crate::io::buffer::AlignedBuffer;

/// Bytes of a segment that are read or written at once beside other work, a multiple of [`BLOCK`]. No more: while it
/// gets memory that it had not used before, which a virtual machine may have to ask for page by page, the core does
/// nothing else.
pub(super) const PIECE: usize = 128 << 10;
/// Bytes read at once in a walk while nothing else is going on.
pub(super) const WINDOW: usize = 1 << 20;

/// Reads a file from front to back in large pieces, and lends what was asked for.
pub(super) struct Reader<F> {
    file: F,
    length: u64,
    buffer: AlignedBuffer,
    start: u64,
    window: usize,
}

impl<F: DiskFile> Reader<F> {
    /// For looking at single places: reads little more than what is asked for.
    pub(super) fn new(file: F, length: u64) -> Self {
        let buffer = AlignedBuffer::with_capacity(2 * BLOCK);
        Self { file, length, buffer, start: 0, window: 2 * BLOCK }
    }

    /// From now on reads so many bytes ahead.
    pub(super) fn walk(&mut self, window: usize) {
        self.window = window;
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes from `offset`, a multiple of [`BLOCK`], on: `length` of them, fewer at the end of the file.
    pub(super) async fn get(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let held =
            offset >= self.start && offset + length as u64 <= self.start + self.buffer.len() as u64;
        if !held {
            let wanted = length.max(self.window).min(left).next_multiple_of(BLOCK);
            let mut buffer = std::mem::replace(&mut self.buffer, AlignedBuffer::dangling());
            if buffer.capacity() < wanted {
                buffer = AlignedBuffer::with_capacity(wanted);
            }
            buffer.set_length(wanted);
            let (result, mut buffer) = self.file.read_at(buffer, offset).await;
            buffer.set_length(result?);
            self.buffer = buffer;
            self.start = offset;
        }
        let at = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let end = (at + length).min(self.buffer.len());
        Ok(self.buffer.get(at..end).unwrap_or_default())
    }
}
