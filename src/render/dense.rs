//! A whole volume in memory, cut into bricks: what a picture of an original is drawn from.

use std::collections::HashMap;
use std::sync::Arc;

use crate::Result;
use crate::stream::schedule::{BlockFacts, BlockId, Catalogue, PageId, TierFacts};
use crate::stream::{Brick, Bricks};
use crate::volume::{BlockGrid, VoxelSource};

/// log2 of the side of a block.
const BLOCK_LOG2: u32 = 6;

/// An index that is known whole.
pub(super) struct Whole {
    pub(super) extent: [u64; 3],
    pub(super) block_log2: u32,
    pub(super) tiers: Vec<TierFacts>,
    pub(super) facts: HashMap<BlockId, Arc<BlockFacts>>,
}

impl Catalogue for Whole {
    fn extent(&self) -> [u64; 3] {
        self.extent
    }
    fn block_log2(&self) -> u32 {
        self.block_log2
    }
    fn tiers(&self) -> &[TierFacts] {
        &self.tiers
    }
    fn block(&self, id: BlockId) -> Option<Arc<BlockFacts>> {
        self.facts.get(&id).cloned()
    }
    fn page_of(&self, _: BlockId) -> (PageId, u64, u32) {
        (PageId(0), 0, 0)
    }
}

/// Reads a whole volume, block by block, and keeps it.
///
/// # Errors
/// What the source says.
pub fn dense_bricks(source: &dyn VoxelSource) -> Result<Bricks> {
    let extent = source.extent();
    let grid = BlockGrid {
        extent,
        block_log2: BLOCK_LOG2,
    };
    let [nx, ny, nz] = grid.blocks();
    let mut held = HashMap::new();
    let mut facts = HashMap::new();
    let all = (0..nz).flat_map(|z| (0..ny).flat_map(move |y| (0..nx).map(move |x| [x, y, z])));
    for block in all {
        let region = grid.region(block);
        let size = source.dtype().size();
        let mut voxels = vec![0; region.voxels() as usize * size];
        source.read(&region, &mut voxels)?;
        let brick = Brick {
            block: BlockId {
                tier: 0,
                block: block.map(|c| c as u32),
            },
            lod: 0,
            layers: 0,
            extent: region.extent().map(|e| e as u32),
            dtype: source.dtype(),
            voxels,
        };
        let known = BlockFacts {
            range: range(&brick),
            layers: Vec::new(),
        };
        facts.insert(brick.block, Arc::new(known));
        held.insert(brick.block, Arc::new(brick));
    }
    let tiers = vec![TierFacts {
        base_lod: 0,
        blocks: [nx, ny, nz].map(|n| n as u32),
    }];
    Ok(Bricks {
        catalogue: Arc::new(Whole {
            extent,
            block_log2: BLOCK_LOG2,
            tiers,
            facts,
        }),
        held: Arc::new(held),
    })
}

/// Range of the values that are numbers.
fn range(brick: &Brick) -> [f32; 2] {
    brick
        .values()
        .into_iter()
        .fold([f32::INFINITY, f32::NEG_INFINITY], |[lo, hi], v| {
            [lo.min(v), hi.max(v)]
        })
}
