//! Pictures drawn on a CUDA device: the same as on the CPU, of scenes whose light is of the usual kind.
//!
//! The host makes the tree and the bricks with aprons ready, as for the CPU, and copies to the device what
//! changed since the last picture. Owns what lies on the device; the kernels are `cuda/march.cu`.

mod layout;
mod residents;
mod rooms;
mod shelves;

use std::sync::Arc;

use zerocopy::IntoBytes;

use self::layout::{MarchParams, TILE, TONE, Tables, ToneParams, kernel};
use self::residents::Residents;
use super::frame::Sampling;
use super::march::Marcher;
use super::scene::Mode;
use super::{Environment, Image, Light, Scene, ToneMapping};
use crate::backend::cuda::{Address, Buffer, Device, Stream};
use crate::stream::schedule::View;
use crate::{Error, Result};

/// Draws on a device.
#[derive(Debug)]
pub(super) struct DeviceMarcher {
    stream: Stream,
    /// Bytes of device memory that may be used.
    memory: u64,
    residents: Residents,
    nodes: Mirror,
    slots: Mirror,
    seen: Mirror,
    transfer: Mirror,
    planes: Mirror,
    pixels: Buffer,
    /// The same as bytes.
    rgb: Buffer,
}

/// What a scene has that the kernels do not draw, for people. The one place that knows.
pub(super) fn lacks(scene: &Scene) -> Option<&'static str> {
    // These show colours as they are, whatever the light.
    if matches!(scene.mode, Mode::Maximum | Mode::Mean) {
        return None;
    }
    let material = &scene.material;
    let is_medium = scene.mode == Mode::Medium;
    let by_gradient = is_medium && !scene.transfer.gradient_points().is_empty();
    let is_plain = matches!(scene.environment, Environment::Constant { .. });
    let is_lit = matches!(scene.lights[..], [Light::Directional { .. }]);
    [
        (scene.shadows, "shadows"),
        (scene.ambient_occlusion.is_some(), "ambient occlusion"),
        (material.roughness.is_some(), "roughness of surfaces"),
        (material.anisotropy != 0.0, "anisotropic scattering"),
        (material.emission > 0.0, "emission"),
        (by_gradient, "opacity by the gradient"),
        (!is_plain, "an environment that is not of one colour"),
        (!is_lit, "other lights than one directional light"),
    ]
    .into_iter()
    .find_map(|(is_there, name)| is_there.then_some(name))
}

/// A table that is copied only if it changed.
#[derive(Debug)]
struct Mirror {
    buffer: Buffer,
    /// What the buffer holds.
    last: Vec<u8>,
}

impl Mirror {
    fn new(device: &Arc<dyn Device>) -> Result<Self> {
        Ok(Self {
            buffer: Buffer::new(device, 0)?,
            last: Vec::new(),
        })
    }

    fn set(&mut self, stream: &mut Stream, bytes: &[u8]) -> Result<Address> {
        if self.last != bytes {
            // Whatever fails, the buffer no longer holds it.
            self.last.clear();
            self.buffer.reserve(bytes.len())?;
            stream.upload(&self.buffer, 0, bytes)?;
            self.last.extend_from_slice(bytes);
        }
        Ok(self.buffer.address())
    }
}

impl DeviceMarcher {
    pub(super) fn new(device: &Arc<dyn Device>, memory: u64) -> Result<Self> {
        let mirror = || Mirror::new(device);
        Ok(Self {
            stream: Stream::new(device)?,
            memory,
            residents: Residents::new(device),
            nodes: mirror()?,
            slots: mirror()?,
            seen: mirror()?,
            transfer: mirror()?,
            planes: mirror()?,
            pixels: Buffer::new(device, 0)?,
            rgb: Buffer::new(device, 0)?,
        })
    }

    pub(super) fn name(&self) -> String {
        self.stream.device().name()
    }

    /// Bytes of bricks that were copied to the device for the last picture.
    pub(super) fn uploaded(&self) -> u64 {
        self.residents.uploaded()
    }

    /// Bytes of bricks on the device.
    pub(super) fn bytes(&self) -> u64 {
        self.residents.bytes()
    }

    /// Draws a picture of `size` pixels.
    pub(super) fn draw(
        &mut self,
        marcher: &Marcher<'_>,
        view: &View,
        scene: &Scene,
        size: [u32; 2],
        sampling: Sampling,
    ) -> Result<Image> {
        self.march(marcher, view, scene, size, sampling)?;
        let stream = &mut self.stream;
        let bytes = count(size) * size_of::<[f32; 4]>();
        let ticket = stream.download(&self.pixels, 0, bytes)?;
        stream.synchronise()?;
        Ok(Image {
            size,
            pixels: stream.elements::<[f32; 4]>(&ticket)?.to_vec(),
        })
    }

    /// Draws a picture as [`Image::to_rgb8`] gives it.
    pub(super) fn draw_rgb8(
        &mut self,
        marcher: &Marcher<'_>,
        view: &View,
        scene: &Scene,
        size: [u32; 2],
        sampling: Sampling,
        (exposure, tone): (f32, ToneMapping),
    ) -> Result<Vec<u8>> {
        self.march(marcher, view, scene, size, sampling)?;
        let stream = &mut self.stream;
        self.rgb.reserve(3 * count(size))?;
        let params = ToneParams {
            pixels: self.pixels.address(),
            rgb: self.rgb.address(),
            count: count(size) as u32,
            exposure,
            tone: match tone {
                ToneMapping::Cut => 0,
                ToneMapping::Reinhard => 1,
                ToneMapping::Filmic => 2,
            },
            unused: 0,
        };
        stream.launch(&TONE, params.count.div_ceil(TONE.threads), 0, &params)?;
        let ticket = stream.download(&self.rgb, 0, 3 * count(size))?;
        stream.synchronise()?;
        Ok(stream.bytes(&ticket)?.to_vec())
    }

    /// Queues what leaves a picture in `pixels`.
    fn march(
        &mut self,
        marcher: &Marcher<'_>,
        view: &View,
        scene: &Scene,
        size: [u32; 2],
        sampling: Sampling,
    ) -> Result<()> {
        let [width, height] = size;
        let pixels = count(size) * size_of::<[f32; 4]>();
        let picture = pixels + 3 * count(size);
        let nodes: Vec<[u32; 2]> = marcher.stage.tree.nodes().collect();
        let table = marcher.look.table.entries.as_bytes();
        let slots = marcher.stage.shown.len() * size_of::<layout::MarchSlot>();
        let planes = marcher.clip.planes.as_bytes();
        let tables = nodes.as_bytes().len() + slots + table.len() + planes.len();
        let tables = tables + residents::bit_bytes(marcher.stage);
        let rest = self.memory.checked_sub((picture + tables) as u64);
        let rest = rest.ok_or_else(|| {
            Error::DeviceMemory(format!(
                "a picture of {width} x {height} pixels takes {} bytes, {} may be used",
                picture + tables,
                self.memory
            ))
        })?;
        let stream = &mut self.stream;
        stream.recycle()?;
        let described = (self.residents).hold(stream, marcher.stage, sampling, rest)?;
        self.pixels.reserve(pixels)?;
        let tables = Tables {
            nodes: self.nodes.set(stream, nodes.as_bytes())?,
            slots: self.slots.set(stream, described.slots.as_bytes())?,
            seen: self.seen.set(stream, described.seen.as_bytes())?,
            transfer: self.transfer.set(stream, table)?,
            planes: self.planes.set(stream, planes)?,
            pixels: self.pixels.address(),
        };
        let params = MarchParams::new(marcher, view, scene, size, (tables, described.texels));
        let blocks = size[0].div_ceil(TILE[0]) * size[1].div_ceil(TILE[1]);
        let kernel = kernel(marcher.stage.tree.dtype, sampling);
        stream.launch(kernel, blocks, 0, &params)
    }
}

/// Pixels of a picture.
fn count(size: [u32; 2]) -> usize {
    size[0] as usize * size[1] as usize
}
