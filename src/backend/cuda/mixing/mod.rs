//! Coder M on the device: layers, decoded and encoded bit for bit as on the CPU. Kernels: `cuda/mixing.cu`.

mod layers;
mod tables;

pub use layers::{EncodeBatch, LayerBatch, LayerCoder};
