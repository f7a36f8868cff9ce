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
mod field;
mod hash;
mod kernel;
mod mlp;
mod mlp_trainer;
mod net;
mod pass;
mod plain;
mod random;
mod rate;
mod refine;
mod relax;
mod trainer;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

pub(crate) use mlp::{Mlp, MlpShape};
pub(crate) use mlp_trainer::{MlpOptions, train_mlp};
pub(crate) use net::{LevelSpec, Net};
pub(crate) use refine::Order;
pub(crate) use trainer::{TrainOptions, Trainer, train_block};
