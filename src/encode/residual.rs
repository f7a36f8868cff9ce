//! The residual that ends the last layer of a block: what it must bring back, and what is left.

use super::block::{Block, LevelError};
use crate::codec::encode_residual;
use crate::model::{Residual, ordered};
use crate::{Error, Result};

/// The residual of one block against the voxels that its layers decode to.
pub(super) struct BlockResidual {
    /// For each voxel, `[z][y][x]`.
    pub(super) values: Vec<i32>,
    /// The error that is left.
    pub(super) error: LevelError,
}

impl Block<'_> {
    /// What the model's residual must say; `None` if it has none.
    pub(super) fn residual(&self, kind: Residual, decoded: &[i32]) -> Option<BlockResidual> {
        match kind {
            Residual::None => None,
            Residual::Step(step) => Some(self.steps_to_source(step, decoded)),
            Residual::FloatBits => Some(BlockResidual {
                values: self.bits_to_source(decoded),
                error: LevelError::default(),
            }),
        }
    }

    /// Ends the last layer with a residual: u32 length of the model's part first.
    pub(super) fn append_residual(
        &self,
        layers: &mut [Vec<u8>],
        decoded: &[i32],
        residual: &[i32],
    ) -> Result<()> {
        let last = layers
            .last_mut()
            .ok_or_else(|| Error::argument("a block without layers"))?;
        let coded = encode_residual(self.shape.dims, decoded, residual)?;
        let mut whole = (last.len() as u32).to_le_bytes().to_vec();
        whole.append(last);
        whole.extend(coded);
        *last = whole;
        Ok(())
    }

    fn steps_to_source(&self, step: u32, decoded: &[i32]) -> BlockResidual {
        let (size, mut error) = (f64::from(step), LevelError::default());
        let (lo, hi) = (f64::from(self.range.lo), f64::from(self.range.hi));
        let pairs = self.values.iter().zip(decoded);
        let values = pairs
            .map(|(&v, &q)| {
                let (v, q) = (f64::from(v), f64::from(q));
                let r = ((v - q) / size).round();
                let left = (v - (q + size * r).clamp(lo, hi)).abs();
                error.sse += left * left;
                error.max = error.max.max(left);
                r as i32
            })
            .collect();
        BlockResidual { values, error }
    }

    fn bits_to_source(&self, decoded: &[i32]) -> Vec<i32> {
        let map = self.plan.map;
        let pairs = self.exact.iter().zip(decoded);
        let difference = |(v, &q): (&f32, &i32)| {
            let (wanted, place) = (ordered(v.to_bits()), ordered(map.float(q).to_bits()));
            wanted.wrapping_sub(place).cast_signed()
        };
        pairs.map(difference).collect()
    }

    /// Whether a block of `q` alone keeps what a residual promises.
    pub(super) fn constant_will_do(&self, kind: Residual, q: i32) -> bool {
        match kind {
            Residual::None => true,
            Residual::Step(step) => {
                let off = |v: f32| (f64::from(v) - f64::from(q)).abs();
                let most = if step == 1 {
                    0.0
                } else {
                    f64::from(step) / 2.0
                };
                self.values.iter().all(|&v| off(v) <= most)
            }
            Residual::FloatBits => {
                let bits = self.plan.map.float(q).to_bits();
                self.exact.iter().all(|v| v.to_bits() == bits)
            }
        }
    }
}
