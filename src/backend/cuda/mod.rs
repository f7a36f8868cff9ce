//! Blocks by the thousand on a CUDA device: the same voxels as on the CPU.
//!
//! Owns the description of a batch of blocks, the kernels by name, and the memory and streams that they
//! work with. Kernels live in `cuda/`, in files named like the modules here. Everything is written against
//! [`Device`]: the driver of a real GPU is one implementation, an emulator that runs the kernels on the CPU
//! another, so that all but the driver's own calls is tested without a GPU.

mod device;
mod layout;
pub mod mixing;
mod stream;

pub use device::{Address, Buffer, Device, DeviceLimits, EventId, Kernel, Launch, StreamId};
pub use layout::{BlockFlags, BlockHead, LayerHead, STATUS_BAD, STATUS_GOOD};
pub use stream::{KernelTime, Stream, Ticket};
