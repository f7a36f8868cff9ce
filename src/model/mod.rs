//! Block models: what the integers in a payload mean. Numbers only, no bytes of a file and no
//! kernels (specification, "Models").

mod curve;
mod filter;
pub mod gains;
pub mod grid;
mod ranks;
mod residual;
mod values;
mod wavelet;

pub use curve::{Curve, CurveTable, SEGMENTS, WorkingTable};
pub use filter::{Filter, Filters, LIMITS, REACH, WEIGHT_BITS};
pub use grid::GridModel;
pub(crate) use ranks::keys_of;
pub use ranks::{MOST_RANKS, Ranks};
pub use residual::{Residual, ordered, unordered};
pub use values::{FLOAT_LIMIT, NON_FINITE, ValueMap, unit_of};
pub use wavelet::{Coder, Precision, WaveletModel};

/// The model of a block, of any kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a file has a handful of them; a wavelet model is copied from block to block"
)]
pub enum BlockModel {
    /// One dense level at voxel resolution, stored as wavelet coefficients.
    Wavelet(WaveletModel),
    /// Feature grids and a network.
    Grid(GridModel),
}

impl BlockModel {
    /// Whether the first layer begins with a mask of non-finite voxels.
    pub fn mask(&self) -> bool {
        match self {
            Self::Wavelet(m) => m.mask,
            Self::Grid(m) => m.mask,
        }
    }

    /// What ends the last layer.
    pub fn residual(&self) -> Residual {
        match self {
            Self::Wavelet(m) => m.residual,
            Self::Grid(m) => m.residual,
        }
    }

    /// Kind and bytes of the record in the model section.
    pub fn record(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Wavelet(m) => (WaveletModel::KIND, m.to_bytes()),
            Self::Grid(m) => (GridModel::KIND, m.to_bytes()),
        }
    }
}
