//! 512-bit registers of x86-64 (AVX-512 F and BW).

use std::arch::x86_64::*;

use super::filter::{self, FilterLanes, Filtering};
use super::generic::{self, Gain};
use super::lanes::{Constant, Lanes, Working, vector};
use crate::codec::bands::BlockShape;
use crate::model::WEIGHT_BITS;

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

/// # Safety
/// The CPU has AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn filter(work: Filtering<'_, i16>) {
    // SAFETY: passed on from the caller.
    unsafe { filter::run::<I16x32>(work) }
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

// SAFETY: every function needs AVX-512 F and BW, as the trait's contract says. Sums are of 32 bits, of the
// lower and of the upper half of each 128 bits, as unpacking and packing have it.
#[rustfmt::skip]
unsafe impl FilterLanes for I16x32 {
    type E = i16;
    type Sum = [__m512i; 2];
    type Weights = __m512i;
    const N: usize = 32;
    #[inline(always)]
    unsafe fn load(p: *const i16) -> Self { vector!(Self(_mm512_loadu_epi16(p))) }
    #[inline(always)]
    unsafe fn store(self, p: *mut i16) { vector!(_mm512_storeu_epi16(p, self.0)) }
    #[inline(always)]
    unsafe fn splat(value: i16) -> Self { vector!(Self(_mm512_set1_epi16(value))) }
    #[inline(always)]
    unsafe fn weights(first: i8, second: i8) -> __m512i {
        let pair = i32::from(first) & 0xFFFF | i32::from(second) << 16;
        vector!(_mm512_set1_epi32(pair))
    }
    #[inline(always)]
    unsafe fn differ(self, here: Self) -> Self { vector!(Self(_mm512_subs_epi16(self.0, here.0))) }
    #[inline(always)]
    unsafe fn held(self, limit: Self, negative: Self) -> Self {
        vector!(Self(_mm512_max_epi16(_mm512_min_epi16(self.0, limit.0), negative.0)))
    }
    #[inline(always)]
    unsafe fn plus(self, o: Self) -> Self { vector!(Self(_mm512_add_epi16(self.0, o.0))) }
    #[inline(always)]
    unsafe fn start(here: Self) -> Self::Sum {
        vector!({
            // here * 2^WEIGHT_BITS + 1 * half
            let (one, by) = (_mm512_set1_epi16(1), _mm512_set1_epi32((1 << WEIGHT_BITS) | 1 << (15 + WEIGHT_BITS)));
            [
                _mm512_madd_epi16(_mm512_unpacklo_epi16(here.0, one), by),
                _mm512_madd_epi16(_mm512_unpackhi_epi16(here.0, one), by),
            ]
        })
    }
    #[inline(always)]
    unsafe fn add(sum: Self::Sum, first: Self, second: Self, weights: __m512i) -> Self::Sum {
        vector!({
            let low = _mm512_madd_epi16(_mm512_unpacklo_epi16(first.0, second.0), weights);
            let high = _mm512_madd_epi16(_mm512_unpackhi_epi16(first.0, second.0), weights);
            [_mm512_add_epi32(sum[0], low), _mm512_add_epi32(sum[1], high)]
        })
    }
    #[inline(always)]
    unsafe fn moved(_here: Self, [low, high]: Self::Sum) -> Self {
        vector!({
            const DOWN: u32 = WEIGHT_BITS;
            Self(_mm512_packs_epi32(_mm512_srai_epi32::<DOWN>(low), _mm512_srai_epi32::<DOWN>(high)))
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
