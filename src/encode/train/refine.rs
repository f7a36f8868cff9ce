//! Dyadic refinement of vertex lattices in float, and its exact transpose.
//!
//! Owns the stencils of the specification's "Refine" without their rounding. A lattice of spacing
//! exponents `k` has a vertex at every `2^k`-th voxel and one past the end where needed; refining
//! halves the spacing of one axis. Both directions gather: every value written is one short sum
//! in a fixed order, so that the transpose needs no scatter.

use crate::backend::cpu::{CpuLevel, FloatLoops, Floats, fma, with_floats};
use crate::model::grid::{Order, Refinement, lattice, stencil, vertices};

/// A sparse matrix by rows.
#[derive(Debug, Clone, Default)]
struct Rows {
    ends: Vec<usize>,
    entries: Vec<(usize, f32)>,
}

impl Rows {
    fn new(rows: Vec<Vec<(usize, f32)>>) -> Self {
        let mut all = Self::default();
        for row in rows {
            all.entries.extend(row);
            all.ends.push(all.entries.len());
        }
        all
    }

    fn row(&self, i: usize) -> &[(usize, f32)] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.entries[start..self.ends[i]]
    }

    fn transposed(&self, columns: usize) -> Self {
        let mut rows = vec![Vec::new(); columns];
        for i in 0..self.ends.len() {
            for &(column, weight) in self.row(i) {
                rows[column].push((i, weight));
            }
        }
        Self::new(rows)
    }
}

/// One halving of one axis.
#[derive(Debug, Clone)]
struct Step {
    axis: usize,
    order: Order,
    /// Lattice before and after.
    from: [usize; 3],
    to: [usize; 3],
    forward: Rows,
    transpose: Rows,
}

impl Step {
    fn new(from: [usize; 3], to: [usize; 3], axis: usize, order: Order) -> Self {
        let row = |j: usize| {
            let (weights, first) = stencil(j, from[axis], order);
            let entries = weights.iter().enumerate().map(|(t, &w)| (first + t, w));
            entries.filter(|&(_, w)| w != 0.0).collect()
        };
        let forward = Rows::new((0..to[axis]).map(row).collect());
        let transpose = forward.transposed(from[axis]);
        Self {
            axis,
            order,
            from,
            to,
            forward,
            transpose,
        }
    }
}

/// The way from one spacing to a finer one.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    steps: Vec<Step>,
    from: usize,
    to: usize,
}

impl Path {
    /// From exponents `from` to `to` (no exponent rises), in the order of [`Refinement`].
    pub(crate) fn new(dims: [usize; 3], from: [u8; 3], to: [u8; 3], order: Order) -> Self {
        let first = lattice(dims, from);
        let (mut last, mut steps) = (first, Vec::new());
        for (axis, spacing) in Refinement::new(from, to) {
            let mut finer = last;
            finer[axis] = vertices(dims[axis], spacing);
            steps.push(Step::new(last, finer, axis, order));
            last = finer;
        }
        Self {
            steps,
            from: first.iter().product(),
            to: last.iter().product(),
        }
    }

    /// Values of the coarse lattice.
    pub(crate) fn coarse(&self) -> usize {
        self.from
    }

    /// Values of the fine lattice.
    pub(crate) fn fine(&self) -> usize {
        self.to
    }

    /// Refines `coarse` to `fine`, both `[z][y][x]`.
    pub(crate) fn forward(
        &self,
        cpu: CpuLevel,
        coarse: &[f32],
        fine: &mut [f32],
        rooms: &mut Rooms,
    ) {
        self.run::<true>(cpu, coarse, fine, rooms);
    }

    /// The transpose: the gradient at the coarse lattice of what has gradient `fine`.
    pub(crate) fn transpose(
        &self,
        cpu: CpuLevel,
        fine: &[f32],
        coarse: &mut [f32],
        rooms: &mut Rooms,
    ) {
        self.run::<false>(cpu, fine, coarse, rooms);
    }

    fn run<const FORWARD: bool>(
        &self,
        cpu: CpuLevel,
        source: &[f32],
        target: &mut [f32],
        rooms: &mut Rooms,
    ) {
        with_floats(
            cpu,
            Refine::<FORWARD> {
                steps: &self.steps,
                source,
                target,
                rooms,
            },
        );
    }

    /// Multiply-adds of one direction.
    pub(crate) fn multiply_adds(&self) -> usize {
        let of = |s: &Step| {
            s.forward
                .ends
                .iter()
                .enumerate()
                .map(|(i, _)| s.forward.row(i).len())
                .filter(|&n| n > 1)
                .sum::<usize>()
                * (s.to.iter().product::<usize>() / s.to[s.axis].max(1))
        };
        self.steps.iter().map(of).sum()
    }
}

/// Lattices between the first and the last of a path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rooms([Vec<f32>; 2]);

fn room(values: &mut Vec<f32>, n: usize) -> &mut [f32] {
    if values.len() < n {
        values.resize(n, 0.0);
    }
    &mut values[..n]
}

struct Refine<'a, const FORWARD: bool> {
    steps: &'a [Step],
    source: &'a [f32],
    target: &'a mut [f32],
    rooms: &'a mut Rooms,
}

impl<const FORWARD: bool> FloatLoops for Refine<'_, FORWARD> {
    type Output = ();
    #[inline(always)]
    fn run<F: Floats>(self, _: F) {
        let [a, b] = &mut self.rooms.0;
        let (mut previous, mut next) = (a, b);
        let n = self.steps.len();
        if n == 0 {
            self.target.copy_from_slice(self.source);
        }
        for i in 0..n {
            let step = &self.steps[if FORWARD { i } else { n - 1 - i }];
            let read = |at: [usize; 3]| at.iter().product::<usize>();
            let (from, to) = match FORWARD {
                true => (read(step.from), read(step.to)),
                false => (read(step.to), read(step.from)),
            };
            let source = if i == 0 {
                self.source
            } else {
                &previous[..from]
            };
            if i + 1 == n {
                apply::<F, FORWARD>(step, source, self.target);
            } else {
                apply::<F, FORWARD>(step, source, room(next, to));
            }
            std::mem::swap(&mut previous, &mut next);
        }
    }
}

#[inline(always)]
fn apply<F: Floats, const FORWARD: bool>(step: &Step, source: &[f32], target: &mut [f32]) {
    let (from, to, rows) = match FORWARD {
        true => (step.from, step.to, &step.forward),
        false => (step.to, step.from, &step.transpose),
    };
    if step.axis == 0 {
        return lines::<F, FORWARD>(step, source, target);
    }
    let inner: usize = from[..step.axis].iter().product();
    let planes = source.chunks_exact(inner * from[step.axis]);
    for (source, target) in planes.zip(target.chunks_exact_mut(inner * to[step.axis])) {
        for (i, row) in target.chunks_exact_mut(inner).enumerate() {
            combine::<F>(rows.row(i), source, row);
        }
    }
}

/// `target` = the weighted sum of rows of `source`, as long as itself.
#[inline(always)]
fn combine<F: Floats>(entries: &[(usize, f32)], source: &[f32], target: &mut [f32]) {
    match *entries {
        [a] if a.1 == 1.0 => target.copy_from_slice(&source[a.0 * target.len()..][..target.len()]),
        [a] => sum::<F, 1>([a], source, target),
        [a, b] => sum::<F, 2>([a, b], source, target),
        [a, b, c] => sum::<F, 3>([a, b, c], source, target),
        [a, b, c, d] => sum::<F, 4>([a, b, c, d], source, target),
        [a, b, c, d, e] => sum::<F, 5>([a, b, c, d, e], source, target),
        _ => target.fill(0.0),
    }
}

#[inline(always)]
fn sum<F: Floats, const N: usize>(entries: [(usize, f32); N], source: &[f32], target: &mut [f32]) {
    let n = target.len();
    let rows: [&[f32]; N] = entries.map(|(i, _)| &source[i * n..][..n]);
    for (v, out) in target.iter_mut().enumerate() {
        let mut s = entries[0].1 * rows[0][v];
        for t in 1..N {
            s = fma::<F>(entries[t].1, rows[t][v], s);
        }
        *out = s;
    }
}

/// Room for the odd half of a line, with two zeros before and behind.
const HALF: usize = 80;

/// Longest axis of a lattice after refinement that the line buffers hold.
pub(crate) const MAX_LINE: usize = 2 * (HALF - 4);

#[inline(always)]
fn lines<F: Floats, const FORWARD: bool>(step: &Step, source: &[f32], target: &mut [f32]) {
    let (coarse, fine) = (step.from[0], step.to[0]);
    let cubic = step.order == Order::Cubic;
    if FORWARD {
        let lines = source.chunks_exact(coarse);
        for (source, target) in lines.zip(target.chunks_exact_mut(fine)) {
            refine_line::<F>(&step.forward, cubic, source, target);
        }
    } else {
        let lines = source.chunks_exact(fine);
        for (source, target) in lines.zip(target.chunks_exact_mut(coarse)) {
            gather_line::<F>(&step.transpose, cubic, source, target);
        }
    }
}

#[inline(always)]
fn refine_line<F: Floats>(rows: &Rows, cubic: bool, source: &[f32], target: &mut [f32]) {
    let (m, odds) = (source.len(), target.len() / 2);
    let mut odd = [0.0f32; HALF];
    let odd = &mut odd[..odds];
    if cubic {
        let inner = odd.iter_mut().skip(1);
        for (out, s) in inner.zip(source.array_windows::<4>()) {
            *out = fma::<F>(9.0 / 16.0, s[1] + s[2], -(s[0] + s[3]) / 16.0);
        }
        for i in [0, m.saturating_sub(2)] {
            if i < odds {
                odd[i] = dot::<F>(rows.row(2 * i + 1), source);
            }
        }
    } else {
        for (out, s) in odd.iter_mut().zip(source.array_windows::<2>()) {
            *out = 0.5 * (s[0] + s[1]);
        }
    }
    let (pairs, rest) = target.as_chunks_mut::<2>();
    for (pair, (even, odd)) in pairs.iter_mut().zip(source.iter().zip(odd)) {
        *pair = [*even, *odd];
    }
    if let [last] = rest {
        *last = source[odds];
    }
}

#[inline(always)]
fn gather_line<F: Floats>(rows: &Rows, cubic: bool, source: &[f32], target: &mut [f32]) {
    let m = target.len();
    let (mut even, mut odd) = ([0.0f32; HALF], [0.0f32; HALF]);
    let (pairs, rest) = source.as_chunks::<2>();
    for (pair, (e, o)) in pairs.iter().zip(even.iter_mut().zip(&mut odd[2..])) {
        (*e, *o) = (pair[0], pair[1]);
    }
    if let [last] = rest {
        even[pairs.len()] = *last;
    }
    let odd = &odd[..m + 4];
    for ((out, e), o) in target.iter_mut().zip(&even).zip(odd.array_windows::<4>()) {
        *out = if cubic {
            fma::<F>(9.0 / 16.0, o[1] + o[2], e - (o[0] + o[3]) / 16.0)
        } else {
            fma::<F>(0.5, o[1] + o[2], *e)
        };
    }
    if cubic {
        for i in (0..m.min(3)).chain(m.saturating_sub(3)..m) {
            target[i] = dot::<F>(rows.row(i), source);
        }
    }
}

#[inline(always)]
fn dot<F: Floats>(entries: &[(usize, f32)], source: &[f32]) -> f32 {
    let add = |s, &(i, w): &(usize, f32)| fma::<F>(w, source[i], s);
    entries.iter().fold(0.0, add)
}
