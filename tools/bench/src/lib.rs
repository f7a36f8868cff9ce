//! Tools around hgv that are not part of it: generated test volumes, mutated inputs and benchmarks.

pub mod generate;
pub mod gpu_decode;
pub mod gpu_encode;
pub mod gpu_render;
pub mod gpu_report;
pub mod lab;
pub mod mutate;
pub mod stream;
pub mod stream_sim;
pub mod time;
