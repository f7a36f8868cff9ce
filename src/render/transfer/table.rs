//! A transfer function as the marcher looks it up.

use super::TransferFunction;

/// Steps of a table: 16 for each value of 8 bits.
pub(in crate::render) const STEPS: usize = 4096;
/// Opacity that counts as 1: what is left of the light is less than what 8 bits show.
const OPAQUE: f32 = 0.999_99;

/// Colour and extinction at equal steps of the value.
#[derive(Debug)]
pub(in crate::render) struct Table {
    /// Value of the first entry.
    pub(in crate::render) first: f32,
    /// Entries for each unit of value.
    pub(in crate::render) scale: f32,
    /// `STEPS + 2` times red, green, blue as light, and extinction for a voxel's length. The last stands
    /// twice, so that there is always a next one.
    pub(in crate::render) entries: Vec<[f32; 4]>,
}

impl Table {
    pub(in crate::render) fn new(function: &TransferFunction) -> Self {
        let [lo, hi] = super::usable(function.span());
        let value = |i: usize| lo + (hi - lo) * (i.min(STEPS) as f32 / STEPS as f32);
        Self {
            first: lo,
            scale: STEPS as f32 / (hi - lo),
            entries: (0..STEPS + 2)
                .map(|i| {
                    let [r, g, b] = function.colour(value(i));
                    [r, g, b, extinction(function.opacity(value(i)))]
                })
                .collect(),
        }
    }
}

/// Extinction for a voxel's length of a medium that stops the part `opacity` in it.
pub(in crate::render) fn extinction(opacity: f32) -> f32 {
    -(-opacity.min(OPAQUE)).ln_1p()
}
