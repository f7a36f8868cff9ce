//! The inverse CDF 9/7 transform, once for all registers (specification, "Inverse transform").
//!
//! Each split is undone axis by axis, z then y then x. Along z and y whole rows of voxels are
//! lifted at once, so a register holds neighbours in x; along x a register holds neighbours of
//! the line itself.

use super::lanes::{Constant, GAIN, Lanes, PREDICT_1, PREDICT_2, SHRINK, UPDATE_1, UPDATE_2};
use crate::codec::bands::BlockShape;

/// Longest axis of a block.
pub(super) const MAX_SIDE: usize = 128;
/// Room for half a line and the widest register's overhang, with a cell before and after.
const LINE: usize = MAX_SIDE / 2 + 64 + 2;

/// Where the gain of the low-pass corner comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gain {
    /// Before each merge, so that low-pass voxels are means.
    EachSplit,
    /// Nowhere, so that every step can be undone without loss; what is left at a level of detail is
    /// divided by it.
    LastOfAll,
}

/// The four lifting constants in registers.
#[derive(Clone, Copy)]
struct Lift<V> {
    update_2: V,
    predict_2: V,
    update_1: V,
    predict_1: V,
}

impl<V: Lanes> Lift<V> {
    /// # Safety
    /// The CPU has the instructions of `V`.
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: the caller's contract.
        unsafe {
            Self {
                update_2: V::splat(UPDATE_2),
                predict_2: V::splat(PREDICT_2),
                update_1: V::splat(UPDATE_1),
                predict_1: V::splat(PREDICT_1),
            }
        }
    }

    /// `s - UPDATE_2 (a + b)`.
    #[inline(always)]
    unsafe fn even_first(self, s: V, a: V, b: V) -> V {
        // SAFETY: the caller's contract.
        unsafe { s.sub(a.add(b).mul(self.update_2)) }
    }

    /// `d - PREDICT_2 (a + b)`.
    #[inline(always)]
    unsafe fn odd_first(self, d: V, a: V, b: V) -> V {
        // SAFETY: the caller's contract.
        unsafe { d.sub(a.add(b).mul(self.predict_2)) }
    }

    /// `s + UPDATE_1 (a + b)`.
    #[inline(always)]
    unsafe fn even_second(self, s: V, a: V, b: V) -> V {
        // SAFETY: the caller's contract.
        unsafe { s.add(a.add(b).mul(self.update_1)) }
    }

    /// `d + (a + b) + PREDICT_1 (a + b)`.
    #[inline(always)]
    unsafe fn odd_second(self, d: V, a: V, b: V) -> V {
        // SAFETY: the caller's contract.
        unsafe {
            let sum = a.add(b);
            d.add(sum).add(sum.mul(self.predict_1))
        }
    }
}

/// Inverse transform in place down to `lod`.
///
/// # Safety
/// The CPU has the instructions of `V`; `values` and `scratch` hold `shape.voxels()` values;
/// no axis is over [`MAX_SIDE`].
#[inline(always)]
pub(super) unsafe fn inverse<V: Lanes>(
    values: &mut [V::E],
    scratch: &mut [V::E],
    shape: &BlockShape,
    lod: usize,
    gain: Gain,
) {
    let strides = [1, shape.dims[0], shape.dims[0] * shape.dims[1]];
    for depth in (lod..shape.depth).rev() {
        let whole = shape.dims_at(depth);
        // SAFETY: boxes at every depth lie inside the block, whose size the caller vouches for.
        unsafe {
            if gain == Gain::EachSplit {
                let low = shape.dims_at(depth + 1);
                scale_low::<V>(values.as_mut_ptr(), low, whole, strides);
            }
            merge_rows::<V>(values.as_mut_ptr(), scratch.as_mut_ptr(), whole, strides);
            merge_lines::<V>(values.as_mut_ptr(), whole, strides);
        }
    }
    for depth in (0..lod).rev().filter(|_| gain == Gain::LastOfAll) {
        let (low, whole) = (shape.dims_at(lod), shape.dims_at(depth));
        // SAFETY: as above.
        unsafe { shrink::<V>(values.as_mut_ptr(), low, whole, strides) };
    }
}

/// Scales the low-pass corner by the gain of the axes that are about to be merged.
///
/// # Safety
/// As [`inverse`], for the pointer.
#[inline(always)]
unsafe fn scale_low<V: Lanes>(
    p: *mut V::E,
    low: [usize; 3],
    whole: [usize; 3],
    strides: [usize; 3],
) {
    let axes = whole.iter().filter(|&&n| n > 1).count();
    if axes == 0 {
        return;
    }
    // SAFETY: rows of the low box lie inside the block.
    unsafe {
        for z in 0..low[2] {
            for y in 0..low[1] {
                scale_row::<V>(
                    p.add(z * strides[2] + y * strides[1]),
                    low[0],
                    GAIN[axes - 1],
                );
            }
        }
    }
}

/// `x += gain x` over a row.
///
/// # Safety
/// `row` is valid for `n` values.
#[inline(always)]
unsafe fn scale_row<V: Lanes>(row: *mut V::E, n: usize, gain: Constant) {
    // SAFETY: the caller's contract; the tail goes lane by lane.
    unsafe {
        let mut x = 0;
        let c = V::splat(gain);
        while x + V::N <= n {
            let v = V::load(row.add(x));
            v.add(v.mul(c)).store(row.add(x));
            x += V::N;
        }
        let c = <Plain<V> as Lanes>::splat(gain);
        while x < n {
            let v = <Plain<V> as Lanes>::load(row.add(x));
            v.add(v.mul(c)).store(row.add(x));
            x += 1;
        }
    }
}

/// Divides the corner `low` by the gain of the axes that are split in the box `whole`.
///
/// # Safety
/// As [`inverse`], for the pointer.
unsafe fn shrink<V: Lanes>(p: *mut V::E, low: [usize; 3], whole: [usize; 3], strides: [usize; 3]) {
    let Some(axes) = whole.iter().filter(|&&n| n > 1).count().checked_sub(1) else {
        return;
    };
    for z in 0..low[2] {
        for y in 0..low[1] {
            for x in 0..low[0] {
                // SAFETY: the low box lies inside the block; one lane needs no instructions.
                unsafe {
                    let p = p.add(z * strides[2] + y * strides[1] + x);
                    let c = <Plain<V> as Lanes>::splat(SHRINK[axes]);
                    <Plain<V> as Lanes>::load(p).mul(c).store(p);
                }
            }
        }
    }
}

/// The one-lane register of the same working type.
type Plain<V> = <<V as Lanes>::E as super::lanes::Working>::Plain;

/// Merges z, then y; ends in `values`.
///
/// # Safety
/// As [`inverse`], for both pointers.
#[inline(always)]
unsafe fn merge_rows<V: Lanes>(
    values: *mut V::E,
    scratch: *mut V::E,
    whole: [usize; 3],
    strides: [usize; 3],
) {
    let [w, h, d] = whole;
    // SAFETY: every row lies inside the box `whole` of the block.
    unsafe {
        if d > 1 {
            for y in 0..h {
                let at = y * strides[1];
                merge_column::<V>(values.add(at), scratch.add(at), strides[2], d, w);
            }
        }
        let from = if d > 1 { scratch } else { values };
        let to = if d > 1 { values } else { scratch };
        if h > 1 {
            for z in 0..d {
                let at = z * strides[2];
                merge_column::<V>(from.add(at), to.add(at), strides[1], h, w);
            }
        }
        if (d > 1) != (h > 1) {
            // One axis only: the result is in `scratch`.
            for z in 0..d {
                for y in 0..h {
                    let at = z * strides[2] + y * strides[1];
                    std::ptr::copy_nonoverlapping(scratch.add(at), values.add(at), w);
                }
            }
        }
    }
}

/// Merges `n` rows of `width` values: low rows first at `from`, interleaved at `to`.
///
/// # Safety
/// Both pointers are valid for `n` rows of `width` values, `stride` apart, and do not overlap.
#[inline(always)]
unsafe fn merge_column<V: Lanes>(
    from: *const V::E,
    to: *mut V::E,
    stride: usize,
    n: usize,
    width: usize,
) {
    // SAFETY: the caller's contract; registers only where a whole one fits.
    unsafe {
        let mut x = 0;
        while x + V::N <= width {
            merge_strip::<V>(from.add(x), to.add(x), stride, n);
            x += V::N;
        }
        while x < width {
            merge_strip::<Plain<V>>(from.add(x), to.add(x), stride, n);
            x += 1;
        }
    }
}

/// One register's width of [`merge_column`]: all four lifting steps in one sweep, each value
/// loaded and stored once. Borders mirror: the nearest existing neighbour counts twice.
///
/// # Safety
/// As [`merge_column`] with `width = V::N`; `n >= 2`.
#[inline(always)]
unsafe fn merge_strip<V: Lanes>(from: *const V::E, to: *mut V::E, stride: usize, n: usize) {
    let (low, high) = (n.div_ceil(2), n / 2);
    // SAFETY: row indices stay under `n`.
    unsafe {
        let lift = Lift::<V>::new();
        let even = |i: usize| V::load(from.add(i * stride));
        let odd = |i: usize| V::load(from.add((low + i) * stride));
        // d: odd as read; s1, d1, s2: after steps one, two, three; `_p` = at index i - 1.
        let mut d_p = odd(0);
        let mut s1_p = lift.even_first(even(0), d_p, d_p);
        let (mut d1_p, mut s2_p) = (d_p, s1_p);
        for i in 1..low {
            let d = odd(i.min(high - 1));
            let s1 = lift.even_first(even(i), d_p, d);
            let d1 = lift.odd_first(d_p, s1_p, s1);
            let s2 = lift.even_second(s1_p, if i == 1 { d1 } else { d1_p }, d1);
            s2.store(to.add((2 * i - 2) * stride));
            if i > 1 {
                lift.odd_second(d1_p, s2_p, s2)
                    .store(to.add((2 * i - 3) * stride));
            }
            (d_p, s1_p, d1_p, s2_p) = (d, s1, d1, s2);
        }
        let last = low - 1;
        let d1 = if high == low {
            lift.odd_first(d_p, s1_p, s1_p)
        } else {
            d1_p
        };
        let s2 = lift.even_second(s1_p, if last == 0 { d1 } else { d1_p }, d1);
        s2.store(to.add(2 * last * stride));
        if last > 0 {
            lift.odd_second(d1_p, s2_p, s2)
                .store(to.add((2 * last - 1) * stride));
        }
        if high == low {
            lift.odd_second(d1, s2, s2)
                .store(to.add((2 * last + 1) * stride));
        }
    }
}

/// Merges every line along x in place.
///
/// # Safety
/// As [`inverse`], for the pointer.
#[inline(always)]
unsafe fn merge_lines<V: Lanes>(values: *mut V::E, whole: [usize; 3], strides: [usize; 3]) {
    let [w, h, d] = whole;
    if w < 2 {
        return;
    }
    let mut buffers = LineBuffers::new();
    // SAFETY: every line lies inside the box `whole` of the block.
    unsafe {
        for z in 0..d {
            for y in 0..h {
                let line = values.add(z * strides[2] + y * strides[1]);
                // A register that hangs over a short line is still faster than lane by lane.
                if w < SHORT_LINE {
                    merge_line::<Plain<V>>(line, w, &mut buffers);
                } else {
                    merge_line::<V>(line, w, &mut buffers);
                }
            }
        }
    }
}

/// Lines under this length are merged lane by lane.
const SHORT_LINE: usize = 8;

/// Even and odd halves of a line and their merge. What one line leaves behind is garbage to the
/// next, which never looks at it.
struct LineBuffers<E> {
    even: [E; LINE],
    odd: [E; LINE],
    merged: [E; 2 * LINE],
}

impl<E: Copy + Default> LineBuffers<E> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            even: [E::default(); LINE],
            odd: [E::default(); LINE],
            merged: [E::default(); 2 * LINE],
        }
    }
}

/// Merges one line of `n` values: low half first, then interleaved.
///
/// # Safety
/// `line` is valid for `n` values, `2 <= n <= MAX_SIDE`.
#[inline(always)]
unsafe fn merge_line<V: Lanes>(line: *mut V::E, n: usize, buffers: &mut LineBuffers<V::E>) {
    let (low, high) = (n.div_ceil(2), n / 2);
    // Index i lives in cell i + 1, so that i - 1 and i + 1 exist; overhanging lanes are garbage
    // that never reaches cells under `low` and `high`.
    let (s, d, out) = (
        buffers.even.as_mut_ptr(),
        buffers.odd.as_mut_ptr(),
        buffers.merged.as_mut_ptr(),
    );
    // SAFETY: LINE leaves a register of room after the longest half; reads of `line` are exact.
    unsafe {
        let (s, d) = (s.add(1), d.add(1));
        std::ptr::copy_nonoverlapping(line, s, low);
        std::ptr::copy_nonoverlapping(line.add(low), d, high);
        let lift = Lift::<V>::new();
        mirror_odd(d, high);
        sweep(low, V::N, |i| {
            lift.even_first(
                V::load(s.add(i)),
                V::load(d.sub(1).add(i)),
                V::load(d.add(i)),
            )
            .store(s.add(i))
        });
        mirror_even(s, low);
        sweep(high, V::N, |i| {
            lift.odd_first(V::load(d.add(i)), V::load(s.add(i)), V::load(s.add(i + 1)))
                .store(d.add(i))
        });
        mirror_odd(d, high);
        sweep(low, V::N, |i| {
            lift.even_second(
                V::load(s.add(i)),
                V::load(d.sub(1).add(i)),
                V::load(d.add(i)),
            )
            .store(s.add(i))
        });
        mirror_even(s, low);
        sweep(low, V::N, |i| {
            let e = V::load(s.add(i));
            let o = lift.odd_second(V::load(d.add(i)), e, V::load(s.add(i + 1)));
            V::store_interleaved(out.add(2 * i), e, o);
        });
        std::ptr::copy_nonoverlapping(out, line, n);
    }
}

/// Calls `f` at 0, step, 2 step ... under `n`.
#[inline(always)]
fn sweep(n: usize, step: usize, mut f: impl FnMut(usize)) {
    let mut i = 0;
    while i < n {
        f(i);
        i += step;
    }
}

/// `d[-1] = d[0]`, `d[n] = d[n - 1]`.
///
/// # Safety
/// Cells -1 and `n` exist; `n >= 1`.
#[inline(always)]
unsafe fn mirror_odd<E: Copy>(d: *mut E, n: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        *d.sub(1) = *d;
        *d.add(n) = *d.add(n - 1);
    }
}

/// `s[n] = s[n - 1]`.
///
/// # Safety
/// Cell `n` exists; `n >= 1`.
#[inline(always)]
unsafe fn mirror_even<E: Copy>(s: *mut E, n: usize) {
    // SAFETY: the caller's contract.
    unsafe { *s.add(n) = *s.add(n - 1) };
}
