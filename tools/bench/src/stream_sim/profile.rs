//! What blocks of a real file are like: bytes and errors of their layers.

use std::path::Path;

use hgv::quality::to_f32;
use hgv::reader::{BlockState, PayloadEntry};
use hgv::volume::Region;
use hgv::{Error, Result, Volume};
use serde::{Deserialize, Serialize};

/// Most blocks that a profile keeps.
const MOST: usize = 256;

/// Blocks of a real file, those of low values first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Which file this was.
    pub name: String,
    /// log2 of the side of a block.
    pub block_log2: u8,
    /// Bytes of a voxel.
    pub voxel_bytes: u32,
    /// Smallest and largest value of the volume.
    pub range: [f32; 2],
    /// Level of detail and quality level that each layer completes.
    pub layers: Vec<[u8; 2]>,
    /// The blocks.
    pub blocks: Vec<Sample>,
}

/// One block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Smallest and largest value.
    pub range: [f32; 2],
    /// Bytes of each layer; none for a block of one value.
    pub bytes: Vec<u32>,
    /// Root mean square error of each quality level at full resolution, in values.
    pub errors: Vec<f32>,
    /// Root mean square of what is lost by averaging over cubes of 2^i voxels, i = 0.. .
    pub averaged: Vec<f32>,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::InvalidArgument`] naming what is wrong.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::argument(format!("profile {} cannot be read: {e}", path.display()))
        })?;
        let wrong =
            |detail: String| Error::argument(format!("profile {}: {detail}", path.display()));
        let found: Self = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        found.check().map_err(wrong)?;
        Ok(found)
    }

    fn check(&self) -> std::result::Result<(), String> {
        if !(4..=8).contains(&self.block_log2) || self.layers.is_empty() || self.blocks.is_empty() {
            return Err("no blocks or layers, or blocks of another side than 16..=256".into());
        }
        let lods = usize::from(self.block_log2) + 1;
        let levels = 1 + self.layers.iter().map(|l| l[1]).max().unwrap_or(0);
        let fits = |s: &&Sample| {
            (s.bytes.is_empty() && s.errors.is_empty())
                || (s.bytes.len() == self.layers.len()
                    && s.errors.len() == usize::from(levels)
                    && s.averaged.len() == lods)
        };
        match self.blocks.iter().position(|s| !fits(&s)) {
            Some(i) => Err(format!(
                "block {i} has not what {} layers need",
                self.layers.len()
            )),
            None => Ok(()),
        }
    }

    /// As [`Self::load`] reads it, one block a line.
    pub fn text(&self) -> String {
        let line = |v: &Sample| serde_json::to_string(v).unwrap_or_default();
        let blocks: Vec<String> = self.blocks.iter().map(line).collect();
        let head = serde_json::json!({
            "name": self.name,
            "block_log2": self.block_log2,
            "voxel_bytes": self.voxel_bytes,
            "range": self.range,
            "layers": self.layers,
        });
        let head = head.to_string();
        let open = head.strip_suffix('}').unwrap_or(&head);
        format!("{open},\n\"blocks\":[\n{}\n]}}\n", blocks.join(",\n"))
    }

    /// Quality levels.
    pub fn levels(&self) -> usize {
        1 + usize::from(self.layers.iter().map(|l| l[1]).max().unwrap_or(0))
    }

    /// Measures the blocks of tier 0 of a file, at most 256 of them, evenly spread.
    ///
    /// # Errors
    /// Those of reading and decoding.
    pub fn measure(volume: &Volume, name: &str) -> Result<Self> {
        let shape = volume.reader().shape();
        let all = volume.reader().blocks(0)?.collect::<Result<Vec<_>>>()?;
        let scale = 2f64.powi(i32::from(shape.value_exp)) as f32;
        let step = all.len().div_ceil(MOST).max(1);
        let mut blocks = Vec::new();
        for entry in all.iter().step_by(step) {
            blocks.push(match &entry.state {
                BlockState::NotWritten => continue,
                BlockState::Constant(q) => Sample {
                    range: [*q as f32 * scale; 2],
                    bytes: Vec::new(),
                    errors: Vec::new(),
                    averaged: Vec::new(),
                },
                BlockState::Payload(payload) => sample(volume, entry.block, payload, scale)?,
            });
        }
        blocks.sort_by(|a, b| {
            let key = |s: &Sample| (s.range[0] + s.range[1], s.bytes.iter().sum::<u32>());
            key(a).0.total_cmp(&key(b).0).then(key(a).1.cmp(&key(b).1))
        });
        let lo = blocks
            .iter()
            .map(|b| b.range[0])
            .fold(f32::INFINITY, f32::min);
        let hi = blocks
            .iter()
            .map(|b| b.range[1])
            .fold(f32::NEG_INFINITY, f32::max);
        let layers = shape.layers.as_slice().iter().map(|l| [l.lod, l.quality]);
        let found = Self {
            name: name.into(),
            block_log2: shape.block_log2,
            voxel_bytes: volume.dtype().size() as u32,
            range: [lo, hi],
            layers: layers.collect(),
            blocks,
        };
        found.check().map_err(Error::argument)?;
        Ok(found)
    }
}

fn sample(volume: &Volume, block: [u64; 3], payload: &PayloadEntry, scale: f32) -> Result<Sample> {
    let shape = volume.reader().shape();
    let log2 = u32::from(shape.block_log2);
    let lo = block.map(|b| b << log2);
    let hi = [0, 1, 2].map(|a| ((block[a] + 1) << log2).min(shape.extent[a]));
    let size = [0, 1, 2].map(|a| hi[a] - lo[a]);
    let count = size.iter().product::<u64>() as usize;
    let mut bytes = vec![0; count * volume.dtype().size()];
    volume.read_region_bytes(0, volume.levels() - 1, &Region::new(lo, hi)?, &mut bytes)?;
    let mut voxels = vec![0f32; count];
    to_f32(volume.dtype(), &bytes, &mut voxels);
    Ok(Sample {
        range: [
            payload.range.0 as f32 * scale,
            payload.range.1 as f32 * scale,
        ],
        bytes: payload.segments.iter().map(|s| s.length).collect(),
        errors: (payload.errors.iter())
            .map(|e| shape.coder.decode_error(e[0]) as f32 * scale)
            .collect(),
        averaged: (0..=log2).map(|lod| averaged(&voxels, size, lod)).collect(),
    })
}

/// Root mean square of what voxels `[z][y][x]` lose by averaging over cubes of `2^lod`.
fn averaged(voxels: &[f32], size: [u64; 3], lod: u32) -> f32 {
    let [w, h, d] = size.map(|s| s as usize);
    let cells = [w, h, d].map(|n| n.div_ceil(1 << lod));
    let mut sums = vec![(0f64, 0f64, 0u32); cells.iter().product()];
    for (i, v) in voxels.iter().enumerate() {
        let [x, y, z] = [i % w, i / w % h, i / (w * h)].map(|c| c >> lod);
        let cell = &mut sums[(z * cells[1] + y) * cells[0] + x];
        let v = f64::from(*v);
        *cell = (cell.0 + v, cell.1 + v * v, cell.2 + 1);
    }
    let lost = |(sum, squares, n): &(f64, f64, u32)| squares - sum * sum / f64::from((*n).max(1));
    let lost: f64 = sums.iter().map(lost).sum();
    (lost.max(0.0) / voxels.len().max(1) as f64).sqrt() as f32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn averaging_loses_what_differs_inside_a_cube() {
        // Pairs along x: each pair loses half its difference.
        let pairs: Vec<f32> = (0..64).map(|i| (i % 2) as f32).collect();
        assert_eq!(averaged(&pairs, [4, 4, 4], 0), 0.0);
        assert!((averaged(&pairs, [4, 4, 4], 1) - 0.5).abs() < 1e-6);
        let halves: Vec<f32> = (0..64).map(|i| (i % 4 / 2) as f32).collect();
        assert_eq!(averaged(&halves, [4, 4, 4], 1), 0.0);
        assert!((averaged(&halves, [4, 4, 4], 2) - 0.5).abs() < 1e-6);
    }
}
