//! Refinement of lattices of working values on vectors.

use super::super::simd::Loops;
use crate::model::grid::{Order, refine_line};

/// Refines one axis of a box. `new` has room for the finer lattice.
pub(super) struct Refine<'a> {
    pub(super) old: &'a [i32],
    /// Vertices of the coarse lattice, `[x, y, z]`.
    pub(super) from: [usize; 3],
    /// Vertices of the axis afterwards.
    pub(super) to: usize,
    pub(super) axis: usize,
    pub(super) order: Order,
    pub(super) new: &'a mut [i32],
}

impl Loops for Refine<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        if self.axis == 0 {
            let rows = self.old.chunks_exact(self.from[0]);
            for (old, new) in rows.zip(self.new.chunks_exact_mut(self.to)) {
                refine_row(old, new, self.order);
            }
            return;
        }
        let inner: usize = self.from[..self.axis].iter().product();
        let slabs = self.old.chunks_exact(inner * self.from[self.axis]);
        for (old, new) in slabs.zip(self.new.chunks_exact_mut(inner * self.to)) {
            refine_slab(old, new, inner, self.order);
        }
    }
}

/// A line along x.
#[inline(always)]
fn refine_row(old: &[i32], new: &mut [i32], order: Order) {
    let count = new.len() / 2;
    if order == Order::Cubic && old.len() >= 4 {
        // The oracle does the borders: the first and the last two pairs.
        let inner = count.saturating_sub(3);
        let (quads, pairs) = (old.windows(4), new[2..].chunks_exact_mut(2));
        for (q, pair) in quads.zip(pairs).take(inner) {
            pair[0] = q[1];
            pair[1] = cubic(q[0], q[1], q[2], q[3]);
        }
        refine_line(&old[..3], &mut new[..2], order);
        let from = 1 + inner;
        let mut tail = [0; 8];
        let length = new.len() - 2 * from;
        // One vertex before the tail serves as its neighbour.
        refine_line(&old[from - 1..], &mut tail[..length + 2], order);
        new[2 * from..].copy_from_slice(&tail[2..length + 2]);
        return;
    }
    if order == Order::Cubic {
        return refine_line(old, new, order);
    }
    for (pair, two) in new.chunks_exact_mut(2).zip(old.windows(2)) {
        pair[0] = two[0];
        pair[1] = mean(two[0], two[1]);
    }
    if new.len() % 2 == 1 {
        new[2 * count] = old[count];
    }
}

/// An axis whose vertices are `inner` contiguous values each.
#[inline(always)]
fn refine_slab(old: &[i32], new: &mut [i32], inner: usize, order: Order) {
    let line = |i: usize| &old[i * inner..][..inner];
    let last = old.len() / inner - 1;
    for (i, out) in new.chunks_exact_mut(inner).enumerate() {
        let h = i / 2;
        if i % 2 == 0 {
            out.copy_from_slice(line(h));
            continue;
        }
        let (b, c) = (line(h), line(h + 1));
        if order == Order::Linear {
            for ((o, &b), &c) in out.iter_mut().zip(b).zip(c) {
                *o = mean(b, c);
            }
            continue;
        }
        let a = (h > 0).then(|| line(h - 1));
        let d = (h + 2 <= last).then(|| line(h + 2));
        match (a, d) {
            (Some(a), Some(d)) => four(out, a, b, c, d, |a, _, _, d| (a, d)),
            (None, Some(d)) => four(out, b, b, c, d, |_, b, c, d| (beyond(b, c), d)),
            (Some(a), None) => four(out, a, b, c, c, |a, b, c, _| (a, beyond(c, b))),
            (None, None) => four(out, b, b, c, c, |_, b, c, _| (beyond(b, c), beyond(c, b))),
        }
    }
}

#[inline(always)]
fn four(
    out: &mut [i32],
    a: &[i32],
    b: &[i32],
    c: &[i32],
    d: &[i32],
    outer: impl Fn(i32, i32, i32, i32) -> (i32, i32),
) {
    let rows = a.iter().zip(b).zip(c.iter().zip(d));
    for (o, ((&a, &b), (&c, &d))) in out.iter_mut().zip(rows) {
        let (a, d) = outer(a, b, c, d);
        *o = cubic(a, b, c, d);
    }
}

/// A border value: the straight line through the two vertices beside it.
#[inline(always)]
fn beyond(near: i32, far: i32) -> i32 {
    near.wrapping_mul(2).wrapping_sub(far)
}

#[inline(always)]
fn mean(b: i32, c: i32) -> i32 {
    b.wrapping_add(c).wrapping_add(1) >> 1
}

#[inline(always)]
fn cubic(a: i32, b: i32, c: i32, d: i32) -> i32 {
    let inner = b.wrapping_add(c).wrapping_mul(9);
    inner.wrapping_sub(a.wrapping_add(d)).wrapping_add(8) >> 4
}
