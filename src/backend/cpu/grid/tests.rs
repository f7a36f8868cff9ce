#![allow(clippy::unwrap_used)]
use super::*;
use crate::codec::grid::random::{self, Numbers};
use crate::model::grid::{Order, hash_index, refine_line};
use proptest::prelude::*;

/// Vertices and their values, `[z][y][x]`: everything below is the specification, word by word.
struct Plain {
    values: Vec<i32>,
    dims: [usize; 3],
    spacing: [u8; 3],
}

fn value(weight: i32, step: u64) -> i32 {
    let exact = (i128::from(weight) * i128::from(step) + (1 << 15)) >> 16;
    exact.clamp(-(1 << 27), 1 << 27) as i32
}

/// Values of a feature at the vertices.
fn feature(weights: &GridWeights, index: usize, feature: usize, level: &GridLevel) -> Plain {
    let stored = &weights.levels[index];
    let [w, h, d] = stored.lattice;
    let mut values = Vec::new();
    for (z, y, x) in (0..d).flat_map(|z| (0..h).flat_map(move |y| (0..w).map(move |x| (z, y, x)))) {
        let at = match stored.table_log2 {
            Some(table) => hash_index(x, y, z, table),
            None => (z * h + y) * w + x,
        };
        values.push(value(stored.features[feature][at], level.steps[feature]));
    }
    Plain {
        values,
        dims: stored.lattice,
        spacing: level.spacing,
    }
}

impl Plain {
    fn at(&self, [x, y, z]: [usize; 3]) -> i32 {
        self.values[(z * self.dims[1] + y) * self.dims[0] + x]
    }

    /// One axis, by lines.
    fn refine_axis(&self, axis: usize, count: usize, order: Order) -> Self {
        let mut dims = self.dims;
        dims[axis] = count;
        let mut values = vec![0; dims.iter().product()];
        let (b, c) = ((axis + 1) % 3, (axis + 2) % 3);
        for (i, j) in (0..dims[b]).flat_map(|i| (0..dims[c]).map(move |j| (i, j))) {
            let place = |a: usize| {
                let mut at = [0; 3];
                (at[axis], at[b], at[c]) = (a, i, j);
                at
            };
            let old: Vec<i32> = (0..self.dims[axis]).map(|a| self.at(place(a))).collect();
            let mut new = vec![0; count];
            refine_line(&old, &mut new, order);
            for (a, v) in new.into_iter().enumerate() {
                let [x, y, z] = place(a);
                values[(z * dims[1] + y) * dims[0] + x] = v;
            }
        }
        let mut spacing = self.spacing;
        spacing[axis] -= 1;
        Self {
            values,
            dims,
            spacing,
        }
    }

    fn refine(mut self, model: &GridModel, block: [usize; 3], to: [u8; 3]) -> Self {
        while self.spacing != to {
            let behind = |a: usize| self.spacing[a] - to[a];
            let most = (0..3).map(behind).max().unwrap();
            let axis = (0..3).find(|&a| behind(a) == most).unwrap();
            let count = (block[axis] - 1).div_ceil(1 << (self.spacing[axis] - 1)) + 1;
            self = self.refine_axis(axis, count, model.order);
        }
        self
    }

    fn crop(&self, [w, h, d]: [usize; 3]) -> Vec<i32> {
        let rows = (0..d).flat_map(|z| (0..h).map(move |y| (y, z)));
        rows.flat_map(|(y, z)| (0..w).map(move |x| self.at([x, y, z])))
            .collect()
    }
}

fn oracle(model: &GridModel, shape: &BlockShape, lod: usize, weights: &GridWeights) -> Vec<i32> {
    let (end, dims) = ([lod as u8; 3], shape.dims_at(lod));
    let used = model
        .levels
        .iter()
        .take_while(|l| l.spacing.iter().all(|&k| usize::from(k) >= lod));
    let mut sum: Option<Plain> = None;
    for (i, level) in used.enumerate() {
        let zeros = || Plain {
            values: vec![0; weights.levels[i].lattice.iter().product()],
            dims: weights.levels[i].lattice,
            spacing: level.spacing,
        };
        let mut now = sum.map_or_else(zeros, |s| s.refine(model, shape.dims, level.spacing));
        for f in (0..level.features()).filter(|f| level.skip >> f & 1 == 1) {
            let add = feature(weights, i, f, level).values.into_iter();
            now.values
                .iter_mut()
                .zip(add)
                .for_each(|(s, v)| *s = s.wrapping_add(v));
        }
        sum = Some(now);
    }
    let mut sums = sum.map_or_else(
        || vec![0; dims.iter().product()],
        |s| s.refine(model, shape.dims, end).crop(dims),
    );
    let network = match &weights.network {
        BlockNetwork::None => return sums,
        BlockNetwork::Base => model.base.as_ref().unwrap(),
        BlockNetwork::Own(network) => network,
    };
    let planes = inputs(model, shape, lod, weights);
    for (i, s) in sums.iter_mut().enumerate() {
        let voxel: Vec<i16> = planes.iter().map(|p| p[i]).collect();
        *s = s.wrapping_add(network.evaluate(&voxel));
    }
    sums
}

fn inputs(
    model: &GridModel,
    shape: &BlockShape,
    lod: usize,
    weights: &GridWeights,
) -> Vec<Vec<i16>> {
    let dims = shape.dims_at(lod);
    let mut planes = Vec::new();
    for (i, level) in model.levels.iter().enumerate() {
        let Some(shift) = level.input_shift else {
            continue;
        };
        for f in 0..level.features() {
            let used = level.spacing.iter().all(|&k| usize::from(k) >= lod);
            let values = if used {
                let lattice = feature(weights, i, f, level);
                lattice.refine(model, shape.dims, [lod as u8; 3]).crop(dims)
            } else {
                vec![0; dims.iter().product()]
            };
            let half = if shift > 0 { 1 << (shift - 1) } else { 0 };
            let enter = |v: i32| (v.wrapping_add(half) >> shift).clamp(-32_767, 32_767) as i16;
            planes.push(values.into_iter().map(enter).collect());
        }
    }
    planes
}

proptest! {
    /// Every vector unit gives the sums of a plain evaluation, whatever the numbers, wrapping
    /// included, also with buffers that another block has left.
    #[test]
    fn vectors_equal_the_oracle(
        seed in any::<u64>(),
        dims in [1usize..=40, 1usize..=24, 1usize..=20],
        lod in 0usize..5,
    ) {
        let mut numbers = Numbers(seed);
        let shape = BlockShape { dims, depth: 4 };
        let model = random::model(&mut numbers, dims, 3);
        let mut scratch = GridScratch {
            weights: random::weights(&mut numbers, &model, dims),
            ..GridScratch::default()
        };
        for lod in [0, lod] {
            let wanted = oracle(&model, &shape, lod, &scratch.weights);
            for cpu in CpuLevel::available() {
                evaluate(cpu, &model, &shape, lod, &mut scratch);
                prop_assert_eq!(&scratch.sums.values, &wanted, "{} lod {}", cpu.name(), lod);
            }
        }
    }
}

#[test]
fn a_network_without_levels_reads_zeros() {
    let (mut numbers, shape) = (
        Numbers(3),
        BlockShape {
            dims: [9, 6, 5],
            depth: 3,
        },
    );
    let mut found = 0;
    while found < 20 {
        let model = random::model(&mut numbers, shape.dims, 3);
        let mut scratch = GridScratch {
            weights: random::weights(&mut numbers, &model, shape.dims),
            ..GridScratch::default()
        };
        if model.levels[0].reaches(3) || scratch.weights.network == BlockNetwork::None {
            continue;
        }
        found += 1;
        let wanted = oracle(&model, &shape, 3, &scratch.weights);
        assert!(wanted.windows(2).all(|w| w[0] == w[1]));
        evaluate(CpuLevel::best(), &model, &shape, 3, &mut scratch);
        assert_eq!(scratch.sums.values, wanted);
    }
}
