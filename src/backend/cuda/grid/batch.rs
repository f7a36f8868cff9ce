//! Which blocks of a batch are under grid models, and how each is to be evaluated.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::layout::{GridJob, GridPlan, network_len, network_numbers};
use crate::backend::cuda::BlockHead;
use crate::model::GridModel;
use crate::{Error, Result};

/// How the networks of blocks are evaluated; every way gives the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkPath {
    /// Whatever suits the shape of the network.
    #[default]
    Auto,
    /// A sample a thread, by products of four bytes.
    Dots,
    /// Sixteen samples a warp, by products of matrices of bytes.
    Matrices,
}

/// The kernel that evaluates a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Sums,
    Dots,
    Matrices,
}

pub(super) const WAYS: [Way; 3] = [Way::Sums, Way::Dots, Way::Matrices];

/// Sides of a tile along y and z, and the longest along x.
const TILE_SIDE: u32 = 8;
const LONGEST_SIDE: u32 = 32;
/// Words between planes beyond their samples.
const PLANE_GAP: u32 = 8;
/// Inputs, and neurons of a layer, up to which a thread a sample is faster: products of matrices always
/// work on eight outputs and sixteen inputs.
const FEW: u32 = 8;

/// A block to be decoded.
#[derive(Debug, Clone, Copy)]
struct Entry {
    job: GridJob,
    way: Way,
    /// Samples along x, y, z.
    extent: [u32; 3],
    /// Bytes of its layers.
    bytes: usize,
}

/// The blocks of a batch that are under grid models.
#[derive(Debug, Default)]
pub struct GridBatch {
    path: NetworkPath,
    pub(super) plans: Vec<GridPlan>,
    numbers: HashMap<(u32, [u32; 3]), u32>,
    /// Base networks, and where that of each model lies.
    pub(super) bases: Vec<i16>,
    base_of: HashMap<u32, u32>,
    entries: Vec<Entry>,
    /// Weights of all blocks, and numbers of their own networks.
    pub(super) weights: usize,
    pub(super) networks: usize,
}

/// How the blocks of one way are cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tiling {
    /// Of the largest block.
    pub(super) tiles: u32,
    /// Of a tile along x.
    pub(super) side: u32,
    /// Words of four inputs that planes have room for.
    pub(super) words: u32,
    /// Bytes of shared memory.
    pub(super) shared: u32,
}

/// The jobs of one way.
#[derive(Debug)]
pub(super) struct WayJobs {
    pub(super) way: Way,
    /// Their numbers.
    pub(super) order: Vec<u32>,
    pub(super) tiling: Tiling,
}

impl GridBatch {
    /// An empty one.
    pub fn new(path: NetworkPath) -> Self {
        Self {
            path,
            ..Self::default()
        }
    }

    /// Whether there is nothing to decode.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the block whose head is number `block` of the batch. `bytes`: those of its layers, together.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the model does not fit a block of this extent.
    pub fn push(
        &mut self,
        block: u32,
        head: &BlockHead,
        model: &GridModel,
        bytes: usize,
    ) -> Result<()> {
        let number = self.plan(head, model)?;
        let plan = &self.plans[number as usize];
        let job = GridJob {
            weights: self.weights as u64,
            network: self.networks as u64,
            block,
            plan: number,
        };
        self.entries.push(Entry {
            job,
            way: way(self.path, plan),
            extent: head.dims.map(|n| n.div_ceil(1 << head.lod)),
            bytes,
        });
        self.weights += plan.weights();
        self.networks += network_len(model);
        Ok(())
    }

    /// Number of the plan of a block's model and extent.
    fn plan(&mut self, head: &BlockHead, model: &GridModel) -> Result<u32> {
        let key = (head.model, head.dims);
        if let Some(&number) = self.numbers.get(&key) {
            return Ok(number);
        }
        let base = model.base.as_ref().map(|network| {
            *self.base_of.entry(head.model).or_insert_with(|| {
                let at = self.bases.len() as u32;
                self.bases.extend(network_numbers(network));
                at
            })
        });
        let plan = GridPlan::new(model, head.dims.map(|n| n as usize), base)?;
        let number = self.plans.len() as u32;
        self.plans.push(plan);
        self.numbers.insert(key, number);
        Ok(number)
    }

    /// The jobs, those of most bytes first so that the device is busy to the end, and which of them each way
    /// has.
    pub(super) fn arrange(&self) -> Result<(Vec<GridJob>, Vec<WayJobs>)> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|e| Reverse(e.bytes));
        let jobs = entries.iter().map(|e| e.job).collect();
        let mut orders = Vec::new();
        for way in WAYS {
            let of_way = entries.iter().copied().enumerate();
            let of_way: Vec<_> = of_way.filter(|(_, e)| e.way == way).collect();
            if of_way.is_empty() {
                continue;
            }
            orders.push(WayJobs {
                way,
                tiling: self.tiling(way, of_way.iter().map(|&(_, e)| e))?,
                order: of_way.iter().map(|&(i, _)| i as u32).collect(),
            });
        }
        Ok((jobs, orders))
    }

    fn tiling<'a>(
        &self,
        way: Way,
        entries: impl Iterator<Item = &'a Entry> + Clone,
    ) -> Result<Tiling> {
        let plans = entries.clone().map(|e| &self.plans[e.job.plan as usize]);
        let words = match way {
            Way::Sums => 0,
            Way::Matrices => plans.map(|p| p.inputs.div_ceil(4)).max().unwrap_or(0),
            // Outputs of a layer take the place of its inputs.
            Way::Dots => plans
                .map(|p| p.inputs.max(p.width).div_ceil(4))
                .max()
                .unwrap_or(0),
        };
        let side = match words {
            0 => LONGEST_SIDE,
            1..=4 => 2 * TILE_SIDE,
            _ => TILE_SIDE,
        };
        let tiles_of = |extent: [u32; 3]| {
            let sides = [side, TILE_SIDE, TILE_SIDE];
            let tiles = extent.iter().zip(sides).map(|(n, s)| n.div_ceil(s));
            tiles.product::<u32>()
        };
        let tiles = entries.clone().map(|e| tiles_of(e.extent)).max();
        let tiles = tiles.unwrap_or(1);
        if tiles as usize * entries.count() > i32::MAX as usize {
            return Err(Error::argument("a batch has too many blocks"));
        }
        let voxels = side * TILE_SIDE * TILE_SIDE;
        let lattices = if way == Way::Sums { 2 } else { 3 };
        Ok(Tiling {
            tiles,
            side,
            words,
            shared: 4 * (lattices * voxels + 2 * words * (voxels + PLANE_GAP)),
        })
    }
}

/// Bytes of weights that a voxel takes on the device, at most but for small blocks.
pub(in crate::backend::cuda) fn bytes_of_voxel(model: &GridModel) -> usize {
    const SIDE: usize = 32;
    let levels = model.levels.iter();
    let weights = levels.map(|l| l.features() * l.weights([SIDE; 3]));
    (4 * weights.sum::<usize>()).div_ceil(SIDE.pow(3))
}

fn way(path: NetworkPath, plan: &GridPlan) -> Way {
    match path {
        _ if !plan.has_network() => Way::Sums,
        NetworkPath::Dots => Way::Dots,
        NetworkPath::Matrices => Way::Matrices,
        NetworkPath::Auto if plan.width <= FEW && plan.inputs <= FEW => Way::Dots,
        NetworkPath::Auto => Way::Matrices,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::grid::random::{self, Numbers};

    /// Bytes that the kernels take beside, as `cuda/registers.txt` says, rounded up.
    const STATIC: u32 = 3_600;

    #[test]
    fn tiles_fit_shared_memory_that_needs_no_asking_for() {
        let mut numbers = Numbers(1);
        for _ in 0..200 {
            let dims = [40, 33, 70];
            let model = random::model(&mut numbers, dims, 1);
            for path in [NetworkPath::Auto, NetworkPath::Dots, NetworkPath::Matrices] {
                let mut batch = GridBatch::new(path);
                let head = BlockHead {
                    dims: dims.map(|n| n as u32),
                    lod: 1,
                    ..BlockHead::default()
                };
                batch.push(0, &head, &model, 5).unwrap();
                batch.push(1, &head, &model, 9).unwrap();
                let (jobs, orders) = batch.arrange().unwrap();
                assert_eq!([jobs[0].block, jobs[1].block], [1, 0]);
                assert_eq!(batch.plans.len(), 1);
                for WayJobs { way, order, tiling } in orders {
                    assert_eq!(way == Way::Sums, model.network.is_none());
                    assert_eq!(order, [0, 1]);
                    assert!(tiling.shared + STATIC <= 48 << 10, "{tiling:?}");
                    assert!(tiling.tiles * tiling.side * 64 >= 20 * 17 * 35);
                }
            }
        }
    }
}
