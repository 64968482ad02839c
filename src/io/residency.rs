//! What of a file is in the page cache.
#![expect(
    unsafe_code,
    reason = "cachestat(2) has no safe wrapper; a mapping of a file is memory that may go"
)]

use std::os::fd::{AsFd, AsRawFd};

/// The number of cachestat(2), the same on all architectures (Linux 6.5 and later).
const SYS_CACHESTAT: libc::c_long = 451;

/// Bytes of a page, at least: pages that are larger count as more resident, never as less.
const PAGE: u64 = 4096;

#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
}

#[repr(C)]
#[derive(Default)]
struct Statistics {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether all of a range, which begins on a page, is in the page cache now. It may be gone a moment later. `false`
/// where the kernel cannot tell.
#[must_use]
pub fn is_resident(file: &impl AsFd, offset: u64, length: u64) -> bool {
    let range = Range { offset, length };
    let mut statistics = Statistics::default();
    let descriptor = file.as_fd().as_raw_fd();
    // SAFETY: both structures are as the kernel defines them and outlive the call; the descriptor is open.
    let result = unsafe {
        libc::syscall(SYS_CACHESTAT, descriptor, &raw const range, &raw mut statistics, 0_u32)
    };
    result == 0 && length > 0 && statistics.cached >= length.div_ceil(PAGE)
}

/// Bytes of the largest pieces (folios) in which [`bring_in`] has the kernel keep a file.
pub const FOLIO: u64 = 2 << 20;

/// Brings a range of a file into the page cache, in folios of [`FOLIO`] bytes where the file system has such, and
/// waits until it is there. To send from those costs less than from the pages that a read leaves, which are 4 to
/// 128 KiB long at the beginning of a file. The range begins on a folio. It is a matter of speed only: what cannot be
/// brought in stays away, without an error.
///
/// The way to folios of this size leads through a mapping (`madvise(2)`: `MADV_HUGEPAGE`, `MADV_POPULATE_READ` of
/// Linux 5.14).
pub fn bring_in(file: &impl AsFd, offset: u64, length: usize) {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
    let nowhere = std::ptr::null_mut();
    // SAFETY: a new mapping, at an address that the kernel chooses; nobody reads through it.
    let mapped = unsafe { mmap(nowhere, length, ProtFlags::READ, MapFlags::SHARED, file, offset) };
    let Ok(start) = mapped else { return };
    for advice in [Advice::LinuxHugepage, Advice::LinuxPopulateRead] {
        // SAFETY: the range is the mapping, and neither piece of advice changes what is in it. The second fails where
        // the file cannot be read or is shorter.
        let _ = unsafe { madvise(start, length, advice) };
    }
    // SAFETY: the range is the mapping, to which there is no reference.
    let _ = unsafe { munmap(start, length) };
}

/// Lets reads of an open file bring in what they ask for and nothing around it.
pub fn read_no_more_than_asked(file: &impl AsFd) {
    // Advice that is not taken leaves all as it was; the kernel takes this one for every regular file.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_what_was_read_or_written_is_resident() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![7; 64 << 10]).unwrap();
        file.as_file().sync_all().unwrap();
        assert!(is_resident(&file.as_file(), 0, 64 << 10));
        assert!(!is_resident(&file.as_file(), 0, 128 << 10), "past the end");
        rustix::fs::fadvise(file.as_file(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
        read_no_more_than_asked(&file.as_file());
        let mut buffer = vec![0; 4096];
        rustix::io::pread(file.as_file(), &mut buffer, 8192).unwrap();
        assert!(is_resident(&file.as_file(), 8192, 4096));
        assert!(!is_resident(&file.as_file(), 8192, 8192), "nothing was read ahead");
    }

    #[test]
    fn a_range_is_brought_in_and_what_cannot_be_is_left() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let folio = usize::try_from(FOLIO).unwrap();
        file.write_all(&vec![7; 2 * folio + 8192]).unwrap();
        file.as_file().sync_all().unwrap();
        let forget = || {
            rustix::fs::fadvise(file.as_file(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
        };
        forget();
        bring_in(&file.as_file(), FOLIO, folio);
        assert!(is_resident(&file.as_file(), FOLIO, FOLIO));
        forget();
        bring_in(&file.as_file(), 2 * FOLIO, 8192);
        assert!(is_resident(&file.as_file(), 2 * FOLIO, 8192), "the end of the file");
        bring_in(&file.as_file(), 4 * FOLIO, folio);
        assert!(!is_resident(&file.as_file(), 4 * FOLIO, FOLIO), "there is nothing");
    }
}
