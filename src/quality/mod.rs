//! How much two volumes differ: PSNR, SSIM at four levels of detail, largest and mean error.
//!
//! Knows volumes and errors only: no files, codecs or models; a device may make the sums. Both volumes are read once (A
//! twice, if its range is not given), in columns of 256 x 256 voxels that march along z, so memory
//! does not grow with the extent: about 32 MiB a thread for 16-bit voxels, 60 MiB for float32.
//!
//! # Definitions
//! * Errors are `a - b` in 64-bit floats. The range is `max - min` of A over finite values.
//! * PSNR is `20 log10(range / rmse)`.
//! * SSIM works on `(v - min) / range` rounded to 32-bit floats (min and range of A for both), in
//!   cubic windows of 7 voxels with equal weights, sample covariance, K1 = 0.01, K2 = 0.03 and data
//!   range 1; only windows fully inside the volume count, and the mean over them is reported.
//! * Levels of detail 1, 2, 3 are means over 2^3, 4^3, 8^3 voxels, computed by halving; an
//!   odd last voxel is dropped. They share the range of the full resolution.
//! * NaN and infinities: a voxel that is not finite in A or in B is left out of the
//!   error figures and counts as A's minimum in SSIM; `nonfinite_mismatches` counts those that
//!   are not the same value in both.
//! * A constant A has no range: PSNR, SSIM and the relative error are then `None`, unless the
//!   volumes are identical (SSIM 1, relative error 0).

mod column;
mod compare;
mod device;
mod ssim;
mod stats;
mod values;

pub use compare::{CompareOptions, CompareProgress, Comparison, compare, compare_on};
pub(crate) use compare::{value_range, workers};
pub(crate) use device::{Statistics, TurningSums};
pub use stats::ErrorStats;
pub(crate) use values::Scale;
pub use values::to_f32;
