//! The memory that a batch works in: one lane of it for each batch that is under way.

use std::sync::Arc;

use super::batch::{FieldPlaces, STATES};
use super::kernels::{BAND_STATE, BlockError, BlockLeft, QUALITIES};
use crate::Result;
use crate::backend::cuda::{Address, Buffer, Device, Stream};

/// How large a batch is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sizes {
    pub(super) blocks: u64,
    /// Elements of planes of voxels, of cells and of groups.
    pub(super) voxels: u64,
    pub(super) cells: u64,
    pub(super) groups: u64,
    pub(super) qualities: u64,
    /// Indices of 32 bits.
    pub(super) wide: bool,
    pub(super) searches: bool,
    pub(super) follows: bool,
    /// Blocks are coded and measured on the device.
    pub(super) codes: bool,
    /// With a residual.
    pub(super) residual: bool,
}

impl Sizes {
    /// Bytes of the indices of one quality.
    pub(super) fn index_bytes(&self) -> u64 {
        self.voxels * if self.wide { 4 } else { 2 }
    }

    /// Bytes of the field of a search that are zero at first: all but targets and weights.
    fn cleared(&self) -> u64 {
        self.cells * 11 + self.groups * 4 + self.blocks * STATES * BAND_STATE as u64
    }

    fn field_bytes(&self) -> u64 {
        if self.searches {
            self.cleared() + 4 * self.cells + self.blocks * 24
        } else {
            0
        }
    }
}

/// Bytes of device memory that a voxel of a batch takes, about.
pub(super) fn bytes_a_voxel(qualities: u8, wide: bool, searches: bool) -> u64 {
    let indices = u64::from(qualities) * if wide { 4 } else { 2 };
    // Values, aims, coefficients, errors, integers, residuals and bytes; of a search, 15 bytes for each of 1.4 cells.
    28 + indices + if searches { 22 } else { 0 }
}

#[derive(Debug)]
pub(super) struct Planes {
    heads: [Buffer; 3],
    values: Buffer,
    aims: Buffer,
    coefficients: Buffer,
    spare: Buffer,
    /// Of each quality.
    indices: [Buffer; QUALITIES],
    field: Buffer,
    forgives: Buffer,
    left: Buffer,
    integers: Buffer,
    residuals: Buffer,
    errors: Buffer,
    /// What the entropy coder is told of blocks and layers, their order, and what it says of them.
    pub(super) coding: [Buffer; 4],
}

impl Planes {
    pub(super) fn new(device: &Arc<dyn Device>) -> Result<Self> {
        let empty = || Buffer::new(device, 0);
        Ok(Self {
            heads: [empty()?, empty()?, empty()?],
            values: empty()?,
            aims: empty()?,
            coefficients: empty()?,
            spare: empty()?,
            indices: [
                empty()?,
                empty()?,
                empty()?,
                empty()?,
                empty()?,
                empty()?,
                empty()?,
                empty()?,
            ],
            field: empty()?,
            forgives: empty()?,
            left: empty()?,
            integers: empty()?,
            residuals: empty()?,
            errors: empty()?,
            coding: [empty()?, empty()?, empty()?, empty()?],
        })
    }

    /// Makes room for a batch. The stream that works here must be idle.
    pub(super) fn reserve(&mut self, sizes: &Sizes) -> Result<()> {
        let floats = 4 * sizes.voxels as usize;
        self.values.reserve(floats)?;
        self.aims.reserve(floats)?;
        self.coefficients.reserve(floats)?;
        if sizes.searches || sizes.follows || sizes.codes {
            self.spare.reserve(floats)?;
        }
        if sizes.codes {
            self.integers.reserve(floats)?;
            if sizes.residual {
                self.residuals.reserve(floats)?;
            }
            // Of each quality, and what a residual leaves.
            let errors = size_of::<BlockError>() as u64 * sizes.blocks * (sizes.qualities + 1);
            self.errors.reserve(errors as usize)?;
        }
        for plane in self.indices.iter_mut().take(sizes.qualities as usize) {
            plane.reserve(sizes.index_bytes() as usize)?;
        }
        self.field.reserve(sizes.field_bytes() as usize)?;
        self.forgives.reserve(4 * sizes.blocks as usize)?;
        self.left
            .reserve(size_of::<BlockLeft>() * sizes.blocks as usize)
    }

    /// Blocks, shapes and the table of basis functions.
    pub(super) fn upload_heads(&mut self, stream: &mut Stream, heads: [&[u8]; 3]) -> Result<()> {
        for (buffer, head) in self.heads.iter_mut().zip(heads) {
            buffer.reserve(head.len())?;
            stream.upload(buffer, 0, head)?;
        }
        Ok(())
    }

    pub(super) fn heads(&self) -> [Address; 3] {
        self.heads.each_ref().map(Buffer::address)
    }

    pub(super) fn values(&self) -> &Buffer {
        &self.values
    }

    /// Working values that coefficients are made from; free once indices are found.
    pub(super) fn aims(&self) -> &Buffer {
        &self.aims
    }

    pub(super) fn coefficients(&self) -> Address {
        self.coefficients.address()
    }

    /// Decoded working values while clamping is followed, errors while indices are searched for.
    pub(super) fn spare(&self) -> Address {
        self.spare.address()
    }

    /// Indices of so many qualities.
    pub(super) fn indices(&self, qualities: u64) -> &[Buffer] {
        &self.indices[..QUALITIES.min(qualities as usize)]
    }

    pub(super) fn forgives(&self) -> Address {
        self.forgives.address()
    }

    pub(super) fn left(&self) -> &Buffer {
        &self.left
    }

    pub(super) fn integers(&self) -> &Buffer {
        &self.integers
    }

    pub(super) fn residuals(&self) -> &Buffer {
        &self.residuals
    }

    pub(super) fn errors(&self) -> &Buffer {
        &self.errors
    }

    /// Padding of the field is zero for good; everything else is written before it is read.
    pub(super) fn clear_field(&self, stream: &mut Stream, sizes: &Sizes) -> Result<()> {
        stream.fill(&self.field, 0..sizes.cleared() as usize, 0)
    }

    /// Widest elements first, so that each is aligned; numbers of cells and groups are multiples of 64.
    pub(super) fn field(&self, sizes: &Sizes) -> FieldPlaces {
        let mut at = self.field.address();
        let mut take = |bytes: u64| {
            let start = at;
            at += bytes;
            start
        };
        FieldPlaces {
            bands: take(sizes.blocks * STATES * BAND_STATE as u64),
            groups: take(4 * sizes.groups),
            near: take(2 * sizes.cells),
            cousins: take(2 * sizes.cells),
            activity: take(2 * sizes.cells),
            magnitudes: take(2 * sizes.cells),
            befores: take(2 * sizes.cells),
            marks: take(sizes.cells),
            targets: take(4 * sizes.cells),
            weights: take(24 * sizes.blocks),
        }
    }
}
