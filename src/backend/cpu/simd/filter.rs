//! In-block filters, once for all registers (specification, "In-block filters").
//!
//! Voxels lie in rows with their ends repeated, so that neighbours along x need no care; neighbours
//! along y and z beyond the block are the last row inside it. A register of voxels takes its sum over
//! all neighbours before the next, so the sum never leaves registers.

use super::lanes::Working;
use crate::codec::Coefficient;
use crate::model::{Filter, LIMITS, REACH, WEIGHT_BITS};

/// A register of working values and one of sums over their neighbours.
///
/// # Safety
/// Implementations may be used only on CPUs that have the instructions.
pub(crate) unsafe trait FilterLanes: Copy {
    /// Type of one lane.
    type E: Working;
    /// Sums of as many lanes.
    type Sum: Copy;
    /// Two weights as a register.
    type Weights: Copy;
    /// Number of lanes.
    const N: usize;
    /// # Safety
    /// `p` is readable for `N` values.
    unsafe fn load(p: *const Self::E) -> Self;
    /// # Safety
    /// `p` is writable for `N` values.
    unsafe fn store(self, p: *mut Self::E);
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn splat(value: Self::E) -> Self;
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn weights(first: i8, second: i8) -> Self::Weights;
    /// `self - here`, or beyond every limit where that is beyond the type.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn differ(self, here: Self) -> Self;
    /// Between `-limit` and `limit`.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn held(self, limit: Self, negative: Self) -> Self;
    /// Their sum, which fits.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn plus(self, o: Self) -> Self;
    /// The sum that leaves `here` as it is.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn start(here: Self) -> Self::Sum;
    /// The sum and products with two weights.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn add(sum: Self::Sum, first: Self, second: Self, weights: Self::Weights) -> Self::Sum;
    /// `here` with the sum, rounded to nearest, halves up, saturated.
    ///
    /// # Safety
    /// The CPU has the instructions.
    unsafe fn moved(here: Self, sum: Self::Sum) -> Self;
}

/// Rows of a block with [`REACH`] copies of their ends on both sides, one after the other, and room
/// for a register that hangs over the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PaddedRows<'a, E> {
    values: &'a [E],
    /// Extent x, y, z.
    dims: [usize; 3],
}

/// Widest register, in lanes.
const WIDEST: usize = 32;

impl<'a, E: Working> PaddedRows<'a, E> {
    /// Values of a block, `[z][y][x]`, held between `low` and `high`, into `room`.
    #[inline(always)]
    pub(crate) fn fill(
        values: &[E],
        dims: [usize; 3],
        (low, high): (E, E),
        room: &'a mut Vec<E>,
    ) -> Self
    where
        E: Ord,
    {
        let (nx, pitch) = (dims[0], dims[0] + 2 * REACH);
        let rows = dims[1] * dims[2];
        if room.len() < rows * pitch + WIDEST {
            room.resize(rows * pitch + WIDEST, E::default());
        }
        for (row, to) in values.chunks_exact(nx).zip(room.chunks_exact_mut(pitch)) {
            let inner = &mut to[REACH..REACH + nx];
            for (t, &v) in inner.iter_mut().zip(row) {
                *t = v.max(low).min(high);
            }
            let (first, last) = (inner[0], inner[nx - 1]);
            to[..REACH].fill(first);
            to[REACH + nx..].fill(last);
        }
        Self { values: room, dims }
    }

    /// Offset of the first voxel of a row.
    #[inline(always)]
    fn row(&self, y: usize, z: usize) -> usize {
        (z * self.dims[1] + y) * (self.dims[0] + 2 * REACH) + REACH
    }
}

/// What a neighbour pair counts, in registers: up to [`LIMITS`] taps that are not zero, two a step.
struct Taps<V: FilterLanes> {
    axis: usize,
    distance: usize,
    pairs: [Pair<V>; LIMITS.len() / 2],
    /// Of them in use.
    count: usize,
    /// Whether the last one has one tap only.
    odd: bool,
}

/// Two limits, their negatives, and weights.
#[derive(Clone, Copy)]
struct Pair<V: FilterLanes> {
    limits: [(V, V); 2],
    weights: V::Weights,
}

/// The taps of a filter that are not zero.
///
/// # Safety
/// The CPU has the instructions of `V`.
#[inline(always)]
unsafe fn taps<V: FilterLanes>(filter: &Filter, limits: [i32; LIMITS.len()]) -> Vec<Taps<V>> {
    let mut all = Vec::with_capacity(3 * REACH);
    for axis in 0..3 {
        for (i, weights) in filter.weights[axis].iter().enumerate() {
            let (mut used, mut count) = ([(0, 0); LIMITS.len()], 0);
            for tap in limits.into_iter().zip(*weights).filter(|t| t.1 != 0) {
                used[count] = tap;
                count += 1;
            }
            // SAFETY: the caller's contract.
            let pair = |i: usize| unsafe {
                let of = |(limit, _): (i32, i8)| {
                    let limit = i64::from(limit);
                    (
                        V::splat(V::E::saturate(limit)),
                        V::splat(V::E::saturate(-limit)),
                    )
                };
                Pair {
                    limits: [of(used[2 * i]), of(used[2 * i + 1])],
                    weights: V::weights(used[2 * i].1, used[2 * i + 1].1),
                }
            };
            if count > 0 {
                all.push(Taps {
                    axis,
                    distance: i + 1,
                    pairs: [pair(0), pair(1)],
                    count: count.div_ceil(2),
                    odd: count % 2 == 1,
                });
            }
        }
    }
    all
}

impl<V: FilterLanes> Taps<V> {
    /// Adds what two neighbours, as differences, count.
    ///
    /// # Safety
    /// The CPU has the instructions of `V`.
    #[inline(always)]
    unsafe fn add(&self, mut sum: V::Sum, a: V, b: V) -> V::Sum {
        // SAFETY: the caller's contract.
        unsafe {
            let both =
                |(limit, negative): (V, V)| a.held(limit, negative).plus(b.held(limit, negative));
            for (i, pair) in self.pairs[..self.count].iter().enumerate() {
                let first = both(pair.limits[0]);
                let second = if self.odd && i + 1 == self.count {
                    first
                } else {
                    both(pair.limits[1])
                };
                sum = V::add(sum, first, second, pair.weights);
            }
            sum
        }
    }
}

/// What a filter works on: neighbours, and room for as many values.
pub(crate) struct Filtering<'a, E> {
    pub(crate) filter: &'a Filter,
    pub(crate) limits: [i32; LIMITS.len()],
    pub(crate) rows: PaddedRows<'a, E>,
    /// `[z][y][x]`.
    pub(crate) out: &'a mut [E],
}

/// Filters a block.
///
/// # Safety
/// The CPU has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn run<V: FilterLanes>(work: Filtering<'_, V::E>) {
    let Filtering {
        filter,
        limits,
        rows,
        out,
    } = work;
    let [nx, ny, nz] = rows.dims;
    // SAFETY: neighbours of a row lie inside the block or its padding, which has room for a register.
    unsafe {
        let taps = taps::<V>(filter, limits);
        let base = rows.values.as_ptr();
        let mut near = [(base, base); 3 * REACH];
        for z in 0..nz {
            for y in 0..ny {
                let here = rows.row(y, z);
                for (near, t) in near.iter_mut().zip(&taps) {
                    let d = t.distance;
                    let (ahead, behind) = match t.axis {
                        0 => (here + d, here - d),
                        1 => (
                            rows.row((y + d).min(ny - 1), z),
                            rows.row(y.saturating_sub(d), z),
                        ),
                        _ => (
                            rows.row(y, (z + d).min(nz - 1)),
                            rows.row(y, z.saturating_sub(d)),
                        ),
                    };
                    *near = (base.add(ahead), base.add(behind));
                }
                let to = &mut out[(z * ny + y) * nx..][..nx];
                run_row::<V>(&taps, &near, base.add(here), to);
            }
        }
    }
}

/// One row, from pointers to its first voxel and to those beside it.
///
/// # Safety
/// As [`run`]; the pointers are readable for `out.len()` values rounded up to registers.
#[inline(always)]
unsafe fn run_row<V: FilterLanes>(
    taps: &[Taps<V>],
    near: &[(*const V::E, *const V::E); 3 * REACH],
    here: *const V::E,
    out: &mut [V::E],
) {
    let n = out.len();
    let mut x = 0;
    // SAFETY: the caller's contract; what hangs over the end of `out` goes through a buffer.
    unsafe {
        while x < n {
            let v = V::load(here.add(x));
            let mut sum = V::start(v);
            for (t, &(ahead, behind)) in taps.iter().zip(near) {
                let a = V::load(ahead.add(x)).differ(v);
                let b = V::load(behind.add(x)).differ(v);
                sum = t.add(sum, a, b);
            }
            let moved = V::moved(v, sum);
            if x + V::N <= n {
                moved.store(out.as_mut_ptr().add(x));
            } else {
                let mut last = [V::E::default(); WIDEST];
                moved.store(last.as_mut_ptr());
                out[x..].copy_from_slice(&last[..n - x]);
            }
            x += V::N;
        }
    }
}

/// Lanes of plain registers, which the compiler turns into what the CPU has.
const PLAIN: usize = 16;

/// 16-bit values in plain Rust: the definition that other registers must equal.
#[derive(Clone, Copy)]
pub(crate) struct Plain16([i16; PLAIN]);

#[inline(always)]
fn zip<A: Copy, B: Copy, C>(
    a: [A; PLAIN],
    b: [B; PLAIN],
    mut f: impl FnMut(A, B) -> C,
) -> [C; PLAIN] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// Loads and stores of an array of values.
macro_rules! plain_memory {
    ($t:ty) => {
        #[inline(always)]
        unsafe fn load(p: *const $t) -> Self {
            // SAFETY: the caller's contract; arrays have no alignment beyond that of their values.
            Self(unsafe { *p.cast() })
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut $t) {
            // SAFETY: as above.
            unsafe { *p.cast() = self.0 }
        }
        #[inline(always)]
        unsafe fn splat(value: $t) -> Self {
            Self([value; PLAIN])
        }
        #[inline(always)]
        unsafe fn held(self, limit: Self, negative: Self) -> Self {
            Self(zip(zip(self.0, limit.0, Ord::min), negative.0, Ord::max))
        }
        #[inline(always)]
        unsafe fn plus(self, o: Self) -> Self {
            Self(zip(self.0, o.0, <$t>::wrapping_add))
        }
    };
}

const HALF: i32 = 1 << (WEIGHT_BITS - 1);

// SAFETY: needs no special instructions.
unsafe impl FilterLanes for Plain16 {
    type E = i16;
    type Sum = [i32; PLAIN];
    type Weights = [i32; 2];
    const N: usize = PLAIN;
    plain_memory!(i16);
    #[inline(always)]
    unsafe fn weights(first: i8, second: i8) -> [i32; 2] {
        [first.into(), second.into()]
    }
    #[inline(always)]
    unsafe fn differ(self, here: Self) -> Self {
        Self(zip(self.0, here.0, i16::saturating_sub))
    }
    #[inline(always)]
    unsafe fn start(here: Self) -> [i32; PLAIN] {
        here.0.map(|v| (i32::from(v) << WEIGHT_BITS) + HALF)
    }
    #[inline(always)]
    unsafe fn add(sum: [i32; PLAIN], first: Self, second: Self, [v, w]: [i32; 2]) -> [i32; PLAIN] {
        let products = zip(first.0, second.0, |a, b| {
            i32::from(a) * v + i32::from(b) * w
        });
        zip(sum, products, |s, p| s + p)
    }
    #[inline(always)]
    unsafe fn moved(_here: Self, sum: [i32; PLAIN]) -> Self {
        Self(sum.map(|s| (s >> WEIGHT_BITS).clamp(i16::MIN.into(), i16::MAX.into()) as i16))
    }
}

/// 32-bit values whose differences, and the sums of these, fit 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Bounded32([i32; PLAIN]);

// SAFETY: needs no special instructions.
unsafe impl FilterLanes for Bounded32 {
    type E = i32;
    type Sum = [i32; PLAIN];
    type Weights = [i32; 2];
    const N: usize = PLAIN;
    plain_memory!(i32);
    #[inline(always)]
    unsafe fn weights(first: i8, second: i8) -> [i32; 2] {
        [first.into(), second.into()]
    }
    #[inline(always)]
    unsafe fn differ(self, here: Self) -> Self {
        Self(zip(self.0, here.0, i32::wrapping_sub))
    }
    #[inline(always)]
    unsafe fn start(_here: Self) -> [i32; PLAIN] {
        [HALF; PLAIN]
    }
    #[inline(always)]
    unsafe fn add(sum: [i32; PLAIN], first: Self, second: Self, [v, w]: [i32; 2]) -> [i32; PLAIN] {
        let sum = zip(sum, first.0, |s, a| s.wrapping_add(a.wrapping_mul(v)));
        zip(sum, second.0, |s, b| s.wrapping_add(b.wrapping_mul(w)))
    }
    #[inline(always)]
    unsafe fn moved(here: Self, sum: [i32; PLAIN]) -> Self {
        Self(zip(here.0, sum, |v, s| v.saturating_add(s >> WEIGHT_BITS)))
    }
}

/// Any 32-bit values.
#[derive(Clone, Copy)]
pub(crate) struct Any32([i32; PLAIN]);

// SAFETY: needs no special instructions.
unsafe impl FilterLanes for Any32 {
    type E = i32;
    type Sum = [i64; PLAIN];
    type Weights = [i64; 2];
    const N: usize = PLAIN;
    plain_memory!(i32);
    #[inline(always)]
    unsafe fn weights(first: i8, second: i8) -> [i64; 2] {
        [first.into(), second.into()]
    }
    #[inline(always)]
    unsafe fn differ(self, here: Self) -> Self {
        Self(zip(self.0, here.0, i32::saturating_sub))
    }
    #[inline(always)]
    unsafe fn start(here: Self) -> [i64; PLAIN] {
        here.0
            .map(|v| (i64::from(v) << WEIGHT_BITS) + i64::from(HALF))
    }
    #[inline(always)]
    unsafe fn add(sum: [i64; PLAIN], first: Self, second: Self, [v, w]: [i64; 2]) -> [i64; PLAIN] {
        let products = zip(first.0, second.0, |a, b| {
            i64::from(a) * v + i64::from(b) * w
        });
        zip(sum, products, |s, p| s + p)
    }
    #[inline(always)]
    unsafe fn moved(_here: Self, sum: [i64; PLAIN]) -> Self {
        Self(sum.map(|s| (s >> WEIGHT_BITS).clamp(i32::MIN.into(), i32::MAX.into()) as i32))
    }
}
