//! 512-bit registers of x86-64 (AVX-512 F and BW).

use std::arch::x86_64::*;

use super::generic::{self, Gain};
use super::lanes::{Constant, Lanes, Working, vector};
use crate::codec::bands::BlockShape;

/// # Safety
/// The CPU has AVX-512 F and BW; see [`generic::inverse`] for the buffers.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn inverse<E: Working>(
    values: &mut [E],
    scratch: &mut [E],
    shape: &BlockShape,
    lod: usize,
    gain: Gain,
) {
    // SAFETY: passed on from the caller.
    unsafe { generic::inverse::<E::Avx512>(values, scratch, shape, lod, gain) }
}

#[derive(Clone, Copy)]
pub(crate) struct I16x32(__m512i);

// SAFETY: every function needs AVX-512 F and BW, as the trait's contract says.
#[rustfmt::skip]
unsafe impl Lanes for I16x32 {
    type E = i16;
    const N: usize = 32;
    #[inline(always)]
    unsafe fn load(p: *const i16) -> Self { vector!(Self(_mm512_loadu_epi16(p))) }
    #[inline(always)]
    unsafe fn store(self, p: *mut i16) { vector!(_mm512_storeu_epi16(p, self.0)) }
    #[inline(always)]
    unsafe fn splat(c: Constant) -> Self { vector!(Self(_mm512_set1_epi16(c.q15))) }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self { vector!(Self(_mm512_add_epi16(self.0, o.0))) }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self { vector!(Self(_mm512_sub_epi16(self.0, o.0))) }
    #[inline(always)]
    unsafe fn mul(self, c: Self) -> Self { vector!(Self(_mm512_mulhrs_epi16(self.0, c.0))) }
    #[inline(always)]
    unsafe fn store_interleaved(p: *mut i16, even: Self, odd: Self) {
        vector!({
            let (lo, hi) = (_mm512_unpacklo_epi16(even.0, odd.0), _mm512_unpackhi_epi16(even.0, odd.0));
            let (first, second) = spread(lo, hi);
            _mm512_storeu_si512(p.cast(), first);
            _mm512_storeu_si512(p.add(32).cast(), second);
        })
    }
}

/// Puts the four 128-bit pairs of two unpacked registers in order.
///
/// # Safety
/// The CPU has AVX-512 F.
#[inline(always)]
unsafe fn spread(lo: __m512i, hi: __m512i) -> (__m512i, __m512i) {
    // SAFETY: the caller's contract.
    unsafe {
        let first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
        let second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
        (
            _mm512_permutex2var_epi64(lo, first, hi),
            _mm512_permutex2var_epi64(lo, second, hi),
        )
    }
}

#[derive(Clone, Copy)]
pub(crate) struct I32x16(__m512i);

// SAFETY: every function needs AVX-512 F and BW, as the trait's contract says.
#[rustfmt::skip]
unsafe impl Lanes for I32x16 {
    type E = i32;
    const N: usize = 16;
    #[inline(always)]
    unsafe fn load(p: *const i32) -> Self { vector!(Self(_mm512_loadu_epi32(p))) }
    #[inline(always)]
    unsafe fn store(self, p: *mut i32) { vector!(_mm512_storeu_epi32(p, self.0)) }
    #[inline(always)]
    unsafe fn splat(c: Constant) -> Self { vector!(Self(_mm512_set1_epi32(c.q31))) }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self { vector!(Self(_mm512_add_epi32(self.0, o.0))) }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self { vector!(Self(_mm512_sub_epi32(self.0, o.0))) }
    #[inline(always)]
    unsafe fn mul(self, c: Self) -> Self {
        vector!({
            let half = _mm512_set1_epi64(1 << 30);
            let even = _mm512_add_epi64(_mm512_mul_epi32(self.0, c.0), half);
            let odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64::<32>(self.0), c.0), half);
            let low = _mm512_srli_epi64::<31>(even);
            let high = _mm512_slli_epi64::<1>(odd);
            Self(_mm512_mask_blend_epi32(0xAAAA, low, high))
        })
    }
    #[inline(always)]
    unsafe fn store_interleaved(p: *mut i32, even: Self, odd: Self) {
        vector!({
            let (lo, hi) = (_mm512_unpacklo_epi32(even.0, odd.0), _mm512_unpackhi_epi32(even.0, odd.0));
            let (first, second) = spread(lo, hi);
            _mm512_storeu_si512(p.cast(), first);
            _mm512_storeu_si512(p.add(16).cast(), second);
        })
    }
}
