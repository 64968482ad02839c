//! Buffers that O_DIRECT accepts, and the pool that keeps them.
#![expect(unsafe_code, reason = "allocates aligned memory and lends it to the kernel")]

pub use super::pool::{BufferPool, Lease, PooledBuffer};

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// Alignment of memory, offsets and lengths for direct I/O, in bytes. Larger than most disks ask for.
pub const ALIGNMENT: usize = 4096;

/// Owned memory, aligned to [`ALIGNMENT`], whose capacity is a multiple of it. Derefs to its first
/// `len` bytes.
pub struct AlignedBuffer {
    start: NonNull<u8>,
    length: usize,
    capacity: usize,
    /// What it is a part of; if of nothing, it was allocated by itself.
    whole: Option<Arc<HugePage>>,
}

/// Memory of the size of a huge page, which all of its parts keep.
struct HugePage(NonNull<u8>);

/// Bytes of a huge page. Where they are larger, this memory is like any other.
const HUGE_PAGE: usize = 2 << 20;

impl HugePage {
    const LAYOUT: Layout = match Layout::from_size_align(HUGE_PAGE, HUGE_PAGE) {
        Ok(layout) => layout,
        Err(_) => panic!("a power of two"),
    };

    fn new() -> Self {
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc(Self::LAYOUT) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(Self::LAYOUT) };
        // SAFETY: the range was just allocated, and the advice changes nothing that could be seen in it. Where it is not
        // taken, all is as before.
        unsafe { libc::madvise(start.as_ptr().cast(), HUGE_PAGE, libc::MADV_HUGEPAGE) };
        // SAFETY: the range was just allocated.
        unsafe { start.as_ptr().write_bytes(0, HUGE_PAGE) };
        Self(start)
    }
}

impl Drop for HugePage {
    fn drop(&mut self) {
        // SAFETY: allocated with this very layout; its parts are gone.
        unsafe { dealloc(self.0.as_ptr(), Self::LAYOUT) };
    }
}

// SAFETY: it owns its memory, like a Vec; nobody but its parts, which do not overlap, reads or writes there.
unsafe impl Send for HugePage {}
// SAFETY: as above.
unsafe impl Sync for HugePage {}

impl AlignedBuffer {
    /// Zeroed memory for at least `capacity` bytes, with length 0.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = capacity.max(1).next_multiple_of(ALIGNMENT);
        let layout = Self::layout(capacity);
        // SAFETY: the layout has a size of at least ALIGNMENT.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, length: 0, capacity, whole: None }
    }

    /// Bytes of each of the [`AlignedBuffer::halves`].
    pub const HALF: usize = HUGE_PAGE / 2;

    /// Two buffers of zeroed memory, each half of a huge page if the system has one to give. Such memory is one piece
    /// to a disk and not one for each page, of which few disks take many at a time.
    #[must_use]
    pub fn halves() -> [Self; 2] {
        let whole = Arc::new(HugePage::new());
        [0, Self::HALF].map(|offset| {
            // SAFETY: within the allocation.
            let start = unsafe { whole.0.add(offset) };
            Self { start, length: 0, capacity: Self::HALF, whole: Some(Arc::clone(&whole)) }
        })
    }

    /// No memory at all, to leave behind where a buffer was taken out.
    pub(crate) fn dangling() -> Self {
        Self { start: NonNull::dangling(), length: 0, capacity: 0, whole: None }
    }

    fn layout(capacity: usize) -> Layout {
        match Layout::from_size_align(capacity, ALIGNMENT) {
            Ok(layout) => layout,
            Err(_) => panic!("a buffer of {capacity} bytes does not fit the address space"),
        }
    }

    /// Bytes it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Sets the length. Bytes that were never written are zero or what an earlier user left.
    ///
    /// # Panics
    /// If `length` exceeds the capacity.
    pub fn set_length(&mut self, length: usize) {
        assert!(length <= self.capacity, "length within capacity");
        self.length = length;
    }

    /// Appends bytes.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let start = self.length;
        self.set_length(start + bytes.len());
        self[start..].copy_from_slice(bytes);
    }

    /// Lengthens with zeros to the next multiple of [`ALIGNMENT`].
    pub fn pad(&mut self) {
        let end = self.length;
        self.set_length(end.next_multiple_of(ALIGNMENT));
        self[end..].fill(0);
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the first `length` bytes are allocated and initialised (zeroed at first).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for deref, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if self.capacity == 0 {
            return;
        }
        if let Some(whole) = self.whole.take() {
            if Arc::strong_count(&whole) > 1 {
                // SAFETY: nobody else uses this part, and nobody will: what lies there may be lost.
                unsafe {
                    libc::madvise(self.start.as_ptr().cast(), self.capacity, libc::MADV_DONTNEED)
                };
            }
            return;
        }
        // SAFETY: allocated with this very layout.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.capacity)) };
    }
}

// SAFETY: it owns its memory, like a Vec.
unsafe impl Send for AlignedBuffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for AlignedBuffer {}

// SAFETY: the memory does not move while the buffer lives, and the first `length` bytes are initialised.
unsafe impl monoio::buf::IoBuf for AlignedBuffer {
    fn read_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.length
    }
}

// SAFETY: as above; a read may fill up to the length, which the caller set.
unsafe impl monoio::buf::IoBufMut for AlignedBuffer {
    fn write_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.length
    }

    unsafe fn set_init(&mut self, _length: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_is_aligned_and_padding_is_zero() {
        let mut buffer = AlignedBuffer::with_capacity(1);
        assert_eq!((buffer.capacity(), buffer.len()), (ALIGNMENT, 0));
        assert_eq!(buffer.as_ptr().align_offset(ALIGNMENT), 0);
        buffer.set_length(ALIGNMENT);
        buffer.fill(7);
        buffer.set_length(3);
        buffer.pad();
        assert_eq!(buffer.len(), ALIGNMENT);
        assert_eq!(buffer[..4], [7, 7, 7, 0]);
        assert!(buffer[3..].iter().all(|&byte| byte == 0));
        drop(AlignedBuffer::dangling());
    }

    #[test]
    fn halves_outlive_each_other() {
        let [mut first, mut second] = AlignedBuffer::halves();
        for half in [&mut first, &mut second] {
            half.set_length(AlignedBuffer::HALF);
            assert!(half.iter().all(|&byte| byte == 0));
        }
        first.fill(1);
        second.fill(2);
        drop(first);
        assert!(second.iter().all(|&byte| byte == 2));
        second.fill(3);
        assert!(second.iter().all(|&byte| byte == 3));
    }
}
