//! Integer weights of a pyramid of dense grids that minimise squared error plus lambda times bits.
//!
//! Weights are chosen one at a time, level by level, each against the error that all others leave,
//! with what the coder would charge for it where it stands. Inside a level the error is known by
//! its products with the level's own basis functions, which a change of one weight updates through
//! the Gram matrix of the axes; so no weight ever touches voxels.

use super::pyramid::{Gram, Plane, Span};
use crate::Result;
use crate::codec::grid::{
    GridWeights, LevelWeights, Neighbours, Rates, parents_of, parents_of_entries,
};
use crate::model::GridModel;
use crate::model::grid::MAX_WEIGHT;

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
        let mut plane = Plane::default();
        plane.set(&self.span, 0, self.residual.iter().copied());
        plane.gather(&self.span, spacing);
        let products = Products {
            lattice: plane.lattice,
            grams: &self.grams[level],
            values: &mut plane.values,
        };
        let choice = Choice {
            step: self.steps[level],
            lambda: self.lambda,
            rates: self.rates[level],
        };
        let parents = parents_of(self.model, level, 0, weights);
        let stored = &mut weights.levels[level];
        let mut before = Vec::new();
        stored.gather(0, &mut before);
        self.rates[level] = match stored.table_log2 {
            None => {
                let weights = &mut stored.features[0];
                let mut walk = DenseWalk::new(products, choice, &parents, weights);
                (0..again).for_each(|_| walk.sweep());
                walk.survey()
            }
            Some(table) => {
                let parents = parents_of_entries(stored, table, &parents);
                let mut walk = HashedWalk::new(products, choice, &parents, stored);
                (0..again).for_each(|_| walk.sweep(&mut stored.features[0]));
                choice.rates
            }
        };
        let mut after = Vec::new();
        stored.gather(0, &mut after);
        self.subtract(spacing, self.steps[level], &before, &after);
    }

    /// Takes what the weights of a level add after a change from the residual.
    fn subtract(&mut self, spacing: u8, step: f32, before: &[i32], after: &[i32]) {
        if before == after {
            return;
        }
        let changes = before.iter().zip(after);
        let mut change = Plane::default();
        let values = changes.map(|(a, b)| (b - a) as f32 * step);
        change.set(&self.span, spacing, values);
        change.refine(&self.span, 0);
        for (r, c) in self.residual.iter_mut().zip(&change.values) {
            *r -= c;
        }
    }
}

/// How the weights of a level are chosen.
#[derive(Clone, Copy)]
struct Choice {
    step: f32,
    lambda: f32,
    rates: Rates,
}

impl Choice {
    /// The integer near `ideal`, in steps, that costs least; `norm` is the squared length of what
    /// the weight adds, `bits` what a weight costs.
    #[inline(always)]
    fn best(&self, ideal: f32, norm: f32, bits: impl Fn(i32) -> f32) -> i32 {
        let worth = norm * self.step * self.step;
        let cost = |w: i32| {
            let d = ideal - w as f32;
            d * d * worth + self.lambda * bits(w)
        };
        let below = ideal.floor() as i32;
        let mut best = (cost(0), 0);
        for w in [below - 1, below, below + 1, below + 2] {
            if w == 0 || (w > 0) != (ideal > 0.0) || w.abs() > MAX_WEIGHT {
                continue;
            }
            let j = cost(w);
            if j < best.0 {
                best = (j, w);
            }
        }
        best.1
    }
}

/// Products of the error with a level's basis functions.
struct Products<'a> {
    lattice: [usize; 3],
    grams: &'a [Gram; 3],
    /// `[z][y][x]` over the lattice.
    values: &'a mut [f32],
}

impl Products<'_> {
    /// Squared length of the basis function of a vertex.
    fn norm(&self, [x, y, z]: [usize; 3]) -> f32 {
        self.grams[0].norm(x) * self.grams[1].norm(y) * self.grams[2].norm(z)
    }

    /// The basis function of a vertex, times `amount`, is taken from the error.
    fn subtract(&mut self, [x, y, z]: [usize; 3], amount: f32) {
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
                let values = &mut self.values[start + xs.start..start + xs.end];
                for (p, g) in values.iter_mut().zip(row) {
                    *p -= along_y * g;
                }
            }
        }
    }
}

/// The search in a dense level.
struct DenseWalk<'a> {
    products: Products<'a>,
    choice: Choice,
    parents: &'a [u16],
    weights: &'a mut [i32],
    neighbours: Neighbours,
}

impl<'a> DenseWalk<'a> {
    fn new(
        products: Products<'a>,
        choice: Choice,
        parents: &'a [u16],
        weights: &'a mut [i32],
    ) -> Self {
        let mut neighbours = Neighbours::default();
        neighbours.reset(products.lattice);
        for (i, &w) in weights.iter().enumerate().filter(|(_, w)| **w != 0) {
            neighbours.set(place(i, products.lattice), w);
        }
        Self {
            products,
            choice,
            parents,
            weights,
            neighbours,
        }
    }

    /// Every weight once, in the order in which they are coded.
    fn sweep(&mut self) {
        let [nx, ny, nz] = self.products.lattice;
        for pass in 0..3 {
            for z in 0..nz {
                for y in 0..ny {
                    let odd = (y + z + usize::from(pass == 2)) % 2;
                    let even_row = (y | z) & 1 == 0;
                    if pass == 0 && !even_row || pass == 1 && even_row {
                        continue;
                    }
                    for x in (odd..nx).step_by(2) {
                        self.choose([x, y, z], (z * ny + y) * nx + x);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn choose(&mut self, at: [usize; 3], index: usize) {
        let old = self.weights[index];
        let norm = self.products.norm(at);
        let ideal = old as f32 + self.products.values[index] / (norm * self.choice.step);
        // Zero stays zero where rounding says so: its bits are hardly ever more.
        if old == 0 && ideal.abs() <= 0.5 {
            return;
        }
        let place = self.neighbours.around(at, self.parents[index]);
        let rates = self.choice.rates;
        let new = self.choice.best(ideal, norm, |w| rates.bits(&place, w));
        if new != old {
            self.weights[index] = new;
            self.neighbours.set(at, new);
            let change = (new - old) as f32 * self.choice.step;
            self.products.subtract(at, change);
        }
    }

    /// The rates that suit the weights as they are now.
    fn survey(&self) -> Rates {
        let mut survey = self.choice.rates.survey();
        for (i, (&w, &p)) in self.weights.iter().zip(self.parents).enumerate() {
            // Most weights are zeros; some of them speak for all.
            let times = if w != 0 {
                1
            } else {
                usize::from(i % 7 == 0) * 7
            };
            if times > 0 {
                let at = place(i, self.products.lattice);
                survey.add(&self.neighbours.around(at, p), w, times as f32);
            }
        }
        survey.cheapest()
    }
}

/// The search in a hash table: a weight adds the basis functions of all vertices that share it.
struct HashedWalk<'a> {
    products: Products<'a>,
    choice: Choice,
    parents: &'a [u16],
    /// Vertices by entry: those of entry `e` are `vertices[first[e]..first[e + 1]]`.
    vertices: Vec<u32>,
    first: Vec<u32>,
}

impl<'a> HashedWalk<'a> {
    fn new(
        products: Products<'a>,
        choice: Choice,
        parents: &'a [u16],
        stored: &LevelWeights,
    ) -> Self {
        let mut first = vec![0u32; parents.len() + 1];
        stored.for_each_entry(|_, entry| first[entry + 1] += 1);
        for e in 0..parents.len() {
            first[e + 1] += first[e];
        }
        let mut next = first.clone();
        let mut vertices = vec![0; products.values.len()];
        stored.for_each_entry(|vertex, entry| {
            vertices[next[entry] as usize] = vertex as u32;
            next[entry] += 1;
        });
        Self {
            products,
            choice,
            parents,
            vertices,
            first,
        }
    }

    /// Every entry once.
    fn sweep(&mut self, weights: &mut [i32]) {
        for (entry, weight) in weights.iter_mut().enumerate() {
            let shared = self.first[entry] as usize..self.first[entry + 1] as usize;
            let (mut norm, mut product) = (0.0, 0.0);
            for &v in &self.vertices[shared.clone()] {
                norm += self.products.norm(place(v as usize, self.products.lattice));
                product += self.products.values[v as usize];
            }
            let ideal = *weight as f32 + product / (norm * self.choice.step);
            if *weight == 0 && (norm == 0.0 || ideal.abs() <= 0.5) {
                continue;
            }
            let (rates, parents) = (self.choice.rates, self.parents[entry]);
            let new = self
                .choice
                .best(ideal, norm, |w| rates.hashed_bits(parents, w));
            let change = (new - *weight) as f32 * self.choice.step;
            *weight = new;
            if change != 0.0 {
                for &v in &self.vertices[shared] {
                    let at = place(v as usize, self.products.lattice);
                    self.products.subtract(at, change);
                }
            }
        }
    }
}

fn place(index: usize, [nx, ny, _]: [usize; 3]) -> [usize; 3] {
    [index % nx, index / nx % ny, index / (nx * ny)]
}
