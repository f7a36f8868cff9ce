//! Blocks with voxels that are not finite.

use super::block::{BlockPlan, EncodeScratch, EncodedBlock};
use super::code::{Coded, Ready};
use super::job::Job;
use crate::codec::bands::BlockShape;
use crate::codec::mask::{Class, encode_mask};
use crate::model::NON_FINITE;
use crate::{Error, Result};

impl Job<'_> {
    /// A block with voxels that are not finite: they were filled in, are coded like the rest, and
    /// marked in a mask in front of the first layer. Errors of the filled voxels count, but are
    /// shared out over the finite ones, so figures are never better than the truth.
    pub(super) fn code_masked(
        &self,
        plan: &BlockPlan<'_>,
        shape: BlockShape,
        ready: &Ready<'_>,
        classes: &[Class],
        scratch: &mut EncodeScratch,
    ) -> Result<Coded> {
        let plan = &BlockPlan {
            allow_constant: false,
            ..*plan
        };
        let coded = self.code_units(plan, shape, ready, &[], scratch)?;
        let mut coarsest = coded.coarsest;
        let ([w, h, _], [nx, ny, _]) = (shape.dims_at(shape.depth), shape.dims);
        for (i, q) in coarsest.iter_mut().enumerate() {
            let [x, y, z] = [i % w, i / w % h, i / (w * h)].map(|v| v << shape.depth);
            if let class @ 1.. = classes[(z * ny + y) * nx + x] as usize {
                *q = NON_FINITE[class - 1];
            }
        }
        let EncodedBlock::Payload {
            model,
            range,
            mut layers,
        } = coded.encoded
        else {
            return Err(Error::Input("a block with a mask has no payload".into()));
        };
        if let Some(first) = layers.first_mut() {
            let mask = encode_mask(classes, shape.dims);
            let mut whole = (mask.len() as u32).to_le_bytes().to_vec();
            whole.extend(mask);
            whole.append(first);
            *first = whole;
        }
        Ok(Coded {
            encoded: EncodedBlock::Payload {
                model,
                range,
                layers,
            },
            coarsest,
            masked: true,
            finite: classes.iter().filter(|c| **c == Class::Finite).count() as u64,
            ..coded
        })
    }
}

/// Values with the mean of the finite ones in place of the others; `q` if there is none.
pub(super) fn filled(values: &[f32], q: i32) -> Vec<f32> {
    let finite = values.iter().filter(|v| v.is_finite());
    let (sum, count) = finite.fold((0.0f64, 0u32), |(s, n), &v| (s + f64::from(v), n + 1));
    let mean = if count > 0 {
        (sum / f64::from(count)).round() as f32
    } else {
        q as f32
    };
    values
        .iter()
        .map(|&v| if v.is_finite() { v } else { mean })
        .collect()
}
