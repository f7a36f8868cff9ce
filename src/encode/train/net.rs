//! A block model in float: levels of weights in units of their quantiser step, and a network.

use super::hash;
use super::mlp::{MAX_INPUTS, Mlp, MlpShape};
use super::random::Random;
use super::refine::MAX_LINE;
use crate::model::grid::{Order, lattice};
use crate::{Error, Result};

/// What a grid level looks like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LevelSpec {
    /// Spacing of vertices is `2^exponent` voxels along `[x, y, z]`.
    pub(crate) exponents: [u8; 3],
    /// Entries of the hash table; a lattice that fits is dense.
    pub(crate) table_log2: u8,
    /// Bit `f`: feature `f` is added to the output.
    pub(crate) skip: u8,
    /// Factor on the features on their way into the network; `None`: they do not go there.
    pub(crate) input_scale: Option<f32>,
    /// Quantiser step of each feature, in units of the target.
    pub(crate) steps: Vec<f32>,
}

impl LevelSpec {
    /// Weights of each feature in a block of `dims` voxels.
    pub(crate) fn entries(&self, dims: [usize; 3]) -> usize {
        let vertices: usize = lattice(dims, self.exponents).iter().product();
        vertices.min(1 << self.table_log2)
    }

    /// Whether feature `f` is added to the output.
    pub(crate) fn skips(&self, f: usize) -> bool {
        self.skip >> f & 1 == 1
    }

    fn check(&self) -> Result<()> {
        let features = self.steps.len();
        let good = self.exponents.iter().all(|&k| k <= 7)
            && (1..=4).contains(&features)
            && self.table_log2 <= 22
            && self.skip >> features == 0
            && self.steps.iter().all(|s| *s > 0.0 && s.is_finite())
            && self.input_scale.is_none_or(f32::is_finite);
        refuse(good, "a grid level to train is out of range")
    }
}

fn refuse(good: bool, what: &str) -> Result<()> {
    if good {
        return Ok(());
    }
    Err(Error::InvalidArgument(what.into()))
}

/// Weights of one level.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Level {
    /// What it looks like.
    pub(crate) spec: LevelSpec,
    /// In units of the step, `[feature][entry]`; whole numbers once trained. Entries of a dense
    /// level are vertices `[z][y][x]`.
    pub(crate) weights: Vec<Vec<f32>>,
}

/// A block model in float.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Net {
    /// Voxels of the block, `[x, y, z]`.
    pub(crate) dims: [usize; 3],
    /// How levels are refined.
    pub(crate) order: Order,
    /// Coarse to fine.
    pub(crate) levels: Vec<Level>,
    /// What is added to the sum of skipping features.
    pub(crate) mlp: Option<Mlp>,
}

impl Net {
    /// A model that gives 0 everywhere: skipping features are 0, others random within a step so
    /// that they can learn, and the network's output layer is 0. `hidden`: layers and their width.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for what the format cannot hold.
    pub(crate) fn new(
        dims: [usize; 3],
        order: Order,
        specs: Vec<LevelSpec>,
        hidden: Option<(usize, usize)>,
        seed: u64,
    ) -> Result<Self> {
        check(dims, &specs, hidden)?;
        let inputs = inputs(&specs);
        let mlp = hidden.map(|(hidden, width)| {
            let shape = MlpShape {
                inputs,
                hidden,
                width,
            };
            Mlp::new(shape, seed)
        });
        let mut random = Random::new(!seed);
        let levels = specs
            .into_iter()
            .map(|spec| start(spec, dims, &mut random))
            .collect();
        Ok(Self {
            dims,
            order,
            levels,
            mlp,
        })
    }

    /// Voxels of the block.
    pub(crate) fn voxels(&self) -> usize {
        self.dims.iter().product()
    }

    /// Replaces weights by the nearest whole numbers.
    pub(crate) fn round(&mut self) {
        let weights = self.levels.iter_mut().flat_map(|l| &mut l.weights);
        for weight in weights.flatten() {
            *weight = weight.round_ties_even();
        }
    }
}

fn inputs(specs: &[LevelSpec]) -> usize {
    let feeding = specs.iter().filter(|s| s.input_scale.is_some());
    feeding.map(|s| s.steps.len()).sum()
}

fn check(dims: [usize; 3], specs: &[LevelSpec], hidden: Option<(usize, usize)>) -> Result<()> {
    specs.iter().try_for_each(LevelSpec::check)?;
    let small = dims.iter().all(|n| (1..MAX_LINE).contains(n));
    refuse(small, "a block to train has an axis that is too long")?;
    let falls = |p: &[LevelSpec]| (0..3).all(|a| p[0].exponents[a] >= p[1].exponents[a]);
    refuse(
        specs.windows(2).all(falls),
        "the levels to train do not go from coarse to fine",
    )?;
    let fits = |(layers, width): (usize, usize)| {
        (1..=2).contains(&layers)
            && matches!(width, 8 | 16 | 24 | 32)
            && (1..=MAX_INPUTS).contains(&inputs(specs))
    };
    refuse(
        hidden.is_none_or(fits),
        "the network to train has an extent that no file can hold",
    )
}

fn start(spec: LevelSpec, dims: [usize; 3], random: &mut Random) -> Level {
    let entries = spec.entries(dims);
    let weights = (0..spec.steps.len())
        .map(|f| match spec.skips(f) {
            true => vec![0.0; entries],
            false => (0..entries).map(|_| random.signed()).collect(),
        })
        .collect();
    Level { spec, weights }
}

/// Which table entry each vertex of a level reads; `None` where entries are vertices.
pub(crate) fn level_hash(spec: &LevelSpec, dims: [usize; 3]) -> Option<Vec<u32>> {
    hash::entries(lattice(dims, spec.exponents), spec.table_log2)
}
