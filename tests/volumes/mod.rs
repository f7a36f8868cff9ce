//! Small volumes, encoded for real and read from memory. Index order x, y, z; memory `[z][y][x]`.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

pub mod points;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use hgv::encode::{EncodeOptions, ModelChoice, Preset, encode};
use hgv::io::{MemorySource, RangeSource};
use hgv::volume::{DType, MemoryVolume, Metadata, Region};
use hgv::{Limits, Volume};

/// What a field looks like.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Largest value.
    pub span: f64,
    /// White noise, as a share of the span.
    pub noise: f64,
    /// Voxels with x under this are zero.
    pub empty_to_x: u64,
    pub seed: u64,
}

impl Default for Field {
    fn default() -> Self {
        Self {
            span: 255.0,
            noise: 0.02,
            empty_to_x: 0,
            seed: 1,
        }
    }
}

impl Field {
    fn values(&self, [w, h, d]: [u64; 3]) -> Vec<f64> {
        let mut state = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut noise = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
        };
        let mut out = Vec::new();
        for (z, y) in (0..d).flat_map(|z| (0..h).map(move |y| (z as f64, y as f64))) {
            for x in 0..w {
                let smooth = ((x as f64 / 9.0).sin() + (y / 13.0).cos() + (z / 7.0).sin()) / 6.0;
                let value = smooth + 0.5 + noise() * self.noise;
                let empty = x < self.empty_to_x;
                out.push(if empty {
                    0.0
                } else {
                    value.clamp(0.0, 1.0) * self.span
                });
            }
        }
        out
    }

    /// A volume of unsigned integers.
    pub fn volume(&self, extent: [u64; 3], dtype: DType) -> MemoryVolume {
        let values = self.values(extent).into_iter();
        let bytes: Vec<u8> = match dtype {
            DType::Uint8 => values.map(|v| v as u8).collect(),
            DType::Uint16 => values.flat_map(|v| (v as u16).to_le_bytes()).collect(),
            _ => panic!("{dtype} is not made here"),
        };
        MemoryVolume::from_bytes(extent, dtype, bytes, Metadata::default()).unwrap()
    }
}

/// Block models with the preset that they are tried with: wavelets, grids, the cheaper of both.
pub const MODELS: [(ModelChoice, Preset); 3] = [
    (ModelChoice::Dense, Preset::Balanced),
    (ModelChoice::Hashgrid, Preset::Fast),
    (ModelChoice::Auto, Preset::Best),
];

pub fn options(change: impl FnOnce(&mut EncodeOptions)) -> EncodeOptions {
    let mut options = EncodeOptions::default();
    options.block = 32;
    change(&mut options);
    options
}

pub fn encode_file(source: &MemoryVolume, path: &Path, options: &EncodeOptions) {
    encode(source, path, options, &|_| ControlFlow::Continue(())).unwrap();
}

/// The bytes of the encoded file.
pub fn encoded(source: &MemoryVolume, change: impl FnOnce(&mut EncodeOptions)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.hgv");
    encode_file(source, &path, &options(change));
    std::fs::read(path).unwrap()
}

pub fn memory(bytes: &[u8]) -> Arc<dyn RangeSource> {
    Arc::new(MemorySource::new(bytes))
}

/// A volume that decodes on one thread.
pub fn open(source: Arc<dyn RangeSource>) -> hgv::Result<Volume> {
    Volume::from_source(source, Limits::default())?.with_threads(1)
}

pub fn read(v: &Volume, lod: u32, level: u32, region: &Region) -> hgv::Result<Vec<u8>> {
    let mut out = vec![0; region.voxels() as usize * v.dtype().size()];
    v.read_region_bytes(lod, level, region, &mut out)?;
    Ok(out)
}

/// Every level of detail at every quality, finest first.
pub fn read_all(v: &Volume) -> hgv::Result<Vec<Vec<u8>>> {
    let all = (0..v.lods()).flat_map(|lod| (0..v.levels()).map(move |level| (lod, level)));
    all.map(|(lod, level)| read(v, lod, level, &Region::whole(v.lod_extent(lod)?)))
        .collect()
}
