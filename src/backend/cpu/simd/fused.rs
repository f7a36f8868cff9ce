//! Loops over floats, built with fused multiply-add where the CPU has it, and vectors of 16 floats
//! for those that the compiler does not vectorise by itself.
//!
//! For the encoder, which may use floats: what is decoded never comes through here.

use std::fmt::Debug;

use crate::backend::cpu::CpuLevel;

/// Floats of a vector, whatever the registers.
pub(crate) const LANES: usize = 16;

/// Plain loops over floats that are worth building for wide vectors. `run` must be
/// `#[inline(always)]`, like everything it calls: only what is inlined is built for them. One kernel
/// at a time: what is too much for one function is not vectorised.
pub(crate) trait FloatLoops {
    /// What they compute.
    type Output;
    /// Runs them on the vectors of `F`.
    fn run<F: Floats>(self, floats: F) -> Self::Output;
}

/// Proof that the CPU has certain instructions, and what they do with 16 floats at a time. Only
/// [`with_floats`] makes one, after asking.
pub(crate) trait Floats: Copy + Debug {
    /// 16 floats.
    type V: Copy;
    /// Whether a multiply-add rounds once.
    const FUSED: bool;
    /// Whether there is room for 24 vectors in registers.
    const WIDE: bool;
    /// One value everywhere.
    fn splat(self, value: f32) -> Self::V;
    /// From memory.
    fn load(self, from: &[f32; LANES]) -> Self::V;
    /// To memory.
    fn store(self, value: Self::V, to: &mut [f32; LANES]);
    /// `a * b + c`.
    fn multiply_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a` where `b > 0`, else 0.
    fn where_positive(self, a: Self::V, b: Self::V) -> Self::V;
}

/// `a * b + c`, as the vectors of `F` round it.
#[inline(always)]
pub(crate) fn fma<F: Floats>(a: f32, b: f32, c: f32) -> f32 {
    if F::FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Runs loops as built for the vectors of `level`. Levels with fused multiply-add give the same
/// bits as each other if the loops do not let the vector width choose an order of sums.
pub(crate) fn with_floats<L: FloatLoops>(level: CpuLevel, loops: L) -> L::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if level >= CpuLevel::Avx512 && x86::has_avx512() {
            // SAFETY: the CPU has just been asked.
            return unsafe { x86::run_avx512(loops) };
        }
        if level >= CpuLevel::Avx2 && x86::has_avx2() {
            // SAFETY: the CPU has just been asked.
            return unsafe { x86::run_avx2(loops) };
        }
    }
    #[cfg(target_arch = "aarch64")]
    if level == CpuLevel::Neon {
        return neon::run(loops);
    }
    run_plain(loops)
}

/// Never inlined, like the others, whose features forbid it.
#[inline(never)]
fn run_plain<L: FloatLoops>(loops: L) -> L::Output {
    loops.run(Plain)
}

/// No special instructions.
#[derive(Debug, Clone, Copy)]
struct Plain;

impl Floats for Plain {
    type V = [f32; LANES];
    const FUSED: bool = false;
    const WIDE: bool = false;
    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        [value; LANES]
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::V {
        *from
    }
    #[inline(always)]
    fn store(self, value: Self::V, to: &mut [f32; LANES]) {
        *to = value;
    }
    #[inline(always)]
    fn multiply_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|l| a[l] * b[l] + c[l])
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|l| a[l] + b[l])
    }
    #[inline(always)]
    fn where_positive(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|l| if b[l] > 0.0 { a[l] } else { 0.0 })
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{FloatLoops, Floats, LANES};

    pub(super) fn has_avx2() -> bool {
        std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
    }

    pub(super) fn has_avx512() -> bool {
        has_avx2()
            && std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl")
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn run_avx2<L: FloatLoops>(loops: L) -> L::Output {
        loops.run(Avx2(()))
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn run_avx512<L: FloatLoops>(loops: L) -> L::Output {
        loops.run(Avx512(()))
    }

    /// The body of a function of a proof.
    macro_rules! proven {
        ($body:expr) => {
            // SAFETY: `self` exists only on CPUs that have the instructions; arrays are as long as
            // what is read or written.
            unsafe { $body }
        };
    }

    /// AVX2 and FMA.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx2(());

    #[rustfmt::skip]
    impl Floats for Avx2 {
        type V = [__m256; 2];
        const FUSED: bool = true;
        const WIDE: bool = false;
        #[inline(always)]
        fn splat(self, value: f32) -> Self::V { proven!([_mm256_set1_ps(value); 2]) }
        #[inline(always)]
        fn load(self, from: &[f32; LANES]) -> Self::V {
            proven!([_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))])
        }
        #[inline(always)]
        fn store(self, value: Self::V, to: &mut [f32; LANES]) {
            proven!({
                _mm256_storeu_ps(to.as_mut_ptr(), value[0]);
                _mm256_storeu_ps(to.as_mut_ptr().add(8), value[1]);
            })
        }
        #[inline(always)]
        fn multiply_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            proven!([_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])])
        }
        #[inline(always)]
        fn add(self, a: Self::V, b: Self::V) -> Self::V {
            proven!([_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])])
        }
        #[inline(always)]
        fn where_positive(self, a: Self::V, b: Self::V) -> Self::V {
            proven!({
                let zero = _mm256_setzero_ps();
                [
                    _mm256_and_ps(a[0], _mm256_cmp_ps::<_CMP_GT_OQ>(b[0], zero)),
                    _mm256_and_ps(a[1], _mm256_cmp_ps::<_CMP_GT_OQ>(b[1], zero)),
                ]
            })
        }
    }

    /// AVX-512 F, BW, DQ and VL.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx512(());

    #[rustfmt::skip]
    impl Floats for Avx512 {
        type V = __m512;
        const FUSED: bool = true;
        const WIDE: bool = true;
        #[inline(always)]
        fn splat(self, value: f32) -> Self::V { proven!(_mm512_set1_ps(value)) }
        #[inline(always)]
        fn load(self, from: &[f32; LANES]) -> Self::V { proven!(_mm512_loadu_ps(from.as_ptr())) }
        #[inline(always)]
        fn store(self, value: Self::V, to: &mut [f32; LANES]) {
            proven!(_mm512_storeu_ps(to.as_mut_ptr(), value))
        }
        #[inline(always)]
        fn multiply_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            proven!(_mm512_fmadd_ps(a, b, c))
        }
        #[inline(always)]
        fn add(self, a: Self::V, b: Self::V) -> Self::V { proven!(_mm512_add_ps(a, b)) }
        #[inline(always)]
        fn where_positive(self, a: Self::V, b: Self::V) -> Self::V {
            proven!(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(b, _mm512_setzero_ps()), a))
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;
    use std::array::from_fn;

    use super::{FloatLoops, Floats, LANES};

    /// Never inlined, as on other machines.
    #[inline(never)]
    pub(super) fn run<L: FloatLoops>(loops: L) -> L::Output {
        loops.run(Neon)
    }

    /// The body of a function.
    macro_rules! vector {
        ($body:expr) => {
            // SAFETY: NEON is part of every aarch64 CPU that Rust's std runs on; arrays are as
            // long as what is read or written.
            unsafe { $body }
        };
    }

    /// Four registers.
    #[derive(Debug, Clone, Copy)]
    struct Neon;

    #[rustfmt::skip]
    impl Floats for Neon {
        type V = [float32x4_t; 4];
        const FUSED: bool = true;
        const WIDE: bool = false;
        #[inline(always)]
        fn splat(self, value: f32) -> Self::V { vector!([vdupq_n_f32(value); 4]) }
        #[inline(always)]
        fn load(self, from: &[f32; LANES]) -> Self::V {
            from_fn(|i| vector!(vld1q_f32(from.as_ptr().add(4 * i))))
        }
        #[inline(always)]
        fn store(self, value: Self::V, to: &mut [f32; LANES]) {
            for (i, v) in value.into_iter().enumerate() {
                vector!(vst1q_f32(to.as_mut_ptr().add(4 * i), v));
            }
        }
        #[inline(always)]
        fn multiply_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            from_fn(|i| vector!(vfmaq_f32(c[i], a[i], b[i])))
        }
        #[inline(always)]
        fn add(self, a: Self::V, b: Self::V) -> Self::V {
            from_fn(|i| vector!(vaddq_f32(a[i], b[i])))
        }
        #[inline(always)]
        fn where_positive(self, a: Self::V, b: Self::V) -> Self::V {
            from_fn(|i| vector!(vreinterpretq_f32_u32(vandq_u32(
                vreinterpretq_u32_f32(a[i]),
                vcgtzq_f32(b[i]),
            ))))
        }
    }
}
