//! Blocks of ranks: a volume of few distinct values stores each voxel's place among them.

use super::block::{BlockPlan, EncodeScratch, EncodedBlock, LevelError};
use super::code::{Coded, Ready};
use super::job::Job;
use crate::backend::ValueRange;
use crate::codec::bands::BlockShape;
use crate::model::Ranks;
use crate::{Error, Result};

impl Job<'_> {
    /// A block of ranks. What the index says of it, and what an overview is made from, are values.
    pub(super) fn code_ranks(
        &self,
        plan: &BlockPlan<'_>,
        shape: BlockShape,
        ready: &Ready<'_>,
        scratch: &mut EncodeScratch,
    ) -> Result<Coded> {
        let ranks = (self.ranks()).ok_or_else(|| Error::argument("ranks without their list"))?;
        let range = |lo, hi| self.rank_range(ranks, lo, hi);
        let first = ready.values.first().map_or(0, |&r| r as i32);
        let plan = &BlockPlan {
            range: &range,
            ranks: Some(ranks),
            allow_constant: plan.allow_constant && ranks.is_coded_exactly(first),
            ..*plan
        };
        let coded = self.code_units(plan, shape, ready, &[], scratch)?;
        let encoded = match coded.encoded {
            EncodedBlock::Constant(rank) => EncodedBlock::Constant(ranks.coded(rank)),
            EncodedBlock::Payload {
                model,
                range,
                layers,
            } => EncodedBlock::Payload {
                model,
                range: ValueRange {
                    lo: ranks.coded(range.lo),
                    hi: ranks.coded(range.hi),
                },
                layers,
            },
        };
        let coarsest = coded.coarsest.into_iter().map(|r| ranks.coded(r));
        Ok(Coded {
            encoded,
            coarsest: coarsest.collect(),
            ..coded
        })
    }

    /// The ranks that a decoder allows in a block of ranks `lo..=hi`.
    pub(super) fn rank_range(&self, ranks: &Ranks, lo: i32, hi: i32) -> Result<ValueRange> {
        let stated = self.range(ranks.coded(lo), ranks.coded(hi))?;
        let (lo, hi) = ranks.within(stated.lo, stated.hi).unwrap_or((lo, hi));
        Ok(ValueRange { lo, hi })
    }
}

/// The error of decoded ranks, in units of `q`; of floats, what rounding to `q` leaves counts too.
pub(super) fn error(ranks: &Ranks, source: &[f32], decoded: &[i32]) -> LevelError {
    let mut error = LevelError::default();
    for (&r, &d) in source.iter().zip(decoded) {
        let off = (f64::from(ranks.units(r as i32)) - f64::from(ranks.coded(d))).abs();
        error.sse += off * off;
        error.max = error.max.max(off);
    }
    error
}
