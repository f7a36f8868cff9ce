//! 256-bit registers of x86-64.

use std::arch::x86_64::*;

use super::Loops;
use super::filter::{self, FilterLanes, Filtering};
use super::generic::{self, Gain};
use super::lanes::{Constant, Lanes, Working, vector};
use crate::codec::bands::BlockShape;
use crate::model::WEIGHT_BITS;

/// # Safety
/// The CPU has AVX2; see [`generic::inverse`] for the buffers.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn inverse<E: Working>(
    values: &mut [E],
    scratch: &mut [E],
    shape: &BlockShape,
    lod: usize,
    gain: Gain,
) {
    // SAFETY: passed on from the caller.
    unsafe { generic::inverse::<E::Avx2>(values, scratch, shape, lod, gain) }
}

/// Plain loops, built with AVX2.
#[target_feature(enable = "avx2")]
pub(super) fn run<L: Loops>(loops: L) -> L::Output {
    loops.run()
}

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn filter(work: Filtering<'_, i16>) {
    // SAFETY: passed on from the caller.
    unsafe { filter::run::<I16x16>(work) }
}

#[derive(Clone, Copy)]
pub(crate) struct I16x16(__m256i);

// SAFETY: every function needs AVX2, as the trait's contract says.
#[rustfmt::skip]
unsafe impl Lanes for I16x16 {
    type E = i16;
    const N: usize = 16;
    #[inline(always)]
    unsafe fn load(p: *const i16) -> Self { vector!(Self(_mm256_loadu_si256(p.cast()))) }
    #[inline(always)]
    unsafe fn store(self, p: *mut i16) { vector!(_mm256_storeu_si256(p.cast(), self.0)) }
    #[inline(always)]
    unsafe fn splat(c: Constant) -> Self { vector!(Self(_mm256_set1_epi16(c.q15))) }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self { vector!(Self(_mm256_add_epi16(self.0, o.0))) }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self { vector!(Self(_mm256_sub_epi16(self.0, o.0))) }
    #[inline(always)]
    unsafe fn mul(self, c: Self) -> Self { vector!(Self(_mm256_mulhrs_epi16(self.0, c.0))) }
    #[inline(always)]
    unsafe fn store_interleaved(p: *mut i16, even: Self, odd: Self) {
        vector!({
            let (lo, hi) = (_mm256_unpacklo_epi16(even.0, odd.0), _mm256_unpackhi_epi16(even.0, odd.0));
            _mm256_storeu_si256(p.cast(), _mm256_permute2x128_si256::<0x20>(lo, hi));
            _mm256_storeu_si256(p.add(16).cast(), _mm256_permute2x128_si256::<0x31>(lo, hi));
        })
    }
}

// SAFETY: every function needs AVX2, as the trait's contract says. Sums are of 32 bits, of the
// lower and of the upper half of each 128 bits, as unpacking and packing have it.
#[rustfmt::skip]
unsafe impl FilterLanes for I16x16 {
    type E = i16;
    type Sum = [__m256i; 2];
    type Weights = __m256i;
    const N: usize = 16;
    #[inline(always)]
    unsafe fn load(p: *const i16) -> Self { vector!(Self(_mm256_loadu_si256(p.cast()))) }
    #[inline(always)]
    unsafe fn store(self, p: *mut i16) { vector!(_mm256_storeu_si256(p.cast(), self.0)) }
    #[inline(always)]
    unsafe fn splat(value: i16) -> Self { vector!(Self(_mm256_set1_epi16(value))) }
    #[inline(always)]
    unsafe fn weights(first: i8, second: i8) -> __m256i {
        let pair = i32::from(first) & 0xFFFF | i32::from(second) << 16;
        vector!(_mm256_set1_epi32(pair))
    }
    #[inline(always)]
    unsafe fn differ(self, here: Self) -> Self { vector!(Self(_mm256_subs_epi16(self.0, here.0))) }
    #[inline(always)]
    unsafe fn held(self, limit: Self, negative: Self) -> Self {
        vector!(Self(_mm256_max_epi16(_mm256_min_epi16(self.0, limit.0), negative.0)))
    }
    #[inline(always)]
    unsafe fn plus(self, o: Self) -> Self { vector!(Self(_mm256_add_epi16(self.0, o.0))) }
    #[inline(always)]
    unsafe fn start(here: Self) -> Self::Sum {
        vector!({
            // here * 2^WEIGHT_BITS + 1 * half
            let (one, by) = (_mm256_set1_epi16(1), _mm256_set1_epi32((1 << WEIGHT_BITS) | 1 << (15 + WEIGHT_BITS)));
            [
                _mm256_madd_epi16(_mm256_unpacklo_epi16(here.0, one), by),
                _mm256_madd_epi16(_mm256_unpackhi_epi16(here.0, one), by),
            ]
        })
    }
    #[inline(always)]
    unsafe fn add(sum: Self::Sum, first: Self, second: Self, weights: __m256i) -> Self::Sum {
        vector!({
            let low = _mm256_madd_epi16(_mm256_unpacklo_epi16(first.0, second.0), weights);
            let high = _mm256_madd_epi16(_mm256_unpackhi_epi16(first.0, second.0), weights);
            [_mm256_add_epi32(sum[0], low), _mm256_add_epi32(sum[1], high)]
        })
    }
    #[inline(always)]
    unsafe fn moved(_here: Self, [low, high]: Self::Sum) -> Self {
        vector!({
            const DOWN: i32 = WEIGHT_BITS as i32;
            Self(_mm256_packs_epi32(_mm256_srai_epi32::<DOWN>(low), _mm256_srai_epi32::<DOWN>(high)))
        })
    }
}

#[derive(Clone, Copy)]
pub(crate) struct I32x8(__m256i);

// SAFETY: every function needs AVX2, as the trait's contract says.
#[rustfmt::skip]
unsafe impl Lanes for I32x8 {
    type E = i32;
    const N: usize = 8;
    #[inline(always)]
    unsafe fn load(p: *const i32) -> Self { vector!(Self(_mm256_loadu_si256(p.cast()))) }
    #[inline(always)]
    unsafe fn store(self, p: *mut i32) { vector!(_mm256_storeu_si256(p.cast(), self.0)) }
    #[inline(always)]
    unsafe fn splat(c: Constant) -> Self { vector!(Self(_mm256_set1_epi32(c.q31))) }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self { vector!(Self(_mm256_add_epi32(self.0, o.0))) }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self { vector!(Self(_mm256_sub_epi32(self.0, o.0))) }
    #[inline(always)]
    unsafe fn mul(self, c: Self) -> Self {
        vector!({
            let half = _mm256_set1_epi64x(1 << 30);
            let even = _mm256_add_epi64(_mm256_mul_epi32(self.0, c.0), half);
            let odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64::<32>(self.0), c.0), half);
            // Bits 31..63 of each product: down for the even lanes, up by one for the odd ones.
            let low = _mm256_srli_epi64::<31>(even);
            let high = _mm256_slli_epi64::<1>(odd);
            Self(_mm256_blend_epi32::<0b1010_1010>(low, high))
        })
    }
    #[inline(always)]
    unsafe fn store_interleaved(p: *mut i32, even: Self, odd: Self) {
        vector!({
            let (lo, hi) = (_mm256_unpacklo_epi32(even.0, odd.0), _mm256_unpackhi_epi32(even.0, odd.0));
            _mm256_storeu_si256(p.cast(), _mm256_permute2x128_si256::<0x20>(lo, hi));
            _mm256_storeu_si256(p.add(8).cast(), _mm256_permute2x128_si256::<0x31>(lo, hi));
        })
    }
}
