//! With AVX-512.
#![expect(unsafe_code, reason = "loads and stores through pointers")]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_rol_epi32, _mm512_set1_epi32,
    _mm512_storeu_si512, _mm512_ternarylogic_epi32,
};

use super::{BLOCK, LANES_MAX, SINES, State, Words};
use crate::stdx::avx512::{LANES as WIDTH, words_of};

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

kernel!("avx512f");
