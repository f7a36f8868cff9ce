//! Wavelet indices and grid models of whole batches of blocks on a device.
//!
//! Owns what is uploaded, in which order kernels run and how much is under way at once; what becomes of the
//! indices (layers, errors, records) is up to [`super::block`]. An encode on a device need not equal one on
//! the CPU, but it is the same for any order of threads: kernels add floats in a fixed order, and atomics are
//! sums of integers.
//!
//! Two lanes of memory take turns: while the device works on one batch, the CPU reads the next one and codes
//! the one before.

mod batch;
mod coding;
mod grids;
mod kernels;
mod layout;
mod pass;
mod planes;

use std::sync::{Arc, Mutex};

use zerocopy::FromBytes;

pub(super) use batch::BlockInput;
use batch::{CostTables, Queued, queue};
pub(crate) use coding::DeviceCoded;
use coding::{Coders, Coding};
use kernels::BlockLeft;
pub(super) use pass::Stage;
use planes::Planes;

use super::Preset;
use super::block::{BALANCED_ROUNDS, BEST_ROUNDS, BlockPlan};
use crate::backend::cuda::train::GridTrainer;
use crate::backend::cuda::{Buffer, Device, Stream};
use crate::codec::Coefficient;
use crate::codec::tables::{TableSet, tables};
use crate::model::{Precision, Residual, WaveletModel};
use crate::{Error, Result};

/// What all blocks of a batch share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wanted {
    pub(super) model: WaveletModel,
    /// Whether a coefficient that stands alone needs to be larger to count.
    pub(super) neighbourly: bool,
    /// Times that working values are followed where clamping forgives them.
    pub(super) follows: usize,
    /// Rounds of the search for better indices, and whether it tries groups without any.
    pub(super) search: Option<(usize, bool)>,
    /// Whether layers and errors are made on the device too.
    pub(super) codes: bool,
    /// Whether the coarsest band of the decoder's output is wanted then.
    pub(super) coarsest: bool,
}

impl Wanted {
    /// Indices for one of the models of a plan.
    pub(super) fn new(plan: &BlockPlan<'_>, model: WaveletModel) -> Self {
        let rounds = match plan.preset {
            Preset::Fast => 0,
            Preset::Balanced => BALANCED_ROUNDS,
            Preset::Best => BEST_ROUNDS,
        };
        let exact = model.reversible;
        Self {
            model,
            neighbourly: plan.preset != Preset::Fast,
            follows: if exact || model.residual.is_some() {
                0
            } else {
                rounds
            },
            search: plan
                .search
                .filter(|_| !exact)
                .map(super::search::Effort::extent),
            // Bits of floats and errors of ranks are up to the host.
            codes: model.residual != Residual::FloatBits && !model.ranks,
            coarsest: plan.want_coarsest,
        }
    }
}

/// What a device found for one block under one model.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(super) model: WaveletModel,
    /// Squared error that coefficients alone make, in squares of working units.
    pub(super) left: f64,
    /// Whether indices of the last quality are all zero.
    pub(super) empty: bool,
    made: Made,
}

/// How far the device came.
#[derive(Debug, Clone)]
enum Made {
    Indices(IndexPlanes),
    Coded(DeviceCoded),
}

#[derive(Debug, Clone)]
enum IndexPlanes {
    Narrow(Vec<Vec<i16>>),
    Wide(Vec<Vec<i32>>),
}

impl Found {
    /// Layers and errors, if the device made them.
    pub(super) fn coded(&self) -> Option<&DeviceCoded> {
        match &self.made {
            Made::Coded(coded) => Some(coded),
            Made::Indices(_) => None,
        }
    }

    /// Indices of all qualities, if the host codes them.
    pub(super) fn copy_to<E: Coefficient>(&self, targets: &mut Vec<Vec<E>>) {
        fn copy<F: Copy + Into<i32>, E: Coefficient>(from: &[Vec<F>], to: &mut Vec<Vec<E>>) {
            to.resize_with(from.len(), Vec::new);
            for (from, to) in from.iter().zip(to) {
                to.clear();
                to.extend(from.iter().map(|&k| E::saturate_i32(k.into())));
            }
        }
        match &self.made {
            Made::Indices(IndexPlanes::Narrow(planes)) => copy(planes, targets),
            Made::Indices(IndexPlanes::Wide(planes)) => copy(planes, targets),
            Made::Coded(_) => {}
        }
    }
}

/// A queue on a device with memory of its own.
struct Lane {
    stream: Stream,
    planes: Planes,
    coders: Coders,
}

/// The encoder of batches on one device.
pub(super) struct BatchEncoder {
    device: Arc<dyn Device>,
    tables: CostTables,
    trainer: Mutex<GridTrainer>,
}

impl std::fmt::Debug for BatchEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BatchEncoder").field(&self.device).finish()
    }
}

impl BatchEncoder {
    pub(super) fn new(device: &Arc<dyn Device>) -> Result<Self> {
        let tables = tables(TableSet::Wavelet)?;
        let costs: Vec<f32> = tables.costs.iter().flatten().copied().collect();
        let mut stream = Stream::new(device)?;
        let variants = Buffer::new(device, 4 * tables.variants.len())?;
        stream.upload(&variants, 0, tables.variants.as_flattened())?;
        let on_device = Buffer::new(device, 4 * costs.len())?;
        stream.upload(&on_device, 0, costs.as_slice())?;
        stream.synchronise()?;
        Ok(Self {
            trainer: Mutex::new(GridTrainer::new(device)?),
            device: Arc::clone(device),
            tables: CostTables {
                variants,
                costs: on_device,
            },
        })
    }

    /// Name for people.
    pub(super) fn name(&self) -> String {
        format!("cuda ({})", self.device.name())
    }

    fn lane(&self) -> Result<Lane> {
        let mut stream = Stream::new(&self.device)?;
        Ok(Lane {
            coders: Coders::new(&mut stream, &self.device)?,
            stream,
            planes: Planes::new(&self.device)?,
        })
    }

    /// Queues a batch on a lane that has none.
    fn submit(
        &self,
        mut lane: Lane,
        wanted: &Wanted,
        inputs: &[BlockInput<'_>],
    ) -> Result<UnderWay> {
        let queued = queue(&mut lane, &self.tables, wanted, inputs)?;
        Ok(UnderWay { lane, queued })
    }
}

impl BatchEncoder {
    /// A batch that is too large for the device, in halves one after the other. Blocks that do not fit
    /// alone are left to the CPU.
    fn in_parts(&self, wanted: &Wanted, inputs: &[BlockInput<'_>]) -> Result<Vec<Option<Found>>> {
        if inputs.len() < 2 {
            return Ok(inputs.iter().map(|_| None).collect());
        }
        let mut all = Vec::new();
        let (first, second) = inputs.split_at(inputs.len() / 2);
        for part in [first, second] {
            match self.submit(self.lane()?, wanted, part) {
                Ok(under_way) => all.extend(under_way.finish()?.0),
                Err(Error::DeviceMemory(_)) => all.extend(self.in_parts(wanted, part)?),
                Err(other) => return Err(other),
            }
        }
        Ok(all)
    }
}

/// A batch that the device works on.
struct UnderWay {
    lane: Lane,
    queued: Queued,
}

impl UnderWay {
    /// Waits for it. Gives the lane back too.
    fn finish(self) -> Result<(Vec<Option<Found>>, Lane)> {
        let Self { mut lane, queued } = self;
        lane.stream.synchronise()?;
        let found = match &queued.coding {
            Some(coding) => coded(&mut lane, &queued, coding)?,
            None => found(&lane.stream, &queued)?,
        };
        lane.stream.recycle()?;
        Ok((found, lane))
    }
}

/// What the device coded of each block, `None` where the CPU must.
fn coded(lane: &mut Lane, queued: &Queued, coding: &Coding) -> Result<Vec<Option<Found>>> {
    let places: Vec<_> = queued.places.iter().map(|p| (p.0, p.2)).collect();
    let all = lane.coders.take(&mut lane.stream, coding, &places)?;
    let left = lane.stream.elements::<BlockLeft>(&queued.left)?;
    let pairs = all.into_iter().zip(left);
    let found = pairs.map(|(coded, left)| {
        coded.map(|coded| Found {
            model: queued.wanted.model,
            left: f64::from(left.squares),
            empty: left.indices == 0,
            made: Made::Coded(coded),
        })
    });
    Ok(found.collect())
}

fn found(stream: &Stream, queued: &Queued) -> Result<Vec<Option<Found>>> {
    let left = stream.elements::<BlockLeft>(&queued.left)?;
    let planes: Vec<&[u8]> = (queued.indices.iter())
        .map(|ticket| stream.bytes(ticket))
        .collect::<Result<_>>()?;
    let each = queued.places.iter().zip(left);
    each.map(|(&(first, count, _), left)| {
        let place = (first, count);
        Ok(Some(Found {
            model: queued.wanted.model,
            left: f64::from(left.squares),
            empty: left.indices == 0,
            made: Made::Indices(match queued.wanted.model.precision {
                Precision::I16 => IndexPlanes::Narrow(of_block(&planes, place)?),
                Precision::I32 => IndexPlanes::Wide(of_block(&planes, place)?),
            }),
        }))
    })
    .collect()
}

/// The part of each plane that belongs to a block of `count` voxels.
fn of_block<T: FromBytes + zerocopy::Immutable + Copy>(
    planes: &[&[u8]],
    (first, count): (usize, usize),
) -> Result<Vec<Vec<T>>> {
    let size = size_of::<T>();
    let part = |plane: &&[u8]| {
        let bytes = plane.get(first * size..(first + count) * size);
        let elements = bytes.and_then(|b| <[T]>::ref_from_bytes(b).ok());
        let elements =
            elements.ok_or_else(|| Error::argument("a plane of indices is too short"))?;
        Ok(elements.to_vec())
    };
    planes.iter().map(part).collect()
}
