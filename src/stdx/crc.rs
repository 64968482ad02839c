//! CRCs with instructions that crc-fast leaves alone: a processor with the wide carry-less multiplication but without
//! AVX-512 is twice as fast at CRC-64 with it, and faster at CRC-32C. All else is left to crc-fast.
//!
//! Source: Gopal and others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009).
#![expect(unsafe_code, reason = "loads through pointers, with vector instructions")]

use std::sync::OnceLock;

use crc_fast::{CrcAlgorithm, Digest};

/// Bytes that are folded at once.
const STRIDE: usize = 128;

/// Fewer bytes than this are left to crc-fast.
const BYTES_MIN: usize = 8 * STRIDE;

/// The state of a CRC, without the final inversion, after more bytes. A state is what
/// [`Digest::get_state`] gives.
#[must_use]
pub fn update(algorithm: CrcAlgorithm, state: u64, bytes: &[u8]) -> u64 {
    let (state, rest) = match Fold::of(algorithm) {
        Some(fold) if bytes.len() >= BYTES_MIN && is_wide() => fold.update(algorithm, state, bytes),
        _ => (state, bytes),
    };
    step(algorithm, state, rest)
}

/// With crc-fast.
fn step(algorithm: CrcAlgorithm, state: u64, bytes: &[u8]) -> u64 {
    let mut digest = Digest::new_with_init_state(algorithm, state);
    digest.update(bytes);
    digest.get_state()
}

/// What 16 bytes are multiplied by to be brought [`STRIDE`] bytes further: the earlier half of them, and the later.
struct Fold {
    early: u64,
    late: u64,
}

impl Fold {
    const CRC64_NVME: Self = Self::new(0xad93_d235_94c9_3659, 64);
    const CRC32C: Self = Self::new(0x1edc_6f41, 32);

    const fn new(polynomial: u64, width: usize) -> Self {
        let distance = 8 * STRIDE;
        // A product of reflected factors is one place short.
        Self {
            early: power(polynomial, width, distance + 64 - 1),
            late: power(polynomial, width, distance - 1),
        }
    }

    fn of(algorithm: CrcAlgorithm) -> Option<&'static Self> {
        match algorithm {
            CrcAlgorithm::Crc64Nvme => Some(&Self::CRC64_NVME),
            CrcAlgorithm::Crc32Iscsi => Some(&Self::CRC32C),
            _ => None,
        }
    }

    /// Folds whole strides into one, whose CRC is that of all; returns the state after it, and the bytes after them.
    fn update<'b>(&self, algorithm: CrcAlgorithm, state: u64, bytes: &'b [u8]) -> (u64, &'b [u8]) {
        let (strides, rest) = bytes.as_chunks::<STRIDE>();
        // SAFETY: `is_wide` has found the instructions.
        let folded = unsafe { kernel::fold(self, state, strides) };
        (step(algorithm, 0, &folded), rest)
    }
}

/// `x^exponent` modulo a polynomial of this width, with the first bit last.
const fn power(polynomial: u64, width: usize, exponent: usize) -> u64 {
    let (mut value, mut done) = (1_u64, 0);
    while done < exponent {
        let carry = (value >> (width - 1)) & 1;
        value <<= 1;
        if carry == 1 {
            value ^= polynomial;
        }
        if width < 64 {
            value &= (1 << width) - 1;
        }
        done += 1;
    }
    value.reverse_bits()
}

/// Whether this is the best that the processor can do, and it does it right.
fn is_wide() -> bool {
    static IS_WIDE: OnceLock<bool> = OnceLock::new();
    *IS_WIDE.get_or_init(|| kernel::is_best() && computes_right())
}

/// Whether it agrees with crc-fast here.
fn computes_right() -> bool {
    let bytes: Vec<u8> = (0..4 * STRIDE).map(|at| ((at * at) >> 3).to_le_bytes()[0]).collect();
    let right = [CrcAlgorithm::Crc64Nvme, CrcAlgorithm::Crc32Iscsi].into_iter().all(|algorithm| {
        let state = Digest::new(algorithm).get_state();
        let given = Fold::of(algorithm).map(|fold| fold.update(algorithm, state, &bytes).0);
        given == Some(step(algorithm, state, &bytes))
    });
    if !right {
        tracing::error!("this processor's wide multiplication computes a wrong CRC: not used");
    }
    right
}

#[cfg(target_arch = "x86_64")]
mod kernel {
    use std::arch::x86_64::{
        __m256i, _mm256_clmulepi64_epi128, _mm256_loadu_si256, _mm256_set_epi64x,
        _mm256_storeu_si256, _mm256_xor_si256,
    };

    use super::{Fold, STRIDE};

    const REGISTERS: usize = STRIDE / 32;

    pub(super) fn is_best() -> bool {
        std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("vpclmulqdq")
            && !std::is_x86_feature_detected!("avx512vl")
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(stride: &[u8; STRIDE]) -> [__m256i; REGISTERS] {
        std::array::from_fn(|at| {
            let piece = &stride[32 * at..32 * at + 32];
            // SAFETY: 32 bytes lie there.
            unsafe { _mm256_loadu_si256(piece.as_ptr().cast()) }
        })
    }

    /// Folds all strides into one; there is one at least.
    ///
    /// # Safety
    /// The processor has the instructions.
    #[target_feature(enable = "avx2,vpclmulqdq")]
    pub(super) unsafe fn fold(fold: &Fold, state: u64, strides: &[[u8; STRIDE]]) -> [u8; STRIDE] {
        let (early, late) = (fold.early.cast_signed(), fold.late.cast_signed());
        let factors = _mm256_set_epi64x(late, early, late, early);
        let mut sums = load(&strides[0]);
        sums[0] = _mm256_xor_si256(sums[0], _mm256_set_epi64x(0, 0, 0, state.cast_signed()));
        for stride in &strides[1..] {
            for (sum, next) in sums.iter_mut().zip(load(stride)) {
                let early = _mm256_clmulepi64_epi128::<0x00>(*sum, factors);
                let late = _mm256_clmulepi64_epi128::<0x11>(*sum, factors);
                *sum = _mm256_xor_si256(_mm256_xor_si256(early, late), next);
            }
        }
        let mut folded = [0; STRIDE];
        for (piece, sum) in folded.chunks_exact_mut(32).zip(sums) {
            // SAFETY: 32 bytes lie there.
            unsafe { _mm256_storeu_si256(piece.as_mut_ptr().cast(), sum) };
        }
        folded
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod kernel {
    use super::{Fold, STRIDE};

    pub(super) fn is_best() -> bool {
        false
    }

    pub(super) unsafe fn fold(_: &Fold, _: u64, _: &[[u8; STRIDE]]) -> [u8; STRIDE] {
        unreachable!("it is never the best")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_crc_fast() {
        let bytes: Vec<u8> =
            (0..70_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        for algorithm in
            [CrcAlgorithm::Crc64Nvme, CrcAlgorithm::Crc32Iscsi, CrcAlgorithm::Crc32IsoHdlc]
        {
            for (first, last) in
                [(0, 0), (0, 1023), (0, 1024), (1, 1026), (3, 4242), (64, 65_600), (0, 70_000)]
            {
                let start = step(algorithm, Digest::new(algorithm).get_state(), &bytes[..first]);
                let given = update(algorithm, start, &bytes[first..last]);
                assert_eq!(given, step(algorithm, start, &bytes[first..last]), "{first}..{last}");
            }
        }
    }

    #[test]
    fn what_this_processor_can_do_it_does_right() {
        assert!(!kernel::is_best() || is_wide());
    }
}
