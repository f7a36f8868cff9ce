//! Layers decoded on the CPU, for kernels that start from indices.

use super::batch::Batch;
use super::device::Buffer;
use super::layout::{BlockFlags, STATUS_BAD};
use super::stream::Stream;
use crate::Result;
use crate::backend::BlockJob;
use crate::codec::mask::decode_mask;
use crate::codec::{Coefficient, CoefficientState, decode_layer};
use crate::model::{BlockModel, Coder};

/// Queues the indices and masks of all blocks.
pub(super) fn decode(
    stream: &mut Stream,
    batch: &Batch<'_>,
    values: &[Buffer; 2],
    classes: &Buffer,
    status: &Buffer,
) -> Result<()> {
    for (i, job) in batch.jobs.iter().enumerate() {
        let (Some(job), Some(head)) = (job, batch.heads.get(i)) else {
            continue;
        };
        let layers = &batch.layers[head.first_layer as usize..][..head.layers as usize];
        let piece = |offset: u64, bytes: u32| -> &[u8] {
            let at = |p: &&(usize, &[u8])| p.0 as u64 == offset && p.1.len() == bytes as usize;
            batch.pieces.iter().find(at).map_or(&[], |p| p.1)
        };
        let layers: Vec<&[u8]> = (layers.iter().map(|l| piece(l.offset, l.bytes))).collect();
        let wide = head.flags & BlockFlags::WIDE != 0;
        let decoded = match job.model {
            BlockModel::Grid(_) => Ok(()),
            BlockModel::Wavelet(model) if wide => indices::<i32>(model.coder, job, &layers)
                .and_then(|v| stream.upload(&values[1], 4 * head.indices as usize, v.as_slice())),
            BlockModel::Wavelet(model) => indices::<i16>(model.coder, job, &layers)
                .and_then(|v| stream.upload(&values[0], 2 * head.indices as usize, v.as_slice())),
        };
        let masked = if head.flags & BlockFlags::MASKED == 0 {
            Ok(())
        } else {
            let mask = piece(head.mask_offset, head.mask_bytes);
            decode_mask(mask, job.shape.dims).and_then(|mask| {
                let mask: Vec<u8> = mask.into_iter().map(|c| c as u8).collect();
                let at = batch.recon[i].classes as usize;
                stream.upload(classes, at, mask.as_slice())
            })
        };
        if decoded.is_err() || masked.is_err() {
            stream.upload(status, 4 * i, &STATUS_BAD)?;
        }
    }
    Ok(())
}

fn indices<E: Coefficient>(coder: Coder, job: &BlockJob<'_>, layers: &[&[u8]]) -> Result<Vec<E>> {
    let mut state = CoefficientState::new();
    state.reset(job.shape);
    for (step, bytes) in job.steps.iter().zip(layers) {
        decode_layer(&mut state, coder, step.lod.into(), step.quality, bytes)?;
    }
    Ok(std::mem::take(state.indices_mut()))
}
