//! What of a file is in the page cache.
#![expect(unsafe_code, reason = "cachestat(2) has no safe wrapper")]

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
}
