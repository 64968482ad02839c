//! The rounds of SHA-256 for 16 streams at once, each in a lane of the vector registers to itself: for processors that
//! have AVX-512 and no instructions for SHA-256, as many servers have.
//!
//! Source: FIPS 180-4.
#![expect(unsafe_code, reason = "loads and stores through pointers, with vector instructions")]

use std::arch::x86_64::{
    __m512i, _mm_set_epi64x, _mm512_add_epi32, _mm512_broadcast_i32x4, _mm512_loadu_si512,
    _mm512_ror_epi32, _mm512_set1_epi32, _mm512_shuffle_epi8, _mm512_srli_epi32,
    _mm512_storeu_si512, _mm512_ternarylogic_epi32,
};

use super::kernel::{BLOCK, ROOTS, State};
pub(super) use crate::stdx::avx512::LANES;
use crate::stdx::avx512::words_of;

type V = __m512i;

/// That the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide(());

impl Wide {
    /// `None` if it has not.
    pub(super) fn new() -> Option<Self> {
        let has_all =
            std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512bw");
        has_all.then_some(Self(()))
    }

    /// Takes each state over its input. All inputs have the same length, whole blocks; there are at most [`LANES`] of
    /// them, and as many states.
    ///
    /// # Panics
    /// If not.
    pub(super) fn run(self, states: &mut [State], inputs: &[&[u8]]) {
        let count = states.len();
        assert!(count == inputs.len() && 0 < count && count <= LANES, "a lane for each stream");
        let length = inputs[0].len();
        let equal = inputs.iter().all(|input| input.len() == length);
        assert!(equal && length.is_multiple_of(BLOCK), "whole blocks, the same number of each");
        // Lanes without a stream do the first one's work over again.
        let mut starts = [inputs[0].as_ptr(); LANES];
        for (start, input) in starts.iter_mut().zip(inputs) {
            *start = input.as_ptr();
        }
        // SAFETY: that there is a `Wide` says that the processor has them; from each start there are `length` bytes.
        unsafe { run(states, &starts, length) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(a: V, b: V) -> V {
    _mm512_add_epi32(a, b)
}

// The numbers below are truth tables: bit 4a + 2b + c is the result for those bits.

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor(a: V, b: V, c: V) -> V {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rotations<const FIRST: i32, const SECOND: i32, const THIRD: i32>(value: V) -> V {
    xor(
        _mm512_ror_epi32::<FIRST>(value),
        _mm512_ror_epi32::<SECOND>(value),
        _mm512_ror_epi32::<THIRD>(value),
    )
}

/// Two rotations and a shift.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn mixed<const FIRST: i32, const SECOND: i32, const SHIFT: u32>(value: V) -> V {
    xor(
        _mm512_ror_epi32::<FIRST>(value),
        _mm512_ror_epi32::<SECOND>(value),
        _mm512_srli_epi32::<SHIFT>(value),
    )
}

/// Takes the states over `length` bytes from each start.
///
/// # Safety
/// The processor has the instructions; `length` bytes can be read from each start.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn run(states: &mut [State], starts: &[*const u8; LANES], length: usize) {
    let mut lanes = [[0_u32; LANES]; 8];
    for (lane, state) in states.iter().enumerate() {
        for (word, value) in lanes.iter_mut().zip(state) {
            word[lane] = *value;
        }
    }
    // SAFETY: each word of the state has 64 bytes for its lanes.
    let mut state = lanes.map(|word| unsafe { _mm512_loadu_si512(word.as_ptr().cast()) });
    // The message has its bytes the other way round.
    let turned =
        _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    for offset in (0..length).step_by(BLOCK) {
        let mut words = [state[0]; 16];
        for (quarter, four) in words.chunks_exact_mut(4).enumerate() {
            // SAFETY: 16 of the `length` bytes lie at each start there.
            let read = unsafe { words_of(starts, offset + 16 * quarter) };
            four.copy_from_slice(&read.map(|word| _mm512_shuffle_epi8(word, turned)));
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for turn in 0..4 {
            for at in 0..16 {
                let root = _mm512_set1_epi32(ROOTS[16 * turn + at].cast_signed());
                let choice = _mm512_ternarylogic_epi32::<0xca>(e, f, g);
                let majority = _mm512_ternarylogic_epi32::<0xe8>(a, b, c);
                let first =
                    add(add(add(h, choice), add(root, words[at])), rotations::<6, 11, 25>(e));
                let second = add(rotations::<2, 13, 22>(a), majority);
                (h, g, f, e, d, c, b, a) = (g, f, e, add(d, first), c, b, a, add(first, second));
                if turn < 3 {
                    // The word sixteen rounds on takes this one's place.
                    let early = mixed::<7, 18, 3>(words[(at + 1) % 16]);
                    let late = mixed::<17, 19, 10>(words[(at + 14) % 16]);
                    words[at] = add(add(words[at], early), add(words[(at + 9) % 16], late));
                }
            }
        }
        for (word, more) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = add(*word, more);
        }
    }
    for (word, value) in lanes.iter_mut().zip(state) {
        // SAFETY: 64 bytes lie there.
        unsafe { _mm512_storeu_si512(word.as_mut_ptr().cast(), value) };
    }
    for (lane, state) in states.iter_mut().enumerate() {
        *state = lanes.map(|word| word[lane]);
    }
}
