//! MD5: one at a time with AWS-LC, which is faster than the portable crates and has no safe wrapper; and all that run
//! at once on one core together, which is several times faster still ([`update_together`](crate::stdx::md5::update_together)).
#![expect(unsafe_code, reason = "calls the MD5 functions of aws-lc-sys, a C library")]

#[cfg_attr(not(target_arch = "x86_64"), path = "no_kernel.rs")]
mod kernel;
mod lanes;

pub use lanes::update_together;

use std::mem::MaybeUninit;

use kernel::{BLOCK, State};

/// A running MD5.
#[derive(Clone)]
pub struct Md5(aws_lc_sys::MD5_CTX);

impl Default for Md5 {
    fn default() -> Self {
        let mut state = MaybeUninit::uninit();
        // SAFETY: MD5_Init fills all of the state that it is given.
        unsafe { aws_lc_sys::MD5_Init(state.as_mut_ptr()) };
        // SAFETY: filled just above.
        Self(unsafe { state.assume_init() })
    }
}

impl Md5 {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        // SAFETY: the state was initialised and the pointer and length are of one slice.
        unsafe { aws_lc_sys::MD5_Update(&raw mut self.0, bytes.as_ptr().cast(), bytes.len()) };
    }

    /// How many of the next bytes fill up the block that was begun; 0 if none was.
    fn begun(&self) -> usize {
        (BLOCK - self.0.num as usize) % BLOCK
    }

    /// What the whole blocks so far came to.
    fn state(&self) -> State {
        self.0.h
    }

    /// Replaces the state by that after so many more bytes, whole blocks. No block may have been begun.
    fn advance(&mut self, state: State, bytes: usize) {
        debug_assert!(self.0.num == 0 && bytes.is_multiple_of(BLOCK), "whole blocks");
        self.0.h = state;
        let bits =
            (u64::from(self.0.Nh) << 32 | u64::from(self.0.Nl)).wrapping_add(bytes as u64 * 8);
        let [a, b, c, d, e, f, g, h] = bits.to_le_bytes();
        self.0.Nl = u32::from_le_bytes([a, b, c, d]);
        self.0.Nh = u32::from_le_bytes([e, f, g, h]);
    }

    /// The digest of all bytes added.
    #[must_use]
    pub fn finish(mut self) -> [u8; 16] {
        let mut digest = [0; 16];
        // SAFETY: the digest has the 16 bytes that are written.
        unsafe { aws_lc_sys::MD5_Final(digest.as_mut_ptr(), &raw mut self.0) };
        digest
    }
}

/// The MD5 of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 16] {
    let mut md5 = Md5::default();
    md5.update(bytes);
    md5.finish()
}

#[cfg(test)]
mod tests {
    #[test]
    fn matches_rfc_1321() {
        let text = crate::model::ETag { hash: super::digest(b"message digest"), parts: 0 };
        assert_eq!(text.to_string(), "f96b697d7cb7938d525a2f31aaf161d0");
    }
}
