//! Layers and errors of a batch on the device: what is left for the host is to put them into records.

use std::sync::Arc;

use zerocopy::IntoBytes;

use super::batch::{BlockInput, Work};
use super::kernels::{self, BlockError, ForwardParams};
use crate::Result;
use crate::backend::LayerStep;
use crate::backend::cuda::mixing::{EncodeBatch, LayerBatch as MixingBatch, LayerCoder};
use crate::backend::cuda::rans::{LayerEncodeBatch, RansEncoder};
use crate::backend::cuda::{
    BlockFlags, BlockHead, Buffer, ByteSink, Device, LayerHead, RebuildBlock, RebuildPlanes,
    Rebuilder, STATUS_GOOD, Stream, Ticket,
};
use crate::encode::LevelError;
use crate::encode::plan::layer_steps;
use crate::model::{Coder, Precision, WaveletModel};

/// Encoders, decoder and bytes of a lane.
pub(super) struct Coders {
    rans: RansEncoder,
    mixing: LayerCoder,
    rebuilder: Rebuilder,
    /// Bytes of coder R.
    sink: ByteSink,
    /// Bytes of coder M, a room for each block, and where those begin.
    rooms: [Buffer; 2],
}

/// What is on its way from the coders.
pub(super) struct Coding {
    layers: Ticket,
    status: Ticket,
    /// Bytes in the sink, of coder R.
    used: Option<Ticket>,
    errors: Ticket,
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
    /// Of the decoder's output, if it was wanted.
    pub(crate) coarsest: Vec<i32>,
}

impl Coders {
    pub(super) fn new(stream: &mut Stream, device: &Arc<dyn Device>) -> Result<Self> {
        Ok(Self {
            rans: RansEncoder::new(stream)?,
            mixing: LayerCoder::new(stream)?,
            rebuilder: Rebuilder::new(device)?,
            sink: ByteSink::new(device, 0)?,
            rooms: [Buffer::new(device, 0)?, Buffer::new(device, 0)?],
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
        let [layers, status] = self.queue_layers(stream, work, inputs, (places, &steps))?;
        let used = match work.wanted.model.coder {
            Coder::R => Some(self.sink.used(stream)?),
            Coder::M => None,
        };
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
        Ok(Coding {
            layers,
            status,
            used,
            errors,
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
    ) -> Result<[Ticket; 2]> {
        let heads: Vec<BlockHead> = inputs
            .iter()
            .zip(places)
            .zip(0u32..)
            .map(|((input, &indices), number)| BlockHead {
                indices,
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
        match work.wanted.model.coder {
            Coder::R => self.encode_rans(stream, work, inputs.len() as u32)?,
            Coder::M => self.encode_mixing(stream, work, places)?,
        }
        let [_, layers, _, status] = &work.planes.coding;
        let count = inputs.len();
        Ok([
            stream.download(layers, 0, size_of::<LayerHead>() * steps.len() * count)?,
            stream.download(status, 0, 4 * count)?,
        ])
    }

    fn encode_rans(&mut self, stream: &mut Stream, work: &Work<'_>, count: u32) -> Result<()> {
        self.sink.reserve(work.sizes.index_bytes() as usize)?;
        self.sink.clear(stream)?;
        let planes: Vec<u64> = (0..work.wanted.model.qualities)
            .map(|quality| work.plane(quality).plane)
            .collect();
        let [heads, layers, order, status] = &work.planes.coding;
        let batch = LayerEncodeBatch {
            heads,
            layers,
            planes: &planes,
            wide: work.wanted.model.precision == Precision::I32,
            order,
            count,
            status,
            sink: &self.sink,
            block_log2: work.depth as u32 + 2,
        };
        self.rans.encode_layers(stream, &batch)
    }

    /// A block may take as many bytes as it has voxels.
    fn encode_mixing(
        &mut self,
        stream: &mut Stream,
        work: &Work<'_>,
        places: &[u64],
    ) -> Result<()> {
        let [bytes, rooms] = &mut self.rooms;
        bytes.reserve(work.sizes.voxels as usize)?;
        let mut starts = places.to_vec();
        starts.push(work.sizes.voxels);
        rooms.reserve(8 * starts.len())?;
        stream.upload(rooms, 0, starts.as_slice())?;
        let [heads, layers, order, status] = &work.planes.coding;
        let (target, own) = (work.planes.indices(), work.planes.aims());
        let batch = MixingBatch {
            heads,
            layers,
            bytes,
            order,
            count: places.len() as u32,
            narrow: own,
            wide: own,
            status,
            block_log2: work.depth as u32 + 2,
        };
        let encode = EncodeBatch {
            layers: batch,
            rooms,
            narrow_target: target,
            wide_target: target,
            narrow_stride: work.sizes.voxels,
            wide_stride: work.sizes.voxels,
        };
        self.mixing.encode(stream, &encode)
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

    /// Fetches the bytes of a batch: of each block, or of all of them together, and where they began.
    fn fetch(
        &self,
        stream: &mut Stream,
        coding: &Coding,
        count: usize,
    ) -> Result<Vec<(u64, Ticket)>> {
        let mut bytes = Vec::new();
        if let Some(used) = &coding.used {
            let used = ByteSink::read_used(stream, used)?.min(self.sink.capacity() as u64);
            bytes.push((0, stream.download(self.sink.bytes(), 0, used as usize)?));
        } else {
            let heads = stream.elements::<LayerHead>(&coding.layers)?.to_vec();
            for of_block in heads.chunks_exact(coding.steps).take(count) {
                let written = || of_block.iter().filter(|h| h.bytes > 0);
                let start = written().map(|h| h.offset).min().unwrap_or(0);
                let end = written().map(|h| h.offset + u64::from(h.bytes)).max();
                let length = end.map_or(0, |end| end - start) as usize;
                let length = length.min(self.rooms[0].len().saturating_sub(start as usize));
                bytes.push((
                    start,
                    stream.download(&self.rooms[0], start as usize, length)?,
                ));
            }
        }
        stream.synchronise()?;
        Ok(bytes)
    }

    /// What came of a batch, for each block; `None` of one that the CPU must code. The stream is idle.
    pub(super) fn take(
        &self,
        stream: &mut Stream,
        coding: &Coding,
        inputs: &[(usize, [usize; 3])],
    ) -> Result<Vec<Option<DeviceCoded>>> {
        let bytes = self.fetch(stream, coding, inputs.len())?;
        let heads = stream.elements::<LayerHead>(&coding.layers)?;
        let status = stream.elements::<u32>(&coding.status)?;
        let errors = stream.elements::<BlockError>(&coding.errors)?;
        let coarsest = coding.coarsest.as_ref().map(|t| stream.elements::<i32>(t));
        let coarsest = coarsest.transpose()?;
        let count = inputs.len();
        let of_block = |(i, &(first, dims)): (usize, &(usize, [usize; 3]))| {
            let (base, ticket) = &bytes[i.min(bytes.len() - 1)];
            let bytes = stream.bytes(ticket).ok()?;
            let layer = |head: &LayerHead| {
                if head.bytes == 0 {
                    return Some(Vec::new());
                }
                let start = head.offset.checked_sub(*base)? as usize;
                let part = bytes.get(start..start + head.bytes as usize);
                part.map(<[u8]>::to_vec)
            };
            let heads = heads.get(i * coding.steps..(i + 1) * coding.steps)?;
            let good = status.get(i) == Some(&STATUS_GOOD);
            let layers = heads.iter().map(layer).collect::<Option<Vec<_>>>();
            let errors = (0..coding.qualities).map(|q| {
                errors.get(q * count + i).map(|e| LevelError {
                    sse: e.squares,
                    max: e.largest,
                })
            });
            let errors = errors.collect::<Option<Vec<_>>>()?;
            let band = dims.iter().product::<usize>();
            let coarsest = coarsest.map_or(Some(&[][..]), |all| all.get(first..first + band))?;
            layers.filter(|_| good).map(|layers| DeviceCoded {
                layers,
                errors,
                coarsest: coarsest.to_vec(),
            })
        };
        Ok(inputs.iter().enumerate().map(of_block).collect())
    }
}

fn flags_of(model: &WaveletModel) -> u32 {
    let of = |set: bool, flag: u32| if set { flag } else { 0 };
    of(model.precision == Precision::I32, BlockFlags::WIDE)
        | of(model.coder == Coder::M, BlockFlags::CODER_M)
}
