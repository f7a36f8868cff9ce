//! 128-bit registers of aarch64.

use std::arch::aarch64::*;

use super::generic::{self, Gain};
use super::lanes::{Constant, Lanes, Working, vector};
use crate::codec::bands::BlockShape;

/// # Safety
/// See [`generic::inverse`] for the buffers.
#[target_feature(enable = "neon")]
pub(super) unsafe fn inverse<E: Working>(
    values: &mut [E],
    scratch: &mut [E],
    shape: &BlockShape,
    lod: usize,
    gain: Gain,
) {
    // SAFETY: passed on from the caller.
    unsafe { generic::inverse::<E::Neon>(values, scratch, shape, lod, gain) }
}

#[derive(Clone, Copy)]
pub(crate) struct I16x8(int16x8_t);

// SAFETY: every function needs NEON, as the trait's contract says.
#[rustfmt::skip]
unsafe impl Lanes for I16x8 {
    type E = i16;
    const N: usize = 8;
    #[inline(always)]
    unsafe fn load(p: *const i16) -> Self { vector!(Self(vld1q_s16(p))) }
    #[inline(always)]
    unsafe fn store(self, p: *mut i16) { vector!(vst1q_s16(p, self.0)) }
    #[inline(always)]
    unsafe fn splat(c: Constant) -> Self { vector!(Self(vdupq_n_s16(c.q15))) }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self { vector!(Self(vaddq_s16(self.0, o.0))) }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self { vector!(Self(vsubq_s16(self.0, o.0))) }
    // (2 a c + 2^15) >> 16 saturates only for -32768 * -32768; constants are positive.
    #[inline(always)]
    unsafe fn mul(self, c: Self) -> Self { vector!(Self(vqrdmulhq_s16(self.0, c.0))) }
    #[inline(always)]
    unsafe fn store_interleaved(p: *mut i16, even: Self, odd: Self) {
        unsafe { vst2q_s16(p, int16x8x2_t(even.0, odd.0)) }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct I32x4(int32x4_t);

// SAFETY: every function needs NEON, as the trait's contract says.
#[rustfmt::skip]
unsafe impl Lanes for I32x4 {
    type E = i32;
    const N: usize = 4;
    #[inline(always)]
    unsafe fn load(p: *const i32) -> Self { vector!(Self(vld1q_s32(p))) }
    #[inline(always)]
    unsafe fn store(self, p: *mut i32) { vector!(vst1q_s32(p, self.0)) }
    #[inline(always)]
    unsafe fn splat(c: Constant) -> Self { vector!(Self(vdupq_n_s32(c.q31))) }
    #[inline(always)]
    unsafe fn add(self, o: Self) -> Self { vector!(Self(vaddq_s32(self.0, o.0))) }
    #[inline(always)]
    unsafe fn sub(self, o: Self) -> Self { vector!(Self(vsubq_s32(self.0, o.0))) }
    // (2 a c + 2^31) >> 32 is (a c + 2^30) >> 31.
    #[inline(always)]
    unsafe fn mul(self, c: Self) -> Self { vector!(Self(vqrdmulhq_s32(self.0, c.0))) }
    #[inline(always)]
    unsafe fn store_interleaved(p: *mut i32, even: Self, odd: Self) {
        unsafe { vst2q_s32(p, int32x4x2_t(even.0, odd.0)) }
    }
}
