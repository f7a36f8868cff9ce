//! The small network forward and backward over tiles of voxels, fused: activations live in a
//! buffer of one tile, weight gradients in sums of 16 lanes that are added up once a pass.
//!
//! Rows of a tile lie along the voxels, so vectors hold neighbouring voxels. All sums have an
//! order that no vector width changes.

use super::mlp::{LayerAt, Mlp, MlpShape};
use crate::backend::cpu::{FloatLoops, fma};

/// Voxels of a tile.
pub(crate) const TILE: usize = 128;
/// Partial sums of a weight gradient.
const LANES: usize = 16;
/// Voxels whose activations are computed together: registers of accumulators.
const STRIP: usize = 64;

type Row = [f32; TILE];
type Sum = [f32; LANES];

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
    /// Inputs rounded up to the block of [`outer`].
    stride: usize,
    weights: Vec<f32>,
    transposed: Vec<f32>,
    biases: Vec<f32>,
    weight_sums: Vec<Sum>,
    bias_sums: Vec<Sum>,
}

impl Packed {
    fn new(at: LayerAt) -> Self {
        let stride = at.inputs.next_multiple_of(4);
        let hidden = usize::from(at.outputs > 1);
        Self {
            at,
            stride,
            weights: vec![0.0; at.inputs * at.outputs],
            transposed: vec![0.0; at.inputs * at.outputs * hidden],
            biases: vec![0.0; at.outputs],
            weight_sums: vec![[0.0; LANES]; stride * at.outputs],
            bias_sums: vec![[0.0; LANES]; at.outputs],
        }
    }

    fn load(&mut self, parameters: &[f32]) {
        let at = self.at;
        self.weights
            .copy_from_slice(&parameters[at.start..at.biases()]);
        self.biases
            .copy_from_slice(&parameters[at.biases()..at.end()]);
        for (i, row) in self.transposed.chunks_exact_mut(at.outputs).enumerate() {
            for (o, weight) in row.iter_mut().enumerate() {
                *weight = self.weights[o * at.inputs + i];
            }
        }
        self.weight_sums.fill([0.0; LANES]);
        self.bias_sums.fill([0.0; LANES]);
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
}

/// Halves added to halves.
#[inline(always)]
fn total(sum: &Sum) -> f32 {
    let mut s = *sum;
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            s[i] += s[i + half];
        }
    }
    s[0]
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

impl FloatLoops for Pass<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<const FUSED: bool, const WIDE: bool>(mut self) -> f64 {
        for layer in &mut self.work.layers {
            layer.load(&self.mlp.parameters);
        }
        let mut squares = 0.0;
        for &tile in self.samples.tiles {
            let start = tile as usize * TILE;
            squares += f64::from(self.tile::<FUSED, WIDE>(start));
        }
        if let Some(gradient) = self.gradient {
            for layer in &self.work.layers {
                layer.store_gradient(gradient);
            }
        }
        squares
    }
}

impl Pass<'_> {
    #[inline(always)]
    fn tile<const FUSED: bool, const WIDE: bool>(&mut self, start: usize) -> f32 {
        let len = TILE.min(self.samples.target.len().saturating_sub(start));
        let work = &mut *self.work;
        load_inputs(&self.samples, start, len, &mut work.activations[0]);
        let output = forward::<FUSED>(work);
        let (error, squares) = errors::<FUSED>(&self.samples, start, len, &output);
        if self.gradient.is_none() {
            return squares;
        }
        let delta = error.map(|e| e * self.factor);
        let to_inputs = self.voxels.is_some();
        let delivered = backward::<FUSED, WIDE>(work, &delta, to_inputs);
        if let Some(voxels) = &mut self.voxels {
            voxels.base[start..start + len].copy_from_slice(&delta[..len]);
            let scales = self.samples.scales.iter();
            for ((plane, row), &scale) in voxels.inputs.iter_mut().zip(delivered).zip(scales) {
                scaled(&row[..len], scale, &mut plane[start..start + len]);
            }
        }
        squares
    }
}

#[inline(always)]
fn scaled(from: &[f32], scale: f32, to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from * scale;
    }
}

#[inline(always)]
fn load_inputs(samples: &Samples<'_>, start: usize, len: usize, rows: &mut [Row]) {
    for ((plane, &scale), row) in samples.inputs.iter().zip(samples.scales).zip(rows) {
        if len == TILE {
            scaled(&plane[start..start + TILE], scale, row);
        } else {
            scaled(&plane[start..start + len], scale, row);
            row[len..].fill(0.0);
        }
    }
}

/// Errors of a tile, zero behind its end, and the sum of their squares.
#[inline(always)]
fn errors<const FUSED: bool>(
    samples: &Samples<'_>,
    start: usize,
    len: usize,
    output: &Row,
) -> (Row, f32) {
    let mut error = [0.0; TILE];
    error[..len].copy_from_slice(&output[..len]);
    for (e, t) in error.iter_mut().zip(&samples.target[start..start + len]) {
        *e -= t;
    }
    if let Some(base) = samples.base {
        for (e, b) in error.iter_mut().zip(&base[start..start + len]) {
            *e += b;
        }
    }
    let mut sum = [0.0; LANES];
    for chunk in error.as_chunks::<LANES>().0 {
        for (s, e) in sum.iter_mut().zip(chunk) {
            *s = fma::<FUSED>(*e, *e, *s);
        }
    }
    (error, total(&sum))
}

#[inline(always)]
fn forward<const FUSED: bool>(work: &mut Work) -> Row {
    let last = work.layers.len() - 1;
    for (i, layer) in work.layers.iter().enumerate() {
        let (before, after) = work.activations.split_at_mut(i + 1);
        let (weights, biases) = (&layer.weights, &layer.biases);
        let inputs = &before[i][..layer.at.inputs];
        if i == last {
            let mut output = [[0.0; TILE]];
            dense::<FUSED, false>(weights, biases, inputs, &mut output);
            return output[0];
        }
        let outputs = &mut after[0][..layer.at.outputs];
        dense::<FUSED, true>(weights, biases, inputs, outputs);
    }
    [0.0; TILE]
}

/// Adds to the sums of every layer; returns gradients by network input if asked.
#[inline(always)]
fn backward<'a, const FUSED: bool, const WIDE: bool>(
    work: &'a mut Work,
    delta: &Row,
    to_inputs: bool,
) -> &'a [Row] {
    let Some((last, hidden)) = work.layers.split_last_mut() else {
        return &[];
    };
    let [out, inward] = &mut work.deltas;
    let (mut out, mut inward) = (out, inward);
    let top = &work.activations[hidden.len()];
    output_layer::<FUSED>(last, top, delta, out);
    for (i, layer) in hidden.iter_mut().enumerate().rev() {
        let (n, inputs) = (layer.at.outputs, &work.activations[i]);
        if WIDE {
            outer::<FUSED, 4>(&out[..n], inputs, &mut layer.weight_sums);
        } else {
            outer::<FUSED, 2>(&out[..n], inputs, &mut layer.weight_sums);
        }
        add_rows(&out[..n], &mut layer.bias_sums);
        if i == 0 && !to_inputs {
            break;
        }
        let zeros = [0.0; 32];
        let into = &mut inward[..layer.at.inputs];
        dense::<FUSED, false>(&layer.transposed, &zeros, &out[..n], into);
        if i > 0 {
            pass_active(inputs, into);
        }
        std::mem::swap(&mut out, &mut inward);
    }
    out
}

/// The output layer's sums, and the gradient by what goes out of the last hidden layer.
#[inline(always)]
fn output_layer<const FUSED: bool>(
    layer: &mut Packed,
    inputs: &[Row],
    delta: &Row,
    out: &mut [Row],
) {
    let rows = inputs.iter().zip(out);
    for ((row, out), (&w, sum)) in rows.zip(layer.weights.iter().zip(&mut layer.weight_sums)) {
        let mut s = *sum;
        let row = row.as_chunks::<LANES>().0;
        let out = out.as_chunks_mut::<LANES>().0;
        for ((h, out), d) in row.iter().zip(out).zip(delta.as_chunks::<LANES>().0) {
            for l in 0..LANES {
                s[l] = fma::<FUSED>(d[l], h[l], s[l]);
                out[l] = if h[l] > 0.0 { d[l] * w } else { 0.0 };
            }
        }
        *sum = s;
    }
    add_rows(std::slice::from_ref(delta), &mut layer.bias_sums);
}

/// Clears gradients where the unit is off.
#[inline(always)]
fn pass_active(activations: &[Row], gradients: &mut [Row]) {
    for (row, active) in gradients.iter_mut().zip(activations) {
        for (g, &h) in row.iter_mut().zip(active) {
            *g = if h > 0.0 { *g } else { 0.0 };
        }
    }
}

/// `output[o] = biases[o] + sum of weights[o][i] * inputs[i]`, cut off at 0 if `RELU`.
#[inline(always)]
fn dense<const FUSED: bool, const RELU: bool>(
    weights: &[f32],
    biases: &[f32],
    inputs: &[Row],
    outputs: &mut [Row],
) {
    let rows = weights.chunks_exact(inputs.len());
    for ((weights, &bias), output) in rows.zip(biases).zip(outputs) {
        for (c, out) in output.as_chunks_mut::<STRIP>().0.iter_mut().enumerate() {
            let mut acc = [bias; STRIP];
            for (&w, input) in weights.iter().zip(inputs) {
                let x: [f32; STRIP] = input.as_chunks::<STRIP>().0[c];
                for l in 0..STRIP {
                    acc[l] = fma::<FUSED>(x[l], w, acc[l]);
                }
            }
            *out = match RELU {
                true => acc.map(|v| if v > 0.0 { v } else { 0.0 }),
                false => acc,
            };
        }
    }
}

/// `sums[o][i] += deltas[o] * inputs[i]`, in blocks of `N` by `N` that stay in registers.
#[inline(always)]
fn outer<const FUSED: bool, const N: usize>(deltas: &[Row], inputs: &[Row], sums: &mut [Sum]) {
    let stride = inputs.len();
    let blocks = deltas.as_chunks::<N>().0.iter();
    for (deltas, sums) in blocks.zip(sums.chunks_exact_mut(stride * N)) {
        for (k, inputs) in inputs.as_chunks::<N>().0.iter().enumerate() {
            let mut acc = [[[0.0f32; LANES]; N]; N];
            for o in 0..N {
                for i in 0..N {
                    acc[o][i] = sums[o * stride + k * N + i];
                }
            }
            for c in 0..TILE / LANES {
                for o in 0..N {
                    let d = &deltas[o].as_chunks::<LANES>().0[c];
                    for i in 0..N {
                        let x = &inputs[i].as_chunks::<LANES>().0[c];
                        for l in 0..LANES {
                            acc[o][i][l] = fma::<FUSED>(d[l], x[l], acc[o][i][l]);
                        }
                    }
                }
            }
            for o in 0..N {
                for i in 0..N {
                    sums[o * stride + k * N + i] = acc[o][i];
                }
            }
        }
    }
}

/// Adds rows to sums of lanes.
#[inline(always)]
fn add_rows(rows: &[Row], sums: &mut [Sum]) {
    for (row, sum) in rows.iter().zip(sums) {
        for chunk in row.as_chunks::<LANES>().0 {
            for (s, v) in sum.iter_mut().zip(chunk) {
                *s += v;
            }
        }
    }
}

/// Tiles of a block of `voxels`.
pub(crate) fn tiles(voxels: usize) -> u32 {
    voxels.div_ceil(TILE) as u32
}
