//! From rays to light: which blocks a ray crosses, and what it gathers in them.

mod cells;
mod eye;
mod lamp;
mod leaves;
mod look;
mod run;
mod sample;
mod secondary;

pub(super) use lamp::Lamp;
pub(super) use leaves::{Marcher, Ray};
pub(super) use look::Look;
pub(super) use sample::{gradient, places};
