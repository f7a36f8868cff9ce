//! Volumes made from a function of the place, cut into blocks.

use std::collections::HashMap;
use std::sync::Arc;

use crate::render::dense::Whole;
use crate::stream::schedule::{BlockFacts, BlockId, Camera, LayerFacts, Projection, TierFacts};
use crate::stream::{Brick, Bricks};
use crate::volume::{DType, ceil_shift};

/// A volume of numbers that fit every voxel type.
pub(in crate::render) struct Made {
    pub(in crate::render) extent: [u64; 3],
    pub(in crate::render) block_log2: u32,
    pub(in crate::render) tiers: Vec<TierFacts>,
    pub(in crate::render) dtype: DType,
    pub(in crate::render) value: fn([u64; 3]) -> f32,
}

impl Made {
    /// Blocks of one tier, or of two that are four levels of detail apart.
    pub(in crate::render) fn new(
        extent: [u64; 3],
        block_log2: u32,
        two_tiers: bool,
        value: fn([u64; 3]) -> f32,
    ) -> Self {
        let tier = |base_lod: u32| TierFacts {
            base_lod,
            blocks: extent.map(|e| ceil_shift(e, base_lod + block_log2) as u32),
        };
        let mut tiers = vec![tier(0)];
        tiers.extend(two_tiers.then(|| tier(2)));
        Self {
            extent,
            block_log2,
            tiers,
            dtype: DType::Float32,
            value,
        }
    }

    pub(in crate::render) fn blocks(&self, tier: u8) -> Vec<BlockId> {
        let [x, y, z] = self.tiers[usize::from(tier)].blocks;
        let all = (0..z).flat_map(|z| (0..y).flat_map(move |y| (0..x).map(move |x| [x, y, z])));
        all.map(|block| BlockId { tier, block }).collect()
    }

    pub(in crate::render) fn brick(&self, id: BlockId, lod: u8) -> Brick {
        let base = self.tiers[usize::from(id.tier)].base_lod;
        let extent = [0, 1, 2].map(|a| {
            let left =
                ceil_shift(self.extent[a], base) - (u64::from(id.block[a]) << self.block_log2);
            ceil_shift(left.min(1 << self.block_log2), lod.into()) as u32
        });
        let mut voxels = Vec::new();
        for z in 0..extent[2] {
            for y in 0..extent[1] {
                for x in 0..extent[0] {
                    let at = [x, y, z].map(|c| u64::from(c) << lod);
                    let place = [0, 1, 2]
                        .map(|a| (at[a] + (u64::from(id.block[a]) << self.block_log2)) << base);
                    self.push((self.value)(place), &mut voxels);
                }
            }
        }
        Brick {
            block: id,
            lod,
            layers: 1,
            extent,
            dtype: self.dtype,
            voxels,
        }
    }

    fn push(&self, value: f32, out: &mut Vec<u8>) {
        match self.dtype {
            DType::Uint8 => out.push(value as u8),
            DType::Int8 => out.push(value as i8 as u8),
            DType::Uint16 => out.extend((value as u16).to_le_bytes()),
            DType::Int16 => out.extend((value as i16).to_le_bytes()),
            DType::Float32 => out.extend(value.to_le_bytes()),
        }
    }

    pub(in crate::render) fn range(&self, id: BlockId) -> [f32; 2] {
        let values = self.brick(id, 0).values();
        values
            .iter()
            .fold([f32::INFINITY, f32::NEG_INFINITY], |[lo, hi], &v| {
                [lo.min(v), hi.max(v)]
            })
    }

    /// The blocks that `lod` names a level of detail for, and an index of all blocks.
    pub(in crate::render) fn bricks(&self, lod: impl Fn(BlockId) -> Option<u8>) -> Bricks {
        let all = (0..self.tiers.len()).flat_map(|t| self.blocks(t as u8));
        let mut facts = HashMap::new();
        let mut held = HashMap::new();
        for id in all {
            let range = self.range(id);
            let layer = LayerFacts {
                offset: 0,
                bytes: 1,
                lod: 0,
                error: 0.0,
            };
            let layers = if range[0] < range[1] {
                vec![layer]
            } else {
                Vec::new()
            };
            facts.insert(id, Arc::new(BlockFacts { range, layers }));
            if let Some(lod) = lod(id) {
                held.insert(id, Arc::new(self.brick(id, lod)));
            }
        }
        Bricks {
            catalogue: Arc::new(Whole {
                extent: self.extent,
                block_log2: self.block_log2,
                tiers: self.tiers.clone(),
                facts,
            }),
            held: Arc::new(held),
        }
    }

    /// The same, and nothing known of blocks without bricks.
    pub(in crate::render) fn only_bricks(&self, lod: impl Fn(BlockId) -> Option<u8>) -> Bricks {
        let all = self.bricks(lod);
        let facts = all.held.keys().map(|&id| {
            let range = self.range(id);
            let layers = Vec::new();
            (id, Arc::new(BlockFacts { range, layers }))
        });
        let index = Whole {
            extent: self.extent,
            block_log2: self.block_log2,
            tiers: self.tiers.clone(),
            facts: facts.collect(),
        };
        Bricks {
            catalogue: Arc::new(index),
            held: all.held,
        }
    }
}

/// A camera that looks at the middle of an extent from a direction.
pub(in crate::render) fn camera(
    extent: [u64; 3],
    from: [f32; 3],
    projection: Projection,
) -> Camera {
    let middle = extent.map(|e| e as f32 / 2.0);
    Camera {
        eye: [0, 1, 2].map(|a| middle[a] + from[a]),
        forward: from.map(|c| -c),
        up: [0.1, 1.0, 0.2],
        projection,
        pixels: [64, 64],
    }
}

/// A number from 0 to 255 without order.
pub(in crate::render) fn noise([x, y, z]: [u64; 3]) -> f32 {
    let mixed = ((x * 73_856_093) ^ (y * 19_349_663) ^ (z * 83_492_791))
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40 & 0x7F) as f32
}

/// Balls in empty space.
pub(in crate::render) fn balls([x, y, z]: [u64; 3]) -> f32 {
    let at = [x, y, z].map(|c| (c % 48) as f32 - 22.0);
    let distance = at.iter().map(|c| c * c).sum::<f32>().sqrt();
    (120.0 - 12.0 * (distance - 12.0).max(0.0)).max(0.0).floor()
}
