//! The integers of a block under a grid model.

use crate::model::grid::{GridModel, Network, hash_index};

/// Weights of one level of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LevelWeights {
    /// Vertices on each axis, `[x, y, z]`.
    pub lattice: [usize; 3],
    /// Size of the hash table; `None` = one weight per vertex.
    pub table_log2: Option<u8>,
    /// Weights of each feature: `[z][y][x]` over the lattice, or the table.
    pub features: Vec<Vec<i32>>,
}

impl LevelWeights {
    /// Whether every weight is zero.
    pub fn is_zero(&self) -> bool {
        self.features.iter().flatten().all(|&w| w == 0)
    }

    /// Makes every weight zero.
    pub fn clear(&mut self) {
        self.features.iter_mut().for_each(|f| f.fill(0));
    }

    /// Calls `each` with every vertex, `[z][y][x]`, and where its weight is.
    pub fn for_each_entry(&self, mut each: impl FnMut(usize, usize)) {
        let [nx, ny, nz] = self.lattice;
        let Some(table) = self.table_log2 else {
            return (0..nx * ny * nz).for_each(|i| each(i, i));
        };
        let mut vertex = 0;
        for z in 0..nz {
            for y in 0..ny {
                for x in 0..nx {
                    each(vertex, hash_index(x, y, z, table));
                    vertex += 1;
                }
            }
        }
    }

    /// The weights of a feature at the vertices, `[z][y][x]`, into `out`.
    pub fn gather(&self, feature: usize, out: &mut Vec<i32>) {
        let weights = &self.features[feature];
        out.clear();
        if self.table_log2.is_none() {
            out.extend_from_slice(weights);
        } else {
            out.reserve(self.lattice.iter().product());
            self.for_each_entry(|_, entry| out.push(weights[entry]));
        }
    }
}

/// Which network a block has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BlockNetwork {
    /// None: the output is the skip alone.
    #[default]
    None,
    /// The one in the model record.
    Base,
    /// Its own.
    Own(Network),
}

/// All weights of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GridWeights {
    /// Levels, coarse to fine, as in the model.
    pub levels: Vec<LevelWeights>,
    /// Its network.
    pub network: BlockNetwork,
}

impl GridWeights {
    /// Zeros for a block of `dims` voxels, `[x, y, z]`.
    pub fn reset(&mut self, model: &GridModel, dims: [usize; 3]) {
        self.network = BlockNetwork::None;
        self.levels
            .resize_with(model.levels.len(), Default::default);
        for (weights, level) in self.levels.iter_mut().zip(&model.levels) {
            weights.lattice = level.lattice(dims);
            weights.table_log2 = level.table(dims).map(|_| level.table_log2);
            weights.features.resize_with(level.features(), Vec::new);
            for feature in &mut weights.features {
                feature.clear();
                feature.resize(level.weights(dims), 0);
            }
        }
    }
}
