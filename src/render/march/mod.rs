//! From rays to light: which blocks a ray crosses, and what it gathers in them.

mod cells;
mod leaves;
mod look;
mod run;
mod sample;

pub(super) use leaves::{Marcher, Ray};
pub(super) use look::{Gathered, Look};
