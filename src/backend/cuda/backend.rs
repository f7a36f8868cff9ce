//! Batches of blocks on a device: several under way at once, the CPU for what no kernel covers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::batch::{self, Batch, Content, Placement, Voxels};
use super::device::Device;
use super::grid;
use super::lane::Lane;
use super::layout::STATUS_GOOD;
use crate::backend::cpu::{CpuBackend, Scratch};
use crate::backend::{Backend, BlockJob};
use crate::model::{BlockModel, Precision};
use crate::{Error, Result};

/// Batches that should be under way at once on a device, so that copies both ways and kernels overlap.
const LANES: usize = 4;
/// Part of the memory of a device that batches may take, of 8.
const USED_EIGHTHS: u64 = 7;
/// Blocks of a batch at most: more do not make kernels faster, and batches overlap only with others.
const MOST_BLOCKS: usize = 1024;
/// Bytes of voxels of a batch at most: as much page-locked memory of the host.
const MOST_BYTES: usize = 512 << 20;

/// Decodes on CUDA devices, and on the CPU what no kernel covers. The same voxels as the CPU.
#[derive(Debug)]
pub struct CudaBackend {
    gpus: Vec<Gpu>,
    cpu: CpuBackend,
}

/// A device with its lanes.
#[derive(Debug)]
struct Gpu {
    device: Arc<dyn Device>,
    /// Those that no batch is in.
    lanes: Mutex<Vec<Lane>>,
    /// Batches under way.
    under_way: AtomicUsize,
}

impl Gpu {
    fn new(device: Arc<dyn Device>) -> Self {
        Self {
            device,
            lanes: Mutex::default(),
            under_way: AtomicUsize::new(0),
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CudaBackend {
    /// On a device, with a CPU backend for the rest.
    pub fn new(device: Arc<dyn Device>, cpu: CpuBackend) -> Self {
        Self {
            gpus: vec![Gpu::new(device)],
            cpu,
        }
    }

    /// On one device more: batches go to the one that has the fewest under way.
    #[must_use]
    pub fn with_device(mut self, device: Arc<dyn Device>) -> Self {
        self.gpus.push(Gpu::new(device));
        self
    }

    /// Batches that should be under way at once.
    pub fn lanes(&self) -> usize {
        LANES * self.gpus.len()
    }

    /// What decodes the rest.
    pub fn cpu(&self) -> CpuBackend {
        self.cpu
    }

    /// Whether kernels decode a block, rather than the CPU.
    pub fn covers(&self, job: &BlockJob<'_>) -> bool {
        batch::is_covered(job)
    }

    /// Blocks of `voxels` voxels under one of `models` that a batch should hold, when voxels take `size`
    /// bytes: at least one, so that the device says if that is too much.
    pub fn batch_blocks<'m>(
        &self,
        voxels: usize,
        size: usize,
        models: impl IntoIterator<Item = &'m BlockModel>,
    ) -> usize {
        let each = models.into_iter().map(bytes_of_voxel).max().unwrap_or(0) + size + 1;
        let memory = self.gpus.iter().map(|g| g.device.limits().memory).min();
        let lane = memory.unwrap_or(0) / 8 * USED_EIGHTHS / LANES as u64;
        let voxels = voxels.max(1);
        let blocks = (lane / (each * voxels) as u64) as usize;
        blocks
            .min(MOST_BYTES / (size.max(1) * voxels))
            .clamp(1, MOST_BLOCKS)
    }

    /// Queues a batch of blocks whose voxels fill `elements` elements, and returns while it is under way.
    ///
    /// # Errors
    /// [`Error::Device`], and [`Error::DeviceMemory`] if a smaller batch may do.
    pub fn submit(
        &self,
        blocks: &[(Content<'_>, Placement)],
        voxels: &Voxels<'_>,
        elements: usize,
    ) -> Result<Flight<'_>> {
        let mut batch = Batch::default();
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for (i, (content, placement)) in blocks.iter().enumerate() {
            if batch.push(content, placement) {
                taken.push(i);
            } else {
                left.push(i);
            }
        }
        let mut seat = self.take_seat()?;
        if let Some(lane) = &mut seat.lane {
            lane.submit(&batch, voxels, elements * voxels.size())?;
        }
        Ok(Flight { seat, taken, left })
    }

    /// Gives the memory of batches that ended back.
    pub fn forget_lanes(&self) {
        self.gpus.iter().for_each(|gpu| gpu.lanes().clear());
    }

    /// A lane of the device that has the fewest batches under way.
    fn take_seat(&self) -> Result<Seat<'_>> {
        let gpu = (self.gpus.iter()).min_by_key(|g| g.under_way.load(Ordering::Relaxed));
        let gpu = gpu.ok_or_else(|| Error::argument("there is no device"))?;
        let free = gpu.lanes().pop();
        let lane = free.map_or_else(|| Lane::new(&gpu.device), Ok)?;
        gpu.under_way.fetch_add(1, Ordering::Relaxed);
        Ok(Seat {
            gpu,
            lane: Some(lane),
        })
    }

    /// What the CPU says of a block that a kernel refused.
    ///
    /// # Errors
    /// The CPU's error, or that it has none.
    pub fn explain(&self, job: &BlockJob<'_>) -> Result<()> {
        self.cpu
            .decode_block(job, &mut Scratch::default(), &mut Vec::new())?;
        Err(Error::Device(
            "a kernel refused a block that the CPU decodes; please report this file".into(),
        ))
    }

    /// A batch whose blocks all fit.
    fn decode_batch(&self, jobs: &[BlockJob<'_>]) -> Result<Vec<Result<Vec<i32>>>> {
        let mut elements = 0;
        let blocks: Vec<_> = jobs
            .iter()
            .map(|job| {
                let [w, h, d] = job.shape.dims_at(job.lod);
                let first = elements;
                elements += w * h * d;
                let placement = Placement {
                    first: first as i64,
                    pitch: [w, w * h],
                    from: [0; 3],
                    to: [w, h, d],
                };
                (Content::Payload(*job), placement)
            })
            .collect();
        let exponent = jobs.first().map_or(0, |j| j.exponent);
        let flight = self.submit(&blocks, &Voxels::Integers { exponent }, elements)?;
        let mut results: Vec<Result<Vec<i32>>> = jobs.iter().map(|_| Ok(Vec::new())).collect();
        let decoded: Vec<_> = (flight.left().par_iter())
            .map_init(Scratch::default, |scratch, &i| {
                let mut out = Vec::new();
                let result = self.cpu.decode_block(&jobs[i], scratch, &mut out);
                (i, result.map(|()| out))
            })
            .collect();
        let taken = flight.taken.clone();
        let bad = flight.finish(|bytes| {
            for &i in &taken {
                let at = 4 * blocks[i].1.first as usize;
                let voxels: usize = jobs[i].shape.dims_at(jobs[i].lod).iter().product();
                let words = bytes[at..at + 4 * voxels].as_chunks().0.iter();
                results[i] = Ok(words.map(|b| i32::from_le_bytes(*b)).collect());
            }
        })?;
        for (i, result) in decoded {
            results[i] = result;
        }
        for i in bad {
            results[i] = self.explain(&jobs[i]).map(|()| Vec::new());
        }
        Ok(results)
    }
}

impl Backend for CudaBackend {
    fn name(&self) -> String {
        let names: Vec<String> = self.gpus.iter().map(|g| g.device.name()).collect();
        format!("cuda ({})", names.join(", "))
    }

    fn decode_block(
        &self,
        job: &BlockJob<'_>,
        _scratch: &mut Scratch,
        out: &mut Vec<i32>,
    ) -> Result<()> {
        let mut results = self.decode_batch(std::slice::from_ref(job))?;
        *out = results
            .pop()
            .unwrap_or_else(|| Err(Error::argument("no block to decode")))?;
        Ok(())
    }

    fn decode_blocks(&self, jobs: &[BlockJob<'_>]) -> Result<Vec<Result<Vec<i32>>>> {
        let voxels = jobs.iter().map(|j| j.shape.voxels()).max().unwrap_or(1);
        let most = self.batch_blocks(voxels, 4, jobs.iter().map(|j| j.model));
        let mut results = Vec::with_capacity(jobs.len());
        for jobs in jobs.chunks(most) {
            results.extend(self.decode_batch(jobs)?);
        }
        Ok(results)
    }

    fn cuda(&self) -> Option<&CudaBackend> {
        Some(self)
    }
}

/// Bytes that a voxel takes on the device while its block is decoded.
fn bytes_of_voxel(model: &BlockModel) -> usize {
    let (values, ranks) = match model {
        BlockModel::Wavelet(m) if m.precision == Precision::I16 => (4, m.ranks),
        BlockModel::Wavelet(m) => (8, m.ranks),
        BlockModel::Grid(m) => (4 + grid::bytes_of_voxel(m), false),
    };
    let mask = if model.mask() { 5 } else { 0 };
    let residual = if model.residual().is_some() { 8 } else { 0 };
    values + residual + mask + if ranks { 4 } else { 0 }
}

/// A lane that a batch is in; counts as under way until it is dropped.
#[derive(Debug)]
struct Seat<'a> {
    gpu: &'a Gpu,
    lane: Option<Lane>,
}

impl Seat<'_> {
    /// Waits for the batch, and lets the lane be used again if all went well.
    fn finish<R>(mut self, take: impl FnOnce(&[u8], &[u32]) -> R) -> Result<R> {
        let lane = self.lane.take();
        let mut lane = lane.ok_or_else(|| Error::argument("no batch of blocks is under way"))?;
        let result = lane.finish(take)?;
        self.gpu.lanes().push(lane);
        Ok(result)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.gpu.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A batch that is under way.
#[derive(Debug)]
pub struct Flight<'a> {
    seat: Seat<'a>,
    /// Blocks that the device decodes.
    taken: Vec<usize>,
    /// Blocks that the caller must decode on the CPU.
    left: Vec<usize>,
}

impl Flight<'_> {
    /// Numbers of the blocks that the device does not decode.
    pub fn left(&self) -> &[usize] {
        &self.left
    }

    /// Waits; hands over the voxels, among which those of blocks that are left or refused mean nothing, and
    /// returns the numbers of blocks that kernels refused: see [`CudaBackend::explain`].
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn finish(self, take: impl FnOnce(&[u8])) -> Result<Vec<usize>> {
        let taken = self.taken;
        self.seat.finish(|voxels, status| {
            take(voxels);
            let pairs = taken.iter().zip(status);
            let bad = pairs.filter(|(_, s)| **s != STATUS_GOOD);
            bad.map(|(i, _)| *i).collect()
        })
    }
}
