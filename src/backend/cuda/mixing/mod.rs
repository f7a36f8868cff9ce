//! Coder M on the device: layers, decoded and encoded bit for bit as on the CPU. Kernels: `cuda/mixing*.cu`.
//!
//! Batches are described as for coder R, so that a caller sorts blocks by coder and hands both the same.

mod encode;
mod layers;
mod tables;

pub use encode::MixingEncoder;
pub use layers::MixingDecoder;

/// Dynamic shared memory of a thread block: a bit for each group of the seven bands of the finest split, 16
/// bits a row.
fn flag_bytes(block_log2: u32) -> u32 {
    let groups = (1u32 << block_log2 >> 1).div_ceil(4);
    7 * groups * groups * 2
}
