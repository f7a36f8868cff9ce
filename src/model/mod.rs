//! Block models: what the integers in a payload mean. Numbers only, no bytes of a file and no
//! kernels (specification, "Models").

pub mod gains;
mod wavelet;

pub use wavelet::{Precision, WaveletModel};
