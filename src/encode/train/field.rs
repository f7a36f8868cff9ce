//! From values at the vertices of all levels to planes over the voxels, and back: the linear part
//! of a block model.

use super::hash;
use super::net::{Net, level_hash};
use super::refine::{Path, Rooms};
use crate::backend::cpu::CpuLevel;

/// One level's geometry.
#[derive(Debug, Clone)]
struct Geometry {
    vertices: usize,
    hash: Option<Vec<u32>>,
    /// Bit `f`: feature `f` is part of the sum.
    skip: u8,
    feeds: bool,
    /// To the next level, or to the voxels from the last.
    onward: Path,
    /// To the voxels; where features feed the network.
    to_voxels: Path,
}

impl Geometry {
    fn skips(&self, f: usize) -> bool {
        self.skip >> f & 1 == 1
    }

    /// Values at the vertices.
    fn spread<'a>(&self, table: &'a [f32], room: &'a mut [f32]) -> &'a [f32] {
        match &self.hash {
            None => table,
            Some(entries) => {
                let room = &mut room[..self.vertices];
                hash::gather(entries, table, room);
                room
            }
        }
    }

    /// The transpose of [`Geometry::spread`].
    fn collect(&self, vertices: &[f32], table: &mut [f32]) {
        match &self.hash {
            None => table.copy_from_slice(vertices),
            Some(entries) => hash::scatter(entries, vertices, table),
        }
    }
}

/// The planes of a block and the gradients by them.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    cpu: CpuLevel,
    levels: Vec<Geometry>,
    /// Sum of skipping features, one value a voxel.
    pub(crate) base: Vec<f32>,
    /// One plane per network input.
    pub(crate) planes: Vec<Vec<f32>>,
    /// Gradient by `base`; the caller fills it.
    pub(crate) base_gradient: Vec<f32>,
    /// Gradient by `planes`; the caller fills it.
    pub(crate) plane_gradients: Vec<Vec<f32>>,
    sums: [Vec<f32>; 2],
    vertices: Vec<f32>,
    rooms: Rooms,
}

impl Field {
    /// For models with the levels of `net`.
    pub(crate) fn new(net: &Net, cpu: CpuLevel) -> Self {
        let levels = geometry(net);
        let (voxels, largest) = (
            net.voxels(),
            levels.iter().map(|l| l.vertices).max().unwrap_or(0),
        );
        let inputs = net.mlp.as_ref().map_or(0, |m| m.shape.inputs);
        Self {
            cpu,
            levels,
            base: vec![0.0; voxels],
            planes: vec![vec![0.0; voxels]; inputs],
            base_gradient: vec![0.0; voxels],
            plane_gradients: vec![vec![0.0; voxels]; inputs],
            sums: [vec![0.0; largest], vec![0.0; largest]],
            vertices: vec![0.0; largest],
            rooms: Rooms::default(),
        }
    }

    /// Fills `base` and `planes` from `values[level][feature][entry]`.
    pub(crate) fn forward(&mut self, values: &[Vec<Vec<f32>>]) {
        self.fill_planes(values);
        let [sum, next] = &mut self.sums;
        let (mut sum, mut next) = (sum, next);
        let mut begun = false;
        self.base.fill(0.0);
        for (i, (level, values)) in self.levels.iter().zip(values).enumerate() {
            let here = &mut sum[..level.vertices];
            for (_, table) in values.iter().enumerate().filter(|v| level.skips(v.0)) {
                let room = &mut self.vertices;
                put(
                    std::mem::replace(&mut begun, true),
                    level.spread(table, room),
                    here,
                );
            }
            if begun && i + 1 == self.levels.len() {
                level
                    .onward
                    .forward(self.cpu, here, &mut self.base, &mut self.rooms);
            } else if begun {
                let finer = &mut next[..level.onward.fine()];
                level.onward.forward(self.cpu, here, finer, &mut self.rooms);
            }
            std::mem::swap(&mut sum, &mut next);
        }
    }

    fn fill_planes(&mut self, values: &[Vec<Vec<f32>>]) {
        let mut planes = self.planes.iter_mut();
        for (level, values) in self.levels.iter().zip(values).filter(|l| l.0.feeds) {
            for (table, plane) in values.iter().zip(&mut planes) {
                let vertices = level.spread(table, &mut self.vertices);
                level
                    .to_voxels
                    .forward(self.cpu, vertices, plane, &mut self.rooms);
            }
        }
    }

    /// Gradients by `values[level][feature][entry]` from those by `base` and `planes`, replaced.
    pub(crate) fn backward(&mut self, gradients: &mut [Vec<Vec<f32>>]) {
        let first_skip = self.levels.iter().position(|l| l.skip != 0);
        let mut plane = self.plane_gradients.len();
        let [sum, next] = &mut self.sums;
        let (mut sum, mut next) = (sum, next);
        let last = self.levels.len();
        for (i, (level, gradients)) in self.levels.iter().zip(gradients).enumerate().rev() {
            let summed = first_skip.is_some_and(|first| i >= first);
            let here = &mut sum[..level.vertices];
            if summed {
                let finer = match i + 1 == last {
                    true => &self.base_gradient,
                    false => &next[..level.onward.fine()],
                };
                level
                    .onward
                    .transpose(self.cpu, finer, here, &mut self.rooms);
            }
            plane -= gradients.len() * usize::from(level.feeds);
            for (f, table) in gradients.iter_mut().enumerate() {
                if !level.feeds {
                    take(level, level.skips(f), here, table);
                    continue;
                }
                let vertices = &mut self.vertices[..level.vertices];
                let fine = &self.plane_gradients[plane + f];
                level
                    .to_voxels
                    .transpose(self.cpu, fine, vertices, &mut self.rooms);
                if level.skips(f) {
                    put(true, here, vertices);
                }
                level.collect(vertices, table);
            }
            std::mem::swap(&mut sum, &mut next);
        }
    }

    /// Multiply-adds of one forward pass; a backward pass has as many.
    pub(crate) fn multiply_adds(&self) -> usize {
        let features = |l: &Geometry| match l.feeds {
            true => l.to_voxels.multiply_adds(),
            false => 0,
        };
        self.levels
            .iter()
            .map(|l| l.onward.multiply_adds() * usize::from(l.skip != 0) + features(l))
            .sum()
    }
}

fn geometry(net: &Net) -> Vec<Geometry> {
    let spacing = |i: usize| net.levels.get(i).map_or([0; 3], |l| l.spec.exponents);
    let path = |i: usize, to| Path::new(net.dims, spacing(i), to, net.order);
    let of = |(i, level): (usize, &super::net::Level)| {
        let onward = path(i, spacing(i + 1));
        Geometry {
            vertices: onward.coarse(),
            hash: level_hash(&level.spec, net.dims),
            skip: level.spec.skip,
            feeds: net.mlp.is_some() && level.spec.input_scale.is_some(),
            to_voxels: path(i, [0; 3]),
            onward,
        }
    };
    net.levels.iter().enumerate().map(of).collect()
}

/// Adds to or replaces `to`.
fn put(add: bool, from: &[f32], to: &mut [f32]) {
    if add {
        for (to, from) in to.iter_mut().zip(from) {
            *to += from;
        }
    } else {
        to.copy_from_slice(from);
    }
}

fn take(level: &Geometry, skips: bool, gradient: &[f32], table: &mut [f32]) {
    match skips {
        true => level.collect(gradient, table),
        false => table.fill(0.0),
    }
}
