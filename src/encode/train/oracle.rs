//! The block model voxel by voxel in double precision, written down once more: what the kernels
//! are tested against.

#![allow(clippy::unwrap_used)]

use super::mlp::Mlp;
use super::net::Net;
use crate::model::grid::{Order, lattice};

/// A lattice of values, `[z][y][x]`.
struct Lattice {
    size: [usize; 3],
    values: Vec<f64>,
}

impl Lattice {
    fn at(&self, p: [usize; 3]) -> f64 {
        self.values[(p[2] * self.size[1] + p[1]) * self.size[0] + p[0]]
    }

    fn refined(&self, dims: [usize; 3], k: [u8; 3], axis: usize, order: Order) -> Self {
        let mut finer = k;
        finer[axis] -= 1;
        let size = lattice(dims, finer);
        let mut values = Vec::new();
        for z in 0..size[2] {
            for y in 0..size[1] {
                for x in 0..size[0] {
                    values.push(self.new_vertex([x, y, z], axis, order));
                }
            }
        }
        Self { size, values }
    }

    fn new_vertex(&self, p: [usize; 3], axis: usize, order: Order) -> f64 {
        let i = p[axis] / 2;
        let old = |i: usize| {
            let mut q = p;
            q[axis] = i;
            self.at(q)
        };
        if p[axis].is_multiple_of(2) {
            return old(i);
        }
        let (b, c) = (old(i), old(i + 1));
        let a = if i == 0 { 2.0 * b - c } else { old(i - 1) };
        let last = i + 2 == self.size[axis];
        let d = if last { 2.0 * c - b } else { old(i + 2) };
        match order {
            Order::Linear => (b + c) / 2.0,
            Order::Cubic => (9.0 * (b + c) - (a + d)) / 16.0,
        }
    }

    fn into_voxels(mut self, dims: [usize; 3], mut k: [u8; 3], order: Order) -> Self {
        while let Some(axis) = (0..3).max_by_key(|&a| (k[a], 2 - a)).filter(|&a| k[a] > 0) {
            self = self.refined(dims, k, axis, order);
            k[axis] -= 1;
        }
        self
    }
}

fn vertices(net: &Net, l: usize, f: usize) -> Lattice {
    let level = &net.levels[l];
    let size = lattice(net.dims, level.spec.exponents);
    let table = &level.weights[f];
    let dense = size.iter().product::<usize>() <= 1 << level.spec.table_log2;
    let mut values = Vec::new();
    for z in 0..size[2] {
        for y in 0..size[1] {
            for x in 0..size[0] {
                let hash = x ^ y.wrapping_mul(2_654_435_761) ^ z.wrapping_mul(805_459_861);
                let entry = if dense {
                    (z * size[1] + y) * size[0] + x
                } else {
                    (hash & 0xFFFF_FFFF) % table.len()
                };
                values.push(f64::from(table[entry]) * f64::from(level.spec.steps[f]));
            }
        }
    }
    Lattice { size, values }
}

/// What a network gives for one voxel.
pub(super) fn network(mlp: &Mlp, inputs: &[f64]) -> f64 {
    let mut values = inputs.to_vec();
    for i in 0..=mlp.shape.hidden {
        let (weights, biases) = mlp.layer(i).unwrap();
        let rows = weights.chunks(values.len()).zip(biases);
        let unit = |(row, &bias): (&[f32], &f32)| {
            let sum = row.iter().zip(&values).map(|(&w, &v)| f64::from(w) * v);
            let sum = sum.sum::<f64>() + f64::from(bias);
            if i < mlp.shape.hidden {
                sum.max(0.0)
            } else {
                sum
            }
        };
        values = rows.map(unit).collect();
    }
    values[0]
}

/// What a model gives, by voxel.
pub(super) fn output(net: &Net) -> Vec<f64> {
    let n: usize = net.voxels();
    let (mut base, mut inputs) = (vec![0.0; n], vec![Vec::new(); n]);
    for (l, level) in net.levels.iter().enumerate() {
        for f in 0..level.weights.len() {
            let k = level.spec.exponents;
            let plane = vertices(net, l, f)
                .into_voxels(net.dims, k, net.order)
                .values;
            for (v, value) in plane.iter().enumerate() {
                base[v] += if level.spec.skips(f) { *value } else { 0.0 };
                inputs[v].extend(level.spec.input_scale.map(|s| value * f64::from(s)));
            }
        }
    }
    if let Some(mlp) = &net.mlp {
        for (b, i) in base.iter_mut().zip(&inputs) {
            *b += network(mlp, i);
        }
    }
    base
}

/// Mean squared error of a model.
pub(super) fn loss(net: &Net, target: &[f32]) -> f64 {
    let output = output(net);
    let squares = output
        .iter()
        .zip(target)
        .map(|(o, &t)| (o - f64::from(t)).powi(2));
    squares.sum::<f64>() / target.len() as f64
}
