//! Takes bodies in: small ones into memory for the log, large ones to the disk as they arrive.
//!
//! Memory: an upload waits once for a small working set, before it asks its source for anything. More it takes only
//! while there is plenty, and large buffers only while its source fills them quickly, so that a slow client never
//! holds a large, mostly empty one.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;

use super::Core;
use crate::context::Context;
use crate::driver::{BodyError, DriverError, Source};
use crate::io::budget::Reservation;
use crate::io::pool::PooledBuffer;
use crate::io::{Clock, Disk, DiskFile};
use crate::model::Digests;
use crate::shard::commit::{BodyContent, NewBody};
use crate::shard::data::Sink;
use crate::shard::extent::{
    BLOCK, BlockSums, PAGE, data_length, encode_table, in_memory, page_count,
};

/// Largest write.
const PIECE_MAX: usize = 1 << 20;

/// Most writes in flight. With more, a file would come to consist of more written and unwritten stretches in turn than
/// ext4 keeps in an inode (4), and whoever changes or reads the list of a file's stretches then waits for blocks of
/// metadata: the core, too, which asks for it at each write.
const WRITES_MAX: usize = 2;

/// A buffer that takes longer than this to fill is followed by a small one.
const QUICK_NS: u64 = 20_000_000;

/// A body that was taken in, and the memory that it still holds.
pub(super) struct Taken {
    pub(super) body: NewBody,
    _memory: Option<Reservation>,
}

impl Taken {
    /// The bytes that go into the log.
    pub(super) fn inline(&self) -> Option<Bytes> {
        match &self.body.content {
            BodyContent::Inline(bytes) => Some(bytes.clone()),
            BodyContent::Stored(_) => None,
        }
    }
}

impl<D: Disk, C: Clock> Core<D, C> {
    /// Whether memory may be spent on speed.
    pub(super) fn has_plenty(&self) -> bool {
        let budget = self.pool.budget();
        budget.in_use() < budget.total() / 2
    }

    /// Pulls a body to its end and checks its promises. What goes to the disk is durable on return.
    pub(super) async fn take_body<S: Source>(
        &self,
        ctx: &Context,
        source: &mut S,
    ) -> Result<Taken, DriverError> {
        match source.size() {
            Some(size) if size <= self.shared.sizes.inline_max => {
                self.take_inline(ctx, source, size).await
            }
            // The future of a small body is to be moved without that of a large one.
            _ => Box::pin(self.take_large(ctx, source)).await,
        }
    }

    /// As [`Core::take_body`], of a body that is not known to go into the log.
    async fn take_large<S: Source>(
        &self,
        ctx: &Context,
        source: &mut S,
    ) -> Result<Taken, DriverError> {
        match source.size() {
            Some(size) if size <= self.shared.sizes.extent_max => {
                self.take_extent(ctx, source, size).await
            }
            Some(size) => {
                let buffer = self.pool.take_wait(ctx, BLOCK).await?;
                let sink = self.on_disk(ctx, self.data.own_file(Some(size))).await?;
                self.write(ctx, source, sink, Filled { buffer, length: 0, ended: false }).await
            }
            None => self.take_unsized(ctx, source).await,
        }
    }

    /// As [`Core::take_body`], for a part: it never goes into the log. The artifact that takes it over would keep the
    /// log segment from being recycled.
    pub(super) async fn take_part<S: Source>(
        &self,
        ctx: &Context,
        source: &mut S,
    ) -> Result<Taken, DriverError> {
        match source.size() {
            Some(_) => self.take_large(ctx, source).await,
            None => {
                let (filled, ended) = self.take_beginning(ctx, source).await?;
                let sink = if ended {
                    self.on_disk(ctx, self.data.extent(filled.length as u64)).await?
                } else {
                    self.on_disk(ctx, self.data.own_file(None)).await?
                };
                self.write(ctx, source, sink, filled).await
            }
        }
    }

    async fn take_extent<S: Source>(
        &self,
        ctx: &Context,
        source: &mut S,
        size: u64,
    ) -> Result<Taken, DriverError> {
        let buffer = self.pool.take_wait(ctx, in_memory(size).clamp(1, BLOCK)).await?;
        let sink = self.on_disk(ctx, self.data.extent(size)).await?;
        self.write(ctx, source, sink, Filled { buffer, length: 0, ended: false }).await
    }

    async fn take_inline<S: Source>(
        &self,
        ctx: &Context,
        source: &mut S,
        size: u64,
    ) -> Result<Taken, DriverError> {
        let budget = self.pool.budget();
        let memory = budget.reserve_until(size.max(1), ctx.deadline(), &self.clock).await?;
        let bytes = vec![0; in_memory(size)];
        self.check(ctx)?;
        let (filled, bytes) = source.fill(ctx, bytes, 0, &mut |_| ()).await;
        if filled? < bytes.len() {
            return Err(BodyError::Truncated.into());
        }
        self.expect_end(ctx, source).await?;
        let digests = source.finish(ctx).await?;
        Ok(inline(bytes.into(), digests, Some(memory)))
    }

    async fn expect_end<S: Source>(
        &self,
        ctx: &Context,
        source: &mut S,
    ) -> Result<(), DriverError> {
        self.check(ctx)?;
        match source.read(ctx, &mut [0]).await? {
            0 => Ok(()),
            // No source does that; the bytes would have no room.
            _ => Err(BodyError::Truncated.into()),
        }
    }

    async fn take_unsized<S: Source>(
        &self,
        ctx: &Context,
        source: &mut S,
    ) -> Result<Taken, DriverError> {
        let (filled, ended) = self.take_beginning(ctx, source).await?;
        let length = filled.length as u64;
        if ended && length <= self.shared.sizes.inline_max {
            let digests = source.finish(ctx).await?;
            let bytes = Bytes::copy_from_slice(&filled.buffer[..filled.length]);
            return Ok(inline(bytes, digests, None));
        }
        let sink =
            if ended { self.data.extent(length).await? } else { self.data.own_file(None).await? };
        self.write(ctx, source, sink, filled).await
    }

    /// Fills a first buffer, and says whether that is all.
    async fn take_beginning<S: Source>(
        &self,
        ctx: &Context,
        source: &mut S,
    ) -> Result<(Filled, bool), DriverError> {
        let mut buffer = self.pool.take_wait(ctx, BLOCK).await?;
        buffer.set_length(BLOCK);
        self.check(ctx)?;
        let (filled, buffer) = source.fill(ctx, buffer, 0, &mut |_| ()).await;
        let length = filled?;
        let ended = length < BLOCK;
        Ok((Filled { buffer, length, ended }, ended))
    }

    /// Writes a body to the disk as it arrives.
    async fn write<S: Source>(
        &self,
        ctx: &Context,
        source: &mut S,
        sink: Sink<D::File>,
        mut filled: Filled,
    ) -> Result<Taken, DriverError> {
        let declared = source.size();
        let mut writer = Writer {
            core: self,
            sink: &sink,
            in_flight: FuturesUnordered::new(),
            sums: BlockSums::new(sink.id()),
            offset: 0,
            failed: None,
            quick: false,
            table_is_written: false,
        };
        writer.sums.add(&filled.buffer[..filled.length]);
        loop {
            let Filled { buffer, length, ended } =
                writer.fill(ctx, source, declared, filled).await?;
            writer.push(buffer, length, ended)?;
            if ended {
                break;
            }
            let left = declared.map(|size| in_memory(size - writer.offset));
            let buffer = writer.next_buffer(ctx, left).await?;
            filled = Filled { buffer, length: 0, ended: false };
        }
        let digests = source.finish(ctx).await?;
        let size = writer.offset;
        writer.finish(ctx).await?;
        let lease = self.on_disk(ctx, self.data.sync(sink)).await?;
        let content = BodyContent::Stored(lease);
        Ok(Taken { body: NewBody { size, digests, content }, _memory: None })
    }
}

fn inline(bytes: Bytes, digests: Digests, memory: Option<Reservation>) -> Taken {
    let size = bytes.len() as u64;
    Taken { body: NewBody { size, digests, content: BodyContent::Inline(bytes) }, _memory: memory }
}

/// A buffer and how much of it came from the source.
struct Filled {
    buffer: PooledBuffer,
    length: usize,
    ended: bool,
}

type Write = LocalBoxFuture<'static, (io::Result<()>, PooledBuffer)>;

/// Writes an extent.
struct Writer<'w, D: Disk, C: Clock> {
    core: &'w Core<D, C>,
    sink: &'w Sink<D::File>,
    in_flight: FuturesUnordered<Write>,
    sums: BlockSums,
    /// Bytes handed to the disk.
    offset: u64,
    failed: Option<io::Error>,
    /// The source filled the last buffer quickly.
    quick: bool,
    /// The table went to the disk with the last piece.
    table_is_written: bool,
}

impl<D: Disk, C: Clock> Writer<'_, D, C> {
    /// Fills the buffer, or as much of it as there is, while the writes go on.
    async fn fill<S: Source>(
        &mut self,
        ctx: &Context,
        source: &mut S,
        declared: Option<u64>,
        filled: Filled,
    ) -> Result<Filled, DriverError> {
        let Filled { mut buffer, mut length, mut ended } = filled;
        let began = self.core.clock.now();
        let mut room = buffer.capacity();
        if let Some(size) = declared {
            room = room.min(in_memory(size - self.offset));
        }
        if !ended && length < room {
            buffer.set_length(room);
            self.core.check(ctx)?;
            let mut sums = std::mem::replace(&mut self.sums, BlockSums::new(self.sink.id()));
            let mut arrived = |bytes: &[u8]| sums.add(bytes);
            let filling = source.fill(ctx, buffer, length, &mut arrived);
            let (filled, back) = self.while_writing(filling).await;
            self.sums = sums;
            buffer = back;
            length += filled?;
            ended = length < room;
        }
        let end = self.offset + length as u64;
        if declared.is_some_and(|size| ended && end < size) {
            return Err(BodyError::Truncated.into());
        }
        if declared == Some(end) {
            self.core.expect_end(ctx, source).await?;
            ended = true;
        }
        self.quick = self.core.clock.now().since(began) <= QUICK_NS;
        self.outcome()?;
        Ok(Filled { buffer, length, ended })
    }

    /// Awaits something while finished writes return their memory.
    async fn while_writing<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|context| {
            while let Poll::Ready(Some(written)) = self.in_flight.poll_next_unpin(context) {
                self.failed = self.failed.take().or(written.0.err());
            }
            future.as_mut().poll(context)
        })
        .await
    }

    fn outcome(&mut self) -> Result<(), DriverError> {
        match self.failed.take() {
            None => Ok(()),
            Some(error) => {
                self.sink.failed();
                Err(error.into())
            }
        }
    }

    /// Hands the buffer's first `length` bytes to the disk. All but the last piece are whole blocks. The last takes the
    /// table with it if that fits.
    fn push(
        &mut self,
        mut buffer: PooledBuffer,
        length: usize,
        is_last: bool,
    ) -> Result<(), DriverError> {
        if length == 0 {
            return self.outcome();
        }
        buffer.set_length(length);
        buffer.pad();
        let offset = self.offset;
        self.offset += length as u64;
        let pages = in_memory(page_count(self.offset)) * PAGE;
        if is_last && buffer.len() + pages <= buffer.capacity() {
            buffer.extend_from_slice(&self.table());
            self.table_is_written = true;
        }
        self.write_at(buffer, offset);
        self.outcome()
    }

    fn table(&self) -> Vec<u8> {
        let mut table = Vec::new();
        encode_table(self.sink.id(), &self.sums.finish(), &mut table);
        table
    }

    fn write_at(&mut self, buffer: PooledBuffer, offset: u64) {
        let file = self.sink.file().clone();
        let offset = self.sink.base() + offset;
        self.in_flight.push(Box::pin(async move {
            let (memory, lease) = buffer.into_inner();
            let (written, memory) = file.write_at(memory, offset).await;
            (written, (memory, lease).into())
        }));
    }

    /// A buffer for what comes next: a large one only for a quick source and while memory is plenty.
    async fn next_buffer(
        &mut self,
        ctx: &Context,
        left: Option<usize>,
    ) -> Result<PooledBuffer, DriverError> {
        let plenty = self.core.has_plenty();
        let wanted = if self.quick && plenty {
            left.unwrap_or(PIECE_MAX).clamp(BLOCK, PIECE_MAX)
        } else {
            BLOCK
        };
        // The write that was just pushed begins only when it is polled.
        self.while_writing(std::future::ready(())).await;
        if self.in_flight.len() < WRITES_MAX
            && (plenty || self.in_flight.is_empty())
            && let Some(buffer) = self.core.pool.take(wanted).or_else(|| self.core.pool.take(BLOCK))
        {
            return Ok(buffer);
        }
        while let Some((written, mut buffer)) = self.core.on_disk(ctx, self.in_flight.next()).await
        {
            self.failed = self.failed.take().or(written.err());
            self.outcome()?;
            if buffer.capacity() < wanted
                && let Some(larger) = self.core.pool.take(wanted)
            {
                return Ok(larger);
            }
            if buffer.capacity() <= wanted {
                buffer.set_length(0);
                return Ok(buffer);
            }
            drop(buffer);
            if let Some(buffer) = self.core.pool.take(wanted) {
                return Ok(buffer);
            }
        }
        Ok(self.core.pool.take_wait(ctx, BLOCK).await?)
    }

    /// Writes the table and waits for all writes.
    async fn finish(mut self, ctx: &Context) -> Result<(), DriverError> {
        let table = if self.table_is_written { Vec::new() } else { self.table() };
        let mut offset = data_length(self.offset);
        for pages in table.chunks(BLOCK) {
            let mut buffer = match self.core.pool.take(pages.len()) {
                Some(buffer) => buffer,
                None => {
                    self.drain(ctx).await?;
                    self.core.pool.take_wait(ctx, pages.len()).await?
                }
            };
            buffer.extend_from_slice(pages);
            self.write_at(buffer, offset);
            offset += pages.len() as u64;
        }
        self.drain(ctx).await
    }

    async fn drain(&mut self, ctx: &Context) -> Result<(), DriverError> {
        while let Some((written, _)) = self.core.on_disk(ctx, self.in_flight.next()).await {
            self.failed = self.failed.take().or(written.err());
        }
        self.outcome()
    }
}
