//! A batch of blocks as the host gathers it: what every kernel is told of every block, and where its planes
//! and bytes lie.

use std::collections::HashMap;

use super::grid::GridBatch;
use super::layout::{BlockFlags, BlockHead, LayerHead};
use super::plan::{HAS_FILTER, MOST_DEPTH, RANKED, ReconHead, ReconPlan};
use crate::Result;
use crate::backend::cpu::{check_prefix, split_layer};
use crate::backend::{BlockJob, LayerStep};
use crate::codec::bands::BlockShape;
use crate::model::{BlockModel, Coder, Precision, Ranks, Residual, ValueMap};

/// Planes of blocks begin at multiples of this many elements.
const PLANE_ALIGN: u64 = 64;
/// Layers, masks and residuals begin at multiples of this many bytes, with as many zeros behind the last.
pub const BYTE_ALIGN: usize = 16;
/// Longest side of a block.
const MOST_SIDE: usize = 128;

/// What a block of a batch holds.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// One value at every voxel.
    Constant {
        /// The value.
        q: i32,
        /// Extent of the block.
        shape: BlockShape,
        /// In-block level of detail that is wanted.
        lod: usize,
    },
    /// Layers to decode.
    Payload(BlockJob<'a>),
}

/// Where the voxels of a block go, and which of them: coordinates are those of the block's own box at the
/// level of detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Element of the output where voxel `(0, 0, 0)` lies; outside of it if that voxel is not wanted.
    pub first: i64,
    /// Elements from row to row and from plane to plane.
    pub pitch: [usize; 2],
    /// First voxel that is wanted, x, y, z.
    pub from: [usize; 3],
    /// First one past them.
    pub to: [usize; 3],
}

/// What voxels of a batch become.
#[derive(Debug, Clone, Copy)]
pub enum Voxels<'a> {
    /// What [`crate::backend::Backend::decode_block`] gives, 4 bytes each.
    Integers {
        /// Power of two of a unit; 0 for integers.
        exponent: i16,
    },
    /// Little-endian voxels.
    Typed {
        /// Their type and unit.
        map: ValueMap,
        /// Values of ranks, if the file has a map of them.
        ranks: Option<&'a Ranks>,
        /// Whether blocks are decoded whole, so that ranks give float32 back bit for bit.
        whole: bool,
    },
}

impl Voxels<'_> {
    /// Bytes of one.
    pub fn size(&self) -> usize {
        match self {
            Self::Integers { .. } => 4,
            Self::Typed { map, .. } => map.dtype.size(),
        }
    }
}

/// Blocks that a kernel or two are about.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// By the width of working values: 16 bits, 32 bits.
    pub(super) split: [Vec<u32>; 2],
    pub(super) coarsest: [Vec<u32>; 2],
    pub(super) filter: [Vec<u32>; 2],
    /// Become voxels after they are integers.
    pub(super) placed: Vec<u32>,
    pub(super) constant: Vec<u32>,
}

/// Elements of the planes of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Planes {
    pub(super) values: [u64; 2],
    pub(super) integers: u64,
    /// Of them with a residual plane.
    pub(super) residuals: bool,
    pub(super) classes: u64,
}

/// A batch of blocks.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    pub(super) heads: Vec<BlockHead>,
    pub(super) recon: Vec<ReconHead>,
    pub(super) plans: Vec<ReconPlan>,
    pub(super) layers: Vec<LayerHead>,
    /// Layers, masks and residuals with the offsets where they lie.
    pub(super) pieces: Vec<(usize, &'a [u8])>,
    /// Bytes that they take in all.
    pub(super) bytes: usize,
    pub(super) lists: Lists,
    pub(super) planes: Planes,
    /// Blocks under grid models.
    pub(super) grids: GridBatch,
    /// Jobs of the blocks; `None` for constant ones.
    pub(super) jobs: Vec<Option<BlockJob<'a>>>,
    known: HashMap<PlanKey, u32>,
}

/// Model (by its address, which stands for it while the batch lives), quality, extent, levels, level of detail.
type PlanKey = (*const BlockModel, u8, [usize; 3], usize, usize);

/// The parts of the layers of a block.
struct Parts<'a> {
    mask: Option<&'a [u8]>,
    layers: Vec<&'a [u8]>,
    residual: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(job: &BlockJob<'a>) -> Result<Self> {
        check_prefix(job)?;
        let mut layers: Vec<&[u8]> = job.layers.iter().map(Vec::as_slice).collect();
        let mut mask = None;
        if let Some(first) = layers.first_mut().filter(|_| job.model.mask()) {
            let (classes, rest) = split_layer(first)?;
            (mask, *first) = (Some(classes), rest);
        }
        let mut residual = &[][..];
        let ends = job.model.residual().is_some() && layers.len() == job.steps.len();
        if let Some(last) = layers.last_mut().filter(|l| ends && !l.is_empty()) {
            (*last, residual) = split_layer(last)?;
        }
        Ok(Self {
            mask,
            layers,
            residual,
        })
    }
}

impl<'a> Batch<'a> {
    /// Adds a block, unless the kernels do not cover it or its layers break a rule already: then the CPU
    /// must decode it, and `false` is returned.
    pub(super) fn push(&mut self, content: &Content<'a>, placement: &Placement) -> bool {
        match content {
            Content::Constant { q, shape, lod } => {
                self.push_constant(*q, shape, *lod, placement);
                true
            }
            Content::Payload(job) if is_covered(job) => {
                let parts = Parts::of(job);
                parts.is_ok_and(|parts| self.push_payload(job, &parts, placement).is_ok())
            }
            Content::Payload(_) => false,
        }
    }

    fn push_constant(&mut self, q: i32, shape: &BlockShape, lod: usize, placement: &Placement) {
        let number = self.heads.len() as u32;
        self.lists.constant.push(number);
        let key = (std::ptr::null(), 0, [0; 3], 0, 0);
        let plan = self.plan(key, || ReconPlan::of_integers(Residual::None));
        self.heads.push(BlockHead {
            dims: shape.dims.map(|n| n as u32),
            depth: shape.depth as u32,
            lod: lod as u32,
            lo: q,
            hi: q,
            ..BlockHead::default()
        });
        self.recon.push(recon_head(placement, plan));
        self.jobs.push(None);
    }

    fn push_payload(
        &mut self,
        job: &BlockJob<'a>,
        parts: &Parts<'a>,
        placement: &Placement,
    ) -> Result<()> {
        let number = self.heads.len() as u32;
        let last = job.layers.len().checked_sub(1);
        let quality = last.and_then(|i| job.steps.get(i)).map_or(0, |s| s.quality);
        let key: PlanKey = (job.model, quality, job.shape.dims, job.shape.depth, job.lod);
        let plan = self.plan(key, || {
            ReconPlan::new(job.model, quality, &job.shape, job.lod)
        });
        let mut head = BlockHead {
            first_layer: self.layers.len() as u32,
            layers: parts.layers.len() as u32,
            dims: job.shape.dims.map(|n| n as u32),
            depth: job.shape.depth as u32,
            lod: job.lod as u32,
            flags: flags(job),
            model: plan,
            lo: job.range.lo,
            hi: job.range.hi,
            quality: quality.into(),
            ..BlockHead::default()
        };
        if let BlockModel::Grid(model) = job.model {
            let bytes = parts.layers.iter().map(|l| l.len()).sum();
            self.grids.push(number, &head, model, bytes)?;
        }
        let mut recon = recon_head(placement, plan);
        recon.set_range(job.model, job.range);
        recon.direct = self.is_direct(job, &head, placement).into();
        self.place_planes(job, &mut head, &mut recon);
        self.place_bytes(job.steps, parts, &mut head);
        self.list(number, &head, &recon);
        self.heads.push(head);
        self.recon.push(recon);
        self.jobs.push(Some(*job));
        Ok(())
    }

    fn plan(&mut self, key: PlanKey, make: impl FnOnce() -> ReconPlan) -> u32 {
        let plans = &mut self.plans;
        *self.known.entry(key).or_insert_with(|| {
            plans.push(make());
            plans.len() as u32 - 1
        })
    }

    /// Whether the integers of a block are its voxels as they are, all of them wanted.
    fn is_direct(&self, job: &BlockJob<'_>, head: &BlockHead, placement: &Placement) -> bool {
        let later = BlockFlags::GRID | BlockFlags::MASKED | BlockFlags::RESIDUAL;
        let plan = self.plans.get(head.model as usize);
        head.flags & later == 0
            && plan.is_some_and(|p| p.flags & RANKED == 0)
            && (placement.from, placement.to) == ([0; 3], job.shape.dims_at(job.lod))
    }

    fn place_planes(&mut self, job: &BlockJob<'_>, head: &mut BlockHead, recon: &mut ReconHead) {
        let take = |end: &mut u64, elements: usize| {
            let at = *end;
            *end = (at + elements as u64).next_multiple_of(PLANE_ALIGN);
            at
        };
        let wide = usize::from(head.flags & BlockFlags::WIDE != 0);
        if head.flags & BlockFlags::GRID == 0 {
            head.indices = take(&mut self.planes.values[wide], job.shape.voxels());
        }
        if recon.direct == 0 {
            let voxels = job.shape.dims_at(job.lod).iter().product();
            head.integers = take(&mut self.planes.integers, voxels);
        }
        self.planes.residuals |= head.flags & BlockFlags::RESIDUAL != 0;
        if head.flags & BlockFlags::MASKED != 0 {
            recon.classes = take(&mut self.planes.classes, job.shape.voxels());
        }
    }

    fn place_bytes(&mut self, steps: &[LayerStep], parts: &Parts<'a>, head: &mut BlockHead) {
        for (step, bytes) in steps.iter().zip(&parts.layers) {
            let offset = self.place_piece(bytes);
            self.layers.push(LayerHead {
                offset,
                bytes: bytes.len() as u32,
                lod: step.lod,
                quality: step.quality,
                unused: 0,
            });
        }
        if let Some(mask) = parts.mask {
            head.mask_offset = self.place_piece(mask);
            head.mask_bytes = mask.len() as u32;
        }
        if head.flags & BlockFlags::RESIDUAL != 0 {
            head.residual_offset = self.place_piece(parts.residual);
            head.residual_bytes = parts.residual.len() as u32;
        }
    }

    fn place_piece(&mut self, bytes: &'a [u8]) -> u64 {
        let at = self.bytes;
        if !bytes.is_empty() {
            self.pieces.push((at, bytes));
            self.bytes = (at + bytes.len()).next_multiple_of(BYTE_ALIGN);
        }
        at as u64
    }

    fn list(&mut self, number: u32, head: &BlockHead, recon: &ReconHead) {
        let width = usize::from(head.flags & BlockFlags::WIDE != 0);
        let plan = self.plans.get(head.model as usize);
        if head.flags & BlockFlags::GRID == 0 {
            if head.lod < head.depth {
                self.lists.split[width].push(number);
            } else {
                self.lists.coarsest[width].push(number);
            }
            if plan.is_some_and(|p| p.flags & HAS_FILTER != 0) {
                self.lists.filter[width].push(number);
            }
        }
        if recon.direct == 0 {
            self.lists.placed.push(number);
        }
    }

    /// Writes the bytes where the heads say.
    pub(super) fn write_bytes(&self, to: &mut [u8]) {
        let mut end = 0;
        for (at, piece) in &self.pieces {
            to[end..*at].fill(0);
            end = at + piece.len();
            to[*at..end].copy_from_slice(piece);
        }
        to[end..].fill(0);
    }
}

fn recon_head(placement: &Placement, plan: u32) -> ReconHead {
    ReconHead {
        out: placement.first,
        pitch_y: placement.pitch[0] as u32,
        pitch_z: placement.pitch[1] as u64,
        plan,
        from: placement.from.map(|v| v as u32),
        to: placement.to.map(|v| v as u32),
        ..ReconHead::default()
    }
}

fn flags(job: &BlockJob<'_>) -> u32 {
    let of = |set: bool, flag: u32| if set { flag } else { 0 };
    let model = match job.model {
        BlockModel::Wavelet(m) => {
            of(m.precision == Precision::I32, BlockFlags::WIDE)
                | of(m.coder == Coder::M, BlockFlags::CODER_M)
        }
        BlockModel::Grid(_) => BlockFlags::GRID,
    };
    model | of(job.model.mask(), BlockFlags::MASKED) | of(job.has_residual(), BlockFlags::RESIDUAL)
}

/// Whether there are kernels for all of a block.
pub(super) fn is_covered(job: &BlockJob<'_>) -> bool {
    let sides = job.shape.dims.iter().all(|n| (1..=MOST_SIDE).contains(n));
    let depth = (1..=MOST_DEPTH).contains(&job.shape.depth) && job.lod <= job.shape.depth;
    sides && depth
}
