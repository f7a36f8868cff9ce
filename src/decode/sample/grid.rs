//! A block of a multi-resolution grid and a small network, as a function of the place.
//!
//! `value = clamp((S + network(features)) * scale + centre, lo, hi) * unit`, with the sum `S` of the
//! levels that add to the output and the features interpolated trilinearly between voxels, in
//! floating point and without rounding. Gradients follow by the chain rule. Knows nothing of how
//! levels and weights are stored.

use super::field::{Cell, Field};
use crate::model::grid as model;
use crate::{Error, Result};

/// Most numbers that go into or come out of a matrix.
const WIDTH: usize = 32;
/// What the integer network holds its activations under.
const ACTIVATION_CAP: f32 = 32_767.0;

/// One matrix of a network.
#[derive(Debug, Clone)]
struct Matrix {
    /// `[out][in]`.
    weights: Vec<f32>,
    /// One for each output.
    biases: Vec<f32>,
}

/// A network of one output; what comes out of the other matrices is held between 0 and `cap`.
#[derive(Debug, Clone)]
pub(super) struct Network {
    inputs: usize,
    cap: f32,
    matrices: Vec<Matrix>,
}

impl Network {
    /// Of matrices that fit one another.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if they do not, or one is wider than [`WIDTH`].
    fn new(inputs: usize, cap: f32, matrices: Vec<Matrix>) -> Result<Self> {
        let mut width = inputs;
        for m in &matrices {
            let outputs = m.biases.len();
            if width > WIDTH || outputs > WIDTH || m.weights.len() != width * outputs {
                return Err(Error::argument(format!(
                    "{} weights do not lead from {width} to {outputs} of a network of at most {WIDTH}",
                    m.weights.len()
                )));
            }
            width = outputs;
        }
        if width != 1 || inputs == 0 || matrices.is_empty() {
            return Err(Error::argument(format!(
                "a network leads from {inputs} inputs to {width} outputs, not to 1"
            )));
        }
        Ok(Self {
            inputs,
            cap,
            matrices,
        })
    }

    /// The network of a block: what it does to its inputs in integers, without the rounding.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(super) fn from_integers(network: &model::Network, inputs: usize) -> Result<Self> {
        let matrix = |m: &model::Matrix| {
            let scale = (-f32::from(m.shift)).exp2();
            Matrix {
                weights: m.weights.iter().map(|&w| f32::from(w) * scale).collect(),
                // A bias counts 256 before the shift.
                biases: (m.biases.iter().map(|&b| f32::from(b) * 256.0 * scale)).collect(),
            }
        };
        let matrices = network.matrices.iter().map(matrix).collect();
        Self::new(inputs, ACTIVATION_CAP, matrices)
    }

    /// The output for `x`, of which the first `inputs` are used. Numbers behind the first of each
    /// are derivatives.
    fn output<const N: usize>(&self, mut x: [[f32; N]; WIDTH]) -> [f32; N] {
        let mut width = self.inputs;
        for (i, m) in self.matrices.iter().enumerate() {
            let last = i + 1 == self.matrices.len();
            let mut y = [[0.0; N]; WIDTH];
            let rows = m.weights.chunks_exact(width).zip(&m.biases);
            for (out, (row, &bias)) in y.iter_mut().zip(rows) {
                out[0] = bias;
                for (w, number) in row.iter().zip(&x) {
                    out.iter_mut().zip(number).for_each(|(o, n)| *o += w * n);
                }
                if !last {
                    self.activate(out);
                }
            }
            (x, width) = (y, m.biases.len());
        }
        x[0]
    }

    fn activate<const N: usize>(&self, number: &mut [f32; N]) {
        let held = number[0].clamp(0.0, self.cap);
        if held != number[0] || held == 0.0 {
            *number = [0.0; N];
            number[0] = held;
        }
    }
}

/// From working units to voxels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Units {
    /// Integers `q` in one working unit: `2^-frac_bits`.
    pub(super) scale: f64,
    /// `q` that the working value 0 stands for.
    pub(super) centre: f64,
    /// Smallest and largest `q` of the block.
    pub(super) range: [f64; 2],
    /// Value of one unit of `q`.
    pub(super) unit: f64,
}

/// Planes of a decoded block, `[z][y][x]` over its extent at a level of detail.
pub(super) struct GridField {
    dims: [usize; 3],
    /// Sum of the levels that add to the output, in working units; NaN where the block is masked.
    sum: Vec<f32>,
    /// Inputs of the network as it takes them (shifted, held, rounded): plane after plane.
    features: Vec<f32>,
    network: Option<Network>,
    units: Units,
}

impl GridField {
    /// Of planes that fit the extent and the network; without a network `features` is empty.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if they do not fit.
    pub(super) fn new(
        dims: [usize; 3],
        sum: Vec<f32>,
        features: Vec<f32>,
        network: Option<Network>,
        units: Units,
    ) -> Result<Self> {
        let voxels: usize = dims.iter().product();
        let inputs = network.as_ref().map_or(0, |n| n.inputs);
        if voxels == 0 || sum.len() != voxels || features.len() != inputs * voxels {
            return Err(Error::argument(format!(
                "planes of {} and {} numbers do not fit {inputs} features of {dims:?} voxels",
                sum.len(),
                features.len()
            )));
        }
        Ok(Self {
            dims,
            sum,
            features,
            network,
            units,
        })
    }

    /// Value (`N` = 1), and derivatives (`N` = 4).
    fn at<const N: usize>(&self, at: [f64; 3]) -> [f64; N] {
        let cell = Cell::new(self.dims, at);
        let mut q = cell.of::<N>(&self.sum);
        if let Some(network) = &self.network {
            let mut inputs = [[0.0; N]; WIDTH];
            let planes = self.features.chunks_exact(self.sum.len());
            for (input, plane) in inputs.iter_mut().zip(planes) {
                *input = cell.of::<N>(plane).map(|v| v as f32);
            }
            let output = network.output(inputs);
            q.iter_mut()
                .zip(output)
                .for_each(|(q, o)| *q += f64::from(o));
        }
        self.units.value(q)
    }
}

impl Units {
    fn value<const N: usize>(&self, number: [f64; N]) -> [f64; N] {
        let mut out = number.map(|v| v * self.scale);
        out[0] += self.centre;
        let held = out[0].clamp(self.range[0], self.range[1]);
        if held != out[0] && !held.is_nan() {
            // NaN stays NaN.
            out = out.map(|v| v * 0.0);
            out[0] = held;
        }
        out.map(|v| v * self.unit)
    }
}

impl Field for GridField {
    fn value(&self, at: [f64; 3]) -> f64 {
        let [value] = self.at(at);
        value
    }
    fn value_and_gradient(&self, at: [f64; 3]) -> (f64, [f64; 3]) {
        let [value, x, y, z] = self.at(at);
        (value, [x, y, z])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::TestRng;

    const UNITS: Units = Units {
        scale: 0.25,
        centre: 100.0,
        range: [-1e6, 1e6],
        unit: 0.5,
    };

    fn numbers(rng: &mut TestRng, n: usize, size: f32) -> Vec<f32> {
        (0..n).map(|_| rng.random_range(-size..size)).collect()
    }

    fn matrix(rng: &mut TestRng, inputs: usize, outputs: usize) -> Matrix {
        Matrix {
            weights: numbers(rng, inputs * outputs, 1.0),
            biases: numbers(rng, outputs, 0.5),
        }
    }

    fn network(rng: &mut TestRng, inputs: usize, hidden: &[usize]) -> Network {
        let mut matrices = Vec::new();
        let mut width = inputs;
        for &outputs in hidden.iter().chain(&[1]) {
            matrices.push(matrix(rng, width, outputs));
            width = outputs;
        }
        Network::new(inputs, 6.0, matrices).unwrap()
    }

    fn field(rng: &mut TestRng, dims: [usize; 3], inputs: usize, hidden: &[usize]) -> GridField {
        let voxels: usize = dims.iter().product();
        let network = network(rng, inputs, hidden);
        let features = numbers(rng, inputs * voxels, 2.0);
        GridField::new(
            dims,
            numbers(rng, voxels, 8.0),
            features,
            Some(network),
            UNITS,
        )
        .unwrap()
    }

    /// The definition, written plainly, in double precision: the value, and which part of its
    /// curve each hidden unit is on.
    fn plain(f: &GridField, at: [f64; 3]) -> (f64, Vec<i8>) {
        let cell = Cell::new(f.dims, at);
        let n = f.network.as_ref().unwrap();
        let planes = f.features.chunks(f.sum.len());
        let mut x: Vec<f64> = planes.map(|p| cell.of::<1>(p)[0]).collect();
        let mut parts = Vec::new();
        for (i, m) in n.matrices.iter().enumerate() {
            let rows = m.weights.chunks(x.len()).zip(&m.biases);
            let dot =
                |row: &[f32]| -> f64 { row.iter().zip(&x).map(|(&w, x)| f64::from(w) * x).sum() };
            let mut y: Vec<f64> = rows.map(|(row, &b)| dot(row) + f64::from(b)).collect();
            if i + 1 < n.matrices.len() {
                let cap = f64::from(n.cap);
                parts.extend(y.iter().map(|&v| i8::from(v > 0.0) + i8::from(v >= cap)));
                y.iter_mut().for_each(|v| *v = v.clamp(0.0, cap));
            }
            x = y;
        }
        (
            ((cell.of::<1>(&f.sum)[0] + x[0]) * 0.25 + 100.0) * 0.5,
            parts,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// At the voxels the value is that of the definition; inside of cells the gradient is the
        /// quotient of differences, which is exact along an axis if no unit switches.
        #[test]
        fn values_and_gradients_are_those_of_the_definition(
            dims in [1usize..=4, 1usize..=5, 2usize..=3],
            inputs in 1usize..=8,
            hidden in prop_oneof![Just(vec![8]), Just(vec![16, 8]), Just(vec![32, 32])],
            mut rng in any::<u64>().prop_perturb(|_, rng| rng),
        ) {
            let f = field(&mut rng, dims, inputs, &hidden);
            for index in 0..f.sum.len() {
                let at = [index % dims[0], index / dims[0] % dims[1], index / (dims[0] * dims[1])];
                let at = at.map(|v| v as f64);
                prop_assert!((f.value(at) - plain(&f, at).0).abs() < 1e-4);
                prop_assert_eq!(f.value(at), f.value_and_gradient(at).0);
            }
            let mut compared = 0;
            for _ in 0..60 {
                let at = dims.map(|n| match n {
                    1 => 0.0,
                    n => f64::from(rng.random_range(0..n as u32 - 1)) + rng.random_range(0.1..0.9),
                });
                compared += compare(&f, at)?;
            }
            let possible = 60 * dims.iter().filter(|n| **n > 1).count() as u32;
            prop_assert!(compared * 3 > possible, "{compared} of {possible}");
        }
    }

    /// How many derivatives were held against differences: those that no kink is near to.
    fn compare(f: &GridField, at: [f64; 3]) -> std::result::Result<u32, TestCaseError> {
        const STEP: f64 = 0.005;
        let (value, gradient) = f.value_and_gradient(at);
        let (expected, parts) = plain(f, at);
        prop_assert!((value - expected).abs() < 1e-4);
        let mut compared = 0;
        for a in 0..3 {
            if f.dims[a] == 1 {
                prop_assert_eq!(gradient[a], 0.0);
                continue;
            }
            let moved = |by: f64| {
                let mut p = at;
                p[a] += by;
                plain(f, p)
            };
            let (up, down) = (moved(STEP), moved(-STEP));
            if up.1 == parts && down.1 == parts {
                compared += 1;
                let difference = (up.0 - down.0) / (2.0 * STEP);
                prop_assert!(
                    (gradient[a] - difference).abs() < 1e-3,
                    "{gradient:?} {difference}"
                );
            }
        }
        Ok(compared)
    }

    /// One feature that runs from -1 to 9 over ten cells, through one hidden unit.
    fn ramp(units: Units) -> GridField {
        let one = |w: f32| Matrix {
            weights: vec![w],
            biases: vec![0.0],
        };
        let network = Network::new(1, 6.0, vec![one(1.0), one(2.0)]).unwrap();
        let features = (0..11).map(|i| i as f32 - 1.0).collect();
        GridField::new([11, 1, 1], vec![0.0; 11], features, Some(network), units).unwrap()
    }

    #[test]
    fn units_switch_at_zero_and_at_the_cap() {
        let f = ramp(Units {
            scale: 1.0,
            centre: 0.0,
            unit: 1.0,
            ..UNITS
        });
        let at = |x: f64| f.value_and_gradient([x, 0.0, 0.0]);
        assert_eq!(at(0.25), (0.0, [0.0; 3]));
        assert_eq!(at(3.5), (5.0, [2.0, 0.0, 0.0]));
        assert_eq!(at(8.5), (12.0, [0.0; 3]));
    }

    #[test]
    fn values_are_held_in_the_range_of_the_block() {
        let f = ramp(Units {
            scale: 1.0,
            centre: 10.0,
            range: [11.0, 14.0],
            unit: 0.5,
        });
        let at = |x: f64| f.value_and_gradient([x, 0.0, 0.0]);
        assert_eq!(at(0.5), (5.5, [0.0; 3]));
        assert_eq!(at(2.5), (6.5, [1.0, 0.0, 0.0]));
        assert_eq!(at(5.0), (7.0, [0.0; 3]));
    }

    #[test]
    fn masked_voxels_are_nan_where_they_count() {
        let mut f = ramp(UNITS);
        f.sum[4] = f32::NAN;
        assert!(f.value([3.5, 0.0, 0.0]).is_nan());
        assert!(f.value_and_gradient([3.0, 0.0, 0.0]).1[0].is_nan());
        assert!(f.value([3.0, 0.0, 0.0]).is_finite() && f.value([5.0, 0.0, 0.0]).is_finite());
    }

    fn integers(rng: &mut TestRng, outputs: usize, inputs: usize) -> model::Matrix {
        model::Matrix {
            shift: rng.random_range(6..12),
            weights: (0..inputs * outputs)
                .map(|_| rng.random_range(-127..=127))
                .collect(),
            biases: (0..outputs)
                .map(|_| rng.random_range(-3000..=3000))
                .collect(),
        }
    }

    proptest! {
        /// Without the roundings of integers the output is off by what they can add up to: half a
        /// unit of each number, times the weights behind it.
        #[test]
        fn integer_networks_lose_their_roundings_only(
            inputs in 1usize..=8,
            hidden in prop_oneof![Just(vec![8]), Just(vec![16, 8])],
            mut rng in any::<u64>().prop_perturb(|_, rng| rng),
        ) {
            let (mut matrices, mut width, mut bound) = (Vec::new(), inputs, 0.0);
            for &outputs in hidden.iter().chain(&[1]) {
                let m = integers(&mut rng, outputs, width);
                let rows = m.weights.chunks(width);
                let gain = |row: &[i8]| -> f64 { row.iter().map(|w| f64::from(w.unsigned_abs())).sum() };
                let gain = rows.map(gain).fold(0.0, f64::max) / f64::from(1 << m.shift);
                bound = bound * gain + 0.5;
                (width, matrices) = (outputs, { matrices.push(m); matrices });
            }
            let network = model::Network { matrices };
            let continuous = Network::from_integers(&network, inputs).unwrap();
            let x: Vec<i16> = (0..inputs).map(|_| rng.random_range(-32_767..=32_767)).collect();
            let mut features = [[0f32; 1]; WIDTH];
            features.iter_mut().zip(&x).for_each(|(f, &x)| f[0] = x.into());
            let [found] = continuous.output(features);
            let distance = (f64::from(found) - f64::from(network.evaluate(&x))).abs();
            // Float32 sums of at most 2^20.
            prop_assert!(distance <= bound + 1.0, "{distance} over {bound}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let m = |inputs: usize, outputs: usize| Matrix {
            weights: vec![0.0; inputs * outputs],
            biases: vec![0.0; outputs],
        };
        assert!(Network::new(3, 1.0, vec![m(3, 8), m(8, 1)]).is_ok());
        for bad in [
            vec![m(3, 8)],
            vec![m(3, 8), m(9, 1)],
            vec![m(3, 33), m(33, 1)],
            vec![],
        ] {
            assert!(Network::new(3, 1.0, bad).is_err());
        }
        assert!(GridField::new([2, 2, 2], vec![0.0; 8], vec![0.0; 8], None, UNITS).is_err());
        assert!(GridField::new([2, 2, 2], vec![0.0; 7], vec![], None, UNITS).is_err());
        assert!(GridField::new([2, 2, 2], vec![0.0; 8], vec![], None, UNITS).is_ok());
    }
}
