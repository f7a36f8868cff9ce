//! Blocks under grid models on the device: from layers to integers, bit for bit as on the CPU.
//! Kernels: `cuda/grid_weights.cu` and `cuda/grid_evaluate.cu`.

mod batch;
mod layout;

pub(super) use batch::bytes_of_voxel;
pub use batch::{GridBatch, NetworkPath};

use zerocopy::{Immutable, IntoBytes};

use super::rans::{DeviceTables, TableAddresses};
use super::{Buffer, Kernel, Stream};
use crate::Result;
use crate::codec::tables::TableSet;
use batch::{Way, WayJobs};
use layout::{GridJob, GridPlan, STATE_BYTES};

#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct WeightParams {
    heads: u64,
    layers: u64,
    bytes: u64,
    jobs: u64,
    plans: u64,
    weights: u64,
    networks: u64,
    states: u64,
    status: u64,
    tables: TableAddresses,
    count: u32,
    unused: u32,
}

#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct EvaluateParams {
    heads: u64,
    jobs: u64,
    order: u64,
    plans: u64,
    weights: u64,
    networks: u64,
    bases: u64,
    states: u64,
    status: u64,
    integers: u64,
    tiles: u32,
    side: u32,
    words: u32,
    unused: u32,
}

/// Threads of a block of the decoder of weights; each warp decodes a block of voxels.
const WEIGHT_THREADS: u32 = 128;

static WEIGHTS: Kernel =
    Kernel::new::<WeightParams>("grid_weights", "hgv_grid_weights", WEIGHT_THREADS);
static SUMS: Kernel = Kernel::new::<EvaluateParams>("grid_evaluate", "hgv_grid_sums", 256);
static DOTS: Kernel = Kernel::new::<EvaluateParams>("grid_evaluate", "hgv_grid_dots", 256);
static MATRICES: Kernel = Kernel::new::<EvaluateParams>("grid_evaluate", "hgv_grid_matrices", 256);

/// What the blocks of a batch have in common with those under other models.
#[derive(Debug, Clone, Copy)]
pub struct GridTarget<'a> {
    /// Heads of the blocks.
    pub heads: &'a Buffer,
    /// Heads of their layers.
    pub layers: &'a Buffer,
    /// The bytes that the heads speak of.
    pub bytes: &'a Buffer,
    /// A status word for each head; those of damaged blocks are set, the others left alone.
    pub status: &'a Buffer,
    /// Plane of i32 integers.
    pub integers: &'a Buffer,
}

/// Decodes blocks under grid models. One for each stream: its workspace is used by one batch at a time.
#[derive(Debug)]
pub struct GridDecoder {
    tables: DeviceTables,
    plans: Buffer,
    bases: Buffer,
    jobs: Buffer,
    order: Buffer,
    states: Buffer,
    weights: Buffer,
    networks: Buffer,
}

impl GridDecoder {
    /// A decoder for the work of a stream.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(stream: &mut Stream) -> Result<Self> {
        let tables = DeviceTables::new(stream, TableSet::Grid)?;
        let empty = || Buffer::new(stream.device(), 0);
        Ok(Self {
            tables,
            plans: empty()?,
            bases: empty()?,
            jobs: empty()?,
            order: empty()?,
            states: empty()?,
            weights: empty()?,
            networks: empty()?,
        })
    }

    /// Queues the decoding of the blocks of a batch, from layers to integers at their level of detail.
    /// Blocks whose status is set before, or by a broken layer, get no integers.
    ///
    /// # Errors
    /// Those of the device.
    pub fn decode(
        &mut self,
        stream: &mut Stream,
        batch: &GridBatch,
        target: &GridTarget<'_>,
    ) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let (jobs, orders) = batch.arrange()?;
        self.reserve(batch, jobs.len())?;
        stream.upload(&self.plans, 0, batch.plans.as_slice())?;
        stream.upload(&self.bases, 0, batch.bases.as_slice())?;
        stream.upload(&self.jobs, 0, jobs.as_slice())?;
        self.decode_weights(stream, jobs.len() as u32, target)?;
        let mut first = 0;
        for jobs in &orders {
            stream.upload(&self.order, 4 * first, jobs.order.as_slice())?;
            self.evaluate(stream, jobs, first, target)?;
            first += jobs.order.len();
        }
        Ok(())
    }

    /// Makes room for a batch.
    fn reserve(&mut self, batch: &GridBatch, jobs: usize) -> Result<()> {
        self.plans
            .reserve(batch.plans.len() * size_of::<GridPlan>())?;
        self.bases.reserve(2 * batch.bases.len())?;
        self.jobs.reserve(jobs * size_of::<GridJob>())?;
        self.order.reserve(4 * jobs)?;
        self.states.reserve(jobs * STATE_BYTES)?;
        self.weights.reserve(4 * batch.weights)?;
        self.networks.reserve(2 * batch.networks)
    }

    fn decode_weights(
        &self,
        stream: &mut Stream,
        count: u32,
        target: &GridTarget<'_>,
    ) -> Result<()> {
        let params = WeightParams {
            heads: target.heads.address(),
            layers: target.layers.address(),
            bytes: target.bytes.address(),
            jobs: self.jobs.address(),
            plans: self.plans.address(),
            weights: self.weights.address(),
            networks: self.networks.address(),
            states: self.states.address(),
            status: target.status.address(),
            tables: self.tables.addresses(),
            count,
            unused: 0,
        };
        stream.launch(&WEIGHTS, count.div_ceil(WEIGHT_THREADS / 32), 0, &params)
    }

    /// Evaluates the jobs of a way, whose numbers lie from `first` of the order on.
    fn evaluate(
        &self,
        stream: &mut Stream,
        jobs: &WayJobs,
        first: usize,
        target: &GridTarget<'_>,
    ) -> Result<()> {
        let (count, tiling) = (jobs.order.len(), &jobs.tiling);
        let params = EvaluateParams {
            heads: target.heads.address(),
            jobs: self.jobs.address(),
            order: self.order.range(4 * first, 4 * count)?,
            plans: self.plans.address(),
            weights: self.weights.address(),
            networks: self.networks.address(),
            bases: self.bases.address(),
            states: self.states.address(),
            status: target.status.address(),
            integers: target.integers.address(),
            tiles: tiling.tiles,
            side: tiling.side,
            words: tiling.words,
            unused: 0,
        };
        let kernel = match jobs.way {
            Way::Sums => &SUMS,
            Way::Dots => &DOTS,
            Way::Matrices => &MATRICES,
        };
        stream.launch(kernel, tiling.tiles * count as u32, tiling.shared, &params)
    }
}
