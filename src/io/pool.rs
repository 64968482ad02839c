//! A core's reusable I/O buffers, paid for from the byte budget.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::budget::{Budget, Exhausted, Reservation, Shrink};
use super::buffer::{ALIGNMENT, AlignedBuffer};
use super::clock::SystemClock;
use crate::context::Context;

/// Largest buffer that is kept for reuse, in bytes. Larger ones are allocated and freed each time.
pub const POOLED_BYTES_MAX: usize = 1 << 20;
/// Most unused memory that one pool keeps while a quarter of the budget is in use, in bytes; below that it keeps all: new
/// memory costs as much time as a checksum of it. It stays reserved, and is given back when somebody else needs it.
pub const KEPT_BYTES_MAX: u64 = 16 << 20;

/// Halves of huge pages are made where so many of them fit into the budget.
const HALVES_OF_BUDGET: u64 = 64;

/// 4 KiB · 2^n up to [`POOLED_BYTES_MAX`].
const CLASSES: usize = (POOLED_BYTES_MAX / ALIGNMENT).trailing_zeros() as usize + 1;

/// One core's pool. Clones share it.
#[derive(Clone)]
pub struct BufferPool {
    shared: Rc<Shared>,
}

struct Shared {
    budget: Budget,
    kept: Arc<Kept>,
}

/// Unused buffers. Any core may return one, or take memory from here when the budget is short.
struct Kept(Mutex<FreeLists>);

#[derive(Default)]
struct FreeLists {
    classes: [Vec<(AlignedBuffer, Reservation)>; CLASSES],
    bytes: u64,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, FreeLists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, buffer: AlignedBuffer, reservation: Reservation) {
        let Some(class) = class_of_capacity(buffer.capacity()) else { return };
        let mut lists = self.lock();
        let bytes = reservation.bytes();
        if lists.bytes + bytes <= KEPT_BYTES_MAX || reservation.budget().is_little_used() {
            lists.bytes += bytes;
            lists.classes[class].push((buffer, reservation));
        }
    }

    fn get(&self, class: usize) -> Option<(AlignedBuffer, Reservation)> {
        let mut lists = self.lock();
        let found = lists.classes[class].pop()?;
        lists.bytes -= found.1.bytes();
        Some(found)
    }
}

impl Shrink for Kept {
    fn shrink(&self, bytes: u64) {
        let mut freed = Vec::new();
        let mut sum = 0;
        let mut lists = self.lock();
        for class in (0..CLASSES).rev() {
            while sum < bytes
                && let Some(buffer) = lists.classes[class].pop()
            {
                sum += buffer.1.bytes();
                freed.push(buffer);
            }
        }
        lists.bytes -= sum;
        // Freeing wakes others: not under the lock.
        drop(lists);
    }
}

/// The class whose buffers hold at least `capacity` bytes.
fn class_for(capacity: usize) -> Option<usize> {
    let capacity = capacity.max(ALIGNMENT).next_power_of_two();
    (capacity <= POOLED_BYTES_MAX).then(|| (capacity / ALIGNMENT).trailing_zeros() as usize)
}

fn class_of_capacity(capacity: usize) -> Option<usize> {
    class_for(capacity).filter(|class| ALIGNMENT << class == capacity)
}

impl BufferPool {
    /// An empty pool for this core.
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        let kept = Arc::new(Kept(Mutex::default()));
        let weak: Weak<Kept> = Arc::downgrade(&kept);
        budget.register_cache(weak);
        Self { shared: Rc::new(Shared { budget, kept }) }
    }

    /// The budget that pays.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    /// A buffer of length 0 for at least `capacity` bytes, or `None` if the budget has no room.
    /// Bytes that the taker has not written are what an earlier user left: never show them.
    #[must_use]
    pub fn take(&self, capacity: usize) -> Option<PooledBuffer> {
        if let Some(buffer) = self.take_kept(capacity) {
            return Some(buffer);
        }
        let capacity = rounded(capacity);
        let reservation = self.shared.budget.try_reserve(capacity as u64)?;
        Some(self.allocate(capacity, reservation))
    }

    /// As [`BufferPool::take`], but waits for its turn, at most [`PATIENCE`](super::budget::PATIENCE) or until the deadline.
    ///
    /// # Errors
    /// [`Exhausted`] if no memory became free in time.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub async fn take_wait(
        &self,
        ctx: &Context,
        capacity: usize,
    ) -> Result<PooledBuffer, Exhausted> {
        if let Some(buffer) = self.take_kept(capacity) {
            return Ok(buffer);
        }
        let capacity = rounded(capacity);
        let (budget, bytes) = (&self.shared.budget, capacity as u64);
        let reservation = budget.reserve_until(bytes, ctx.deadline(), &SystemClock).await?;
        Ok(self.allocate(capacity, reservation))
    }

    fn take_kept(&self, capacity: usize) -> Option<PooledBuffer> {
        let (mut buffer, reservation) = self.shared.kept.get(class_for(capacity)?)?;
        buffer.set_length(0);
        Some(PooledBuffer { buffer, lease: self.lease(reservation) })
    }

    fn allocate(&self, capacity: usize, reservation: Reservation) -> PooledBuffer {
        let buffer = self.half(capacity).unwrap_or_else(|| AlignedBuffer::with_capacity(capacity));
        PooledBuffer { buffer, lease: self.lease(reservation) }
    }

    /// One half of a huge page, if that is what is wanted and there is memory enough to keep the other.
    fn half(&self, capacity: usize) -> Option<AlignedBuffer> {
        let budget = &self.shared.budget;
        let is_small = budget.total() < HALVES_OF_BUDGET * AlignedBuffer::HALF as u64;
        if capacity != AlignedBuffer::HALF || is_small || !budget.is_little_used() {
            return None;
        }
        let reservation = budget.try_reserve(capacity as u64)?;
        let [one, other] = AlignedBuffer::halves();
        self.shared.kept.put(other, reservation);
        Some(one)
    }

    fn lease(&self, reservation: Reservation) -> Lease {
        Lease { reservation: Some(reservation), kept: Arc::downgrade(&self.shared.kept) }
    }
}

fn rounded(capacity: usize) -> usize {
    class_for(capacity).map_or_else(
        || capacity.checked_next_multiple_of(ALIGNMENT).unwrap_or(usize::MAX),
        |class| ALIGNMENT << class,
    )
}

/// A buffer from a pool. Dropping it, on any core, returns its memory to the pool or the budget.
pub struct PooledBuffer {
    buffer: AlignedBuffer,
    lease: Lease,
}

/// What a [`PooledBuffer`] leaves behind while a disk operation owns its memory: the reservation and
/// the way home. If the operation is abandoned, dropping this frees the reservation.
pub struct Lease {
    reservation: Option<Reservation>,
    kept: Weak<Kept>,
}

impl PooledBuffer {
    /// Takes the memory out, to lend it to a disk operation. [`PooledBuffer::from`] puts it back.
    #[must_use]
    pub fn into_inner(mut self) -> (AlignedBuffer, Lease) {
        let buffer = std::mem::replace(&mut self.buffer, AlignedBuffer::dangling());
        let lease = Lease {
            reservation: self.lease.reservation.take(),
            kept: std::mem::take(&mut self.lease.kept),
        };
        (buffer, lease)
    }
}

impl From<(AlignedBuffer, Lease)> for PooledBuffer {
    fn from((buffer, lease): (AlignedBuffer, Lease)) -> Self {
        Self { buffer, lease }
    }
}

impl Deref for PooledBuffer {
    type Target = AlignedBuffer;

    fn deref(&self) -> &AlignedBuffer {
        &self.buffer
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut AlignedBuffer {
        &mut self.buffer
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl AsMut<[u8]> for PooledBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let (Some(reservation), Some(kept)) =
            (self.lease.reservation.take(), self.lease.kept.upgrade())
        else {
            return;
        };
        if reservation.is_contended() {
            return;
        }
        let buffer = std::mem::replace(&mut self.buffer, AlignedBuffer::dangling());
        kept.put(buffer, reservation);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Clock;
    use super::*;
    use crate::model::TenantId;

    #[test]
    fn memory_is_reused_by_class() {
        let pool = BufferPool::new(Budget::new(1 << 20));
        let first = pool.take(5000).unwrap();
        assert_eq!(first.capacity(), 8192);
        let address = first.as_ref().as_ptr();
        drop(first);
        assert_eq!(pool.budget().in_use(), 8192, "kept memory stays reserved");
        let second = pool.take(8192).unwrap();
        assert_eq!(second.as_ref().as_ptr(), address);
        assert!(second.is_empty());
        assert_eq!(pool.budget().in_use(), 8192);
    }

    #[test]
    fn while_little_is_used_all_is_kept_and_huge_pages_are_shared() {
        const MIB: u64 = 1 << 20;
        let pool = BufferPool::new(Budget::new(96 * MIB));
        let first = pool.take(1 << 20).unwrap();
        assert_eq!(pool.budget().in_use(), 2 * MIB, "the other half is kept");
        let second = pool.take(1 << 20).unwrap();
        assert_eq!(pool.budget().in_use(), 2 * MIB);
        let apart = first.as_ptr().addr().abs_diff(second.as_ptr().addr());
        assert_eq!(apart, AlignedBuffer::HALF);
        drop((first, second));
        let many: Vec<_> = (0..40).map(|_| pool.take(1 << 20).unwrap()).collect();
        assert_eq!(pool.budget().in_use(), 40 * MIB, "halves only of a quarter of the budget");
        drop(many);
        assert_eq!(pool.budget().in_use(), 24 * MIB, "a quarter");
    }

    #[test]
    fn kept_memory_gives_way() {
        let pool = BufferPool::new(Budget::new(64 << 10));
        drop(pool.take(64 << 10).unwrap());
        let small = pool.take(4096).unwrap();
        assert_eq!(pool.budget().in_use(), 4096);
        assert!(pool.take(64 << 10).is_none());
        drop(small);
        assert!(pool.take(64 << 10).is_some());
    }

    #[test]
    fn lent_memory_stays_reserved_and_comes_home() {
        let pool = BufferPool::new(Budget::new(1 << 20));
        let (memory, lease) = pool.take(4096).unwrap().into_inner();
        assert_eq!(pool.budget().in_use(), 4096);
        drop(PooledBuffer::from((memory, lease)));
        let (memory, lease) = pool.take(4096).unwrap().into_inner();
        drop(lease);
        assert_eq!(pool.budget().in_use(), 0);
        drop(memory);
        drop(pool.take((2 << 20) + 1));
        assert_eq!(pool.budget().in_use(), 0);
    }

    #[test]
    fn waiting_ends_with_the_deadline() {
        let pool = BufferPool::new(Budget::new(8192));
        let _held = pool.take(8192).unwrap();
        let outcome = crate::io::testing::run(async {
            let ctx = Context::new(
                TenantId::DEFAULT,
                crate::context::RequestId(1),
                SystemClock.now().after(Duration::from_millis(1)),
                crate::context::Cancellation::default(),
            );
            pool.take_wait(&ctx, 4096).await.map(|_| ())
        });
        assert_eq!(outcome, Err(Exhausted));
    }
}
