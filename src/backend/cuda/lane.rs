//! One batch on its way through the device: a stream and the memory that it works in.

use std::sync::Arc;

use super::batch::{Batch, Lists, Planes, Voxels};
use super::decoders::{Decoders, Target};
use super::device::{Address, Buffer, Device};
use super::layout::STATUS_GOOD;
use super::plan::{INTEGERS, Output, dtype_code};
use super::reconstruct::{self, ListPlaces, Places};
use super::stream::{Stream, Ticket};
use crate::model::Ranks;
use crate::{Error, Result};

/// A stream with its memory, which grows to what the largest batch took.
#[derive(Debug)]
pub(super) struct Lane {
    stream: Stream,
    decoders: Decoders,
    memory: Memory,
    /// Voxels and status words of the batch that is under way.
    under_way: Option<[Ticket; 2]>,
}

#[derive(Debug)]
struct Memory {
    heads: Buffer,
    recon: Buffer,
    plans: Buffer,
    layers: Buffer,
    bytes: Buffer,
    lists: Buffer,
    status: Buffer,
    /// By the width of working values.
    values: [Buffer; 2],
    scratch: [Buffer; 2],
    integers: Buffer,
    residuals: Buffer,
    classes: Buffer,
    ranks: Buffer,
    out: Buffer,
}

impl Memory {
    fn new(device: &Arc<dyn Device>) -> Result<Self> {
        let none = || Buffer::new(device, 0);
        Ok(Self {
            heads: none()?,
            recon: none()?,
            plans: none()?,
            layers: none()?,
            bytes: none()?,
            lists: none()?,
            status: none()?,
            values: [none()?, none()?],
            scratch: [none()?, none()?],
            integers: none()?,
            residuals: none()?,
            classes: none()?,
            ranks: none()?,
            out: none()?,
        })
    }

    /// Makes room for the planes of a batch and `out` bytes of voxels.
    fn reserve(&mut self, planes: &Planes, out: usize) -> Result<()> {
        for (width, &elements) in planes.values.iter().enumerate() {
            let bytes = elements as usize * (2 << width);
            self.values[width].reserve(bytes)?;
            self.scratch[width].reserve(bytes)?;
        }
        let integers = 4 * planes.integers as usize;
        self.integers.reserve(integers)?;
        self.residuals
            .reserve(if planes.residuals { integers } else { 0 })?;
        self.classes.reserve(planes.classes as usize)?;
        self.out.reserve(out)
    }

    fn target(&self) -> Target<'_> {
        Target {
            heads: &self.heads,
            layers: &self.layers,
            bytes: &self.bytes,
            status: &self.status,
            values: &self.values,
            integers: &self.integers,
            residuals: &self.residuals,
            classes: &self.classes,
        }
    }
}

/// Copies plain data to a buffer that is as large.
fn upload<T: zerocopy::IntoBytes + zerocopy::Immutable>(
    stream: &mut Stream,
    to: &mut Buffer,
    data: &[T],
) -> Result<Address> {
    to.reserve(size_of_val(data))?;
    stream.upload(to, 0, data)?;
    Ok(to.address())
}

impl Lane {
    /// A lane without memory yet.
    pub(super) fn new(device: &Arc<dyn Device>) -> Result<Self> {
        let mut stream = Stream::new(device)?;
        Ok(Self {
            decoders: Decoders::new(&mut stream)?,
            stream,
            memory: Memory::new(device)?,
            under_way: None,
        })
    }

    /// Queues a batch whose voxels take `out` bytes.
    pub(super) fn submit(
        &mut self,
        batch: &Batch<'_>,
        voxels: &Voxels<'_>,
        out: usize,
    ) -> Result<()> {
        self.under_way = None;
        self.stream.recycle()?;
        self.memory.reserve(&batch.planes, out)?;
        let to = self.output(voxels)?;
        let places = self.describe(batch, to)?;
        let at = self.upload_lists(&batch.lists)?;
        let (stream, memory) = (&mut self.stream, &self.memory);
        for (width, plane) in memory.values.iter().enumerate() {
            let bytes = batch.planes.values[width] as usize * (2 << width);
            stream.fill(plane, 0..bytes, 0)?;
        }
        let target = memory.target();
        self.decoders.decode(stream, batch, &target)?;
        reconstruct::reconstruct(stream, &places, &batch.heads, &batch.lists, &at)?;
        self.decoders.decode_residuals(stream, batch, &target)?;
        reconstruct::place_integers(stream, &places, &batch.heads, &batch.lists, &at)?;
        self.under_way = Some([
            stream.download(&memory.out, 0, out)?,
            stream.download(&memory.status, 0, 4 * batch.heads.len())?,
        ]);
        Ok(())
    }

    /// Waits for the batch; hands its voxels and status words to `take`.
    pub(super) fn finish<R>(&mut self, take: impl FnOnce(&[u8], &[u32]) -> R) -> Result<R> {
        let [voxels, status] = (self.under_way.take())
            .ok_or_else(|| Error::argument("no batch of blocks is under way"))?;
        self.stream.synchronise()?;
        let (voxels, status) = (self.stream.bytes(&voxels)?, self.stream.elements(&status)?);
        Ok(take(voxels, status))
    }

    /// What voxels become, and where.
    fn output(&mut self, voxels: &Voxels<'_>) -> Result<Output> {
        let mut to = Output {
            voxels: self.memory.out.address(),
            classes: self.memory.classes.address(),
            dtype: INTEGERS,
            ..Output::default()
        };
        match *voxels {
            Voxels::Integers { exponent } => to.exponent = exponent.into(),
            Voxels::Typed { map, ranks, whole } => {
                to.dtype = dtype_code(map.dtype);
                to.exponent = map.exponent.into();
                let bits = whole && map.dtype.is_float();
                to.rank_bits = bits.into();
                if let Some(ranks) = ranks {
                    let values = values_of(ranks, bits);
                    to.rank_count = values.len() as u32;
                    to.ranks = upload(&mut self.stream, &mut self.memory.ranks, &values)?;
                }
            }
        }
        Ok(to)
    }

    /// Uploads what kernels are told of the blocks.
    fn describe(&mut self, batch: &Batch<'_>, to: Output) -> Result<Places> {
        let (stream, memory) = (&mut self.stream, &mut self.memory);
        let places = Places {
            heads: upload(stream, &mut memory.heads, &batch.heads)?,
            recon: upload(stream, &mut memory.recon, &batch.recon)?,
            plans: upload(stream, &mut memory.plans, &batch.plans)?,
            status: memory.status.address(),
            values: [0, 1].map(|w| memory.values[w].address()),
            scratch: [0, 1].map(|w| memory.scratch[w].address()),
            integers: memory.integers.address(),
            residuals: memory.residuals.address(),
            to,
        };
        upload(stream, &mut memory.layers, &batch.layers)?;
        memory.bytes.reserve(batch.bytes)?;
        stream.upload_with(&memory.bytes, 0, batch.bytes, |to| batch.write_bytes(to))?;
        let good = vec![STATUS_GOOD; batch.heads.len()];
        Ok(Places {
            status: upload(stream, &mut memory.status, &good)?,
            ..places
        })
    }

    fn upload_lists(&mut self, lists: &Lists) -> Result<ListPlaces> {
        let all = [
            &lists.split[0],
            &lists.split[1],
            &lists.coarsest[0],
            &lists.coarsest[1],
            &lists.filter[0],
            &lists.filter[1],
            &lists.placed,
            &lists.constant,
        ];
        let words: Vec<u32> = all.iter().flat_map(|l| l.iter().copied()).collect();
        let start = upload(&mut self.stream, &mut self.memory.lists, &words)?;
        let mut end = start;
        let at = all.map(|list| {
            let at = end;
            end += 4 * list.len() as Address;
            at
        });
        Ok(ListPlaces {
            split: [at[0], at[1]],
            coarsest: [at[2], at[3]],
            filter: [at[4], at[5]],
            placed: at[6],
            constant: at[7],
        })
    }
}

/// Values of all ranks: bits of float32, or integers.
fn values_of(ranks: &Ranks, bits: bool) -> Vec<i32> {
    let all = 0..ranks.count() as i32;
    if bits {
        all.map(|r| ranks.float_bits(r)).collect()
    } else {
        all.map(|r| ranks.coded(r)).collect()
    }
}
