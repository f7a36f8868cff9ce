//! Which block is shown where: an octree whose unit is a block of the finest tier.
//!
//! It is refined only where something finer is known, so it grows with the bricks that are held and not
//! with the volume.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::slot::{Content, Slot};
use crate::stream::schedule::{BlockId, OpacityBound, TierFacts};
use crate::stream::{Brick, Bricks};
use crate::volume::{DType, ceil_shift};

/// Blocks of a tier up to which all of them are looked up, also those without bricks.
const LOOK_AT_ALL: u64 = 8192;
/// No slot.
pub(super) const NOTHING: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Node {
    /// First of 8 children, x fastest; 0 = it is a leaf.
    child: u32,
    /// What a leaf shows.
    slot: u32,
}

/// A leaf.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::render) struct Leaf {
    /// Index of its slot, or [`NOTHING`].
    pub(super) slot: u32,
    /// log2 of its side in blocks of the finest tier.
    pub(in crate::render) level: u32,
}

impl Leaf {
    /// Index of its slot, if anything is shown there.
    #[inline]
    pub(in crate::render) fn slot(self) -> Option<usize> {
        (self.slot != NOTHING).then_some(self.slot as usize)
    }
}

/// Which block is shown where.
#[derive(Debug)]
pub(in crate::render) struct Tree {
    nodes: Vec<Node>,
    pub(super) slots: Vec<Arc<Slot>>,
    by_block: HashMap<BlockId, u32>,
    /// log2 of the side of the root in blocks of the finest tier.
    height: u32,
    /// log2 of the side of a block of the finest tier in voxels of the full resolution.
    pub(in crate::render) unit_log2: u32,
    /// Blocks of the finest tier.
    blocks: [u32; 3],
    pub(in crate::render) extent: [u64; 3],
    tiers: Vec<TierFacts>,
    /// Voxel type of all bricks; that of floats if there are none.
    pub(in crate::render) dtype: DType,
}

impl Tree {
    pub(super) fn new(bricks: &Bricks, bound: &dyn OpacityBound) -> Self {
        let catalogue = &*bricks.catalogue;
        let tiers = catalogue.tiers().to_vec();
        let finest = tiers.first().map_or(0, |t| t.base_lod);
        let blocks = tiers.first().map_or([0; 3], |t| t.blocks);
        let widest = blocks.into_iter().max().unwrap_or(0).max(1);
        let coarsest = tiers
            .last()
            .map_or(0, |t| t.base_lod.saturating_sub(finest));
        let dtype = bricks
            .held
            .values()
            .next()
            .map_or(DType::Float32, |b| b.dtype);
        let tree = Self {
            nodes: vec![Node {
                child: 0,
                slot: NOTHING,
            }],
            slots: Vec::new(),
            by_block: HashMap::new(),
            height: widest
                .next_power_of_two()
                .trailing_zeros()
                .max(coarsest)
                .min(31),
            unit_log2: catalogue.block_log2() + finest,
            blocks,
            extent: catalogue.extent(),
            tiers,
            dtype,
        };
        Builder {
            paths: tree.paths(bricks),
            all_from: tree.looked_up_whole(),
            bricks,
            bound,
            tree,
        }
        .build()
    }

    /// log2 of the side of a tier's blocks in blocks of the finest tier.
    pub(super) fn tier_level(&self, tier: usize) -> u32 {
        let finest = self.tiers.first().map_or(0, |t| t.base_lod);
        self.tiers
            .get(tier)
            .map_or(0, |t| t.base_lod.saturating_sub(finest))
    }

    /// Nodes above the held bricks, as level and coordinate.
    fn paths(&self, bricks: &Bricks) -> HashSet<(u32, [u32; 3])> {
        let mut paths = HashSet::new();
        for id in bricks.held.keys() {
            let from = self.tier_level(usize::from(id.tier));
            for level in from + 1..=self.height {
                if !paths.insert((level, id.block.map(|c| c >> (level - from)))) {
                    break;
                }
            }
        }
        paths
    }

    /// The lowest level down to which every node is visited: that of the finest tier of few blocks.
    fn looked_up_whole(&self) -> u32 {
        let count = |t: &TierFacts| {
            t.blocks
                .iter()
                .fold(1u64, |n, &b| n.saturating_mul(b.into()))
        };
        let few = self.tiers.iter().position(|t| count(t) <= LOOK_AT_ALL);
        few.map_or(self.height, |tier| self.tier_level(tier))
    }

    /// What is shown in a block of the finest tier; nothing outside of the volume.
    #[inline]
    pub(in crate::render) fn leaf(&self, block: [u32; 3]) -> Leaf {
        let mut level = self.height;
        let mut node = self.nodes[0];
        if block.iter().any(|&c| c >> self.height != 0) {
            return Leaf {
                slot: NOTHING,
                level: 0,
            };
        }
        while node.child != 0 {
            level -= 1;
            let [x, y, z] = block.map(|c| c >> level & 1);
            node = self.nodes[(node.child + x + 2 * y + 4 * z) as usize];
        }
        Leaf {
            slot: node.slot,
            level,
        }
    }

    /// log2 of the side of the root in blocks of the finest tier.
    pub(in crate::render) fn height(&self) -> u32 {
        self.height
    }

    /// Nodes, the root first: the first of 8 children, x fastest, or 0, and what is shown by a leaf, or
    /// `u32::MAX` for nothing.
    pub(in crate::render) fn nodes(&self) -> impl Iterator<Item = [u32; 2]> {
        self.nodes.iter().map(|n| [n.child, n.slot])
    }

    /// What is shown at a place in voxels of the full resolution.
    pub(super) fn leaf_at(&self, place: [i64; 3]) -> Leaf {
        self.leaf(place.map(|p| u32::try_from(p >> self.unit_log2).unwrap_or(u32::MAX)))
    }

    /// The slot of a block, or else of the finest coarser block that holds it, wherever they are shown.
    pub(super) fn slot_around(&self, id: BlockId) -> Option<u32> {
        let own = self.tier_level(usize::from(id.tier));
        (usize::from(id.tier)..self.tiers.len()).find_map(|tier| {
            let up = self.tier_level(tier) - own;
            let id = BlockId {
                tier: tier as u8,
                block: id.block.map(|c| c >> up),
            };
            self.by_block.get(&id).copied()
        })
    }

    /// Blocks of a tier.
    pub(super) fn tier_blocks(&self, tier: u8) -> [u32; 3] {
        self.tiers
            .get(usize::from(tier))
            .map_or([0; 3], |t| t.blocks)
    }
}

struct Builder<'a> {
    bricks: &'a Bricks,
    bound: &'a dyn OpacityBound,
    paths: HashSet<(u32, [u32; 3])>,
    all_from: u32,
    tree: Tree,
}

impl Builder<'_> {
    fn build(mut self) -> Tree {
        self.visit(0, self.tree.height, [0; 3], NOTHING);
        self.tree
    }

    /// Fills in node `index`, at `at` in units of its own side.
    fn visit(&mut self, index: usize, level: u32, at: [u32; 3], above: u32) {
        let outside = (0..3).any(|a| u64::from(at[a]) << level >= self.tree.blocks[a].into());
        if outside {
            return;
        }
        let mut shown = above;
        for tier in (0..self.tree.tiers.len()).rev() {
            if self.tree.tier_level(tier) == level {
                shown = self.slot(tier, at, shown).unwrap_or(shown);
            }
        }
        self.tree.nodes[index].slot = shown;
        let refine = level > self.all_from || self.paths.contains(&(level, at));
        if level == 0 || !refine {
            return;
        }
        let child = self.tree.nodes.len();
        let Ok(stored) = u32::try_from(child) else {
            return;
        };
        self.tree.nodes[index].child = stored;
        let empty = Node {
            child: 0,
            slot: NOTHING,
        };
        self.tree.nodes.resize(child + 8, empty);
        for k in 0..8 {
            let bits = [k & 1, k >> 1 & 1, k >> 2];
            let next = [0, 1, 2].map(|a| 2 * at[a] + bits[a]);
            self.visit(child + k as usize, level - 1, next, shown);
        }
        self.join(index, child);
    }

    /// Makes a node a leaf again if all its children show the same.
    fn join(&mut self, index: usize, child: usize) {
        let Some(children) = self.tree.nodes.get(child..) else {
            return;
        };
        let first = children[0];
        let same = |n: &Node| n.child == 0 && n.slot == first.slot;
        if children.len() == 8 && children.iter().all(same) {
            self.tree.nodes.truncate(child);
            self.tree.nodes[index] = first;
        }
    }

    /// The slot of a block, if something is known of it.
    fn slot(&mut self, tier: usize, block: [u32; 3], above: u32) -> Option<u32> {
        let id = BlockId {
            tier: u8::try_from(tier).ok()?,
            block,
        };
        let facts = self.bricks.catalogue.block(id);
        let range = facts.as_ref().map(|f| f.range);
        let brick = self.bricks.held.get(&id);
        let slot = match (brick.and_then(|b| self.held(id, b, range)), range) {
            (Some(slot), _) => slot,
            (None, Some(range)) => self.flat(id, range, above)?,
            (None, None) => return None,
        };
        let index = u32::try_from(self.tree.slots.len()).ok()?;
        self.tree.slots.push(Arc::new(slot));
        self.tree.by_block.insert(id, index);
        Some(index)
    }

    /// Place and extent of a block at a level of detail in it; `None` if there is no such block.
    fn frame(&self, id: BlockId, lod: u32, range: [f32; 2], content: Content) -> Option<Slot> {
        let tier = self.tree.tiers.get(usize::from(id.tier))?;
        let log2 = self.bricks.catalogue.block_log2();
        let shift = log2 + tier.base_lod;
        if lod > log2 || shift > 40 {
            return None;
        }
        let first = id.block.map(|c| u64::from(c) << shift);
        let tier_extent = self.tree.extent.map(|e| ceil_shift(e, tier.base_lod));
        let mut extent = [0; 3];
        for axis in 0..3 {
            let left = tier_extent[axis].checked_sub(u64::from(id.block[axis]) << log2)?;
            extent[axis] = ceil_shift(left.min(1 << log2), lod) as usize;
        }
        (!extent.contains(&0)).then_some(Slot {
            id,
            lod: tier.base_lod + lod,
            first: first.map(|f| f as i64),
            extent,
            side: 1 << (log2 - lod),
            range,
            content,
        })
    }

    /// A brick, unless it is not what it should be.
    fn held(&self, id: BlockId, brick: &Arc<Brick>, range: Option<[f32; 2]>) -> Option<Slot> {
        let range = range.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        let content = Content::Held(Arc::clone(brick));
        let slot = self.frame(id, brick.lod.into(), range, content)?;
        let bytes = slot.extent.iter().product::<usize>() * brick.dtype.size();
        let fits = slot.extent == brick.extent.map(|e| e as usize)
            && brick.voxels.len() == bytes
            && brick.dtype == self.tree.dtype;
        fits.then_some(slot)
    }

    /// A block without a brick, if its range alone says enough.
    fn flat(&self, id: BlockId, range: [f32; 2], above: u32) -> Option<Slot> {
        let constant = range[0] == range[1];
        if !constant && self.bound.most_opacity(range) > 0.0 {
            return None;
        }
        let parent = self.tree.slots.get(above as usize).map(Arc::clone);
        self.frame(id, 0, range, Content::Flat(parent))
    }
}
