//! What is wrapped around the layers of a model: the mask in front of the first, the residual
//! behind the last.

use byteorder::{ByteOrder, LittleEndian as Le};

use crate::backend::BlockJob;
use crate::codec::mask::{Class, decode_mask};
use crate::{Error, Result};

/// The layers of a block without what wraps the last one.
pub(super) struct Parts<'a> {
    pub(super) layers: Vec<&'a [u8]>,
    /// Residual that ends the last layer.
    pub(super) residual: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(job: &BlockJob<'_>, layers: &'a [Vec<u8>]) -> Result<Self> {
        let mut layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
        let mut residual = None;
        // A last layer without bytes has neither a model's part nor a residual.
        let ends = job.model.residual().is_some() && layers.len() == job.steps.len();
        if let Some(last) = layers.last_mut().filter(|l| ends && !l.is_empty()) {
            let (model, rest) = split_layer(last)?;
            (*last, residual) = (model, Some(rest));
        }
        Ok(Self { layers, residual })
    }
}

/// The layers must give the level of detail, all of it at one quality.
pub(crate) fn check_prefix(job: &BlockJob<'_>) -> Result<()> {
    let last = job
        .layers
        .len()
        .checked_sub(1)
        .and_then(|i| job.steps.get(i));
    let fits = last.is_some_and(|s| {
        if s.quality == 0 {
            usize::from(s.lod) <= job.lod
        } else {
            s.lod == 0
        }
    });
    if fits && job.lod <= job.shape.depth {
        return Ok(());
    }
    Err(Error::argument(format!(
        "{} layers do not give level of detail {} of a block",
        job.layers.len(),
        job.lod
    )))
}

/// Classes of the voxels of a block at full resolution, `[z][y][x]`.
pub(super) struct Mask(Vec<Class>);

impl Mask {
    /// The mask that the first layer begins with, and the layers without it.
    pub(super) fn split_off(job: &BlockJob<'_>) -> Result<(Self, Vec<Vec<u8>>)> {
        let mut layers = job.layers.to_vec();
        let (mask, rest) = split_layer(&layers[0])?;
        let classes = decode_mask(mask, job.shape.dims)?;
        layers[0] = rest.to_vec();
        Ok((Self(classes), layers))
    }

    /// Classes of the voxels of the level of detail, `[z][y][x]`.
    pub(super) fn classes(&self, job: &BlockJob<'_>) -> impl Iterator<Item = Class> {
        let ([w, h, d], [nx, ny, _]) = (job.shape.dims_at(job.lod), job.shape.dims);
        let lod = job.lod;
        (0..w * h * d).map(move |i| {
            // A voxel of a level of detail lies on one of the full resolution and takes its class.
            let [x, y, z] = [i % w, i / w % h, i / (w * h)].map(|v| v << lod);
            self.0[(z * ny + y) * nx + x]
        })
    }
}

/// A layer of two parts: u32 length of the first, the first, the second.
pub(crate) fn split_layer(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let length = bytes.get(..4).map(|b| Le::read_u32(b) as usize);
    length
        .and_then(|n| bytes[4..].split_at_checked(n))
        .ok_or_else(|| {
            Error::corrupt(
                "layer",
                0,
                format!("{} bytes cannot hold a layer of two parts", bytes.len()),
            )
        })
}
