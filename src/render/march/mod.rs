//! From rays to light: which blocks a ray crosses, and what it gathers in them.

mod leaves;
mod run;

pub(super) use leaves::{Marcher, Ray};
pub(super) use run::{Gathered, Look};
