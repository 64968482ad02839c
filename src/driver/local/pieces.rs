//! Reads a range of an extent: some pieces ahead, verified block by block before it is shown.
//!
//! What is read for the first time in a while goes past the page cache, so that a scan does not flush it. What is
//! read again goes through the page cache; once a piece is resident and verified, it is sent from there without being
//! looked at. A file of one artifact is brought there in folios as large as the kernel has: sending from those takes a
//! fifth to a third less time.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, MaybeDone, Shared, maybe_done};

use super::Core;
use crate::context::Context;
use crate::driver::{Chunk, DriverError};
use crate::io::pool::PooledBuffer;
use crate::io::residency::{self, FOLIO};
use crate::io::{Clock, Disk, DiskFile};
use crate::model::ByteRange;
use crate::runtime;
use crate::shard::extent::{
    BLOCK, PAGE, PAGE_ENTRIES, block_crc, data_length, decode_page, in_memory, page_count,
};
use crate::shard::index::value::Location;
use crate::shard::planted::{self, Bug};

/// Largest piece, in bytes.
const PIECE_MAX: usize = 1 << 20;

/// Largest piece that is sent from the page cache at once, in bytes: a folio.
const RESIDENT_MAX: u64 = FOLIO;

/// Pieces in flight while memory is plenty.
const AHEAD: usize = 4;

/// Bytes that are brought into the page cache at once.
const WINDOW: u64 = 2 * FOLIO;

/// Most pages of the table that are read at once.
const PAGES_MAX: u64 = 16;

/// Where an extent lies.
pub(super) struct Extent<F> {
    pub(super) file: F,
    pub(super) base: u64,
    pub(super) id: u64,
    pub(super) size: u64,
    /// Nothing else lies in the file, but for the table.
    pub(super) is_alone: bool,
    /// The file, if what of it is in the page cache may be sent from there.
    pub(super) cached: Option<Arc<OwnedFd>>,
}

/// Yields a range of an extent.
pub(super) struct Pieces<D: Disk, C: Clock> {
    core: Rc<Core<D, C>>,
    extent: Extent<D::File>,
    location: Location,
    range: ByteRange,
    /// The next byte to be asked for; on a block.
    next: u64,
    /// One past the last byte to be asked for.
    end: u64,
    /// The pieces in flight, in order.
    asked: VecDeque<Asked>,
    /// What was last brought into the page cache, or is being so, and one past its last byte.
    window: Option<(u64, Arrival)>,
    /// Checksums of blocks from `first_block` on.
    table: Vec<u32>,
    first_block: u64,
}

type Arrival = Shared<LocalBoxFuture<'static, ()>>;

/// A piece that is being read.
struct Asked {
    offset: u64,
    length: usize,
    piece: MaybeDone<LocalBoxFuture<'static, Piece>>,
}

struct Piece {
    read: io::Result<usize>,
    buffer: PooledBuffer,
}

impl<D: Disk, C: Clock> Pieces<D, C> {
    pub(super) fn new(
        core: Rc<Core<D, C>>,
        extent: Extent<D::File>,
        range: ByteRange,
        location: Location,
    ) -> Self {
        let block = BLOCK as u64;
        Self {
            next: range.offset - range.offset % block,
            end: range.end().next_multiple_of(block).min(extent.size),
            core,
            extent,
            location,
            range,
            asked: VecDeque::new(),
            window: None,
            table: Vec::new(),
            first_block: 0,
        }
    }

    /// The next bytes, verified when they came from the disk; `None` after the last.
    pub(super) async fn next(&mut self, ctx: &Context) -> Result<Option<Chunk>, DriverError> {
        let next = self.read(ctx).await;
        // A medium that cannot be read is as good as damaged.
        if matches!(next, Err(DriverError::Corrupt | DriverError::Io(_))) {
            self.core.shared.integrity.suspect(self.location, self.extent.size);
        }
        next
    }

    async fn read(&mut self, ctx: &Context) -> Result<Option<Chunk>, DriverError> {
        if let Some(chunk) = self.resident() {
            ctx.trace().cache_hit.set(true);
            return Ok(Some(chunk));
        }
        self.ask(ctx).await?;
        let Some(&Asked { offset, length, .. }) = self.asked.front() else { return Ok(None) };
        let core = Rc::clone(&self.core);
        self.load_table(ctx, offset, length).await?;
        let piece = core.on_disk(ctx, self.first()).await;
        let Some(piece) = piece else { return Ok(None) };
        if piece.read? < length {
            return Err(DriverError::Corrupt);
        }
        self.verify(offset, &piece.buffer[..length])?;
        let bytes = Bytes::from_owner(piece.buffer);
        let first = self.range.offset.saturating_sub(offset);
        let last = (self.range.end() - offset).min(length as u64);
        Ok(Some(Chunk::Memory(bytes.slice(in_memory(first)..in_memory(last)))))
    }

    /// The next piece, if all of it is in the page cache and was verified since it came there.
    fn resident(&mut self) -> Option<Chunk> {
        let file = self.extent.cached.as_ref().filter(|_| self.asked.is_empty())?;
        let length = (self.end - self.next).min(RESIDENT_MAX);
        let known = self.core.shared.verified.holds(self.extent.id, self.blocks(length));
        if !known || !self.is_resident(file, length) {
            return None;
        }
        let file = Arc::clone(file);
        let first = self.next.max(self.range.offset);
        let last = (self.next + length).min(self.range.end());
        self.next += length;
        let offset = self.extent.base + first;
        Some(Chunk::File { file, offset, length: last - first })
    }

    fn is_resident(&self, file: &OwnedFd, length: u64) -> bool {
        let offset = self.extent.base + self.next;
        residency::is_resident(file, offset, data_length(length))
    }

    /// The blocks of the next so many bytes.
    fn blocks(&self, length: u64) -> Range<u64> {
        self.next / BLOCK as u64..(self.next + length).div_ceil(BLOCK as u64)
    }

    /// Takes back what was verified where the next so many bytes, and perhaps some after them, are brought into the
    /// page cache.
    fn forget_if_absent(&self, length: u64) {
        if let Some(file) = &self.extent.cached
            && !self.is_resident(file, length)
        {
            let blocks = self.blocks(self.extent.size - self.next);
            self.core.shared.verified.forget(self.extent.id, blocks);
        }
    }

    /// Keeps reads in flight: one always, more while memory is plenty.
    async fn ask(&mut self, ctx: &Context) -> Result<(), DriverError> {
        while self.next < self.end && self.asked.len() < AHEAD {
            let left = in_memory(data_length(self.end) - self.next);
            let plenty = self.core.has_plenty();
            let ahead = if plenty { self.core.pool.take(left.min(PIECE_MAX)) } else { None };
            let buffer = match ahead {
                Some(buffer) => buffer,
                None if self.asked.is_empty() => {
                    self.core.pool.take_wait(ctx, left.min(BLOCK)).await?
                }
                None => break,
            };
            self.read_into(buffer);
            self.begin_last().await;
        }
        Ok(())
    }

    fn read_into(&mut self, buffer: PooledBuffer) {
        let blocks = (buffer.capacity() / BLOCK * BLOCK) as u64;
        // A buffer of less than a block is the last of the extent.
        let blocks = if blocks == 0 { BLOCK as u64 } else { blocks };
        let length = blocks.min(self.end - self.next);
        self.forget_if_absent(length);
        let offset = self.extent.base + self.next;
        let file = self.extent.file.clone();
        let arrival = self.arrival();
        let read = async move {
            if let Some(arrival) = arrival {
                arrival.await;
            }
            let (mut memory, lease) = buffer.into_inner();
            memory.set_length(in_memory(data_length(length)));
            let (read, memory) = file.read_at(memory, offset).await;
            Piece { read, buffer: (memory, lease).into() }
        };
        let piece = maybe_done(read.boxed_local());
        self.asked.push_back(Asked { offset: self.next, length: in_memory(length), piece });
        self.next += length;
    }

    /// When the next bytes are in the page cache, if they are to be brought there before they are read: whole folios, and
    /// what is left at the end of the file.
    fn arrival(&mut self) -> Option<Arrival> {
        let file = self.extent.cached.as_ref().filter(|_| self.extent.is_alone)?;
        if let Some((until, arrival)) = &self.window
            && self.next < *until
        {
            return Some(arrival.clone());
        }
        let left = (self.end - self.next).min(WINDOW);
        let is_end = self.next + left == self.extent.size;
        let length = if is_end { left } else { left - left % FOLIO };
        let begins = self.next.is_multiple_of(FOLIO) && length > 0;
        if !begins || self.is_resident(file, length) {
            return None;
        }
        let (core, file) = (Rc::clone(&self.core), Arc::clone(file));
        let offset = self.extent.base + self.next;
        // A task of its own: one whose client reads nothing more would keep its turn.
        let brought = runtime::spawn(async move {
            // One after the other: others need the threads as well.
            let _turn = core.bringing_in.wait().await;
            runtime::unblock(move || residency::bring_in(&file, offset, in_memory(length))).await;
        });
        let arrival = brought.map(|_| ()).boxed_local().shared();
        self.window = Some((self.next + length, arrival.clone()));
        Some(arrival)
    }

    /// Hands the last read that was asked for to the kernel. It would not begin before those in front of it were sent
    /// if it was left to be awaited.
    async fn begin_last(&mut self) {
        poll_fn(|context| {
            if let Some(last) = self.asked.back_mut() {
                let _ = last.piece.poll_unpin(context);
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Takes the first piece once it has arrived; `None` if none is in flight.
    async fn first(&mut self) -> Option<Piece> {
        (&mut self.asked.front_mut()?.piece).await;
        let mut first = self.asked.pop_front()?;
        Pin::new(&mut first.piece).take_output()
    }

    /// Loads the checksums of a piece, and of what follows it, unless they are at hand.
    async fn load_table(
        &mut self,
        ctx: &Context,
        offset: u64,
        length: usize,
    ) -> Result<(), DriverError> {
        let first = offset / BLOCK as u64;
        let last = (offset + length as u64).div_ceil(BLOCK as u64);
        if first >= self.first_block && last <= self.first_block + self.table.len() as u64 {
            return Ok(());
        }
        let size = self.extent.size;
        let first_page = first / PAGE_ENTRIES;
        let wanted = self.end.div_ceil(BLOCK as u64).div_ceil(PAGE_ENTRIES);
        let pages = (wanted.min(page_count(size)) - first_page).min(PAGES_MAX);
        let buffer = self.core.pool.take_wait(ctx, in_memory(pages) * PAGE).await?;
        let (mut memory, lease) = buffer.into_inner();
        memory.set_length(in_memory(pages) * PAGE);
        let at = self.extent.base + data_length(size) + first_page * PAGE as u64;
        let reading = self.extent.file.read_at(memory, at);
        let (read, memory) = self.core.on_disk(ctx, reading).await;
        let memory = PooledBuffer::from((memory, lease));
        let read = read?;
        self.table.clear();
        self.first_block = first_page * PAGE_ENTRIES;
        for (number, page) in (first_page..).zip(memory[..read].chunks(PAGE)) {
            let entries = decode_page(self.extent.id, number, page).ok_or(DriverError::Corrupt)?;
            self.table.extend(entries);
        }
        Ok(())
    }

    fn verify(&self, offset: u64, bytes: &[u8]) -> Result<(), DriverError> {
        let first = in_memory(offset / BLOCK as u64 - self.first_block);
        let expected = self.table.get(first..).unwrap_or_default();
        let mut blocks = bytes.chunks(BLOCK).zip(expected);
        let verified = bytes.len().div_ceil(BLOCK) <= expected.len()
            && blocks.all(|(block, crc)| block_crc(self.extent.id, block) == *crc);
        if !verified && !planted::is(Bug::ExtentNotChecked) {
            return Err(DriverError::Corrupt);
        }
        if self.extent.cached.is_some() {
            let blocks = (offset..offset + bytes.len() as u64).step_by(BLOCK);
            blocks.for_each(|at| self.core.shared.verified.note(self.extent.id, at / BLOCK as u64));
        }
        Ok(())
    }
}
