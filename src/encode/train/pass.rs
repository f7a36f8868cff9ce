//! The small network forward and backward over tiles of voxels, fused: activations live in a
//! buffer of one tile, weight gradients in sums of 16 lanes that are added up once a pass.

use super::kernel::{
    AddRows, Dense, Errors, FromOutput, GROUP, Outer, PassActive, Row, Scaled, Sum, TILE, total,
};
use super::mlp::{LayerAt, MAX_INPUTS, Mlp, MlpShape};
use crate::backend::cpu::{CpuLevel, LANES, with_floats};

/// What a pass reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Samples<'a> {
    /// One plane per network input, each of as many voxels as the target.
    pub(crate) inputs: &'a [&'a [f32]],
    /// Factor on each plane before it goes into the network.
    pub(crate) scales: &'a [f32],
    /// What the network's output is added to; nothing if `None`.
    pub(crate) base: Option<&'a [f32]>,
    /// What the sum should be.
    pub(crate) target: &'a [f32],
    /// Which tiles of [`TILE`] voxels, in order.
    pub(crate) tiles: &'a [u32],
}

/// Where gradients by voxel go, for those who train what feeds the network.
#[derive(Debug)]
pub(crate) struct VoxelGradients<'a> {
    /// By network input plane.
    pub(crate) inputs: &'a mut [Vec<f32>],
    /// By `base`.
    pub(crate) base: &'a mut [f32],
}

/// One layer, packed for the kernels.
#[derive(Debug, Clone)]
struct Packed {
    at: LayerAt,
    /// Inputs rounded up to whole groups.
    stride: usize,
    /// `[group of outputs][input]`.
    weights: Vec<[f32; GROUP]>,
    /// `[group of inputs][output]`.
    transposed: Vec<[f32; GROUP]>,
    biases: Vec<f32>,
    weight_sums: Vec<Sum>,
    bias_sums: Vec<Sum>,
}

impl Packed {
    fn new(at: LayerAt) -> Self {
        let stride = at.inputs.next_multiple_of(GROUP);
        Self {
            at,
            stride,
            weights: vec![[0.0; GROUP]; at.inputs * at.outputs.div_ceil(GROUP)],
            transposed: vec![[0.0; GROUP]; stride / GROUP * at.outputs],
            biases: vec![0.0; at.outputs],
            weight_sums: vec![Sum::default(); stride * at.outputs],
            bias_sums: vec![Sum::default(); at.outputs],
        }
    }

    fn load(&mut self, parameters: &[f32]) {
        let at = self.at;
        let rows = parameters[at.start..at.biases()].chunks_exact(at.inputs);
        for (o, row) in rows.enumerate() {
            for (i, &weight) in row.iter().enumerate() {
                self.weights[o / GROUP * at.inputs + i][o % GROUP] = weight;
                self.transposed[i / GROUP * at.outputs + o][i % GROUP] = weight;
            }
        }
        self.biases
            .copy_from_slice(&parameters[at.biases()..at.end()]);
        self.weight_sums.fill(Sum::default());
        self.bias_sums.fill(Sum::default());
    }

    fn store_gradient(&self, gradient: &mut [f32]) {
        let at = self.at;
        let rows = self.weight_sums.chunks_exact(self.stride);
        for (out, sums) in gradient[at.start..at.biases()]
            .chunks_exact_mut(at.inputs)
            .zip(rows)
        {
            for (g, sum) in out.iter_mut().zip(sums) {
                *g = total(sum);
            }
        }
        for (g, sum) in gradient[at.biases()..at.end()]
            .iter_mut()
            .zip(&self.bias_sums)
        {
            *g = total(sum);
        }
    }

    fn forward(&self, cpu: CpuLevel, inputs: &[Row], outputs: &mut [Row]) {
        let dense = Dense::<true, GROUP> {
            weights: &self.weights,
            biases: &self.biases,
            inputs,
            outputs,
        };
        with_floats(cpu, dense);
    }

    /// The same for the output layer: it has one output, so its weights are those transposed.
    fn output(&self, cpu: CpuLevel, inputs: &[Row], output: &mut Row) {
        let dense = Dense::<false, 1> {
            weights: self.transposed.as_flattened().as_chunks::<1>().0,
            biases: &self.biases,
            inputs,
            outputs: std::slice::from_mut(output),
        };
        with_floats(cpu, dense);
    }

    /// Adds what `deltas`, gradients by output, mean for weights and biases.
    fn add(&mut self, cpu: CpuLevel, deltas: &[Row], inputs: &[Row]) {
        let outer = Outer {
            deltas,
            inputs,
            weights: &mut self.weight_sums,
            vectors: TILE / LANES,
        };
        with_floats(cpu, outer);
        let (rows, sums) = (deltas, self.bias_sums.as_mut_slice());
        with_floats(cpu, AddRows { rows, sums });
    }

    /// The same for the output layer, and what comes in at the last hidden layer.
    fn add_output(&mut self, cpu: CpuLevel, delta: &Row, inputs: &[Row], into: &mut [Row]) {
        let from = FromOutput {
            delta,
            weights: self.transposed.as_flattened(),
            inputs,
            sums: &mut self.weight_sums,
            into,
        };
        with_floats(cpu, from);
        let (rows, sums) = (std::slice::from_ref(delta), self.bias_sums.as_mut_slice());
        with_floats(cpu, AddRows { rows, sums });
    }

    /// Gradients by input from those by output.
    fn inward(&self, cpu: CpuLevel, deltas: &[Row], gradients: &mut [Row]) {
        let dense = Dense::<false, GROUP> {
            weights: &self.transposed,
            biases: &[0.0; MAX_INPUTS],
            inputs: deltas,
            outputs: gradients,
        };
        with_floats(cpu, dense);
    }
}

/// Buffers of a pass.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    layers: Vec<Packed>,
    /// Inputs of each layer: the scaled planes, then the hidden activations.
    activations: Vec<Vec<Row>>,
    /// Gradients by the values that go out of a layer, and by those that come in.
    deltas: [Vec<Row>; 2],
}

impl Work {
    /// For networks of one extent.
    pub(crate) fn new(shape: MlpShape) -> Self {
        let layers: Vec<_> = shape.layers().into_iter().map(Packed::new).collect();
        let rows = |n: usize| vec![[0.0; TILE]; n.next_multiple_of(4)];
        let widest = shape.width.max(shape.inputs);
        Self {
            activations: layers.iter().map(|l| rows(l.at.inputs)).collect(),
            deltas: [rows(widest), rows(widest)],
            layers,
        }
    }
}

/// A pass over tiles: the sum of squared errors, and gradients of half of it times `factor`.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    /// Vectors to use.
    pub(crate) cpu: CpuLevel,
    /// The network.
    pub(crate) mlp: &'a Mlp,
    /// What to read.
    pub(crate) samples: Samples<'a>,
    /// Gradients are `factor * error * ...`.
    pub(crate) factor: f32,
    /// Buffers for `mlp.shape`.
    pub(crate) work: &'a mut Work,
    /// Gradient by parameter, replaced; `None`: errors only.
    pub(crate) gradient: Option<&'a mut [f32]>,
    /// Gradients by voxel, replaced in the tiles read; need `gradient`.
    pub(crate) voxels: Option<VoxelGradients<'a>>,
}

impl Pass<'_> {
    /// Runs it; returns the sum of squared errors.
    pub(crate) fn run(mut self) -> f64 {
        for layer in &mut self.work.layers {
            layer.load(&self.mlp.parameters);
        }
        let tiles = self.samples.tiles.iter();
        let squares = tiles
            .map(|&t| f64::from(self.tile(t as usize * TILE)))
            .sum();
        if let Some(gradient) = self.gradient {
            for layer in &self.work.layers {
                layer.store_gradient(gradient);
            }
        }
        squares
    }

    fn tile(&mut self, start: usize) -> f32 {
        let end = (start + TILE).min(self.samples.target.len());
        self.load_inputs(start, end);
        let mut output = [0.0; TILE];
        self.forward(&mut output);
        let errors = Errors {
            output: &mut output,
            base: self.samples.base.map(|b| &b[start..end]),
            target: &self.samples.target[start..end],
            factor: self.factor,
        };
        let squares = with_floats(self.cpu, errors);
        if self.gradient.is_some() {
            self.backward(&output);
            self.deliver(start, end, &output);
        }
        squares
    }

    fn load_inputs(&mut self, start: usize, end: usize) {
        let rows = &mut self.work.activations[0];
        let planes = self.samples.inputs.iter().zip(self.samples.scales);
        for ((plane, &scale), row) in planes.zip(rows) {
            let (to, rest) = row.split_at_mut(end - start);
            let from = &plane[start..end];
            with_floats(self.cpu, Scaled { from, scale, to });
            rest.fill(0.0);
        }
    }

    fn forward(&mut self, output: &mut Row) {
        let work = &mut *self.work;
        for (i, layer) in work.layers.iter().enumerate() {
            let (before, after) = work.activations.split_at_mut(i + 1);
            let inputs = &before[i][..layer.at.inputs];
            match after.first_mut() {
                Some(next) => layer.forward(self.cpu, inputs, next),
                None => layer.output(self.cpu, inputs, output),
            }
        }
    }

    /// Adds to the sums of every layer; leaves gradients by network input in the first buffer if
    /// they are wanted.
    fn backward(&mut self, delta: &Row) {
        let work = &mut *self.work;
        let [out, inward] = &mut work.deltas;
        for (i, layer) in work.layers.iter_mut().enumerate().rev() {
            let inputs = &work.activations[i];
            let n = layer.at.outputs;
            if n == 1 {
                layer.add_output(self.cpu, delta, inputs, out);
                continue;
            }
            layer.add(self.cpu, &out[..n], inputs);
            if i == 0 && self.voxels.is_none() {
                break;
            }
            let gradients = &mut inward[..layer.stride];
            layer.inward(self.cpu, &out[..n], gradients);
            if i > 0 {
                let activations = inputs.as_slice();
                with_floats(
                    self.cpu,
                    PassActive {
                        activations,
                        gradients,
                    },
                );
            }
            std::mem::swap(out, inward);
        }
    }

    /// Writes gradients by voxel where they are wanted.
    fn deliver(&mut self, start: usize, end: usize, delta: &Row) {
        let Some(voxels) = &mut self.voxels else {
            return;
        };
        voxels.base[start..end].copy_from_slice(&delta[..end - start]);
        let rows = self.work.deltas[0].iter().zip(self.samples.scales);
        for (plane, (row, &scale)) in voxels.inputs.iter_mut().zip(rows) {
            let (from, to) = (&row[..end - start], &mut plane[start..end]);
            with_floats(self.cpu, Scaled { from, scale, to });
        }
    }
}

/// Tiles of a block of `voxels`.
pub(crate) fn tiles(voxels: usize) -> u32 {
    voxels.div_ceil(TILE) as u32
}
