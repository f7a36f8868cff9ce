//! A device that measures every kernel that runs on it.
#![expect(
    unsafe_code,
    reason = "hands every call on, with the promises of its caller"
)]

use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use super::device::{Address, Device, DeviceLimits, EventId, Launch, StreamId};
use super::stream::KernelTime;
use super::texture::{Texel, TextureId};
use crate::Result;

/// A device, and the moments before and after each kernel.
#[derive(Debug)]
pub struct Profiled {
    device: Arc<dyn Device>,
    moments: Mutex<Vec<(&'static str, EventId, EventId)>>,
}

impl Profiled {
    /// Measures what runs on a device from now on.
    pub fn new(device: Arc<dyn Device>) -> Self {
        Self {
            device,
            moments: Mutex::default(),
        }
    }

    /// What the kernels took since the last call. All streams must have been waited for.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if the device fails.
    pub fn take(&self) -> Result<Vec<KernelTime>> {
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let times = moments.drain(..).map(|(kernel, from, to)| {
            Ok(KernelTime {
                kernel,
                milliseconds: self.device.elapsed(from, to)?,
            })
        });
        times.collect()
    }
}

impl Device for Profiled {
    fn name(&self) -> String {
        self.device.name()
    }

    fn limits(&self) -> DeviceLimits {
        self.device.limits()
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.device.allocate(bytes)
    }

    unsafe fn release(&self, address: Address) {
        // SAFETY: the caller's promise; so below.
        unsafe { self.device.release(address) }
    }

    fn allocate_host(&self, bytes: usize) -> Result<NonNull<u8>> {
        self.device.allocate_host(bytes)
    }

    unsafe fn release_host(&self, memory: NonNull<u8>, bytes: usize) {
        // SAFETY: as above.
        unsafe { self.device.release_host(memory, bytes) }
    }

    fn create_stream(&self) -> Result<StreamId> {
        self.device.create_stream()
    }

    unsafe fn destroy_stream(&self, stream: StreamId) {
        // SAFETY: as above.
        unsafe { self.device.destroy_stream(stream) }
    }

    unsafe fn upload(
        &self,
        stream: StreamId,
        to: Address,
        from: NonNull<u8>,
        bytes: usize,
    ) -> Result<()> {
        // SAFETY: as above.
        unsafe { self.device.upload(stream, to, from, bytes) }
    }

    unsafe fn download(
        &self,
        stream: StreamId,
        to: NonNull<u8>,
        from: Address,
        bytes: usize,
    ) -> Result<()> {
        // SAFETY: as above.
        unsafe { self.device.download(stream, to, from, bytes) }
    }

    unsafe fn fill(&self, stream: StreamId, to: Address, byte: u8, bytes: usize) -> Result<()> {
        // SAFETY: as above.
        unsafe { self.device.fill(stream, to, byte, bytes) }
    }

    fn create_texture(&self, texel: Texel, dims: [u32; 3]) -> Result<TextureId> {
        self.device.create_texture(texel, dims)
    }

    unsafe fn destroy_texture(&self, texture: TextureId) {
        // SAFETY: as above.
        unsafe { self.device.destroy_texture(texture) }
    }

    unsafe fn upload_texture(
        &self,
        stream: StreamId,
        to: TextureId,
        from: NonNull<u8>,
    ) -> Result<()> {
        // SAFETY: as above.
        unsafe { self.device.upload_texture(stream, to, from) }
    }

    unsafe fn launch(&self, stream: StreamId, launch: &Launch<'_>) -> Result<()> {
        let from = self.device.record(stream)?;
        // SAFETY: as above.
        unsafe { self.device.launch(stream, launch)? };
        let to = self.device.record(stream)?;
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        moments.push((launch.kernel.name, from, to));
        Ok(())
    }

    fn synchronise(&self, stream: StreamId) -> Result<()> {
        self.device.synchronise(stream)
    }

    fn record(&self, stream: StreamId) -> Result<EventId> {
        self.device.record(stream)
    }

    fn elapsed(&self, from: EventId, to: EventId) -> Result<f64> {
        self.device.elapsed(from, to)
    }
}
