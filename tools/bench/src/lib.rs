//! Tools around hgv that are not part of it: generated test volumes and benchmarks.

pub mod generate;
