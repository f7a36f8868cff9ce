//! Parameters of a block model <-> payload bytes: bands, contexts, tokens, entropy coder.
//! Pure functions of bytes and integers; knows neither files nor SIMD kernels
//! (specification, "Payload").

mod band;
pub mod bands;
pub mod bits;
pub mod contexts;
pub mod grid;
mod layer;
pub mod mask;
pub mod mixing;
mod quant;
pub mod rans;
pub(crate) mod rates;
mod residual;
pub(crate) mod state;
pub mod symbols;
pub mod tables;

pub use crate::model::Coder;
pub(crate) use layer::rows;
pub use layer::{count_layer, decode_layer, encode_layer};
pub use quant::{Quantiser, dequantise_band};
pub use residual::{count_residual, decode_residual, encode_residual};
pub use state::{Coefficient, CoefficientState};
