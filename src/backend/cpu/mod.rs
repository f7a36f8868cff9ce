//! The CPU backend: a scalar oracle and the same kernels on vectors.

mod block;
mod grid;
mod layers;
mod level;
mod parts;
#[expect(
    unsafe_code,
    reason = "vector intrinsics and the pointer kernels they run in"
)]
mod simd;

pub(crate) use block::Reconstruction;
pub use block::{CpuBackend, Scratch};
pub(crate) use grid::GridScratch;
pub use level::CpuLevel;
pub(crate) use parts::GridParts;
pub(crate) use simd::{Constant, Loops, PREDICT_1, PREDICT_2, UPDATE_1, UPDATE_2, Working};
pub(crate) use simd::{FloatLoops, Floats, LANES, fma, with_floats};
