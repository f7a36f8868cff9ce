//! Blocks to encode as kernels see them; `cuda/encode.cuh` says the same.

use zerocopy::{Immutable, IntoBytes};

use crate::backend::ValueRange;
use crate::codec::Quantiser;
use crate::codec::bands::BlockShape;
use crate::encode::curve::{Positions, room_beyond};
use crate::model::WaveletModel;
use crate::model::gains::LIFTING;

/// Splits of the largest block.
pub(super) const SPLITS: usize = 5;
/// Bands of the largest block.
pub(super) const BANDS: usize = 7 * SPLITS + 1;

/// One split of a box; see the header.
#[derive(Debug, Clone, Copy, Default, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct SplitShape {
    whole: [u32; 3],
    low: [u32; 3],
    cell_y: u32,
    cell_z: u32,
    cells: u32,
    first_cell: u32,
    group_y: u32,
    group_z: u32,
    groups: u32,
    first_group: u32,
    lattice: [u32; 3],
    unused: u32,
}

/// What blocks of one extent share; see the header.
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct EncodeShape {
    dims: [u32; 3],
    depth: u32,
    voxels: u32,
    steps: [f32; BANDS],
    gains: [f32; SPLITS],
    splits: [SplitShape; SPLITS],
}

/// One block; see the header.
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct EncodeBlock {
    pub(super) voxels: u64,
    pub(super) cells: u64,
    pub(super) groups: u64,
    pub(super) shape: u32,
    pub(super) sides: u32,
    pub(super) low: f32,
    pub(super) high: f32,
    pub(super) low_at: f32,
    pub(super) high_at: f32,
    pub(super) centre: f32,
    pub(super) room: f32,
}

const _: () = assert!(size_of::<EncodeShape>() == 544 && size_of::<EncodeBlock>() == 56);

/// Cells in front of and behind those of a band.
const PAD: u32 = 3;

/// A padded box: strides along y and z, and its size.
fn padded(dims: [u32; 3]) -> [u32; 3] {
    let [x, y, z] = dims.map(|n| n + PAD);
    [x, x * y, x * y * z]
}

impl EncodeShape {
    /// For blocks of a model. `lattice(n, depth)` is where the table of the basis functions of an axis begins.
    pub(super) fn new(
        shape: &BlockShape,
        model: &WaveletModel,
        mut lattice: impl FnMut(usize, usize) -> u32,
    ) -> Self {
        let quantiser = Quantiser::new(model, model.qualities - 1);
        let bands = (0..shape.depth).flat_map(|d| (1..8).map(move |b| (d, b)));
        let bands = bands
            .map(|(d, b)| shape.band(d, b))
            .chain([shape.coarsest()]);
        let mut steps = [0.0; BANDS];
        for (step, band) in steps.iter_mut().zip(bands) {
            *step = quantiser.step(shape, &band) as f32 / 256.0;
        }
        let (mut splits, mut gains) = ([SplitShape::default(); SPLITS], [1.0; SPLITS]);
        let (mut first_cell, mut first_group) = (0, 0);
        for (depth, (split, gain)) in splits
            .iter_mut()
            .zip(&mut gains)
            .enumerate()
            .take(shape.depth)
        {
            let [whole, low] = [depth, depth + 1].map(|d| shape.dims_at(d).map(|n| n as u32));
            let [cell_y, cell_z, cells] = padded(low);
            let [group_y, group_z, groups] = padded(low.map(|n| n.div_ceil(4)));
            *split = SplitShape {
                whole,
                low,
                cell_y,
                cell_z,
                cells,
                first_cell,
                group_y,
                group_z,
                groups,
                first_group,
                lattice: [0, 1, 2].map(|a| lattice(shape.dims[a], depth)),
                unused: 0,
            };
            first_cell += 7 * cells;
            first_group += 7 * groups;
            let axes = whole.iter().filter(|n| **n > 1).count() as i32;
            *gain = if model.reversible {
                1.0
            } else {
                LIFTING[4].powi(axes) as f32
            };
        }
        Self {
            dims: shape.dims.map(|n| n as u32),
            depth: shape.depth as u32,
            voxels: shape.voxels() as u32,
            steps,
            gains,
            splits,
        }
    }

    /// Cells of the field of a block.
    pub(super) fn cells(&self) -> u64 {
        self.splits.iter().map(|s| 7 * u64::from(s.cells)).sum()
    }

    /// Groups of the field of a block.
    pub(super) fn groups(&self) -> u64 {
        self.splits.iter().map(|s| 7 * u64::from(s.groups)).sum()
    }
}

impl EncodeBlock {
    /// A block of a range of values; where it lies is up to the batch.
    pub(super) fn new(model: &WaveletModel, range: ValueRange, sides: [[bool; 2]; 3]) -> Self {
        let positions = Positions::new(model, range);
        let (low, high) = (range.lo as f32, range.hi as f32);
        let bits = sides.as_flattened().iter().enumerate();
        let (low_at, high_at) = (positions.of(low), positions.of(high));
        Self {
            voxels: 0,
            cells: 0,
            groups: 0,
            shape: 0,
            sides: bits.map(|(i, on)| u32::from(*on) << i).sum(),
            low,
            high,
            low_at,
            high_at,
            centre: positions.centre() as f32,
            room: room_beyond(model, high_at - low_at),
        }
    }
}
