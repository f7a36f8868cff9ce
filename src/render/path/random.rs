//! Random numbers that hang on the pixel and the sample alone.

/// A row of random numbers (SplitMix64).
#[derive(Debug)]
pub(super) struct Random(u64);

fn mixed(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

impl Random {
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

    /// The row of some names: other names, another row.
    pub(super) fn new(names: [u64; 3]) -> Self {
        let join = |row: u64, name: u64| mixed(row.wrapping_add(Self::STEP) ^ name);
        Self(names.into_iter().fold(0, join))
    }

    /// From 0 to less than 1.
    pub(super) fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(Self::STEP);
        (mixed(self.0) >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Optical depth to the next collision: over 0, with mean 1.
    pub(super) fn depth(&mut self) -> f32 {
        // 1 - u is never 0. Its steps of 2^-24 would show in the shortest ways: half a step on top.
        -(1.0 - self.uniform() - 0.5 / (1u32 << 24) as f32).ln()
    }
}
