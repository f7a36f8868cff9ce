//! Kernels of the encoder and their parameters; `cuda/forward.cu`, `reversible.cu` and `field.cuh` say the same.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::backend::cuda::{Address, Kernel};
use crate::model::SEGMENTS;

/// Most qualities of a model.
pub(super) const QUALITIES: usize = 8;

/// What the last quality of a block leaves.
#[derive(Debug, Clone, Copy, FromBytes, Immutable)]
#[repr(C)]
pub(super) struct BlockLeft {
    pub(super) squares: f32,
    pub(super) indices: u32,
}

/// Error of a quality of a block.
#[derive(Debug, Clone, Copy, FromBytes, Immutable)]
#[repr(C)]
pub(super) struct BlockError {
    pub(super) squares: f64,
    pub(super) largest: f64,
}

/// A plane of indices.
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Indices {
    pub(super) plane: Address,
    pub(super) wide: u32,
    pub(super) unused: u32,
}

#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct ForwardParams {
    pub(super) blocks: Address,
    pub(super) shapes: Address,
    pub(super) values: Address,
    pub(super) aims: Address,
    pub(super) coefficients: Address,
    pub(super) spare: Address,
    pub(super) forgives: Address,
    pub(super) left: Address,
    pub(super) integers: Address,
    pub(super) errors: Address,
    pub(super) residuals: Address,
    pub(super) heads: Address,
    pub(super) planes: [Address; QUALITIES],
    pub(super) knots: [f32; SEGMENTS + 1],
    pub(super) scale: f32,
    pub(super) value_step: f32,
    pub(super) pull_one: f32,
    pub(super) pull_more: f32,
    pub(super) curved: u32,
    pub(super) qualities: u32,
    pub(super) neighbourly: u32,
    pub(super) forgiving: u32,
    pub(super) residual_step: u32,
    pub(super) wide: u32,
    pub(super) unused: u32,
}

#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct ReversibleParams {
    pub(super) blocks: Address,
    pub(super) shapes: Address,
    pub(super) values: Address,
    pub(super) coefficients: Address,
    pub(super) wide: u32,
    pub(super) unused: u32,
}

#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct SearchParams {
    pub(super) blocks: Address,
    pub(super) shapes: Address,
    pub(super) lattice: Address,
    pub(super) coefficients: Address,
    pub(super) errors: Address,
    pub(super) indices: Indices,
    pub(super) previous: Indices,
    pub(super) targets: Address,
    pub(super) near: Address,
    pub(super) cousins: Address,
    pub(super) activity: Address,
    pub(super) magnitudes: Address,
    pub(super) befores: Address,
    pub(super) marks: Address,
    pub(super) groups: Address,
    pub(super) bands: Address,
    pub(super) weights: Address,
    pub(super) variants: Address,
    pub(super) costs: Address,
    pub(super) pull_one: f32,
    pub(super) pull_more: f32,
    pub(super) value_step: f32,
    pub(super) lambda: f32,
    pub(super) quality: u32,
    pub(super) qualities: u32,
    pub(super) depth: u32,
    pub(super) whole_groups: u32,
}

/// Bytes of the state of a band.
pub(super) const BAND_STATE: usize = 16;

pub(super) static AIMS: Kernel = Kernel::new::<ForwardParams>("forward", "hgv_encode_aims", 256);
pub(super) static TRANSFORM: Kernel =
    Kernel::new::<ForwardParams>("forward", "hgv_encode_transform", 256);
pub(super) static QUANTISE: Kernel =
    Kernel::new::<ForwardParams>("forward", "hgv_encode_quantise", 256);
pub(super) static FOLLOW: Kernel =
    Kernel::new::<ForwardParams>("forward", "hgv_encode_follow", 256);
pub(super) static LEFT: Kernel = Kernel::new::<ForwardParams>("forward", "hgv_encode_left", 256);
pub(super) static ERRORS: Kernel =
    Kernel::new::<ForwardParams>("forward", "hgv_encode_errors", 256);
pub(super) static RESIDUAL: Kernel =
    Kernel::new::<ForwardParams>("forward", "hgv_encode_residual", 256);
pub(super) static REVERSIBLE: Kernel =
    Kernel::new::<ReversibleParams>("reversible", "hgv_encode_reversible", 256);
pub(super) static LOAD: Kernel = Kernel::new::<SearchParams>("search", "hgv_search_load", 256);
pub(super) static WEIGH: Kernel = Kernel::new::<SearchParams>("search", "hgv_search_weigh", 256);
pub(super) static PRODUCTS: Kernel =
    Kernel::new::<SearchParams>("search", "hgv_search_products", 256);
pub(super) static SWEEP: Kernel = Kernel::new::<SearchParams>("search", "hgv_search_sweep", 64);
