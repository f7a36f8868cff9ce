//! Volumes cut into blocks, for experiments that need no container.

use std::path::Path;

use hgv::bench_api::LabCurve;
use hgv::encode::Preset;

/// Extent and values of a block.
pub type Block = ([usize; 3], Vec<f32>);

/// A volume in memory, values in integer units, `[z][y][x]`.
pub struct LabVolume {
    /// File name without folder and extension.
    pub name: String,
    /// Voxels along x, y, z.
    pub dims: [usize; 3],
    /// Values.
    pub values: Vec<f32>,
    /// Bytes of one voxel in the file.
    pub voxel_bytes: usize,
    /// Smallest and largest integer.
    pub range: (i32, i32),
}

impl LabVolume {
    /// Loads a C-order `.npy` of uint8, int16, uint16 or float32.
    ///
    /// # Errors
    /// A message that names the file.
    pub fn load(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let parse = || {
            let n = usize::from(u16::from_le_bytes([*bytes.get(8)?, *bytes.get(9)?]));
            let head = std::str::from_utf8(bytes.get(10..10 + n)?).ok()?;
            let shape = head.split("'shape': (").nth(1)?.split(')').next()?;
            let dims: Vec<usize> = shape
                .split(',')
                .filter_map(|s| s.trim().parse().ok())
                .collect();
            let descr = head.split("'descr': '").nth(1)?.split('\'').next()?;
            Some((
                descr.to_string(),
                [*dims.get(2)?, *dims.get(1)?, *dims.first()?],
                &bytes[10 + n..],
            ))
        };
        let (descr, dims, body) =
            parse().ok_or_else(|| format!("{}: not a 3-D .npy file", path.display()))?;
        let (raw, voxel_bytes): (Vec<f64>, usize) = match descr.as_str() {
            "|u1" => (body.iter().map(|&b| f64::from(b)).collect(), 1),
            "<u2" => (
                body.chunks_exact(2)
                    .map(|b| f64::from(u16::from_le_bytes([b[0], b[1]])))
                    .collect(),
                2,
            ),
            "<i2" => (
                body.chunks_exact(2)
                    .map(|b| f64::from(i16::from_le_bytes([b[0], b[1]])))
                    .collect(),
                2,
            ),
            "<f4" => (
                body.chunks_exact(4)
                    .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
                    .collect(),
                4,
            ),
            other => return Err(format!("{}: type {other} is not read here", path.display())),
        };
        let (min, max) = raw
            .iter()
            .fold((f64::MAX, f64::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        let scale = if voxel_bytes == 4 {
            f64::from((1 << 22) - 1) / (max - min)
        } else {
            1.0
        };
        let values: Vec<f32> = raw.iter().map(|&v| (v * scale) as f32).collect();
        let range = ((min * scale).floor() as i32, (max * scale).ceil() as i32);
        let name = path
            .file_stem()
            .map(|s| s.to_string_lossy().into_owned())
            .unwrap_or_default();
        Ok(Self {
            name,
            dims,
            values,
            voxel_bytes,
            range,
        })
    }

    /// Extents and values of an even sample of at most `most` cubes of 64 voxels a side, with their
    /// numbers among all; without those of one value.
    pub fn sample(&self, most: usize) -> impl Iterator<Item = (usize, [usize; 3], Vec<f32>)> {
        let corners = self.corners(64);
        let stride = corners.len().div_ceil(most).max(1);
        let chosen = corners.into_iter().enumerate().skip(stride / 2);
        let cubes = chosen.step_by(stride).map(|(i, corner)| {
            let (dims, values) = self.cube(corner, 64);
            (i, dims, values)
        });
        cubes.filter(|(_, _, values)| values.iter().any(|v| *v != values[0]))
    }

    /// At least `wanted` cubes of 64 voxels a side, evenly, if there are as many, as the encoder samples a
    /// volume; and their share of it.
    pub fn evenly(&self, wanted: usize) -> (Vec<Block>, f64) {
        let corners = self.corners(64);
        let every = (corners.len() / wanted).max(1) | usize::from(corners.len() >= 2 * wanted);
        let chosen = corners.iter().step_by(every);
        let blocks: Vec<_> = chosen.map(|&corner| self.cube(corner, 64)).collect();
        let share = blocks.len() as f64 / corners.len() as f64;
        (blocks, share)
    }

    /// The value curve that a file of the volume would have at about `step`.
    ///
    /// # Errors
    /// As the encoder.
    pub fn curve(&self, preset: Preset, step: f64) -> Result<LabCurve, String> {
        let (blocks, share) = self.evenly(8);
        LabCurve::choose(blocks, share, self.range, preset, step).map_err(|e| e.to_string())
    }

    /// Corners of the cubes of `side` voxels that cover the volume.
    pub fn corners(&self, side: usize) -> Vec<[usize; 3]> {
        let starts = |n: usize| (0..n).step_by(side);
        starts(self.dims[2])
            .flat_map(|z| {
                starts(self.dims[1]).flat_map(move |y| starts(self.dims[0]).map(move |x| [x, y, z]))
            })
            .collect()
    }

    /// Extent and values of the cube at `corner`, cut at the border.
    pub fn cube(&self, corner: [usize; 3], side: usize) -> ([usize; 3], Vec<f32>) {
        let dims = [0, 1, 2].map(|a| side.min(self.dims[a] - corner[a]));
        let mut out = Vec::with_capacity(dims.iter().product());
        for z in 0..dims[2] {
            for y in 0..dims[1] {
                let start =
                    ((z + corner[2]) * self.dims[1] + y + corner[1]) * self.dims[0] + corner[0];
                out.extend_from_slice(&self.values[start..start + dims[0]]);
            }
        }
        (dims, out)
    }
}
