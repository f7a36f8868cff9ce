//! The levels of a volume that all peers have: halved until one chunk holds the whole.

use hgv::stream::schedule::{BlockId, TierFacts};

/// log2 of the side of a chunk.
pub const CHUNK_LOG2: u32 = 6;
/// Side of a chunk in voxels.
pub const CHUNK: u32 = 1 << CHUNK_LOG2;

/// Extents and grids of the levels. Axes are x, y, z.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pyramid {
    /// Extents in voxels, finest first.
    pub extents: Vec<[u64; 3]>,
    /// Grids of chunks, finest first.
    pub tiers: Vec<TierFacts>,
}

impl Pyramid {
    /// Of a volume of `extent` voxels.
    pub fn new(extent: [u64; 3]) -> Self {
        let mut extents = vec![extent.map(|n| n.max(1))];
        while let Some(last) = extents.last()
            && last.iter().any(|n| *n > u64::from(CHUNK))
        {
            extents.push(last.map(|n| n.div_ceil(2)));
        }
        let tiers = extents.iter().enumerate().map(|(level, extent)| TierFacts {
            base_lod: level as u32,
            blocks: extent.map(|n| n.div_ceil(u64::from(CHUNK)) as u32),
        });
        Self {
            tiers: tiers.collect(),
            extents,
        }
    }

    /// Voxels of a chunk along x, y, z: less than a side at the border.
    pub fn chunk_extent(&self, id: BlockId) -> [u32; 3] {
        let extent = self.extents[usize::from(id.tier)];
        [0, 1, 2].map(|a| {
            let start = u64::from(id.block[a]) << CHUNK_LOG2;
            extent[a].saturating_sub(start).min(u64::from(CHUNK)) as u32
        })
    }

    /// Whether there is such a chunk.
    pub fn has(&self, id: BlockId) -> bool {
        let tier = self.tiers.get(usize::from(id.tier));
        tier.is_some_and(|t| (0..3).all(|a| id.block[a] < t.blocks[a]))
    }
}

/// The order of chunks in files: bits of x, y, z by turns, those left out that an axis does not need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Morton {
    bits: [u32; 3],
}

impl Morton {
    /// For a grid of `blocks` along x, y, z.
    pub fn new(blocks: [u32; 3]) -> Self {
        Self {
            bits: blocks.map(|n| u32::BITS - n.saturating_sub(1).leading_zeros()),
        }
    }

    /// Place, axis and bit of each bit of a code.
    fn steps(self) -> impl Iterator<Item = (u32, usize, u32)> {
        let most = self.bits.into_iter().max().unwrap_or(0);
        let all = (0..most).flat_map(|bit| (0..3).map(move |axis| (axis, bit)));
        let used = all.filter(move |(axis, bit)| *bit < self.bits[*axis]);
        (0..)
            .zip(used)
            .map(|(place, (axis, bit))| (place, axis, bit))
    }

    /// Code of a coordinate x, y, z.
    pub fn code(self, at: [u32; 3]) -> u64 {
        self.steps().fold(0, |code, (place, axis, bit)| {
            code | u64::from(at[axis] >> bit & 1) << place
        })
    }

    /// Coordinate x, y, z of a code; `None` if it has bits that no coordinate has.
    pub fn at(self, code: u64) -> Option<[u32; 3]> {
        let mut at = [0; 3];
        for (place, axis, bit) in self.steps() {
            at[axis] |= ((code >> place & 1) as u32) << bit;
        }
        (self.code(at) == code).then_some(at)
    }

    /// Number of bits.
    pub fn len(self) -> u32 {
        self.bits.iter().sum()
    }

    /// Whether there is but one coordinate.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_end_in_one_chunk() {
        let pyramid = Pyramid::new([512, 512, 234]);
        let last = pyramid.extents.last().copied();
        assert_eq!(last, Some([64, 64, 30]));
        assert_eq!(pyramid.tiers[0].blocks, [8, 8, 4]);
        let corner = BlockId {
            tier: 0,
            block: [7, 7, 3],
        };
        assert_eq!(pyramid.chunk_extent(corner), [64, 64, 42]);
    }

    #[test]
    fn codes_are_those_of_the_format() {
        // Example: with a grid of 5 x 4 x 1 there are three bits of x, two of y and none of z.
        let order = Morton::new([5, 4, 1]);
        assert_eq!(order.len(), 5);
        assert_eq!(order.code([4, 3, 0]), 0b11010);
        for code in 0..32 {
            let at = order.at(code);
            assert_eq!(at.map(|at| order.code(at)), Some(code));
        }
        assert_eq!(order.at(32), None);
    }
}
