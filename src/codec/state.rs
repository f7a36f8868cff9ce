//! What is known of a block's coefficients between layers.

use super::bands::{Band, BlockShape};
use super::mixing::MixingState;

/// Integer that holds a coefficient index and, later, a working value.
pub trait Coefficient:
    Copy + Default + PartialEq + Send + Sync + std::fmt::Debug + Into<i32> + 'static
{
    /// Largest value.
    const MAX: i32;
    /// The nearest value that fits.
    fn saturate(value: i64) -> Self;
    /// The nearest value that fits. Keeps loops over 16-bit values in 32 bits.
    fn saturate_i32(value: i32) -> Self;
}

impl Coefficient for i16 {
    const MAX: i32 = Self::MAX as i32;
    #[inline(always)]
    fn saturate(value: i64) -> Self {
        value.clamp(i64::from(Self::MIN), i64::from(Self::MAX)) as Self
    }
    #[inline(always)]
    fn saturate_i32(value: i32) -> Self {
        value.clamp(i32::from(Self::MIN), i32::from(Self::MAX)) as Self
    }
}

impl Coefficient for i32 {
    const MAX: i32 = Self::MAX;
    #[inline(always)]
    fn saturate(value: i64) -> Self {
        value.clamp(i64::from(Self::MIN), i64::from(Self::MAX)) as Self
    }
    #[inline(always)]
    fn saturate_i32(value: i32) -> Self {
        value
    }
}

/// Cells before and after the coefficients on each axis of a padded array. Two after, because the
/// neighbours of the parent of the last coefficient may lie one further than the parent band.
const PAD_BEFORE: usize = 1;
const PAD: usize = 3;

/// A padded box of cells, x fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Padded {
    pub(crate) stride_y: usize,
    pub(crate) stride_z: usize,
    pub(crate) len: usize,
}

impl Padded {
    pub(crate) fn new(dims: [usize; 3]) -> Self {
        let [x, y, z] = dims.map(|n| n + PAD);
        Self {
            stride_y: x,
            stride_z: x * y,
            len: x * y * z,
        }
    }

    #[inline(always)]
    pub(crate) fn at(&self, x: usize, y: usize, z: usize) -> usize {
        (z + PAD_BEFORE) * self.stride_z + (y + PAD_BEFORE) * self.stride_y + x + PAD_BEFORE
    }
}

/// Magnitudes and flags of the seven bands of one split.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scale {
    pub(crate) cells: Padded,
    pub(crate) groups: Padded,
    /// `min(|k|, 255)` by band.
    pub(crate) magnitudes: [Vec<u8>; 8],
    /// 1 where a 4^3 group has a coefficient that is not zero, by band.
    pub(crate) flags: [Vec<u8>; 8],
    pub(crate) nonempty: [bool; 8],
    /// Sum of the magnitudes of the bands of this split decoded so far in this layer.
    pub(crate) cousins: Vec<u16>,
    /// Number of bands of this split, decoded so far in this layer, with an active group.
    pub(crate) cousin_flags: Vec<u8>,
    /// Quality index reached, -1 = none.
    pub(crate) quality: i8,
}

impl Scale {
    fn reset(&mut self, low: [usize; 3]) {
        self.cells = Padded::new(low);
        self.groups = Padded::new(low.map(|n| n.div_ceil(4)));
        for v in &mut self.magnitudes[1..] {
            refill(v, self.cells.len);
        }
        for v in &mut self.flags[1..] {
            refill(v, self.groups.len);
        }
        self.nonempty = [false; 8];
        self.quality = -1;
    }

    /// Forgets the sums over cousins at the start of a layer.
    pub(crate) fn clear_cousins(&mut self) {
        refill(&mut self.cousins, self.cells.len);
        refill(&mut self.cousin_flags, self.groups.len);
    }
}

/// `len` defaults in a vector that keeps its memory.
pub(crate) fn refill<T: Clone + Default>(v: &mut Vec<T>, len: usize) {
    v.clear();
    v.resize(len, T::default());
}

/// Coefficient indices of a block, and the context of the next layer. Reusable from block to block.
#[derive(Debug, Clone, Default)]
pub struct CoefficientState<E> {
    pub(crate) shape: Option<BlockShape>,
    /// Coefficient indices in the block's box, bands nested, `[z][y][x]`.
    pub(crate) indices: Vec<E>,
    pub(crate) scales: Vec<Scale>,
    /// Quality index of the coarsest band, -1 = none.
    pub(crate) coarsest_quality: i8,
    /// Parent activity of the band being coded.
    pub(crate) parents: Vec<u16>,
    /// Places whose signs follow, in decoding order.
    pub(crate) signs: Vec<u32>,
    /// Active groups of the band being coded.
    pub(crate) active: Vec<[u16; 3]>,
    /// What coder M knows of the block.
    pub(crate) mixing: MixingState,
}

impl<E: Coefficient> CoefficientState<E> {
    /// An empty state; [`Self::reset`] gives it a block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything and takes the shape of the next block.
    pub fn reset(&mut self, shape: BlockShape) {
        refill(&mut self.indices, shape.voxels());
        self.scales.resize_with(shape.depth, Scale::default);
        for (depth, scale) in self.scales.iter_mut().enumerate() {
            scale.reset(shape.dims_at(depth + 1));
        }
        self.coarsest_quality = -1;
        self.mixing.reset();
        self.shape = Some(shape);
    }

    /// Coefficient indices, `[z][y][x]`, bands nested.
    pub fn indices(&self) -> &[E] {
        &self.indices
    }

    /// Takes the coefficient indices out, to turn them into working values in place.
    pub fn indices_mut(&mut self) -> &mut Vec<E> {
        &mut self.indices
    }

    /// Whether the band has any coefficient that is not zero.
    pub fn band_is_zero(&self, band: &Band) -> bool {
        band.index != 0
            && self
                .scales
                .get(band.depth)
                .is_none_or(|s| !s.nonempty[band.index & 7])
    }

    /// Fills `parents` with the activity of the band one scale coarser: twice the magnitude plus
    /// the six face neighbours. Zero where there is no such band.
    pub(crate) fn load_parents(&mut self, depth: usize, index: usize) -> Padded {
        let Some(scale) = self.scales.get(depth + 1) else {
            return Padded::default();
        };
        if !scale.nonempty[index] {
            return Padded::default();
        }
        let (cells, m) = (scale.cells, &scale.magnitudes[index]);
        refill(&mut self.parents, cells.len);
        let (sy, sz) = (cells.stride_y, cells.stride_z);
        // The first and the last plane are padding. Slices of equal length keep the loop free of
        // checks.
        let n = cells.len - 2 * sz;
        let from = |at: usize| &m[at..at + n];
        let (centre, faces) = (
            from(sz),
            [sz - 1, sz + 1, sz - sy, sz + sy, 0, 2 * sz].map(from),
        );
        for (i, p) in self.parents[sz..sz + n].iter_mut().enumerate() {
            *p = faces
                .iter()
                .fold(2 * u16::from(centre[i]), |sum, f| sum + u16::from(f[i]));
        }
        cells
    }
}
