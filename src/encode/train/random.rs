//! Pseudo-random numbers that are the same on every machine.

/// A SplitMix64 sequence.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in -1..1.
    pub(crate) fn signed(&mut self) -> f32 {
        (self.bits() >> 40) as f32 * (2.0 / (1u64 << 24) as f32) - 1.0
    }

    /// Puts values into a random order.
    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, (self.bits() % (i as u64 + 1)) as usize);
        }
    }
}

/// Uniform in -0.5..0.5 for a position: no state, so that loops over positions vectorise.
#[cfg(feature = "bench")]
#[inline(always)]
pub(crate) fn noise(seed: u32, position: u32) -> f32 {
    let mut h = position.wrapping_mul(0x9E37_79B1) ^ seed;
    h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    (h >> 8) as i32 as f32 * (1.0 / (1 << 24) as f32) - 0.5
}
