//! What the contexts of coder M look at: the coefficient indices of a block by band, with room
//! around them (specification, "Cells").

use super::super::bands::{Band, BlockShape};
use super::super::state::{Coefficient, refill};

/// Cells before and after the coefficients on each axis.
const PAD: usize = 2;
/// Indices are known to their neighbours up to here.
pub(super) const TOP: i32 = 255;

/// A padded box of cells, x fastest.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Room {
    pub(super) strides: [usize; 3],
    len: usize,
}

impl Room {
    fn new(dims: [usize; 3]) -> Self {
        let [x, y, z] = dims.map(|n| n + 2 * PAD);
        Self {
            strides: [1, x, x * y],
            len: x * y * z,
        }
    }

    #[inline(always)]
    pub(super) fn at(&self, x: usize, y: usize, z: usize) -> usize {
        (z + PAD) * self.strides[2] + (y + PAD) * self.strides[1] + x + PAD
    }
}

/// The seven bands of a split.
#[derive(Debug, Clone, Default)]
pub(super) struct Scale {
    pub(super) cells: Room,
    pub(super) groups: Room,
    /// `clamp(k, -255, 255)` by band.
    pub(super) bands: [Vec<i16>; 8],
    /// 1 where a 4^3 group has an index that is not zero, by band.
    pub(super) flags: [Vec<u8>; 8],
    /// Sum of magnitudes over the bands so far.
    pub(super) sums: Vec<u16>,
}

impl Scale {
    /// All zero.
    pub(super) fn clear(&mut self, low: [usize; 3]) {
        self.cells = Room::new(low);
        self.groups = Room::new(low.map(|n| n.div_ceil(4)));
        for cells in &mut self.bands[1..] {
            refill(cells, self.cells.len);
        }
        for flags in &mut self.flags[1..] {
            refill(flags, self.groups.len);
        }
        refill(&mut self.sums, self.cells.len);
    }

    /// Takes the indices of a band, times `factor`.
    pub(super) fn load<E: Coefficient>(
        &mut self,
        shape: &BlockShape,
        band: &Band,
        indices: &[E],
        factor: i32,
    ) {
        let [w, h, d] = band.dims;
        for z in 0..d {
            for y in 0..h {
                let row = shape.place(band, [0, y, z]);
                let at = self.cells.at(0, y, z);
                for (x, &k) in indices[row..row + w].iter().enumerate() {
                    let k: i32 = k.into();
                    if k != 0 {
                        self.bands[band.index][at + x] = seen(k.saturating_mul(factor));
                        let group = self.groups.at(x / 4, y / 4, z / 4);
                        self.flags[band.index][group] = 1;
                    }
                }
            }
        }
    }

    /// Counts a band among those that the next ones look at.
    pub(super) fn add(&mut self, index: usize) {
        for (sum, &k) in self.sums.iter_mut().zip(&self.bands[index]) {
            *sum += k.unsigned_abs();
        }
    }

    /// Whether any index of a band is not zero.
    pub(super) fn any(&self, index: usize) -> bool {
        self.flags[index].contains(&1)
    }
}

/// An index as its neighbours see it.
#[inline(always)]
pub(super) fn seen(k: i32) -> i16 {
    k.clamp(-TOP, TOP) as i16
}
