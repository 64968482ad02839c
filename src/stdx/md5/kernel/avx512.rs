//! With AVX-512.
#![expect(unsafe_code, reason = "loads and stores through pointers")]

use std::arch::x86_64::{
    __m128i, __m512i, _mm_loadu_si128, _mm512_add_epi32, _mm512_castsi128_si512,
    _mm512_inserti32x4, _mm512_loadu_si512, _mm512_rol_epi32, _mm512_set1_epi32,
    _mm512_storeu_si512, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::{BLOCK, LANES_MAX, SINES, State, Words};

/// Lanes of a register.
const WIDTH: usize = 16;

type V = __m512i;

#[inline]
#[target_feature(enable = "avx512f")]
fn load(lanes: &[u32]) -> V {
    let lanes = &lanes[..WIDTH];
    // SAFETY: 64 bytes lie there.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(value: V, lanes: &mut [u32]) {
    let lanes = &mut lanes[..WIDTH];
    // SAFETY: 64 bytes lie there.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(value: u32) -> V {
    _mm512_set1_epi32(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(a: V, b: V) -> V {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate<const LEFT: i32, const RIGHT: i32>(value: V) -> V {
    _mm512_rol_epi32::<LEFT>(value)
}

// The numbers below are truth tables: bit 4b + 2c + d is the result for those bits.

#[inline]
#[target_feature(enable = "avx512f")]
fn f(sum: V, b: V, c: V, d: V) -> V {
    add(sum, _mm512_ternarylogic_epi32::<0xca>(b, c, d))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn g(sum: V, b: V, c: V, d: V) -> V {
    add(sum, _mm512_ternarylogic_epi32::<0xe4>(b, c, d))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn h(sum: V, b: V, c: V, d: V) -> V {
    add(sum, _mm512_ternarylogic_epi32::<0x96>(b, c, d))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn k(sum: V, b: V, c: V, d: V) -> V {
    add(sum, _mm512_ternarylogic_epi32::<0x39>(b, c, d))
}

/// Four message words of each lane, from `offset` bytes behind its start.
///
/// # Safety
/// 16 bytes can be read there, of each of the first [`WIDTH`] starts.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn words_of(starts: &[*const u8], offset: usize) -> [V; 4] {
    let starts = &starts[..WIDTH];
    let piece = |lane: usize| -> __m128i {
        // SAFETY: the caller's promise.
        unsafe { _mm_loadu_si128(starts[lane].wrapping_add(offset).cast()) }
    };
    let row = |lane| {
        let row = _mm512_castsi128_si512(piece(lane));
        let row = _mm512_inserti32x4::<1>(row, piece(lane + 4));
        let row = _mm512_inserti32x4::<2>(row, piece(lane + 8));
        _mm512_inserti32x4::<3>(row, piece(lane + 12))
    };
    let rows = [row(0), row(1), row(2), row(3)];
    let low = [_mm512_unpacklo_epi32(rows[0], rows[1]), _mm512_unpacklo_epi32(rows[2], rows[3])];
    let high = [_mm512_unpackhi_epi32(rows[0], rows[1]), _mm512_unpackhi_epi32(rows[2], rows[3])];
    [
        _mm512_unpacklo_epi64(low[0], low[1]),
        _mm512_unpackhi_epi64(low[0], low[1]),
        _mm512_unpacklo_epi64(high[0], high[1]),
        _mm512_unpackhi_epi64(high[0], high[1]),
    ]
}

kernel!("avx512f");
