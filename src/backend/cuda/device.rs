//! The machine that kernels run on, and memory that belongs to it.
#![expect(
    unsafe_code,
    reason = "addresses of another machine; every owner here frees what it allocated, once"
)]

use std::fmt::Debug;
use std::ptr::NonNull;
use std::sync::Arc;

use super::texture::{Texel, TextureId};
use crate::{Error, Result};

/// An address in the memory of a device.
pub type Address = u64;

/// A queue of work on a device; work of one stream runs in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId(pub u64);

/// A moment in the work of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId(pub u64);

/// A kernel as its source states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// File under `cuda/`, without `.cu`.
    pub module: &'static str,
    /// Name of the entry.
    pub name: &'static str,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of its parameter struct.
    pub params: usize,
}

impl Kernel {
    /// A kernel whose parameters are a `P`.
    pub const fn new<P>(module: &'static str, name: &'static str, threads: u32) -> Self {
        Self {
            module,
            name,
            threads,
            params: size_of::<P>(),
        }
    }
}

/// One run of a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// What runs.
    pub kernel: &'a Kernel,
    /// Thread blocks, 1..2^31.
    pub blocks: u32,
    /// Bytes of dynamic shared memory of each block.
    pub shared: u32,
    /// The parameter struct.
    pub params: &'a [u8],
}

/// What a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Most bytes of dynamic shared memory of a block.
    pub shared: u32,
    /// Bytes of memory that were free when the device was opened, or that the user allows.
    pub memory: u64,
    /// Compute capability, such as 90 for 9.0.
    pub compute: u32,
}

/// A machine that runs the kernels of `cuda/`.
///
/// Methods may be called from any thread.
pub trait Device: Send + Sync + Debug {
    /// Its name for people, such as `NVIDIA H200`.
    fn name(&self) -> String;

    /// What it has.
    fn limits(&self) -> DeviceLimits;

    /// New memory, aligned to 256 bytes, of unknown content.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`] if there is not enough.
    fn allocate(&self, bytes: usize) -> Result<Address>;

    /// Gives memory back after the work that was queued before is done.
    ///
    /// # Safety
    /// `address` comes from [`Self::allocate`] and is not used again.
    unsafe fn release(&self, address: Address);

    /// New page-locked memory of the host, aligned to 64 bytes, all of it initialised.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`] if there is not enough.
    fn allocate_host(&self, bytes: usize) -> Result<NonNull<u8>>;

    /// Gives host memory back.
    ///
    /// # Safety
    /// `memory` and `bytes` are of one [`Self::allocate_host`]; no copy from or to it is under way.
    unsafe fn release_host(&self, memory: NonNull<u8>, bytes: usize);

    /// A new stream.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn create_stream(&self) -> Result<StreamId>;

    /// Ends a stream after its work.
    ///
    /// # Safety
    /// `stream` comes from [`Self::create_stream`] and is not used again.
    unsafe fn destroy_stream(&self, stream: StreamId);

    /// Queues a copy from page-locked host memory.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    ///
    /// # Safety
    /// Both ranges exist; `from` is not written to until the stream is synchronised.
    unsafe fn upload(
        &self,
        stream: StreamId,
        to: Address,
        from: NonNull<u8>,
        bytes: usize,
    ) -> Result<()>;

    /// Queues a copy to page-locked host memory.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    ///
    /// # Safety
    /// Both ranges exist; `to` is not touched until the stream is synchronised.
    unsafe fn download(
        &self,
        stream: StreamId,
        to: NonNull<u8>,
        from: Address,
        bytes: usize,
    ) -> Result<()>;

    /// Queues filling memory with a byte.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    ///
    /// # Safety
    /// The range exists.
    unsafe fn fill(&self, stream: StreamId, to: Address, byte: u8, bytes: usize) -> Result<()>;

    /// A new texture of `dims` texels, x, y, z, of unknown content.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`] if there is not enough, [`Error::Device`] if the device fails.
    fn create_texture(&self, texel: Texel, dims: [u32; 3]) -> Result<TextureId>;

    /// Gives a texture back after the work that was queued before is done.
    ///
    /// # Safety
    /// `texture` comes from [`Self::create_texture`] and is not used again.
    unsafe fn destroy_texture(&self, texture: TextureId);

    /// Queues a copy of all texels, `[z][y][x]`, from page-locked host memory.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    ///
    /// # Safety
    /// `from` has as many bytes as the texture and is not written to until the stream is synchronised.
    unsafe fn upload_texture(
        &self,
        stream: StreamId,
        to: TextureId,
        from: NonNull<u8>,
    ) -> Result<()>;

    /// Queues a kernel.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails, has no such kernel, or states other parameters for it.
    ///
    /// # Safety
    /// Addresses in the parameters are of memory that is large enough for what the kernel does with it.
    unsafe fn launch(&self, stream: StreamId, launch: &Launch<'_>) -> Result<()>;

    /// Waits for the work of a stream.
    ///
    /// # Errors
    /// [`Error::Device`] if any of it failed.
    fn synchronise(&self, stream: StreamId) -> Result<()>;

    /// Marks a moment after the work that was queued before.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails.
    fn record(&self, stream: StreamId) -> Result<EventId>;

    /// Milliseconds between two moments that are past; forgets both.
    ///
    /// # Errors
    /// [`Error::Device`] if the device fails or a moment is unknown.
    fn elapsed(&self, from: EventId, to: EventId) -> Result<f64>;
}

/// Memory of a device.
#[derive(Debug)]
pub struct Buffer {
    device: Arc<dyn Device>,
    address: Address,
    bytes: usize,
}

impl Buffer {
    /// `bytes` of unknown content.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`] if there is not enough.
    pub fn new(device: &Arc<dyn Device>, bytes: usize) -> Result<Self> {
        Ok(Self {
            address: device.allocate(bytes.max(1))?,
            device: Arc::clone(device),
            bytes,
        })
    }

    /// Where it begins.
    pub fn address(&self) -> Address {
        self.address
    }

    /// How long it is.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The address of `bytes` at `offset`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if they are not all there.
    pub fn range(&self, offset: usize, bytes: usize) -> Result<Address> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.bytes => Ok(self.address + offset as u64),
            _ => Err(Error::argument(format!(
                "{bytes} bytes at {offset} of a device buffer of {}",
                self.bytes
            ))),
        }
    }

    /// Makes room for at least `bytes`; what it held is lost if it has to grow.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`] if there is not enough.
    pub fn reserve(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.bytes {
            *self = Self::new(&self.device, bytes)?;
        }
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the address was allocated by `new` and nothing else gives it back.
        unsafe { self.device.release(self.address) }
    }
}

/// Page-locked memory of the host.
#[derive(Debug)]
pub(super) struct HostMemory {
    device: Arc<dyn Device>,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: plain memory with one owner; sharing it is up to the stream that owns it.
unsafe impl Send for HostMemory {}
// SAFETY: as above; there is no interior mutability behind a shared reference.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    pub(super) fn new(device: &Arc<dyn Device>, bytes: usize) -> Result<Self> {
        Ok(Self {
            start: device.allocate_host(bytes)?,
            device: Arc::clone(device),
            bytes,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// A part of it, `None` if it is not all there.
    pub(super) fn part(&self, offset: usize, bytes: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(bytes)?;
        // SAFETY: the offset lies within the memory.
        (end <= self.bytes).then(|| unsafe { self.start.add(offset) })
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`; the stream that owns it has synchronised before it drops it.
        unsafe { self.device.release_host(self.start, self.bytes) }
    }
}
