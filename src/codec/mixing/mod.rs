//! Coder M: binary decisions, each with a probability mixed from several contexts that learn while
//! the block is decoded (specification, "Coder M").
//!
//! One traversal serves encoder, decoder and training. What was learnt in one layer of a block
//! helps the next; every block starts from the trained tables.

mod layer;
mod layout;
mod mixer;
mod range;
mod scales;
mod tables;
mod terms;
mod walk;

pub(crate) use layer::MixingState;
#[doc(hidden)]
pub use layer::{Traversal, traverse_block};
pub(super) use layer::{decode, encode};
#[doc(hidden)]
pub use layout::{ADAPTIVE, SLOTS, WEIGHTS};
pub(crate) use mixer::RATES;
#[doc(hidden)]
pub use mixer::{Decider, Mixer, RATE, Trainer, followed};
#[doc(hidden)]
pub use tables::{CURVE, KINDS, MAGNITUDE_TERMS, SIGN_TERMS, Tables, tables};
