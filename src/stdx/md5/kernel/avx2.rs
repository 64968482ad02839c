//! With AVX2.
#![expect(unsafe_code, reason = "loads and stores through pointers")]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256,
    _mm256_castsi128_si256, _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_or_si256,
    _mm256_set1_epi32, _mm256_slli_epi32, _mm256_srli_epi32, _mm256_storeu_si256,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
    _mm256_xor_si256,
};

use super::{BLOCK, LANES_MAX, SINES, State, Words};

/// Lanes of a register.
const WIDTH: usize = 8;

type V = __m256i;

#[inline]
#[target_feature(enable = "avx2")]
fn load(lanes: &[u32]) -> V {
    let lanes = &lanes[..WIDTH];
    // SAFETY: 32 bytes lie there.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(value: V, lanes: &mut [u32]) {
    let lanes = &mut lanes[..WIDTH];
    // SAFETY: 32 bytes lie there.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn splat(value: u32) -> V {
    _mm256_set1_epi32(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn add(a: V, b: V) -> V {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const LEFT: i32, const RIGHT: i32>(value: V) -> V {
    _mm256_or_si256(_mm256_slli_epi32::<LEFT>(value), _mm256_srli_epi32::<RIGHT>(value))
}

#[inline]
#[target_feature(enable = "avx2")]
fn f(sum: V, b: V, c: V, d: V) -> V {
    add(sum, _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d))))
}

#[inline]
#[target_feature(enable = "avx2")]
fn g(sum: V, b: V, c: V, d: V) -> V {
    // Its halves have no bit in common, so they may be added, and that of `b`, which is known last, as the last.
    add(add(sum, _mm256_andnot_si256(d, c)), _mm256_and_si256(b, d))
}

#[inline]
#[target_feature(enable = "avx2")]
fn h(sum: V, b: V, c: V, d: V) -> V {
    add(sum, _mm256_xor_si256(b, _mm256_xor_si256(c, d)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn k(sum: V, b: V, c: V, d: V) -> V {
    let flipped = _mm256_xor_si256(d, _mm256_set1_epi32(-1));
    add(sum, _mm256_xor_si256(c, _mm256_or_si256(b, flipped)))
}

/// Four message words of each lane, from `offset` bytes behind its start.
///
/// # Safety
/// 16 bytes can be read there, of each of the first [`WIDTH`] starts.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn words_of(starts: &[*const u8], offset: usize) -> [V; 4] {
    let starts = &starts[..WIDTH];
    let piece = |lane: usize| -> __m128i {
        // SAFETY: the caller's promise.
        unsafe { _mm_loadu_si128(starts[lane].wrapping_add(offset).cast()) }
    };
    let row =
        |lane| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(piece(lane)), piece(lane + 4));
    let rows = [row(0), row(1), row(2), row(3)];
    let low = [_mm256_unpacklo_epi32(rows[0], rows[1]), _mm256_unpacklo_epi32(rows[2], rows[3])];
    let high = [_mm256_unpackhi_epi32(rows[0], rows[1]), _mm256_unpackhi_epi32(rows[2], rows[3])];
    [
        _mm256_unpacklo_epi64(low[0], low[1]),
        _mm256_unpackhi_epi64(low[0], low[1]),
        _mm256_unpacklo_epi64(high[0], high[1]),
        _mm256_unpackhi_epi64(high[0], high[1]),
    ]
}

kernel!("avx2");
