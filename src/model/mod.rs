//! Block models: what the integers in a payload mean. Numbers only, no bytes of a file and no
//! kernels (specification, "Models").

pub mod gains;
mod values;
mod wavelet;

pub use values::{FLOAT_LIMIT, NON_FINITE, ValueMap, unit_of};
pub use wavelet::{Precision, WaveletModel};
