//! Blocks by the thousand on a CUDA device: the same voxels as on the CPU.
//!
//! Owns the description of a batch of blocks, the kernels by name, and the memory and streams that they
//! work with. Kernels live in `cuda/`, in files named like the modules here. Everything is written against
//! [`Device`]: the driver of a real GPU is one implementation, an emulator that runs the kernels on the CPU
//! another, so that all but the driver's own calls is tested without a GPU.

#[cfg(feature = "cuda")]
mod api;
mod backend;
mod batch;
mod decoders;
mod device;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(feature = "cuda")]
mod driver_textures;
pub mod grid;
mod lane;
mod layout;
mod mask;
pub mod mixing;
#[cfg(feature = "cuda")]
mod module;
mod plan;
#[cfg(feature = "cuda")]
mod pool;
mod profiled;
#[cfg(feature = "cuda")]
mod ptx;
pub mod rans;
mod rebuild;
mod reconstruct;
mod sink;
mod stream;
mod texture;
pub mod train;

use std::sync::Arc;

use crate::Result;

pub use backend::{CudaBackend, Flight};
pub use batch::{BYTE_ALIGN, Content, Placement, Voxels};
pub use device::{Address, Buffer, Device, DeviceLimits, EventId, Kernel, Launch, StreamId};
pub use layout::{BlockFlags, BlockHead, LayerHead, STATUS_BAD, STATUS_GOOD};
pub use mask::{MaskBatch, MaskEncodeBatch, MaskEncoder, decode_masks};
pub use profiled::Profiled;
pub(crate) use rebuild::{RebuildBlock, RebuildPlanes, Rebuilder};
pub use sink::{ByteSink, STATUS_FULL, SinkAddresses};
pub use stream::{KernelTime, Stream, Ticket};
pub use texture::{Texel, Texture, TextureId};

/// Every GPU that can be used, each with at most `memory` bytes if that is stated.
///
/// # Errors
/// [`crate::Error::Device`] with the reason if there is none.
#[cfg(feature = "cuda")]
pub fn devices(memory: Option<u64>) -> Result<Vec<Arc<dyn Device>>> {
    driver::devices(memory)
}

/// Every GPU that can be used: without the feature `cuda`, none.
///
/// # Errors
/// [`crate::Error::Device`].
#[cfg(not(feature = "cuda"))]
pub fn devices(_memory: Option<u64>) -> Result<Vec<Arc<dyn Device>>> {
    Err(crate::Error::Device(
        "there is no device to use: this program was built without CUDA".into(),
    ))
}
