//! The loops of the small network over one tile of voxels. Rows of a tile lie along the voxels, so
//! vectors hold neighbouring voxels. All sums have an order that no register width changes.

use crate::backend::cpu::{FloatLoops, Floats, LANES};

/// Voxels of a tile.
pub(crate) const TILE: usize = 128;
/// Outputs of a layer that are computed together.
pub(super) const GROUP: usize = 4;

/// One value for each voxel of a tile.
pub(super) type Row = [f32; TILE];
/// A sum over voxels on its way.
pub(super) type Sum = [f32; LANES];

/// Halves added to halves.
#[inline(always)]
pub(super) fn total(sum: &Sum) -> f32 {
    let mut s = *sum;
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            s[i] += s[i + half];
        }
    }
    s[0]
}

/// Vectors `first` to `first + N` of a row.
#[inline(always)]
fn load<F: Floats, const N: usize>(floats: F, row: &Row, first: usize) -> [F::V; N] {
    let vectors = row.as_chunks::<LANES>().0;
    let mut loaded = [floats.splat(0.0); N];
    for (to, from) in loaded.iter_mut().zip(&vectors[first..first + N]) {
        *to = floats.load(from);
    }
    loaded
}

/// `output[o] = biases[o] + sum of weights[o][i] * inputs[i]`, cut off at 0 if `RELU`, for groups
/// of `N` outputs. `weights` are `[group][input][output of the group]`.
pub(super) struct Dense<'a, const RELU: bool, const N: usize> {
    pub(super) weights: &'a [[f32; N]],
    pub(super) biases: &'a [f32],
    pub(super) inputs: &'a [Row],
    pub(super) outputs: &'a mut [Row],
}

impl<const RELU: bool, const N: usize> FloatLoops for Dense<'_, RELU, N> {
    type Output = ();
    #[inline(always)]
    fn run<F: Floats>(self, floats: F) {
        if F::WIDE {
            self.strips::<F, 2>(floats);
        } else {
            self.strips::<F, 1>(floats);
        }
    }
}

impl<const RELU: bool, const N: usize> Dense<'_, RELU, N> {
    /// `S` vectors of voxels at a time.
    #[inline(always)]
    fn strips<F: Floats, const S: usize>(self, floats: F) {
        let groups = self.weights.chunks_exact(self.inputs.len());
        let biases = self.biases.as_chunks::<N>().0;
        let outputs = self.outputs.as_chunks_mut::<N>().0;
        for ((weights, biases), outputs) in groups.zip(biases).zip(outputs) {
            for first in (0..TILE / LANES).step_by(S) {
                let mut acc = biases.map(|b| [floats.splat(b); S]);
                for (weights, input) in weights.iter().zip(self.inputs) {
                    let x = load::<F, S>(floats, input, first);
                    for o in 0..N {
                        let w = floats.splat(weights[o]);
                        for s in 0..S {
                            acc[o][s] = floats.multiply_add(x[s], w, acc[o][s]);
                        }
                    }
                }
                for o in 0..N {
                    let out = &mut outputs[o].as_chunks_mut::<LANES>().0[first..first + S];
                    for (&v, out) in acc[o].iter().zip(out) {
                        let kept = if RELU { floats.where_positive(v, v) } else { v };
                        floats.store(kept, out);
                    }
                }
            }
        }
    }
}

/// `weights[o][i] += deltas[o] * inputs[i]`.
pub(super) struct Outer<'a> {
    pub(super) deltas: &'a [Row],
    pub(super) inputs: &'a [Row],
    pub(super) weights: &'a mut [Sum],
    /// Vectors of a row. No constant, or the compiler unrolls the loop over them and runs out of
    /// registers.
    pub(super) vectors: usize,
}

impl FloatLoops for Outer<'_> {
    type Output = ();
    #[inline(always)]
    fn run<F: Floats>(self, floats: F) {
        if F::WIDE {
            self.blocks::<F, 4>(floats);
        } else {
            self.blocks::<F, 2>(floats);
        }
    }
}

impl Outer<'_> {
    /// In blocks of `N` by `N` that stay in registers.
    #[inline(always)]
    fn blocks<F: Floats, const N: usize>(self, floats: F) {
        let stride = self.inputs.len();
        let deltas = self.deltas.as_chunks::<N>().0.iter();
        for (deltas, sums) in deltas.zip(self.weights.chunks_exact_mut(stride * N)) {
            for (k, inputs) in self.inputs.as_chunks::<N>().0.iter().enumerate() {
                let mut acc = [[floats.splat(0.0); N]; N];
                for c in 0..self.vectors {
                    let d = deltas.each_ref().map(|row| load::<F, 1>(floats, row, c)[0]);
                    for i in 0..N {
                        let x = load::<F, 1>(floats, &inputs[i], c)[0];
                        for o in 0..N {
                            acc[o][i] = floats.multiply_add(d[o], x, acc[o][i]);
                        }
                    }
                }
                for o in 0..N {
                    for i in 0..N {
                        let sum = &mut sums[o * stride + k * N + i];
                        floats.store(floats.add(floats.load(sum), acc[o][i]), sum);
                    }
                }
            }
        }
    }
}

/// Adds rows to sums of lanes.
pub(super) struct AddRows<'a> {
    pub(super) rows: &'a [Row],
    pub(super) sums: &'a mut [Sum],
}

impl FloatLoops for AddRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<F: Floats>(self, floats: F) {
        for (row, sum) in self.rows.iter().zip(self.sums) {
            let mut acc = floats.load(sum);
            for chunk in row.as_chunks::<LANES>().0 {
                acc = floats.add(acc, floats.load(chunk));
            }
            floats.store(acc, sum);
        }
    }
}

/// The output layer backward: `sums[i] += delta * inputs[i]`, and what reaches the unit behind
/// input `i`.
pub(super) struct FromOutput<'a> {
    pub(super) delta: &'a Row,
    pub(super) weights: &'a [f32],
    pub(super) inputs: &'a [Row],
    pub(super) sums: &'a mut [Sum],
    pub(super) into: &'a mut [Row],
}

impl FloatLoops for FromOutput<'_> {
    type Output = ();
    #[inline(always)]
    fn run<F: Floats>(self, floats: F) {
        let rows = self.inputs.iter().zip(self.into);
        for ((row, into), (&w, sum)) in rows.zip(self.weights.iter().zip(self.sums)) {
            let (mut acc, w) = (floats.load(sum), floats.splat(w));
            let into = into.as_chunks_mut::<LANES>().0;
            for (c, into) in into.iter_mut().enumerate() {
                let [h] = load::<F, 1>(floats, row, c);
                let [d] = load::<F, 1>(floats, self.delta, c);
                acc = floats.multiply_add(d, h, acc);
                let passed = floats.multiply_add(d, w, floats.splat(0.0));
                floats.store(floats.where_positive(passed, h), into);
            }
            floats.store(acc, sum);
        }
    }
}

/// Clears gradients where the unit is off.
pub(super) struct PassActive<'a> {
    pub(super) activations: &'a [Row],
    pub(super) gradients: &'a mut [Row],
}

impl FloatLoops for PassActive<'_> {
    type Output = ();
    #[inline(always)]
    fn run<F: Floats>(self, floats: F) {
        for (row, active) in self.gradients.iter_mut().zip(self.activations) {
            let chunks = row.as_chunks_mut::<LANES>().0.iter_mut();
            for (g, h) in chunks.zip(active.as_chunks::<LANES>().0) {
                let kept = floats.where_positive(floats.load(g), floats.load(h));
                floats.store(kept, g);
            }
        }
    }
}

/// Errors of a tile, zero behind its end; gives the sum of their squares.
pub(super) struct Errors<'a> {
    /// What the network gives; the errors times `factor` afterwards.
    pub(super) output: &'a mut Row,
    pub(super) base: Option<&'a [f32]>,
    pub(super) target: &'a [f32],
    pub(super) factor: f32,
}

impl FloatLoops for Errors<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<F: Floats>(self, floats: F) -> f32 {
        let errors = self.output;
        errors[self.target.len()..].fill(0.0);
        for (e, t) in errors.iter_mut().zip(self.target) {
            *e -= t;
        }
        for (e, b) in errors.iter_mut().zip(self.base.unwrap_or_default()) {
            *e += b;
        }
        let zero = floats.splat(0.0);
        let (mut acc, factor) = (zero, floats.splat(self.factor));
        for chunk in errors.as_chunks_mut::<LANES>().0 {
            let e = floats.load(chunk);
            acc = floats.multiply_add(e, e, acc);
            floats.store(floats.multiply_add(e, factor, zero), chunk);
        }
        let mut sum = [0.0; LANES];
        floats.store(acc, &mut sum);
        total(&sum)
    }
}

/// `to = scale * from`.
pub(super) struct Scaled<'a> {
    pub(super) from: &'a [f32],
    pub(super) scale: f32,
    pub(super) to: &'a mut [f32],
}

impl FloatLoops for Scaled<'_> {
    type Output = ();
    #[inline(always)]
    fn run<F: Floats>(self, _: F) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            *to = from * self.scale;
        }
    }
}
