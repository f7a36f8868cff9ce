//! Launches of `cuda/reconstruct.cu`: from coefficient indices on the device to voxels.

use zerocopy::{Immutable, IntoBytes};

use super::batch::Lists;
use super::device::{Address, Kernel};
use super::layout::BlockHead;
use super::plan::Output;
use super::stream::Stream;
use crate::Result;

const MODULE: &str = "reconstruct";
/// Threads of a block of every kernel here, and values that a thread of an elementwise one takes.
const THREADS: u32 = 128;
const VALUES: u32 = 8;

#[derive(Debug, Clone, Copy, Default, IntoBytes, Immutable)]
#[repr(C)]
struct LiftParams {
    heads: Address,
    recon: Address,
    plans: Address,
    list: Address,
    status: Address,
    values: Address,
    scratch: Address,
    integers: Address,
    to: Output,
    split: u32,
    tiles: u32,
    planes: u32,
    unused: u32,
}

#[derive(Debug, Clone, Copy, Default, IntoBytes, Immutable)]
#[repr(C)]
struct PlaceParams {
    heads: Address,
    recon: Address,
    plans: Address,
    list: Address,
    status: Address,
    integers: Address,
    residuals: Address,
    to: Output,
    tiles: u32,
    unused: u32,
}

const _: () = assert!(size_of::<LiftParams>() == 120 && size_of::<PlaceParams>() == 104);

const fn lift(name: &'static str) -> Kernel {
    Kernel::new::<LiftParams>(MODULE, name, THREADS)
}

const fn place(name: &'static str) -> Kernel {
    Kernel::new::<PlaceParams>(MODULE, name, THREADS)
}

/// By the width of working values: 16 bits, 32 bits.
static LIFT_Z: [Kernel; 2] = [lift("hgv_lift_z_narrow"), lift("hgv_lift_z_wide")];
static LIFT_XY: [Kernel; 2] = [lift("hgv_lift_xy_narrow"), lift("hgv_lift_xy_wide")];
static COARSEST: [Kernel; 2] = [lift("hgv_coarsest_narrow"), lift("hgv_coarsest_wide")];
static FILTER: [Kernel; 2] = [lift("hgv_filter_narrow"), lift("hgv_filter_wide")];
static PLACE: Kernel = place("hgv_place");
static CONSTANT: Kernel = place("hgv_constant");

/// Where a batch lies on the device.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Places {
    pub(super) heads: Address,
    pub(super) recon: Address,
    pub(super) plans: Address,
    pub(super) status: Address,
    /// By width.
    pub(super) values: [Address; 2],
    pub(super) scratch: [Address; 2],
    pub(super) integers: Address,
    pub(super) residuals: Address,
    pub(super) to: Output,
}

/// Addresses of the lists of a batch, as in [`Lists`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ListPlaces {
    pub(super) split: [Address; 2],
    pub(super) coarsest: [Address; 2],
    pub(super) filter: [Address; 2],
    pub(super) placed: Address,
    pub(super) constant: Address,
}

/// The largest extents of the blocks of a list.
#[derive(Debug, Clone, Copy, Default)]
struct Largest {
    dims: [u32; 3],
    /// At their levels of detail.
    voxels: u32,
    depth: u32,
    lod: u32,
}

impl Largest {
    fn of(heads: &[BlockHead], list: &[u32]) -> Self {
        let mut all = Self {
            lod: u32::MAX,
            ..Self::default()
        };
        for head in list.iter().filter_map(|&i| heads.get(i as usize)) {
            all.dims = [0, 1, 2].map(|a| all.dims[a].max(head.dims[a]));
            let dims = head.dims.map(|n| n.div_ceil(1 << head.lod));
            all.voxels = all.voxels.max(dims.iter().product());
            all.depth = all.depth.max(head.depth);
            all.lod = all.lod.min(head.lod);
        }
        all
    }

    fn at(&self, split: u32) -> [u32; 3] {
        self.dims.map(|n| n.div_ceil(1 << split))
    }

    fn tiles(&self) -> u32 {
        self.voxels.div_ceil(THREADS * VALUES)
    }
}

/// Queues everything from indices to voxels or, for blocks with a residual, to integers.
pub(super) fn reconstruct(
    stream: &mut Stream,
    places: &Places,
    heads: &[BlockHead],
    lists: &Lists,
    at: &ListPlaces,
) -> Result<()> {
    for width in [0, 1] {
        let params = LiftParams {
            heads: places.heads,
            recon: places.recon,
            plans: places.plans,
            list: at.split[width],
            status: places.status,
            values: places.values[width],
            scratch: places.scratch[width],
            integers: places.integers,
            to: places.to,
            ..LiftParams::default()
        };
        undo_splits(stream, params, width, heads, &lists.split[width])?;
        let all = Largest::of(heads, &lists.coarsest[width]);
        let coarsest = LiftParams {
            list: at.coarsest[width],
            tiles: 1,
            split: all.lod,
            ..params
        };
        let blocks = lists.coarsest[width].len() as u32;
        stream.launch(&COARSEST[width], blocks, 0, &coarsest)?;
        let all = Largest::of(heads, &lists.filter[width]);
        let filter = LiftParams {
            list: at.filter[width],
            tiles: all.tiles(),
            ..params
        };
        let blocks = lists.filter[width].len() as u32 * all.tiles();
        stream.launch(&FILTER[width], blocks, 0, &filter)?;
    }
    Ok(())
}

fn undo_splits(
    stream: &mut Stream,
    mut params: LiftParams,
    width: usize,
    heads: &[BlockHead],
    list: &[u32],
) -> Result<()> {
    let all = Largest::of(heads, list);
    let blocks = list.len() as u32;
    for split in (all.lod..all.depth).rev() {
        let [w, h, d] = all.at(split);
        params.split = split;
        params.tiles = (w * h).div_ceil(THREADS);
        stream.launch(&LIFT_Z[width], blocks * params.tiles, 0, &params)?;
        // As many planes as give every thread a column.
        params.planes = (THREADS / w).clamp(1, d);
        params.tiles = d.div_ceil(params.planes);
        let shared = params.planes * w * h * (2 << width);
        stream.launch(&LIFT_XY[width], blocks * params.tiles, shared, &params)?;
    }
    Ok(())
}

/// Queues voxels of blocks that are integers by now, residuals added, and of constant blocks.
pub(super) fn place_integers(
    stream: &mut Stream,
    places: &Places,
    heads: &[BlockHead],
    lists: &Lists,
    at: &ListPlaces,
) -> Result<()> {
    let each = [
        (&PLACE, &lists.placed, at.placed),
        (&CONSTANT, &lists.constant, at.constant),
    ];
    for (kernel, list, address) in each {
        let tiles = Largest::of(heads, list).tiles();
        let params = PlaceParams {
            heads: places.heads,
            recon: places.recon,
            plans: places.plans,
            list: address,
            status: places.status,
            integers: places.integers,
            residuals: places.residuals,
            to: places.to,
            tiles,
            unused: 0,
        };
        stream.launch(kernel, list.len() as u32 * tiles, 0, &params)?;
    }
    Ok(())
}
