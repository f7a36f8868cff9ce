//! Wavelet indices that minimise squared error plus lambda times bits.
//!
//! Coefficients are chosen one at a time, each by what the block then costs as a whole: bits with
//! all contexts that see it ([`field`]), and error with what the others leave ([`metric`], [`gram`]),
//! for the transform is not orthogonal. At faces to other blocks errors count more ([`border`]).
//! Nothing here is normative; floating-point operations are in a fixed order and none is a library
//! call, so that every machine chooses the same.

mod border;
mod choice;
mod count;
mod field;
mod gram;
mod metric;
#[cfg(test)]
mod tests;

use super::Preset;
use super::plan::lambda;
use crate::Result;
use crate::backend::cpu::CpuBackend;
use crate::codec::bands::BlockShape;
use crate::codec::{Coefficient, Quantiser, rows};
use crate::model::WaveletModel;
use border::Weights;
use field::{Field, each};
use gram::Gram;
pub(super) use gram::lattice;
use metric::{Products, Voxels};

/// Bytes that a search works with for each voxel: cells with their padding, and errors.
const WORK_BYTES: u64 = 48;

/// How far a search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Effort {
    /// Times that all coefficients are chosen anew.
    rounds: usize,
    /// Whether whole groups are tried without any.
    groups: bool,
    /// Whether the block has a neighbour before and after it along x, y and z: errors shall not
    /// show a seam there.
    neighbours: [[bool; 2]; 3],
}

impl Effort {
    /// For a preset; `None` = no search.
    pub(crate) fn of_preset(preset: Preset) -> Option<Self> {
        let rounds = match preset {
            Preset::Fast => return None,
            Preset::Balanced => 1,
            Preset::Best => 4,
        };
        Some(Self {
            rounds,
            groups: preset == Preset::Best,
            neighbours: [[true; 2]; 3],
        })
    }

    /// The same for a block that has these neighbours, before and after it along x, y and z.
    pub(crate) fn beside(self, neighbours: [[bool; 2]; 3]) -> Self {
        Self { neighbours, ..self }
    }

    /// Times that all coefficients are chosen anew, and whether whole groups are tried without any.
    pub(super) fn extent(self) -> (usize, bool) {
        (self.rounds, self.groups)
    }

    /// Bytes that it works with for each voxel of a block.
    pub(crate) fn work_bytes(preset: Preset) -> u64 {
        Self::of_preset(preset).map_or(0, |_| WORK_BYTES)
    }
}

/// A block's coefficients, in working units, and how they are quantised.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub(crate) coefficients: &'a [f32],
    pub(crate) shape: BlockShape,
    pub(crate) model: &'a WaveletModel,
    pub(crate) cpu: CpuBackend,
}

impl Task<'_> {
    /// Improves the indices of all quality levels, first to last.
    ///
    /// # Errors
    /// As the tables of the coder.
    pub(crate) fn run<E: Coefficient>(self, effort: Effort, targets: &mut [Vec<E>]) -> Result<()> {
        let mut search = Search::new(self, effort)?;
        for (quality, indices) in (0..self.model.qualities).zip(targets) {
            search.begin(quality)?;
            search.load(indices);
            search.weigh(indices);
            for _ in 0..effort.rounds {
                search.round(indices);
            }
        }
        Ok(())
    }
}

/// A search in one block, from quality to quality.
struct Search<'a> {
    task: Task<'a>,
    effort: Effort,
    quantiser: Quantiser,
    field: Field,
    /// What squared errors count.
    weights: Weights,
    /// Basis functions of each split and axis.
    grams: Vec<[Gram; 3]>,
    /// What reconstruction takes off a magnitude of 1 and of more, in steps.
    pulls: [f32; 2],
    /// In squares of the step.
    lambda: f32,
    errors: Vec<f32>,
    lines: Vec<f32>,
}

/// What a magnitude stands for, in steps.
#[inline(always)]
fn value(magnitude: u32, pulls: [f32; 2]) -> f32 {
    match magnitude {
        0 => 0.0,
        1 => 1.0 - pulls[0],
        k => k as f32 - pulls[1],
    }
}

impl<'a> Search<'a> {
    fn new(task: Task<'a>, effort: Effort) -> Result<Self> {
        let shape = task.shape;
        let model = task.model;
        Ok(Self {
            task,
            effort,
            quantiser: Quantiser::new(model, 0),
            field: Field::new(shape)?,
            weights: Weights::even(shape),
            grams: Vec::new(),
            pulls: [model.recon_one, model.recon_more].map(|p| f32::from(p) / 256.0),
            lambda: lambda(1.0) as f32,
            errors: Vec::new(),
            lines: Vec::new(),
        })
    }

    /// Goes on to a quality.
    fn begin(&mut self, quality: u8) -> Result<()> {
        self.quantiser = Quantiser::new(self.task.model, quality);
        if quality > 0 {
            self.field.advance()?;
        }
        Ok(())
    }

    /// Decides what errors count, from those that indices leave.
    fn weigh<E: Coefficient>(&mut self, indices: &[E]) {
        let shape = self.task.shape;
        self.find_errors(indices);
        self.task.cpu.with_vectors(Voxels {
            values: &mut self.errors,
            scratch: &mut self.lines,
            shape,
        });
        self.weights = Weights::new(&self.errors, shape, self.effort.neighbours);
        let weights = &self.weights.0;
        let grams = |depth: usize| {
            let first = Gram::new(&weights[0], depth);
            let other = |axis: usize| match weights[axis] == weights[0] {
                true => first.clone(),
                false => Gram::new(&weights[axis], depth),
            };
            let (second, third) = (other(1), other(2));
            [first, second, third]
        };
        self.grams = (0..shape.depth).map(grams).collect();
    }

    /// Takes indices to start from, within what the quality before allows.
    fn load<E: Coefficient>(&mut self, indices: &mut [E]) {
        for b in 0..self.field.bands.len() {
            let band = self.field.bands[b].band;
            let cells = self.field.sizes[band.depth].0;
            each(band.dims, |[x, y, z]| {
                let place = self.field.shape.place(&band, [x, y, z]);
                let cell = &mut self.field.bands[b].cells[cells.at(x, y, z)];
                let index: i32 = indices[place].into();
                let (lowest, highest) = cell.bounds();
                cell.magnitude = index.unsigned_abs().clamp(lowest, highest);
                if cell.before == 0 {
                    cell.negative = self.task.coefficients[place] < 0.0;
                }
            });
        }
        self.field.recount();
        for depth in 0..self.field.shape.depth {
            self.store(depth, indices);
        }
    }

    /// Hands out the indices of a split.
    fn store<E: Coefficient>(&self, depth: usize, indices: &mut [E]) {
        for field in &self.field.bands[7 * depth..7 * depth + 7] {
            let cells = self.field.sizes[field.band.depth].0;
            each(field.band.dims, |[x, y, z]| {
                let cell = &field.cells[cells.at(x, y, z)];
                let magnitude = i64::from(cell.magnitude);
                let index = if cell.negative { -magnitude } else { magnitude };
                indices[self.field.shape.place(&field.band, [x, y, z])] = E::saturate(index);
            });
        }
    }

    /// Chooses everything anew, coarse to fine. The deepest bands stay as they are: they are few,
    /// and have most in common with all others.
    fn round<E: Coefficient>(&mut self, indices: &mut [E]) {
        for depth in (0..self.field.shape.depth.saturating_sub(1)).rev() {
            self.aim(depth, indices);
            for index in 1..8 {
                let b = field::id(depth, index);
                self.field.choose_variant(b);
                self.sweep(b);
            }
            self.store(depth, indices);
        }
    }

    /// Works out the ideal magnitudes of a split, given all other indices as they are.
    fn aim<E: Coefficient>(&mut self, depth: usize, indices: &[E]) {
        self.find_errors(indices);
        self.task.cpu.with_vectors(Products {
            values: &mut self.errors,
            scratch: &mut self.lines,
            shape: self.field.shape,
            weights: &self.weights,
        });
        for index in 1..8 {
            self.aim_band(field::id(depth, index));
        }
    }

    fn aim_band(&mut self, b: usize) {
        let band = self.field.bands[b].band;
        let cells = self.field.sizes[band.depth].0;
        let step = self.quantiser.step(&self.field.shape, &band) as f32 / 256.0;
        let norm = self.quantiser.value_step() / step;
        let scale = 1.0 / (norm * norm * step);
        each(band.dims, |[x, y, z]| {
            let error = self.errors[self.field.shape.place(&band, [x, y, z])] * scale;
            let square = gram::square(&self.grams[band.depth], band.index, [x, y, z]);
            let cell = &mut self.field.bands[b].cells[cells.at(x, y, z)];
            let towards = if cell.negative { -error } else { error } / square;
            cell.target = value(cell.magnitude, self.pulls) + towards;
            if cell.magnitude == 0 && cell.before == 0 && cell.target < 0.0 {
                cell.target = -cell.target;
                cell.negative = !cell.negative;
            }
        });
    }

    /// What indices leave of the coefficients, in working units.
    fn find_errors<E: Coefficient>(&mut self, indices: &[E]) {
        let shape = self.field.shape;
        self.errors.clear();
        self.errors.extend_from_slice(self.task.coefficients);
        let bands = (0..shape.depth).flat_map(|d| (1..8).map(move |i| (d, i)));
        let bands = bands.map(|(d, i)| shape.band(d, i));
        for band in bands.chain([shape.coarsest()]) {
            let step = self.quantiser.step(&shape, &band) as f32 / 256.0;
            let pulls = if band.index == 0 {
                [0.0; 2]
            } else {
                self.pulls
            };
            for row in rows(&shape, &band) {
                for (error, index) in self.errors[row.clone()].iter_mut().zip(&indices[row]) {
                    let index: i32 = (*index).into();
                    let magnitude = value(index.unsigned_abs(), pulls) * step;
                    *error -= if index < 0 { -magnitude } else { magnitude };
                }
            }
        }
    }
}
