//! Loops over floats, built with fused multiply-add where the CPU has it.
//!
//! For the encoder, which may use floats: what is decoded never comes through here.

use crate::backend::cpu::CpuLevel;

/// Plain loops over floats that are worth building for wide vectors. `run` must be
/// `#[inline(always)]`, like everything it calls: only what is inlined is built for them.
pub(crate) trait FloatLoops {
    /// What they compute.
    type Output;
    /// Runs them. `FUSED`: [`fma`] rounds once and is one instruction. `WIDE`: there are 32
    /// registers of 512 bits, else 16 of 256 or 32 of 128.
    fn run<const FUSED: bool, const WIDE: bool>(self) -> Self::Output;
}

/// `a * b + c`, rounded once if `FUSED`.
#[inline(always)]
pub(crate) fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Runs loops as built for the vectors of `level`. Levels with fused multiply-add give the same
/// bits as each other if the loops do not let the vector width choose an order of sums.
pub(crate) fn with_floats<L: FloatLoops>(level: CpuLevel, loops: L) -> L::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if level >= CpuLevel::Avx512 && has_avx512() {
            // SAFETY: the CPU has just been asked.
            return unsafe { run_avx512(loops) };
        }
        if level >= CpuLevel::Avx2 && has_avx2() {
            // SAFETY: the CPU has just been asked.
            return unsafe { run_avx2(loops) };
        }
    }
    #[cfg(target_arch = "aarch64")]
    if level == CpuLevel::Neon {
        return loops.run::<true, false>();
    }
    loops.run::<false, false>()
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512vl")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<L: FloatLoops>(loops: L) -> L::Output {
    loops.run::<true, false>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn run_avx512<L: FloatLoops>(loops: L) -> L::Output {
    loops.run::<true, true>()
}
