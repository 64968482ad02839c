//! What the hashes share that take sixteen streams at once with AVX-512, each in a lane of the registers to itself.
#![expect(unsafe_code, reason = "loads through pointers, with vector instructions")]

use std::arch::x86_64::{
    __m128i, __m512i, _mm_loadu_si128, _mm512_castsi128_si512, _mm512_inserti32x4,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

/// Lanes of a register.
pub(super) const LANES: usize = 16;

/// Four message words of each lane, from `offset` bytes behind its start, with their bytes as they lie.
///
/// # Safety
/// 16 bytes can be read there, of each of the first [`LANES`] starts.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn words_of(starts: &[*const u8], offset: usize) -> [__m512i; 4] {
    let starts = &starts[..LANES];
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
