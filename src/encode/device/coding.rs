//! Layers and errors of a batch on the device: what is left for the host is to put them into records.

use std::sync::Arc;

use zerocopy::IntoBytes;

use super::batch::{BlockInput, Work};
use super::kernels::{self, BlockError, ForwardParams};
use crate::backend::LayerStep;
use crate::backend::cuda::mixing::MixingEncoder;
use crate::backend::cuda::rans::{LayerEncodeBatch, RansEncoder, ResidualEncodeBatch};
use crate::backend::cuda::{
    BlockFlags, BlockHead, Buffer, ByteSink, Device, LayerHead, RebuildBlock, RebuildPlanes,
    Rebuilder, STATUS_GOOD, Stream, Ticket,
};
use crate::encode::LevelError;
use crate::encode::plan::layer_steps;
use crate::model::{Coder, Precision, Residual, WaveletModel};
use crate::{Error, Result};

/// Encoders, decoder and bytes of a lane.
pub(super) struct Coders {
    rans: RansEncoder,
    mixing: MixingEncoder,
    rebuilder: Rebuilder,
    sink: ByteSink,
}

/// What is on its way from the coders.
pub(super) struct Coding {
    layers: Ticket,
    status: Ticket,
    /// Bytes in the sink.
    used: Ticket,
    errors: Ticket,
    /// What residuals leave, and heads that say where they lie in the sink.
    residual: Option<[Ticket; 2]>,
    coarsest: Option<Ticket>,
    /// Layers of each block.
    steps: usize,
    qualities: usize,
}

/// A block as the device coded it.
#[derive(Debug, Clone)]
pub(crate) struct DeviceCoded {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) errors: Vec<LevelError>,
    /// Error of the last quality under its residual.
    pub(crate) under: LevelError,
    /// Of the decoder's output, if it was wanted.
    pub(crate) coarsest: Vec<i32>,
}

impl Coders {
    pub(super) fn new(stream: &mut Stream, device: &Arc<dyn Device>) -> Result<Self> {
        Ok(Self {
            rans: RansEncoder::new(stream)?,
            mixing: MixingEncoder::new(stream)?,
            rebuilder: Rebuilder::new(device)?,
            sink: ByteSink::new(device, 0)?,
        })
    }

    /// Queues layers, and then the decoder's own output of every quality and its errors. Indices are
    /// working values afterwards.
    pub(super) fn queue(
        &mut self,
        stream: &mut Stream,
        work: &mut Work<'_>,
        inputs: &[BlockInput<'_>],
        places: &[u64],
    ) -> Result<Coding> {
        let steps = layer_steps(work.wanted.model.qualities);
        self.sink.reserve(work.sizes.index_bytes() as usize)?;
        self.sink.clear(stream)?;
        self.queue_layers(stream, work, inputs, (places, &steps))?;
        let blocks: Vec<RebuildBlock> = inputs
            .iter()
            .zip(places)
            .map(|(input, &first)| RebuildBlock {
                shape: input.shape,
                range: input.range,
                first,
            })
            .collect();
        let coarsest = self.queue_coarsest(stream, work, &blocks)?;
        let errors = self.queue_errors(stream, work, &blocks)?;
        let residual = self.queue_residual(stream, work)?;
        let [_, layers, _, status] = &work.planes.coding;
        Ok(Coding {
            layers: stream.download(layers, 0, layers_bytes(inputs.len(), steps.len()))?,
            status: stream.download(status, 0, 4 * inputs.len())?,
            used: self.sink.used(stream)?,
            errors,
            residual,
            coarsest,
            steps: steps.len(),
            qualities: usize::from(work.wanted.model.qualities),
        })
    }

    fn queue_layers(
        &mut self,
        stream: &mut Stream,
        work: &mut Work<'_>,
        inputs: &[BlockInput<'_>],
        (places, steps): (&[u64], &[LayerStep]),
    ) -> Result<()> {
        let heads: Vec<BlockHead> = inputs
            .iter()
            .zip(places)
            .zip(0u32..)
            .map(|((input, &indices), number)| BlockHead {
                indices,
                integers: indices,
                lo: input.range.lo,
                hi: input.range.hi,
                first_layer: number * steps.len() as u32,
                layers: steps.len() as u32,
                dims: input.shape.dims.map(|n| n as u32),
                depth: input.shape.depth as u32,
                flags: flags_of(&work.wanted.model),
                ..BlockHead::default()
            })
            .collect();
        let of_block = steps.iter().map(|step| LayerHead {
            lod: step.lod,
            quality: step.quality,
            ..LayerHead::default()
        });
        let layers: Vec<LayerHead> = inputs.iter().flat_map(|_| of_block.clone()).collect();
        let order: Vec<u32> = (0..inputs.len() as u32).collect();
        let good = vec![STATUS_GOOD; inputs.len()];
        let parts = [
            heads.as_bytes(),
            layers.as_bytes(),
            order.as_bytes(),
            good.as_bytes(),
        ];
        for (buffer, bytes) in work.planes.coding.iter_mut().zip(parts) {
            buffer.reserve(bytes.len())?;
            stream.upload(buffer, 0, bytes)?;
        }
        self.encode_layers(stream, work, inputs.len() as u32)
    }

    fn encode_layers(&mut self, stream: &mut Stream, work: &Work<'_>, count: u32) -> Result<()> {
        let planes: Vec<u64> = (work.planes.indices(work.sizes.qualities).iter())
            .map(Buffer::address)
            .collect();
        let [heads, layers, order, status] = &work.planes.coding;
        let batch = LayerEncodeBatch {
            heads,
            layers,
            planes: &planes,
            wide: work.sizes.wide,
            order,
            count,
            status,
            sink: &self.sink,
            block_log2: work.depth as u32 + 2,
        };
        match work.wanted.model.coder {
            Coder::R => self.rans.encode_layers(stream, &batch),
            Coder::M => self.mixing.encode_layers(stream, &batch),
        }
    }

    /// The coarsest band, as decoded, in front of each block's place.
    fn queue_coarsest(
        &mut self,
        stream: &mut Stream,
        work: &Work<'_>,
        blocks: &[RebuildBlock],
    ) -> Result<Option<Ticket>> {
        if !work.wanted.coarsest {
            return Ok(None);
        }
        let quality = work.wanted.model.qualities - 1;
        self.rebuild(stream, work, (quality, work.depth), blocks)?;
        let integers = work.planes.integers();
        Ok(Some(stream.download(
            integers,
            0,
            4 * work.sizes.voxels as usize,
        )?))
    }

    fn queue_errors(
        &mut self,
        stream: &mut Stream,
        work: &Work<'_>,
        blocks: &[RebuildBlock],
    ) -> Result<Ticket> {
        let of_quality = size_of::<BlockError>() * blocks.len();
        for quality in 0..work.wanted.model.qualities {
            self.rebuild(stream, work, (quality, 0), blocks)?;
            let before = of_quality * usize::from(quality);
            let params = ForwardParams {
                integers: work.planes.integers().address(),
                errors: work.planes.errors().range(before, of_quality)?,
                ..work.forward()
            };
            stream.launch(&kernels::ERRORS, work.count(), 0, &params)?;
        }
        let all = of_quality * usize::from(work.wanted.model.qualities);
        stream.download(work.planes.errors(), 0, all)
    }

    /// The residual of the last quality, whose integers are there.
    fn queue_residual(
        &mut self,
        stream: &mut Stream,
        work: &Work<'_>,
    ) -> Result<Option<[Ticket; 2]>> {
        let Residual::Step(residual_step) = work.wanted.model.residual else {
            return Ok(None);
        };
        let count = work.count();
        let of_quality = size_of::<BlockError>() * count as usize;
        let before = of_quality * usize::from(work.wanted.model.qualities);
        let [heads, _, order, status] = &work.planes.coding;
        let (integers, residuals) = (work.planes.integers(), work.planes.residuals());
        let params = ForwardParams {
            integers: integers.address(),
            errors: work.planes.errors().range(before, of_quality)?,
            residuals: residuals.address(),
            heads: heads.address(),
            residual_step,
            ..work.forward()
        };
        stream.launch(&kernels::RESIDUAL, count, 0, &params)?;
        let batch = ResidualEncodeBatch {
            heads,
            integers,
            residuals,
            order,
            count,
            status,
            sink: &self.sink,
            block_log2: work.depth as u32 + 2,
        };
        self.rans.encode_residuals(stream, &batch)?;
        let bytes = size_of::<BlockHead>() * count as usize;
        Ok(Some([
            stream.download(work.planes.errors(), before, of_quality)?,
            stream.download(heads, 0, bytes)?,
        ]))
    }

    fn rebuild(
        &mut self,
        stream: &mut Stream,
        work: &Work<'_>,
        of: (u8, usize),
        blocks: &[RebuildBlock],
    ) -> Result<()> {
        let planes = RebuildPlanes {
            values: work.plane(of.0).plane,
            scratch: work.planes.spare(),
            integers: work.planes.integers().address(),
        };
        self.rebuilder
            .run(stream, &work.wanted.model, of, blocks, &planes)
    }

    /// What came of a batch, for each block; `None` of one that the CPU must code. The stream is idle.
    pub(super) fn take(
        &self,
        stream: &mut Stream,
        coding: &Coding,
        inputs: &[(usize, [usize; 3])],
    ) -> Result<Vec<Option<DeviceCoded>>> {
        let used = ByteSink::read_used(stream, &coding.used)?;
        let used = used.min(self.sink.capacity() as u64) as usize;
        let sink = stream.download(self.sink.bytes(), 0, used)?;
        stream.synchronise()?;
        let stream = &*stream;
        let residual = coding.residual.as_ref();
        let residual = residual.map(|[errors, heads]| {
            Ok::<_, Error>((stream.elements(errors)?, stream.elements(heads)?))
        });
        let coarsest = coding.coarsest.as_ref().map(|t| stream.elements(t));
        let arrived = Arrived {
            coding,
            bytes: stream.bytes(&sink)?,
            layers: stream.elements(&coding.layers)?,
            status: stream.elements(&coding.status)?,
            errors: stream.elements(&coding.errors)?,
            residual: residual.transpose()?,
            coarsest: coarsest.transpose()?,
            count: inputs.len(),
        };
        let blocks = inputs.iter().enumerate();
        Ok(blocks.map(|(i, &place)| arrived.block(i, place)).collect())
    }
}

/// Everything of a batch, on the host.
struct Arrived<'a> {
    coding: &'a Coding,
    bytes: &'a [u8],
    layers: &'a [LayerHead],
    status: &'a [u32],
    errors: &'a [BlockError],
    residual: Option<(&'a [BlockError], &'a [BlockHead])>,
    coarsest: Option<&'a [i32]>,
    count: usize,
}

impl Arrived<'_> {
    /// One block; `None` if anything of it is not as it should be.
    fn block(&self, i: usize, (first, dims): (usize, [usize; 3])) -> Option<DeviceCoded> {
        if self.status.get(i) != Some(&STATUS_GOOD) {
            return None;
        }
        let steps = self.coding.steps;
        let heads = self.layers.get(i * steps..(i + 1) * steps)?;
        let part = |head: &LayerHead| part_of(self.bytes, head.offset, head.bytes);
        let mut layers = heads.iter().map(part).collect::<Option<Vec<_>>>()?;
        let of_quality = |q| self.errors.get(q * self.count + i).map(level_error);
        let mut errors = (0..self.coding.qualities)
            .map(of_quality)
            .collect::<Option<Vec<_>>>()?;
        let under = *errors.last()?;
        if let Some((left, heads)) = self.residual {
            let head = heads.get(i)?;
            let bytes = part_of(self.bytes, head.residual_offset, head.residual_bytes)?;
            let last = layers.last_mut()?;
            // The length of the model's part goes first.
            let mut whole = (last.len() as u32).to_le_bytes().to_vec();
            whole.append(last);
            whole.extend(bytes);
            *last = whole;
            *errors.last_mut()? = level_error(left.get(i)?);
        }
        let band = dims.iter().product::<usize>();
        let coarsest = self
            .coarsest
            .map_or(Some(&[][..]), |all| all.get(first..first + band))?;
        Some(DeviceCoded {
            layers,
            errors,
            under,
            coarsest: coarsest.to_vec(),
        })
    }
}

fn part_of(bytes: &[u8], offset: u64, count: u32) -> Option<Vec<u8>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let at = offset as usize;
    bytes.get(at..at + count as usize).map(<[u8]>::to_vec)
}

fn level_error(error: &BlockError) -> LevelError {
    LevelError {
        sse: error.squares,
        max: error.largest,
    }
}

fn layers_bytes(blocks: usize, steps: usize) -> usize {
    size_of::<LayerHead>() * blocks * steps
}

fn flags_of(model: &WaveletModel) -> u32 {
    let of = |set: bool, flag: u32| if set { flag } else { 0 };
    of(model.precision == Precision::I32, BlockFlags::WIDE)
        | of(model.coder == Coder::M, BlockFlags::CODER_M)
}
