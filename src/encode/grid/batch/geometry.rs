//! Models over blocks of one extent in the numbers that a device trains with.

use std::collections::HashMap;

use super::super::pyramid::Gram;
use crate::backend::cuda::train::{
    DENSE_LEVEL, Geometry, MAX_TRAIN_LEVELS, TrainLevel, TrainShape,
};
use crate::codec::grid::level_class;
use crate::model::GridModel;
use crate::model::grid::{GridLevel, Order, hash_index, lattice};
use crate::{Error, Result};

/// Rounds that the entries of a hashed level are chosen in where basis functions of its vertices meet.
/// Entries of one round are far apart by chance.
const ROUNDS: u32 = 16;

/// The shapes of a batch.
#[derive(Default)]
pub(super) struct Shapes {
    pub(super) geometry: Geometry,
    known: HashMap<(usize, [usize; 3]), u32>,
}

impl Shapes {
    /// The number of a model over blocks of `dims` voxels.
    pub(super) fn find(&mut self, model: (usize, &GridModel), dims: [usize; 3]) -> Result<u32> {
        if let Some(&shape) = self.known.get(&(model.0, dims)) {
            return Ok(shape);
        }
        let shape = self.add(model.1, dims)?;
        self.known.insert((model.0, dims), shape);
        Ok(shape)
    }

    fn add(&mut self, model: &GridModel, dims: [usize; 3]) -> Result<u32> {
        check(model)?;
        let geometry = &mut self.geometry;
        let first_level = geometry.levels.len() as u32;
        let mut weights = 0;
        for level in &model.levels {
            let added = add_level(geometry, model, level, dims, weights);
            weights += added.entries * added.features;
            geometry.levels.push(added);
        }
        geometry.shapes.push(TrainShape {
            dims: dims.map(|n| n as u32),
            cubic: u32::from(model.order == Order::Cubic),
            first_level,
            levels: model.levels.len() as u32,
            weights,
            ..TrainShape::default()
        });
        Ok(geometry.shapes.len() as u32 - 1)
    }
}

/// A device trains what [`super::super::grid_models`] makes.
fn check(model: &GridModel) -> Result<()> {
    let even = |l: &GridLevel| l.spacing == [l.spacing[0]; 3] && l.features() == 1 && l.skip == 1;
    if model.levels.len() <= MAX_TRAIN_LEVELS && model.levels.iter().all(even) {
        return Ok(());
    }
    Err(Error::argument("a grid model that no device trains"))
}

fn add_level(
    geometry: &mut Geometry,
    model: &GridModel,
    level: &GridLevel,
    dims: [usize; 3],
    first: u32,
) -> TrainLevel {
    let spacing = level.spacing[0];
    let table = level.table(dims);
    let (mut reach, mut gram) = (0, [0; 3]);
    for (at, &n) in gram.iter_mut().zip(&dims) {
        let axis = Gram::new(n, spacing, model.order);
        reach = axis.reach;
        *at = geometry.grams.len() as u32;
        geometry.grams.extend_from_slice(axis.band());
    }
    let classes = if reach > 0 { ROUNDS } else { 1 };
    let lists = geometry.lists.len() as u32;
    if table.is_some() {
        let vertices = lattice(dims, level.spacing);
        add_lists(&mut geometry.lists, vertices, level.table_log2, classes);
    }
    let unit = f64::from(model.frac_bits).exp2();
    let mut steps = [0.0; 4];
    for (to, &step) in steps.iter_mut().zip(&level.steps) {
        *to = (step as f64 / (65_536.0 * unit)) as f32;
    }
    TrainLevel {
        spacing: u32::from(spacing),
        class: level_class(level.spacing) as u32,
        table_log2: table.map_or(DENSE_LEVEL, |_| u32::from(level.table_log2)),
        entries: level.weights(dims) as u32,
        first,
        reach: reach as u32,
        gram,
        lists,
        classes,
        features: level.features() as u32,
        skip: u32::from(level.skip),
        steps,
        to_input: level
            .input_shift
            .map_or(0.0, |s| (unit / f64::from(s).exp2()) as f32),
    }
}

/// Where the vertices of each entry end, vertices by entry, entries by round, where each round ends; both
/// kinds of ends behind a 0.
pub(super) fn add_lists(
    lists: &mut Vec<u32>,
    [nx, ny, nz]: [usize; 3],
    table_log2: u8,
    rounds: u32,
) {
    let entries = 1usize << table_log2;
    let entry = |v: usize| hash_index(v % nx, v / nx % ny, v / (nx * ny), table_log2);
    let vertices = (0..nx * ny * nz).map(|v| (entry(v), v as u32));
    add_sorted(lists, entries, vertices);
    let round = |e: u32| (e.wrapping_mul(0x9E37_79B1) >> 16) % rounds;
    let by_round = (0..entries as u32).map(|e| (round(e) as usize, e));
    let mut rest = Vec::new();
    add_sorted(&mut rest, rounds as usize, by_round);
    let (ends, sorted) = rest.split_at(rounds as usize + 1);
    lists.extend_from_slice(sorted);
    lists.extend_from_slice(ends);
}

/// Appends where each of `buckets` ends, behind a 0, and the values in the order of their buckets.
fn add_sorted(
    lists: &mut Vec<u32>,
    buckets: usize,
    values: impl Iterator<Item = (usize, u32)> + Clone,
) {
    let mut ends = vec![0u32; buckets + 1];
    values.clone().for_each(|(b, _)| ends[b + 1] += 1);
    for b in 0..buckets {
        ends[b + 1] += ends[b];
    }
    let mut next = ends.clone();
    let mut sorted = vec![0; ends[buckets] as usize];
    for (b, v) in values {
        sorted[next[b] as usize] = v;
        next[b] += 1;
    }
    lists.extend(ends);
    lists.extend(sorted);
}
