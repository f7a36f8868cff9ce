//! Sums of errors, mergeable.

/// Sums over pairs of values from which RMSE, PSNR and the largest error follow.
///
/// Sums are 64-bit floats added in the order of the calls; merging parts in a fixed order gives
/// the same bits whatever the number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ErrorStats {
    /// Pairs added, without the ones that were not finite.
    pub count: u64,
    /// Sum of squared errors.
    pub sse: f64,
    /// Largest absolute error.
    pub max_abs: f64,
    /// Pairs in which a value is not finite.
    pub nonfinite: u64,
    /// Those of them that are not the same value in both (two NaN are the same).
    pub nonfinite_mismatches: u64,
}

/// Independent partial sums, so that the compiler can use vector instructions.
const LANES: usize = 8;

/// Sum of squares and largest magnitude of `difference(i)` over `0..len`, in a fixed order.
#[inline(always)]
fn reduce(len: usize, difference: impl Fn(usize) -> f64) -> (f64, f64) {
    let (mut sum, mut max) = ([0.0f64; LANES], [0.0f64; LANES]);
    let whole = len - len % LANES;
    for start in (0..whole).step_by(LANES) {
        for lane in 0..LANES {
            let d = difference(start + lane);
            sum[lane] += d * d;
            max[lane] = if d.abs() > max[lane] {
                d.abs()
            } else {
                max[lane]
            };
        }
    }
    for i in whole..len {
        let d = difference(i);
        sum[i - whole] += d * d;
        max[i - whole] = max[i - whole].max(d.abs());
    }
    (
        sum.iter().sum(),
        max.iter().fold(0.0, |m: f64, &v| m.max(v)),
    )
}

impl ErrorStats {
    /// Adds pairs of floats. Pairs with a NaN or an infinity are counted apart.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn add_f32(&mut self, a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        let b = &b[..a.len()];
        let (sse, max) = reduce(a.len(), |i| f64::from(a[i]) - f64::from(b[i]));
        // A value that is not finite always makes the sum so; finite ones cannot (f32 squares
        // are far inside the range of f64).
        if sse.is_finite() {
            self.record(a.len() as u64, sse, max);
        } else {
            self.add_with_nonfinite(a, b);
        }
    }

    /// Adds pairs of integers, such as coded values.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn add_i32(&mut self, a: &[i32], b: &[i32]) {
        assert_eq!(a.len(), b.len());
        let b = &b[..a.len()];
        let (sse, max) = reduce(a.len(), |i| f64::from(a[i]) - f64::from(b[i]));
        self.record(a.len() as u64, sse, max);
    }

    /// Adds what another accumulator has gathered.
    pub fn merge(&mut self, other: &Self) {
        self.record(other.count, other.sse, other.max_abs);
        self.nonfinite += other.nonfinite;
        self.nonfinite_mismatches += other.nonfinite_mismatches;
    }

    /// Root of the mean squared error; 0 if nothing was added.
    pub fn rmse(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        (self.sse / self.count as f64).sqrt()
    }

    /// PSNR in dB for values that span `range`; `None` without any error, range or value.
    pub fn psnr(&self, range: f64) -> Option<f64> {
        let rmse = self.rmse();
        (rmse > 0.0 && range > 0.0).then(|| 20.0 * (range / rmse).log10())
    }

    /// Whether every pair was equal.
    pub fn identical(&self) -> bool {
        self.max_abs == 0.0 && self.nonfinite_mismatches == 0
    }

    fn record(&mut self, count: u64, sse: f64, max_abs: f64) {
        self.count += count;
        self.sse += sse;
        self.max_abs = self.max_abs.max(max_abs);
    }

    fn add_with_nonfinite(&mut self, a: &[f32], b: &[f32]) {
        for (&a, &b) in a.iter().zip(b) {
            if a.is_finite() && b.is_finite() {
                let d = f64::from(a) - f64::from(b);
                self.record(1, d * d, d.abs());
            } else {
                self.nonfinite += 1;
                let same = a == b || (a.is_nan() && b.is_nan());
                self.nonfinite_mismatches += u64::from(!same);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_largest_error_in_any_split() {
        let a: Vec<i32> = (0..1000).map(|i| i * 7 % 97).collect();
        let b: Vec<i32> = (0..1000).map(|i| i * 5 % 89).collect();
        let mut whole = ErrorStats::default();
        whole.add_i32(&a, &b);
        let mut parts = ErrorStats::default();
        for (a, b) in a.chunks(13).zip(b.chunks(13)) {
            let mut one = ErrorStats::default();
            one.add_i32(a, b);
            parts.merge(&one);
        }
        let sse: i64 = a.iter().zip(&b).map(|(a, b)| i64::from(a - b).pow(2)).sum();
        assert_eq!(whole, parts);
        assert_eq!(whole.sse, sse as f64);
        let max = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).max();
        assert_eq!(Some(whole.max_abs), max.map(f64::from));
    }

    #[test]
    fn values_that_are_not_finite_are_counted_apart() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let mut s = ErrorStats::default();
        s.add_f32(
            &[1.0, nan, inf, inf, 2.0, nan],
            &[3.0, nan, inf, -inf, 2.0, 1.0],
        );
        assert_eq!((s.count, s.nonfinite, s.nonfinite_mismatches), (2, 4, 2));
        assert_eq!((s.sse, s.max_abs), (4.0, 2.0));
        assert!(!s.identical());
    }
}
