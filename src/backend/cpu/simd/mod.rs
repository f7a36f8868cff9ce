//! Inverse transform and output on vectors. One generic kernel over a narrow [`Lanes`] trait; the
//! folders of instruction sets only say how a register does it.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod filter;
mod fused;
mod generic;
mod lanes;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;

use super::CpuLevel;
use crate::codec::bands::BlockShape;

use filter::{Any32, Bounded32, FilterLanes, Plain16};
pub(crate) use filter::{Filtering, PaddedRows};
pub(crate) use fused::{FloatLoops, Floats, LANES, fma, with_floats};
pub(crate) use generic::Gain;
pub(crate) use lanes::{Constant, PREDICT_1, PREDICT_2, UPDATE_1, UPDATE_2, Working};

/// Inverse transform of a block down to in-block level of detail `lod`, in place:
/// `values` holds working values in nested band order and ends up with the low-pass voxels of
/// that level of detail in its first corner, row strides unchanged.
///
/// # Panics
/// Never for buffers of `shape.voxels()` values, which is checked.
pub(super) fn inverse<E: Working>(
    level: CpuLevel,
    values: &mut [E],
    scratch: &mut Vec<E>,
    shape: &BlockShape,
    lod: usize,
    gain: Gain,
) {
    // The kernels write through pointers: this is the bound that makes them sound.
    assert!(
        values.len() >= shape.voxels()
            && shape
                .dims
                .iter()
                .all(|&n| (1..=generic::MAX_SIDE).contains(&n))
    );
    if scratch.len() < values.len() {
        scratch.resize(values.len(), E::default());
    }
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level is only ever made from `CpuLevel::available`, which asks the CPU.
        CpuLevel::Avx512 if CpuLevel::available().contains(&level) => unsafe {
            avx512::inverse(values, scratch, shape, lod, gain)
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        CpuLevel::Avx2 if CpuLevel::available().contains(&level) => unsafe {
            avx2::inverse(values, scratch, shape, lod, gain)
        },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: NEON is part of every aarch64 CPU that Rust's std runs on.
        CpuLevel::Neon => unsafe { neon::inverse(values, scratch, shape, lod, gain) },
        // SAFETY: plain Rust registers exist everywhere; bounds are asserted above.
        _ => unsafe { generic::inverse::<E::Plain>(values, scratch, shape, lod, gain) },
    }
}

/// Plain loops that are worth building for wide vectors. `run` must be `#[inline(always)]`: only
/// what is inlined is built for them, which is why this is no closure.
pub(crate) trait Loops {
    /// What they compute.
    type Output;
    /// Runs them.
    fn run(self) -> Self::Output;
}

/// Runs plain loops as built for the vectors of `level`. Same results.
#[inline(always)]
pub(super) fn with_vectors<L: Loops>(level: CpuLevel, loops: L) -> L::Output {
    #[cfg(target_arch = "x86_64")]
    if level >= CpuLevel::Avx2 && CpuLevel::available().contains(&CpuLevel::Avx2) {
        // SAFETY: the CPU has just been asked.
        return unsafe { avx2::run(loops) };
    }
    loops.run()
}

/// Filters 16-bit values.
pub(super) fn filter_narrow(level: CpuLevel, work: Filtering<'_, i16>) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has just been asked.
        CpuLevel::Avx512 if CpuLevel::available().contains(&level) => unsafe {
            avx512::filter(work)
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        CpuLevel::Avx2 if CpuLevel::available().contains(&level) => unsafe { avx2::filter(work) },
        _ => run_filter::<Plain16>(work),
    }
}

/// Filters 32-bit values; `bounded` if all differences and sums fit 32 bits.
pub(super) fn filter_wide(level: CpuLevel, work: Filtering<'_, i32>, bounded: bool) {
    if bounded {
        with_vectors(level, OnPlain::<Bounded32>(work));
    } else {
        with_vectors(level, OnPlain::<Any32>(work));
    }
}

/// A filter on plain registers, to be built for vectors.
struct OnPlain<'a, V: FilterLanes>(Filtering<'a, V::E>);

impl<V: FilterLanes> Loops for OnPlain<'_, V> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        run_filter::<V>(self.0);
    }
}

/// `V` must be of plain Rust.
#[inline(always)]
fn run_filter<V: FilterLanes>(work: Filtering<'_, V::E>) {
    // SAFETY: plain registers exist everywhere.
    unsafe { filter::run::<V>(work) }
}
