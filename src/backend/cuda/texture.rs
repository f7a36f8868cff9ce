//! Three-dimensional textures: values that a device interpolates by itself.
#![expect(
    unsafe_code,
    reason = "handles of another machine; every owner here gives back what it made, once"
)]

use std::sync::Arc;

use super::device::Device;
use crate::Result;

/// A texture as kernels take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextureId(pub u64);

/// What a texture holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Texel {
    /// Bytes; kernels see 0..=255 as 0..=1.
    Unorm8,
    /// 16 bits, little-endian; kernels see 0..=65535 as 0..=1.
    Unorm16,
    /// Floats as they are.
    Float32,
}

impl Texel {
    /// Bytes of one.
    pub fn size(self) -> usize {
        match self {
            Self::Unorm8 => 1,
            Self::Unorm16 => 2,
            Self::Float32 => 4,
        }
    }
}

/// A texture of a device. Between texels, whose middles lie at halves, values are linear with weights of 8
/// bits; outside of it those at its edge go on.
#[derive(Debug)]
pub struct Texture {
    device: Arc<dyn Device>,
    id: TextureId,
    texel: Texel,
    dims: [u32; 3],
}

impl Texture {
    /// A texture of `dims` texels, x, y, z, 1 to 16384 each, of unknown content.
    ///
    /// # Errors
    /// [`crate::Error::DeviceMemory`] if there is not enough, [`crate::Error::Device`] if the device fails.
    pub fn new(device: &Arc<dyn Device>, texel: Texel, dims: [u32; 3]) -> Result<Self> {
        Ok(Self {
            id: device.create_texture(texel, dims)?,
            device: Arc::clone(device),
            texel,
            dims,
        })
    }

    /// What kernels take.
    pub fn id(&self) -> TextureId {
        self.id
    }

    /// Bytes of its texels.
    pub fn bytes(&self) -> usize {
        self.dims.iter().map(|n| *n as usize).product::<usize>() * self.texel.size()
    }
}

impl Drop for Texture {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and nothing else gives it back.
        unsafe { self.device.destroy_texture(self.id) }
    }
}
