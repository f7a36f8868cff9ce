//! Gradient descent on one block, on the CPU.
//!
//! Owns a block model in floats (grid levels, refinement, network; specification, "Grid model"),
//! its gradients, and how they are followed. Must not know files, integer models or how weights are
//! coded: plain floats come in and go out, and the encoder turns them into integers and measures
//! what they are worth on the decoder's own output.
//!
//! One block is trained by one thread, in an order of sums that depends on neither thread count nor
//! vector width. Levels of vectors with fused multiply-add give the same bits; plain Rust rounds
//! twice and differs in the last places.

mod adam;
#[cfg(feature = "bench")]
mod field;
#[cfg(feature = "bench")]
mod hash;
mod kernel;
mod mlp;
mod mlp_trainer;
#[cfg(feature = "bench")]
mod net;
mod pass;
mod plain;
mod random;
#[cfg(feature = "bench")]
mod rate;
#[cfg(feature = "bench")]
mod refine;
#[cfg(feature = "bench")]
mod relax;
#[cfg(feature = "bench")]
mod trainer;

#[cfg(all(test, feature = "bench"))]
mod oracle;
#[cfg(all(test, feature = "bench"))]
mod tests;

pub(crate) use adam::cosine;
pub(crate) use mlp::{Mlp, MlpShape};
pub(crate) use mlp_trainer::{MlpOptions, fresh_mlp, train_mlp};
#[cfg(feature = "bench")]
pub(crate) use net::{LevelSpec, Net};
#[cfg(feature = "bench")]
pub(crate) use plain::root_mean_square;
pub(crate) use plain::{scale_inputs, scale_output};
pub(crate) use random::Random;
#[cfg(feature = "bench")]
pub(crate) use trainer::{Loss, TrainOptions, TrainReport, Trainer, train_block};
