//! Volumes over a network: which bytes a view needs, and in which order.

pub mod schedule;
