//! Vertices of dyadic lattices and how one is refined into the next.

/// Where a new vertex between two old ones comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The mean of its two neighbours: trilinear interpolation.
    Linear,
    /// The cubic through its four neighbours.
    Cubic,
}

/// Vertices, `2^spacing` voxels apart, that span `voxels` voxels from the first one on.
pub fn vertices(voxels: usize, spacing: u8) -> usize {
    ((voxels.saturating_sub(1) + (1 << spacing) - 1) >> spacing) + 1
}

/// Vertices on each axis, `[x, y, z]`, over a block of `dims` voxels.
pub fn lattice(dims: [usize; 3], spacing: [u8; 3]) -> [usize; 3] {
    std::array::from_fn(|a| vertices(dims[a], spacing[a]))
}

/// Entry of vertex `x, y, z` in a table of `2^table_log2` entries (spatial hash of Mueller et al.
/// 2022, "Instant neural graphics primitives", equation 4).
#[inline]
pub fn hash_index(x: usize, y: usize, z: usize, table_log2: u8) -> usize {
    let [x, y, z] = [x as u32, y as u32, z as u32];
    let hash = x ^ y.wrapping_mul(2_654_435_761) ^ z.wrapping_mul(805_459_861);
    (hash & ((1 << table_log2) - 1)) as usize
}

/// The order in which axes are refined on the way between two lattices: the axis that is furthest
/// behind first, x before y before z.
#[derive(Debug, Clone)]
pub struct Refinement {
    from: [u8; 3],
    to: [u8; 3],
}

impl Refinement {
    /// From one lattice to a finer one, as spacing exponents `[x, y, z]`.
    pub fn new(from: [u8; 3], to: [u8; 3]) -> Self {
        Self { from, to }
    }
}

impl Iterator for Refinement {
    /// Axis, and its spacing exponent after the step.
    type Item = (usize, u8);

    fn next(&mut self) -> Option<Self::Item> {
        let behind = [0, 1, 2].map(|a| self.from[a].saturating_sub(self.to[a]));
        let most = behind.into_iter().max().filter(|&m| m > 0)?;
        let axis = behind.iter().position(|&b| b == most)?;
        self.from[axis] -= 1;
        Some((axis, self.from[axis]))
    }
}

/// What [`refine_line`] does without its rounding: fine vertex `i` is the sum of the `coarse` vertices
/// from the second number on, each times its weight; weights of 0 may stand for vertices that there
/// are not.
#[inline(always)]
pub fn stencil(i: usize, coarse: usize, order: Order) -> ([f32; 4], usize) {
    let h = i / 2;
    if i.is_multiple_of(2) {
        return ([1.0, 0.0, 0.0, 0.0], h);
    }
    if order == Order::Linear {
        return ([0.5, 0.5, 0.0, 0.0], h);
    }
    let s = 1.0 / 16.0;
    match (h > 0, h + 2 < coarse) {
        (true, true) => ([-s, 9.0 * s, 9.0 * s, -s], h - 1),
        (false, true) => ([7.0 * s, 10.0 * s, -s, 0.0], h),
        (true, false) => ([-s, 10.0 * s, 7.0 * s, 0.0], h - 1),
        (false, false) => ([0.5, 0.5, 0.0, 0.0], h),
    }
}

/// Refines a line of vertices: the scalar oracle of every faster path. `new` has the length that
/// the finer spacing asks for.
pub fn refine_line(old: &[i32], new: &mut [i32], order: Order) {
    for (i, v) in new.iter_mut().enumerate() {
        let (h, odd) = (i / 2, i % 2 == 1);
        *v = if odd { between(old, h, order) } else { old[h] };
    }
}

/// The value half way between vertices `i` and `i + 1`; `i + 1` exists.
fn between(line: &[i32], i: usize, order: Order) -> i32 {
    let (b, c) = (line[i], line[i + 1]);
    match order {
        Order::Linear => b.wrapping_add(c).wrapping_add(1) >> 1,
        Order::Cubic => {
            let beyond = |near: i32, far: i32| near.wrapping_mul(2).wrapping_sub(far);
            let a = if i > 0 { line[i - 1] } else { beyond(b, c) };
            let d = line.get(i + 2).copied().unwrap_or_else(|| beyond(c, b));
            let inner = b.wrapping_add(c).wrapping_mul(9);
            inner.wrapping_sub(a.wrapping_add(d)).wrapping_add(8) >> 4
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_vertex_reaches_the_last_voxel_and_no_further_than_needed() {
        for n in 1..200usize {
            for k in 0..8u8 {
                let m = vertices(n, k);
                assert!((m - 1) << k >= n - 1);
                assert!(m == 1 || (m - 2) << k < n - 1);
                if k > 0 {
                    assert!(2 * (m - 1) + 1 >= vertices(n, k - 1));
                }
            }
        }
    }

    #[test]
    fn straight_lines_stay_straight() {
        for order in [Order::Linear, Order::Cubic] {
            for n in 2..40usize {
                let old: Vec<i32> = (0..vertices(n, 1)).map(|i| 64 * i as i32 - 5).collect();
                let mut new = vec![0; vertices(n, 0)];
                refine_line(&old, &mut new, order);
                let straight: Vec<i32> = (0..n).map(|i| 32 * i as i32 - 5).collect();
                assert_eq!(new, straight, "{order:?}");
            }
        }
    }

    #[test]
    fn axes_are_refined_from_the_coarsest_on() {
        let steps: Vec<_> = Refinement::new([3, 2, 2], [1, 1, 0]).collect();
        assert_eq!(steps, [(0, 2), (2, 1), (0, 1), (1, 1), (2, 0)]);
    }
}
