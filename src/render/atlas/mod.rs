//! The bricks of a picture, ready to be sampled, and which of them lies where.
//!
//! A brick gets an apron from its neighbours once and keeps it while it and they stay the same, so a frame
//! costs little beyond the bricks that are new. Owns the tree ([`tree`]), aprons ([`fill`]), cells for
//! skipping ([`grid`]) and the budget in bytes.

mod fill;
pub(super) mod grid;
mod slot;
mod tree;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rayon::prelude::*;

use self::fill::{Filling, Side, Sides};
use self::grid::AnyGrid;
use self::slot::Slot;
pub(super) use self::slot::Stored;
pub(super) use self::tree::Tree;
use crate::stream::Bricks;
use crate::stream::schedule::{BlockId, OpacityBound, View};

/// A brick that is kept from frame to frame.
#[derive(Debug)]
struct Kept {
    /// Names the brick and all around that it was made from.
    signature: u64,
    grid: Arc<AnyGrid>,
    /// Which cells may be seen, and with which transfer function.
    seen: (u64, Arc<Vec<bool>>),
    /// Frame that used it last.
    used: u64,
}

/// Ranges of the first voxels of a brick along x, y and z.
#[derive(Debug)]
struct Faces {
    name: (BlockId, u64, u64),
    ranges: [[f32; 2]; 3],
    used: u64,
}

/// Bricks with aprons, kept from frame to frame.
#[derive(Debug)]
pub struct BrickAtlas {
    budget: u64,
    bytes: u64,
    frame: u64,
    kept: HashMap<BlockId, Kept>,
    faces: HashMap<BlockId, Faces>,
}

/// What a ray needs of a block.
#[derive(Debug)]
pub(super) struct Shown {
    /// Place of the first voxel in the full resolution.
    pub(super) first: [f64; 3],
    /// Level of detail of the volume that its voxels have.
    pub(super) lod: u32,
    /// Its values and which cells of them may be seen; `None` if it is transparent.
    pub(super) values: Option<(Arc<AnyGrid>, Arc<Vec<bool>>)>,
}

/// All that a picture shows.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) tree: Tree,
    /// By slot.
    pub(super) shown: Vec<Shown>,
    /// Bricks that were made for this picture.
    pub(super) made: usize,
}

/// What is seen of a volume, as far as the bricks matter.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    /// In voxels of the full resolution; `None` = from anywhere.
    pub(super) view: Option<&'a View>,
    pub(super) bound: &'a (dyn OpacityBound + Send + Sync),
    /// Names the bound.
    pub(super) bound_name: u64,
}

impl BrickAtlas {
    /// An empty one. It keeps bricks that no picture needs right now while all together take at most
    /// `budget` bytes; what a picture needs it holds in any case.
    pub fn new(budget: u64) -> Self {
        Self {
            budget,
            bytes: 0,
            frame: 0,
            kept: HashMap::new(),
            faces: HashMap::new(),
        }
    }

    /// Bytes of the bricks that it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes ready what `sight` sees of `bricks`.
    pub(super) fn stage(&mut self, bricks: &Bricks, sight: Sight<'_>) -> Stage {
        self.frame += 1;
        let tree = Tree::new(bricks, sight.bound);
        let sides: Vec<Sides> = (0..tree.slots.len() as u32)
            .into_par_iter()
            .map(|s| fill::sides(&tree, s))
            .collect();
        let needed = self.needed(&tree, &sides, sight);
        let (grids, made) = self.grids(&tree, &sides, &needed, sight);
        self.forget();
        let shown = tree.slots.iter().zip(grids).map(|(slot, values)| Shown {
            first: slot.first.map(|f| f as f64),
            lod: slot.lod,
            values,
        });
        Stage {
            shown: shown.collect(),
            made,
            tree,
        }
    }

    /// Slots that are in sight and not transparent, and coarser ones that they touch.
    fn needed(&mut self, tree: &Tree, sides: &[Sides], sight: Sight<'_>) -> Vec<bool> {
        let mut needed: Vec<bool> = (0..tree.slots.len())
            .map(|s| in_sight(&tree.slots[s], sight) && self.is_seen(tree, &sides[s], s, sight))
            .collect();
        for s in finest_first(tree) {
            if !needed[s] {
                continue;
            }
            for side in &sides[s] {
                if let Some(other) = side.slot() {
                    let other = other as usize;
                    needed[other] |= tree.slots[other].coarseness() > tree.slots[s].coarseness();
                }
            }
        }
        needed
    }

    /// Whether any value of a block or between it and its neighbours is not transparent.
    fn is_seen(&mut self, tree: &Tree, sides: &Sides, index: usize, sight: Sight<'_>) -> bool {
        let own = &tree.slots[index];
        if sight.bound.most_opacity(own.range) > 0.0 {
            return true;
        }
        for (k, side) in sides.iter().enumerate() {
            let Some(other) = side.slot() else {
                if *side == Side::Finer(None) {
                    return true;
                }
                continue;
            };
            let other = &tree.slots[other as usize];
            let d = [k % 3, k / 3 % 3, k / 9];
            let owns = d.iter().all(|&c| c > 0);
            if other.coarseness() <= own.coarseness() && !owns {
                continue;
            }
            if sight.bound.most_opacity(join(own.range, other.range)) == 0.0 {
                continue;
            }
            // Only the face of an equal counts.
            let face = d.iter().position(|&c| c == 2);
            let equal = other.coarseness() == own.coarseness();
            let range = match face {
                Some(axis) if equal => self.face_range(other, axis),
                _ => other.range,
            };
            if sight.bound.most_opacity(join(own.range, range)) > 0.0 {
                return true;
            }
        }
        false
    }

    fn face_range(&mut self, slot: &Slot, axis: usize) -> [f32; 2] {
        if slot.is_constant() {
            return slot.range;
        }
        let name = slot.name();
        let make = || Faces {
            name,
            ranges: [0, 1, 2].map(|axis| slot.face_range(axis)),
            used: 0,
        };
        let faces = self.faces.entry(slot.id).or_insert_with(make);
        if faces.name != name {
            *faces = make();
        }
        faces.used = self.frame;
        faces.ranges[axis]
    }

    /// Grids of the slots that need one, and how many had to be made.
    #[expect(clippy::type_complexity, reason = "a list of what `Shown` has")]
    fn grids(
        &mut self,
        tree: &Tree,
        sides: &[Sides],
        needed: &[bool],
        sight: Sight<'_>,
    ) -> (Vec<Option<(Arc<AnyGrid>, Arc<Vec<bool>>)>>, usize) {
        let mut done = vec![None; tree.slots.len()];
        let mut signatures = vec![0u64; tree.slots.len()];
        let mut order: Vec<usize> = finest_first(tree);
        order.reverse();
        let mut made = 0;
        for equal in
            order.chunk_by(|&a, &b| tree.slots[a].coarseness() == tree.slots[b].coarseness())
        {
            for &s in equal {
                signatures[s] = signature(tree, &sides[s], s, &signatures);
            }
            let wanted: Vec<usize> = equal.iter().copied().filter(|&s| needed[s]).collect();
            let new: Vec<(usize, Arc<AnyGrid>)> = wanted
                .par_iter()
                .filter(|&&s| !self.has(tree, s, signatures[s]))
                .map(|&s| {
                    let filling = Filling {
                        tree,
                        slot: &tree.slots[s],
                        sides: &sides[s],
                        done: &done,
                    };
                    (s, Arc::new(filling.fill()))
                })
                .collect();
            made += new.len();
            for (s, grid) in new {
                self.keep(tree.slots[s].id, signatures[s], grid);
            }
            for s in wanted {
                if let Some(kept) = self.kept.get_mut(&tree.slots[s].id) {
                    kept.used = self.frame;
                    done[s] = Some(Arc::clone(&kept.grid));
                }
            }
        }
        self.classify(tree, &done, sight);
        let values = done.into_iter().enumerate().map(|(s, grid)| {
            let kept = self.kept.get(&tree.slots[s].id)?;
            Some((grid?, Arc::clone(&kept.seen.1)))
        });
        (values.collect(), made)
    }

    fn has(&self, tree: &Tree, slot: usize, signature: u64) -> bool {
        self.kept
            .get(&tree.slots[slot].id)
            .is_some_and(|k| k.signature == signature)
    }

    fn keep(&mut self, id: BlockId, signature: u64, grid: Arc<AnyGrid>) {
        self.bytes += grid.bytes();
        let new = Kept {
            signature,
            grid,
            seen: (0, Arc::default()),
            used: self.frame,
        };
        if let Some(old) = self.kept.insert(id, new) {
            self.bytes -= old.grid.bytes();
        }
    }

    /// Finds out which cells of the grids of this picture may be seen.
    fn classify(&mut self, tree: &Tree, done: &[Option<Arc<AnyGrid>>], sight: Sight<'_>) {
        let name = sight.bound_name;
        let is_stale = |(s, grid): &(usize, &Option<Arc<AnyGrid>>)| {
            let kept = self.kept.get(&tree.slots[*s].id);
            grid.is_some() && kept.is_some_and(|k| k.seen.0 != name || k.seen.1.is_empty())
        };
        let stale: Vec<_> = done.iter().enumerate().filter(is_stale).collect();
        let found: Vec<_> = stale
            .into_par_iter()
            .filter_map(|(s, grid)| Some((s, grid.as_ref()?.seen(sight.bound))))
            .collect();
        for (s, seen) in found {
            if let Some(kept) = self.kept.get_mut(&tree.slots[s].id) {
                kept.seen = (name, Arc::new(seen));
            }
        }
    }

    /// Lets go of what no picture has used for the longest time, down to the budget.
    fn forget(&mut self) {
        let frame = self.frame;
        self.faces.retain(|_, f| f.used + 64 > frame);
        if self.bytes <= self.budget {
            return;
        }
        let mut old: Vec<_> = self
            .kept
            .iter()
            .filter(|(_, k)| k.used < frame)
            .map(|(id, k)| (k.used, *id))
            .collect();
        old.sort_unstable();
        for (_, id) in old {
            if self.bytes <= self.budget {
                break;
            }
            if let Some(gone) = self.kept.remove(&id) {
                self.bytes -= gone.grid.bytes();
            }
        }
    }
}

fn join(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    [a[0].min(b[0]), a[1].max(b[1])]
}

fn in_sight(slot: &Slot, sight: Sight<'_>) -> bool {
    let Some(view) = sight.view else {
        return true;
    };
    let side = ((slot.side as u64) << slot.lod) as f32;
    let lo = slot.first.map(|f| f as f32);
    // What is half a voxel outside of the voxels' places belongs to the block too.
    view.see(lo, lo.map(|v| v + side + 1.0)).is_some()
}

fn finest_first(tree: &Tree) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tree.slots.len()).collect();
    order.sort_by_key(|&s| tree.slots[s].coarseness());
    order
}

/// Names a block and all that its grid is made from. Those of coarser slots are there.
fn signature(tree: &Tree, sides: &Sides, index: usize, coarser: &[u64]) -> u64 {
    let own = &tree.slots[index];
    let mut hash = DefaultHasher::new();
    for (k, side) in sides.iter().enumerate() {
        if let Some(other) = side.slot() {
            let slot = &tree.slots[other as usize];
            slot.name().hash(&mut hash);
            if slot.coarseness() > own.coarseness() {
                coarser[other as usize].hash(&mut hash);
            }
        } else if *side == Side::Nothing {
            k.hash(&mut hash);
        } else {
            // Any of many blocks may have changed.
            tree.slots.iter().for_each(|s| s.name().hash(&mut hash));
        }
    }
    hash.finish()
}
