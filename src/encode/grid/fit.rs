//! Integer weights of a pyramid of dense grids that minimise squared error plus lambda times bits.
//!
//! Weights are chosen one at a time, level by level, each against the error that all others leave,
//! with what the coder would charge for it where it stands. Inside a level the error is known by
//! its products with the level's own basis functions, which a change of one weight updates through
//! the Gram matrix of the axes; so no weight ever touches voxels.

use super::pyramid::{Gram, Plane, Span};
use crate::Result;
use crate::codec::grid::{GridWeights, Neighbours, Rates, parents_of};
use crate::model::GridModel;

/// How far the search goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Sweeps over all levels.
    pub(super) sweeps: usize,
}

/// A fit of one block.
pub(super) struct Fit<'a> {
    span: Span,
    model: &'a GridModel,
    /// Step of each level in units of `q`.
    steps: Vec<f32>,
    /// Squared error, in units of `q`, that a bit is worth.
    lambda: f32,
    grams: Vec<[Gram; 3]>,
    rates: Vec<Rates>,
    /// What the weights leave of the block, `[z][y][x]`.
    pub(super) residual: Vec<f32>,
}

impl<'a> Fit<'a> {
    /// Starts with no weights: `target` is the block relative to its centre.
    pub(super) fn new(
        span: Span,
        model: &'a GridModel,
        lambda: f32,
        target: Vec<f32>,
    ) -> Result<Self> {
        let unit = 65_536.0 * f64::from(model.frac_bits).exp2();
        let spacing = |i: usize| model.levels[i].spacing[0];
        let levels = 0..model.levels.len();
        let axes = |i: usize| span.dims.map(|n| Gram::new(n, spacing(i), span.order));
        Ok(Self {
            span,
            model,
            steps: (model.levels.iter())
                .map(|l| (l.steps[0] as f64 / unit) as f32)
                .collect(),
            lambda,
            grams: levels.map(axes).collect(),
            rates: (model.levels.iter())
                .map(|l| Rates::new(l.spacing))
                .collect::<Result<_>>()?,
            residual: target,
        })
    }

    /// Runs the search; `weights` hold the first guess and the result.
    pub(super) fn run(&mut self, weights: &mut GridWeights, effort: Effort) {
        for sweep in 0..effort.sweeps {
            for level in 0..self.model.levels.len() {
                // Coarse grids cost nothing and converge slowly.
                let coarse = self.model.levels[level].spacing[0] > 0;
                let again = if sweep == 0 && coarse { 3 } else { 1 };
                self.sweep_level(weights, level, again);
            }
        }
    }

    /// Chooses the weights of one level anew.
    fn sweep_level(&mut self, weights: &mut GridWeights, level: usize, again: usize) {
        let spacing = self.model.levels[level].spacing[0];
        let mut products = Plane::default();
        products.set(&self.span, 0, self.residual.iter().copied());
        products.gather(&self.span, spacing);
        let parents = parents_of(self.model, level, 0, weights);
        let stored = &mut weights.levels[level].features[0];
        let before = stored.clone();
        let mut walk = LevelWalk::new(self, level, &parents, &mut products, stored);
        (0..again).for_each(|_| walk.sweep());
        let rates = walk.survey();
        self.rates[level] = rates;
        let step = self.steps[level];
        let changes = before.iter().zip(&*stored);
        if changes.clone().all(|(a, b)| a == b) {
            return;
        }
        let mut change = Plane::default();
        let values = changes.map(|(a, b)| (b - a) as f32 * step);
        change.set(&self.span, spacing, values);
        change.refine(&self.span, 0);
        for (r, c) in self.residual.iter_mut().zip(&change.values) {
            *r -= c;
        }
    }
}

/// The search in one level.
struct LevelWalk<'a> {
    lattice: [usize; 3],
    step: f32,
    lambda: f32,
    grams: &'a [Gram; 3],
    rates: Rates,
    parents: &'a [u16],
    /// Products of the error with the level's basis functions.
    products: &'a mut [f32],
    weights: &'a mut [i32],
    neighbours: Neighbours,
}

impl<'a> LevelWalk<'a> {
    fn new(
        fit: &'a Fit<'_>,
        level: usize,
        parents: &'a [u16],
        products: &'a mut Plane,
        weights: &'a mut [i32],
    ) -> Self {
        let lattice = products.lattice;
        let mut neighbours = Neighbours::default();
        neighbours.reset(lattice);
        for (i, &w) in weights.iter().enumerate().filter(|(_, w)| **w != 0) {
            neighbours.set(place(i, lattice), w);
        }
        Self {
            lattice,
            step: fit.steps[level],
            lambda: fit.lambda,
            grams: &fit.grams[level],
            rates: fit.rates[level],
            parents,
            products: &mut products.values,
            weights,
            neighbours,
        }
    }

    /// Every weight once, in the order in which they are coded.
    fn sweep(&mut self) {
        let [nx, ny, nz] = self.lattice;
        for pass in 0..3 {
            for z in 0..nz {
                for y in 0..ny {
                    let odd = (y + z + usize::from(pass == 2)) % 2;
                    let even_row = (y | z) & 1 == 0;
                    if pass == 0 && !even_row || pass == 1 && even_row {
                        continue;
                    }
                    let yz = self.grams[1].norm(y) * self.grams[2].norm(z);
                    for x in (odd..nx).step_by(2) {
                        let norm = yz * self.grams[0].norm(x);
                        self.choose([x, y, z], (z * ny + y) * nx + x, norm);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn choose(&mut self, at: [usize; 3], index: usize, norm: f32) {
        let old = self.weights[index];
        let ideal = old as f32 + self.products[index] / (norm * self.step);
        // Zero stays zero where rounding says so: its bits are hardly ever more.
        if old == 0 && ideal.abs() <= 0.5 {
            return;
        }
        let place = self.neighbours.around(at, self.parents[index]);
        let worth = norm * self.step * self.step;
        let cost = |w: i32| {
            let d = ideal - w as f32;
            d * d * worth + self.lambda * self.rates.bits(&place, w)
        };
        let below = ideal.floor() as i32;
        let mut best = (cost(0), 0);
        for w in [below - 1, below, below + 1, below + 2] {
            if w == 0 || (w > 0) != (ideal > 0.0) {
                continue;
            }
            let j = cost(w);
            if j < best.0 {
                best = (j, w);
            }
        }
        if best.1 != old {
            self.change(at, index, best.1 - old);
        }
    }

    /// Changes a weight and what it leaves of the error.
    fn change(&mut self, [x, y, z]: [usize; 3], index: usize, by: i32) {
        self.weights[index] += by;
        self.neighbours.set([x, y, z], self.weights[index]);
        let amount = by as f32 * self.step;
        let [nx, ny, nz] = self.lattice;
        let reach = self.grams[0].reach;
        let range = |v: usize, n: usize| v.saturating_sub(reach)..n.min(v + reach + 1);
        let xs = range(x, nx);
        let row = &self.grams[0].row(x)[xs.start + reach - x..xs.end + reach - x];
        for w in range(z, nz) {
            let along_z = amount * self.grams[2].row(z)[w + reach - z];
            for v in range(y, ny) {
                let along_y = along_z * self.grams[1].row(y)[v + reach - y];
                let start = (w * ny + v) * nx;
                let products = &mut self.products[start + xs.start..start + xs.end];
                for (p, g) in products.iter_mut().zip(row) {
                    *p -= along_y * g;
                }
            }
        }
    }

    /// The rates that suit the weights as they are now.
    fn survey(&self) -> Rates {
        let mut survey = self.rates.survey();
        for (i, (&w, &p)) in self.weights.iter().zip(self.parents).enumerate() {
            // Most weights are zeros; some of them speak for all.
            let times = if w != 0 {
                1
            } else {
                usize::from(i % 7 == 0) * 7
            };
            if times > 0 {
                let place = self.neighbours.around(place(i, self.lattice), p);
                survey.add(&place, w, times as f32);
            }
        }
        survey.cheapest()
    }
}

fn place(index: usize, [nx, ny, _]: [usize; 3]) -> [usize; 3] {
    [index % nx, index / nx % ny, index / (nx * ny)]
}
