//! The small network of a block in integers, and its scalar oracle.

/// Hidden layers and their width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkShape {
    /// Hidden layers, 1..=2.
    pub hidden: u8,
    /// Neurons of each, 8, 16, 24 or 32.
    pub width: u8,
}

impl NetworkShape {
    /// Sides of the matrices, `[outputs, inputs]`.
    pub fn matrices(self, inputs: usize) -> Vec<[usize; 2]> {
        let width = usize::from(self.width);
        let mut sides = vec![[width, inputs]];
        sides.extend((1..self.hidden).map(|_| [width, width]));
        sides.push([1, width]);
        sides
    }
}

/// One layer of weights: `out = (weights * in + (bias << 8) + half) >> shift`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// Right shift of the sums, 1..=24.
    pub shift: u8,
    /// `[output][input]`, -127..=127.
    pub weights: Vec<i8>,
    /// One per output, -32767..=32767.
    pub biases: Vec<i16>,
}

impl Matrix {
    /// Sums of one layer for one voxel, shifted, not clamped.
    pub fn apply(&self, input: &[i16], out: &mut Vec<i32>) {
        out.clear();
        let rows = self.weights.chunks_exact(input.len());
        out.extend(rows.zip(&self.biases).map(|(row, &bias)| {
            let products = row.iter().zip(input);
            let sum: i32 = products.map(|(&w, &u)| i32::from(w) * i32::from(u)).sum();
            (sum + (i32::from(bias) << 8) + (1 << (self.shift - 1))) >> self.shift
        }));
    }
}

/// The matrices of a network, input side first. The last one has one output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Matrices in order of use.
    pub matrices: Vec<Matrix>,
}

impl Network {
    /// The output for one voxel in working units: the scalar oracle of every faster path.
    ///
    /// `inputs` are features after their shift and clamp.
    pub fn evaluate(&self, inputs: &[i16]) -> i32 {
        let (mut now, mut sums) = (inputs.to_vec(), Vec::new());
        for matrix in &self.matrices {
            matrix.apply(&now, &mut sums);
            now = sums.iter().map(|&s| s.clamp(0, 32_767) as i16).collect();
        }
        sums.first().copied().unwrap_or(0)
    }
}
