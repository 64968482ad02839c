//! SHA-256: one at a time with AWS-LC, whose safe wrapper keeps its state to itself; and several that are independent of
//! each other at once ([`update_all`](crate::stdx::sha256::update_all)): two by two with the processor's instructions for
//! SHA-256, for which a core needs little more time than for one, and up to sixteen side by side where there are none.
#![expect(unsafe_code, reason = "calls the SHA-256 functions of aws-lc-sys, a C library")]

mod hmac;
#[cfg_attr(not(target_arch = "x86_64"), path = "no_kernel.rs")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod wide;

pub use hmac::{Hmac, HmacKey};

use std::mem::MaybeUninit;
use std::sync::LazyLock;

use smallvec::SmallVec;

use kernel::{BLOCK, Kernel, State};
#[cfg(not(target_arch = "x86_64"))]
use kernel::{LANES, Wide};
#[cfg(target_arch = "x86_64")]
use wide::{LANES, Wide};

/// A running SHA-256.
#[derive(Clone)]
pub struct Sha256(aws_lc_sys::SHA256_CTX);

impl Default for Sha256 {
    fn default() -> Self {
        let mut state = MaybeUninit::uninit();
        // SAFETY: SHA256_Init fills all of the state that it is given.
        unsafe { aws_lc_sys::SHA256_Init(state.as_mut_ptr()) };
        // SAFETY: filled just above.
        Self(unsafe { state.assume_init() })
    }
}

impl Sha256 {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        // SAFETY: the state was initialised and the pointer and length are of one slice.
        unsafe { aws_lc_sys::SHA256_Update(&raw mut self.0, bytes.as_ptr().cast(), bytes.len()) };
    }

    /// The digest of all bytes added.
    #[must_use]
    pub fn finish(mut self) -> [u8; 32] {
        let mut digest = [0; 32];
        // SAFETY: the digest has the 32 bytes that are written.
        unsafe { aws_lc_sys::SHA256_Final(digest.as_mut_ptr(), &raw mut self.0) };
        digest
    }

    /// How many of the next bytes fill up the block that was begun; 0 if none was.
    fn begun(&self) -> usize {
        (BLOCK - self.0.num as usize) % BLOCK
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
}

/// The SHA-256 of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut sha256 = Sha256::default();
    sha256.update(bytes);
    sha256.finish()
}

/// What takes several at once here.
#[derive(Clone, Copy, Debug)]
enum Kernels {
    Two(Kernel),
    Many(Wide),
    None,
}

static KERNELS: LazyLock<Kernels> = LazyLock::new(|| {
    let two = Kernel::new().map(Kernels::Two);
    let many = || Wide::new().map(Kernels::Many);
    two.or_else(many).filter(|kernels| kernels.compute_right()).unwrap_or(Kernels::None)
});

/// How many streams of 64 KiB [`update_all`] takes in about as much time, a tenth of a millisecond or a few.
#[must_use]
pub fn streams_in_a_turn() -> usize {
    match *KERNELS {
        Kernels::Many(_) => LANES,
        Kernels::Two(_) | Kernels::None => 4,
    }
}

/// Adds to each of these its bytes.
pub fn update_all(streams: &mut [(Sha256, &[u8])]) {
    KERNELS.update_all(streams);
}

impl Kernels {
    fn update_all(self, streams: &mut [(Sha256, &[u8])]) {
        match self {
            Self::Two(kernel) if streams.len() > 1 => two_by_two(kernel, streams),
            Self::Many(kernel) if streams.len() > 1 => side_by_side(kernel, streams),
            _ => streams.iter_mut().for_each(|(sha256, bytes)| sha256.update(bytes)),
        }
    }

    /// Whether they agree with AWS-LC here, on every lane.
    fn compute_right(&self) -> bool {
        let inputs: Vec<u8> = (0u8..=255).cycle().take(LANES * 2 * BLOCK + LANES).collect();
        // None begins with the same byte as another.
        let all = || inputs.windows(2 * BLOCK).step_by(2 * BLOCK + 1);
        let mut streams: Vec<_> = all().map(|input| (Sha256::default(), input)).collect();
        self.update_all(&mut streams);
        let right = streams.into_iter().zip(all()).all(|((sha256, _), input)| {
            let mut expected = Sha256::default();
            expected.update(input);
            sha256.finish() == expected.finish()
        });
        if !right {
            tracing::error!(kernels = ?self, "this processor computes a wrong SHA-256: not used");
        }
        right
    }
}

/// Has up to [`LANES`] under way for as long as there are two.
fn side_by_side(kernel: Wide, streams: &mut [(Sha256, &[u8])]) {
    for (sha256, bytes) in &mut *streams {
        let begun = sha256.begun().min(bytes.len());
        take(sha256, bytes, begun);
    }
    loop {
        let long = streams.iter_mut().filter(|(_, bytes)| bytes.len() >= BLOCK);
        let mut group: SmallVec<[_; LANES]> = long.take(LANES).collect();
        let blocks = group.iter().map(|(_, bytes)| bytes.len() / BLOCK).min();
        let Some(blocks) = blocks.filter(|_| group.len() > 1) else { break };
        let count = blocks * BLOCK;
        let inputs: SmallVec<[_; LANES]> = group.iter().map(|(_, bytes)| &bytes[..count]).collect();
        let mut states: SmallVec<[_; LANES]> = group.iter().map(|(sha256, _)| sha256.0.h).collect();
        kernel.run(&mut states, &inputs);
        for ((sha256, bytes), state) in group.iter_mut().zip(states) {
            sha256.advance(state, count);
            *bytes = &bytes[count..];
        }
    }
    for (sha256, bytes) in streams {
        take(sha256, bytes, bytes.len());
    }
}

/// Has two under way for as long as there are two: whichever has no whole block left makes room for the next.
fn two_by_two(kernel: Kernel, streams: &mut [(Sha256, &[u8])]) {
    let mut waiting = streams.iter_mut();
    let mut next = || {
        waiting.find_map(|(sha256, bytes)| {
            let begun = sha256.begun().min(bytes.len());
            take(sha256, bytes, begun);
            if bytes.len() < BLOCK {
                take(sha256, bytes, bytes.len());
                return None;
            }
            Some((sha256, bytes))
        })
    };
    let (mut first, mut second) = (next(), next());
    while let (Some((one, one_bytes)), Some((other, other_bytes))) = (&mut first, &mut second) {
        let count = one_bytes.len().min(other_bytes.len()) / BLOCK * BLOCK;
        let mut states = [one.0.h, other.0.h];
        kernel.run(&mut states, [&one_bytes[..count], &other_bytes[..count]]);
        let [state, other_state] = states;
        for (sha256, bytes, state) in [(one, one_bytes, state), (other, other_bytes, other_state)] {
            sha256.advance(state, count);
            **bytes = &bytes[count..];
            if bytes.len() < BLOCK {
                take(sha256, bytes, bytes.len());
            }
        }
        for lane in [&mut first, &mut second] {
            if lane.as_ref().is_some_and(|(_, bytes)| bytes.is_empty()) {
                *lane = next();
            }
        }
    }
    if let Some((sha256, bytes)) = first.or(second) {
        sha256.update(bytes);
    }
}

/// Adds the first bytes of these.
fn take(sha256: &mut Sha256, bytes: &mut &[u8], count: usize) {
    sha256.update(&bytes[..count]);
    *bytes = &bytes[count..];
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stdx::hex;

    #[test]
    fn matches_fips_180() {
        let mut sha256 = Sha256::default();
        sha256.update(b"abc");
        assert_eq!(
            hex::encode_32(&sha256.finish()),
            *b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn every_kernel_of_this_processor_computes_right() {
        let (two, many) = (Kernel::new().map(Kernels::Two), Wide::new().map(Kernels::Many));
        for kernels in [two, many].into_iter().flatten() {
            assert!(kernels.compute_right(), "{kernels:?}");
        }
    }

    proptest! {
        /// However many there are, however long, and wherever they were cut.
        #[test]
        fn all_at_once_are_as_one_by_one(
            lengths in prop::collection::vec((0_usize..70, 0_usize..400), 0..20),
            seed: u8,
        ) {
            let text = |number: u8, length: usize| -> Vec<u8> {
                (number..=250).cycle().map(|byte| byte.wrapping_mul(7) ^ seed).take(length).collect()
            };
            let begun = (100..).zip(&lengths).map(|(number, &(begun, _))| {
                let mut sha256 = Sha256::default();
                sha256.update(&text(number, begun));
                sha256
            });
            let begun: Vec<_> = begun.collect();
            let texts: Vec<_> = (0..).zip(&lengths).map(|(number, &(_, rest))| text(number, rest)).collect();
            let two = Kernel::new().map(Kernels::Two);
            let many = Wide::new().map(Kernels::Many);
            for kernels in [two, many, Some(Kernels::None)].into_iter().flatten() {
                let mut streams: Vec<_> =
                    begun.iter().cloned().zip(texts.iter().map(|text| &text[..])).collect();
                kernels.update_all(&mut streams);
                for (((sha256, _), expected), text) in streams.into_iter().zip(&begun).zip(&texts) {
                    let mut expected = expected.clone();
                    expected.update(text);
                    prop_assert_eq!(sha256.finish(), expected.finish(), "{:?}", kernels);
                }
            }
        }
    }
}
