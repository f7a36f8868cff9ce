//! The CPU backend: a scalar oracle and the same kernels on vectors.

mod block;
mod filter;
mod grid;
mod layers;
mod level;
mod parts;
mod rounding;
#[expect(
    unsafe_code,
    reason = "vector intrinsics and the pointer kernels they run in"
)]
mod simd;

pub(crate) use block::Reconstruction;
pub use block::{CpuBackend, Scratch};
pub(crate) use filter::{Ends, Filtered};
pub(crate) use grid::GridScratch;
pub(crate) use layers::{check_prefix, split_layer};
pub use level::CpuLevel;
pub(crate) use parts::GridParts;
pub(crate) use simd::{Constant, Loops, PREDICT_1, PREDICT_2, UPDATE_1, UPDATE_2};
pub(crate) use simd::{FloatLoops, Floats, LANES, fma, with_floats};
