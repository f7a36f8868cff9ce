//! From weights of a grid model to working values of voxels (specification, "Evaluation of a grid
//! model").

mod network;
mod refine;
#[cfg(test)]
mod tests;

use super::CpuLevel;
use super::simd::{self, Loops};
use crate::codec::bands::BlockShape;
use crate::codec::grid::{BlockNetwork, GridWeights};
use crate::model::grid::{GridLevel, GridModel, MAX_VALUE, Network, Refinement, vertices};
use network::AddNetwork;
use refine::Refine;

/// Buffers that a thread keeps from block to block.
#[derive(Debug, Default)]
pub(crate) struct GridScratch {
    pub(crate) weights: GridWeights,
    gathered: Vec<i32>,
    values: Lattice,
    inputs: Vec<Vec<i16>>,
    sums: Lattice,
}

/// Working values over a lattice.
#[derive(Debug, Default, Clone)]
struct Lattice {
    /// `[z][y][x]`.
    values: Vec<i32>,
    other: Vec<i32>,
    dims: [usize; 3],
    spacing: [u8; 3],
}

impl Lattice {
    /// Refines to a finer lattice of a block of `block` voxels.
    fn refine(&mut self, cpu: CpuLevel, model: &GridModel, block: [usize; 3], to: [u8; 3]) {
        for (axis, spacing) in Refinement::new(self.spacing, to) {
            let mut dims = self.dims;
            dims[axis] = vertices(block[axis], spacing);
            self.other.resize(dims.iter().product(), 0);
            simd::with_vectors(
                cpu,
                Refine {
                    old: &self.values,
                    from: self.dims,
                    to: dims[axis],
                    axis,
                    order: model.order,
                    new: &mut self.other,
                },
            );
            std::mem::swap(&mut self.values, &mut self.other);
            self.dims = dims;
        }
        self.spacing = to;
    }

    /// Leaves only the first `dims` vertices of each axis.
    fn crop(&mut self, dims: [usize; 3]) {
        if self.dims == dims {
            return;
        }
        let [w, h, _] = self.dims;
        self.other.clear();
        for z in 0..dims[2] {
            for y in 0..dims[1] {
                let row = (z * h + y) * w;
                self.other
                    .extend_from_slice(&self.values[row..row + dims[0]]);
            }
        }
        std::mem::swap(&mut self.values, &mut self.other);
        self.dims = dims;
    }

    fn clear(&mut self, dims: [usize; 3], spacing: [u8; 3]) {
        self.values.clear();
        self.values.resize(dims.iter().product(), 0);
        (self.dims, self.spacing) = (dims, spacing);
    }
}

impl GridScratch {
    /// Skip sums or output, in working units, `[z][y][x]`.
    pub(crate) fn sums(&self) -> &[i32] {
        &self.sums.values
    }

    /// Inputs of the network as it reads them, `[input][z][y][x]`.
    pub(crate) fn inputs(&self) -> &[Vec<i16>] {
        &self.inputs
    }

    /// The network of the block whose weights are here.
    pub(super) fn network<'a>(&'a self, model: &'a GridModel) -> Option<&'a Network> {
        network_of(&self.weights, model)
    }
}

fn network_of<'a>(weights: &'a GridWeights, model: &'a GridModel) -> Option<&'a Network> {
    match (&weights.network, &model.base) {
        (BlockNetwork::None, _) | (BlockNetwork::Base, None) => None,
        (BlockNetwork::Base, Some(network)) | (BlockNetwork::Own(network), _) => Some(network),
    }
}

/// Evaluates the weights in `scratch.weights` at in-block level of detail `lod`, into
/// `scratch.sums`, `[z][y][x]` over `shape.dims_at(lod)`.
pub(super) fn evaluate(
    cpu: CpuLevel,
    model: &GridModel,
    shape: &BlockShape,
    lod: usize,
    scratch: &mut GridScratch,
) {
    skip_sums(cpu, model, shape, lod, scratch);
    if scratch.weights.network == BlockNetwork::None {
        return;
    }
    fill_inputs(cpu, model, shape, lod, scratch);
    let Some(network) = network_of(&scratch.weights, model) else {
        return;
    };
    let task = AddNetwork {
        network,
        inputs: &scratch.inputs,
        sums: &mut scratch.sums.values,
    };
    simd::with_vectors(cpu, task);
}

/// The linear part: sums over levels, without the network.
pub(super) fn skip_sums(
    cpu: CpuLevel,
    model: &GridModel,
    shape: &BlockShape,
    lod: usize,
    scratch: &mut GridScratch,
) {
    let GridScratch {
        weights,
        gathered,
        sums,
        ..
    } = scratch;
    let end = [lod as u8; 3];
    let mut first = true;
    for (level, stored) in model.levels.iter().zip(&weights.levels) {
        if !level.reaches(lod) {
            break;
        }
        if first {
            sums.clear(stored.lattice, level.spacing);
            first = false;
        }
        sums.refine(cpu, model, shape.dims, level.spacing);
        for (f, &step) in level.steps.iter().enumerate() {
            if level.skip >> f & 1 == 1 && stored.features[f].iter().any(|&w| w != 0) {
                stored.gather(f, gathered);
                simd::with_vectors(cpu, AddValues(gathered, step, &mut sums.values));
            }
        }
    }
    if first {
        sums.clear(shape.dims_at(lod), end);
    }
    sums.refine(cpu, model, shape.dims, end);
    sums.crop(shape.dims_at(lod));
}

/// The features that the network reads, into `scratch.inputs`.
pub(super) fn fill_inputs(
    cpu: CpuLevel,
    model: &GridModel,
    shape: &BlockShape,
    lod: usize,
    scratch: &mut GridScratch,
) {
    let task = Inputs {
        cpu,
        model,
        shape,
        lod,
        weights: &scratch.weights,
    };
    task.fill(
        &mut scratch.gathered,
        &mut scratch.values,
        &mut scratch.inputs,
    );
}

/// The features that the network reads, at every voxel.
struct Inputs<'a> {
    cpu: CpuLevel,
    model: &'a GridModel,
    shape: &'a BlockShape,
    lod: usize,
    weights: &'a GridWeights,
}

impl Inputs<'_> {
    fn fill(&self, gathered: &mut Vec<i32>, values: &mut Lattice, inputs: &mut Vec<Vec<i16>>) {
        let levels = self.model.levels.iter().enumerate();
        let entering = levels.filter_map(|(i, l)| l.input_shift.map(|shift| (i, l, shift)));
        inputs.resize_with(self.model.inputs(), Vec::new);
        let planes =
            entering.flat_map(|(i, l, shift)| (0..l.features()).map(move |f| (i, f, shift)));
        for ((index, feature, shift), plane) in planes.zip(inputs) {
            let level = &self.model.levels[index];
            plane.clear();
            plane.resize(self.shape.dims_at(self.lod).iter().product(), 0);
            let stored = &self.weights.levels[index];
            if level.reaches(self.lod) && stored.features[feature].iter().any(|&w| w != 0) {
                stored.gather(feature, gathered);
                self.interpolate(
                    level,
                    stored.lattice,
                    level.steps[feature],
                    gathered,
                    values,
                );
                simd::with_vectors(self.cpu, ToInput(&values.values, shift, plane));
            }
        }
    }

    fn interpolate(
        &self,
        level: &GridLevel,
        lattice: [usize; 3],
        step: u64,
        weights: &[i32],
        values: &mut Lattice,
    ) {
        values.clear(lattice, level.spacing);
        simd::with_vectors(self.cpu, AddValues(weights, step, &mut values.values));
        let end = [self.lod as u8; 3];
        values.refine(self.cpu, self.model, self.shape.dims, end);
        values.crop(self.shape.dims_at(self.lod));
    }
}

/// Adds weights of a step, in 1/65536 of a working unit, to working values.
struct AddValues<'a>(&'a [i32], u64, &'a mut [i32]);

impl Loops for AddValues<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // At most 2^42, and a weight 2^20.
        let step = self.1 as i64;
        for (o, &w) in self.2.iter_mut().zip(self.0) {
            let value = (i64::from(w) * step + (1 << 15)) >> 16;
            *o = o.wrapping_add(value.clamp(-MAX_VALUE, MAX_VALUE) as i32);
        }
    }
}

/// Features as the network reads them.
struct ToInput<'a>(&'a [i32], u8, &'a mut [i16]);

impl Loops for ToInput<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let half = if self.1 == 0 { 0 } else { 1 << (self.1 - 1) };
        for (o, &v) in self.2.iter_mut().zip(self.0) {
            *o = (v.wrapping_add(half) >> self.1).clamp(-32_767, 32_767) as i16;
        }
    }
}
