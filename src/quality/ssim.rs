//! SSIM of two streams of slices: windows of 7^3 voxels with equal weights, by sliding sums.
//!
//! Each slice updates, per voxel of the plane, five sums along z (a, b, a^2, b^2, ab over the last
//! seven slices). Rows of those are summed along y as they slide, then along x. All sums are 64-bit
//! floats of 32-bit values, whose products they hold exactly, so nothing drifts.

/// Side of a window in voxels.
pub(super) const WINDOW: usize = 7;
const SUMS: usize = 5;
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// The state of one plane of windows.
#[derive(Debug)]
pub(super) struct SlidingSsim {
    width: usize,
    height: usize,
    slices: usize,
    /// The last seven slices of A and B, `[slot][y][a or b][x]`.
    ring: Vec<f32>,
    /// Sums along z, `[y][sum][x]`.
    columns: Vec<f64>,
    /// Sums along z and y of the current row, `[sum][x]`.
    plane: Vec<f64>,
    /// SSIM of the windows of the current row.
    row: Vec<f64>,
    /// Sum over all windows so far.
    pub(super) sum: f64,
    /// Windows so far.
    pub(super) windows: u64,
}

impl SlidingSsim {
    /// For slices of `width` x `height` voxels; both at least [`WINDOW`].
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            slices: 0,
            ring: vec![0.0; WINDOW * height * 2 * width],
            columns: vec![0.0; height * SUMS * width],
            plane: vec![0.0; SUMS * width],
            row: vec![0.0; width - WINDOW + 1],
            sum: 0.0,
            windows: 0,
        }
    }

    /// Adds the next slice of both volumes; rows are `stride` values apart.
    pub(super) fn push(&mut self, a: &[f32], b: &[f32], stride: usize) {
        let (w, slot) = (self.width, self.slices % WINDOW);
        self.slices += 1;
        self.plane.fill(0.0);
        let mut slice_sum = 0.0;
        for y in 0..self.height {
            let (a, b) = (&a[y * stride..][..w], &b[y * stride..][..w]);
            let ring = &mut self.ring[(slot * self.height + y) * 2 * w..][..2 * w];
            slide_columns(&mut self.columns[y * SUMS * w..][..SUMS * w], ring, a, b);
            if self.slices >= WINDOW {
                slice_sum += self.finish_row(y);
            }
        }
        self.sum += slice_sum;
    }

    /// Slides the plane sums down to row `y` and adds up the windows that end there.
    fn finish_row(&mut self, y: usize) -> f64 {
        let row = SUMS * self.width;
        let (above, from) = self.columns.split_at(y * row);
        match above.len().checked_sub(WINDOW * row) {
            Some(at) => slide(&mut self.plane, &from[..row], &above[at..at + row]),
            None => add(&mut self.plane, &from[..row]),
        }
        if y + 1 < WINDOW {
            return 0.0;
        }
        window_row(&self.plane, self.width, &mut self.row);
        self.windows += self.row.len() as u64;
        sum_of(&self.row)
    }
}

/// Adds a row to the sums along z and takes out the one that leaves, which `ring` holds.
fn slide_columns(columns: &mut [f64], ring: &mut [f32], a: &[f32], b: &[f32]) {
    let w = a.len();
    let b = &b[..w];
    let (old_a, old_b) = ring.split_at_mut(w);
    let (old_a, old_b) = (&mut old_a[..w], &mut old_b[..w]);
    let (s0, rest) = columns.split_at_mut(w);
    let (s1, rest) = rest.split_at_mut(w);
    let (s2, rest) = rest.split_at_mut(w);
    let (s3, s4) = rest.split_at_mut(w);
    let s4 = &mut s4[..w];
    for x in 0..w {
        let (new_a, new_b) = (f64::from(a[x]), f64::from(b[x]));
        let (out_a, out_b) = (f64::from(old_a[x]), f64::from(old_b[x]));
        s0[x] += new_a - out_a;
        s1[x] += new_b - out_b;
        s2[x] += new_a * new_a - out_a * out_a;
        s3[x] += new_b * new_b - out_b * out_b;
        s4[x] += new_a * new_b - out_a * out_b;
    }
    old_a.copy_from_slice(a);
    old_b.copy_from_slice(b);
}

fn add(sums: &mut [f64], new: &[f64]) {
    for (s, n) in sums.iter_mut().zip(new) {
        *s += n;
    }
}

fn slide(sums: &mut [f64], new: &[f64], old: &[f64]) {
    for ((s, n), o) in sums.iter_mut().zip(new).zip(old) {
        *s += n - o;
    }
}

/// SSIM of every window of a row from its sums along z and y.
fn window_row(plane: &[f64], w: usize, out: &mut [f64]) {
    const N: f64 = (WINDOW * WINDOW * WINDOW) as f64;
    const COVARIANCE: f64 = N / (N - 1.0);
    let n = out.len();
    let rows: [[&[f64]; WINDOW]; SUMS] =
        std::array::from_fn(|s| std::array::from_fn(|x| &plane[s * w + x..][..n]));
    let total = |s: usize, i: usize| {
        let r = &rows[s];
        ((r[0][i] + r[1][i]) + (r[2][i] + r[3][i])) + ((r[4][i] + r[5][i]) + r[6][i])
    };
    for (i, o) in out.iter_mut().enumerate() {
        let (ua, ub) = (total(0, i) * (1.0 / N), total(1, i) * (1.0 / N));
        let va = COVARIANCE * (total(2, i) * (1.0 / N) - ua * ua);
        let vb = COVARIANCE * (total(3, i) * (1.0 / N) - ub * ub);
        let vab = COVARIANCE * (total(4, i) * (1.0 / N) - ua * ub);
        *o =
            ((2.0 * ua * ub + C1) * (2.0 * vab + C2)) / ((ua * ua + ub * ub + C1) * (va + vb + C2));
    }
}

/// Sum in a fixed order that vector instructions can follow.
fn sum_of(values: &[f64]) -> f64 {
    let (chunks, rest) = values.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += v;
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().sum::<f64>()
}
