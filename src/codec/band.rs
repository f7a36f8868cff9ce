//! The symbols of one band: group flags, then coefficients in three parity passes
//! (specification, "A band").

use super::bands::{Band, BlockShape};
use super::contexts::{self, Around, PASSES, pass_of};
use super::state::{Coefficient, Padded, Scale};
use super::symbols::SymbolCoder;
use crate::{Error, Result};

/// Everything that the symbols of one band look at.
pub(super) struct BandWalk<'a, E> {
    pub(super) shape: &'a BlockShape,
    pub(super) band: &'a Band,
    pub(super) refines: bool,
    pub(super) scale: &'a mut Scale,
    /// Parent activity; empty if there is no parent.
    pub(super) parents: &'a [u16],
    pub(super) parent_cells: Padded,
    pub(super) target: &'a [E],
}

impl<E: Coefficient> BandWalk<'_, E> {
    /// Codes which 4^3 groups are active, by parity of the group; lists the active ones in raster
    /// order.
    pub(super) fn code_flags<C: SymbolCoder>(&mut self, coder: &mut C, active: &mut Vec<[u16; 3]>) {
        let groups = self.band.dims.map(|n| n.div_ceil(4));
        for pass in 0..PASSES {
            coder.restart();
            each(groups, |[x, y, z]| {
                let at = self.scale.groups.at(x, y, z);
                if pass_of(x, y, z) != pass || self.scale.flags[self.band.index][at] != 0 {
                    return;
                }
                let context = self.flag_context(pass, [x, y, z], at);
                let any = C::ENCODES && self.group_has_any([x, y, z]);
                self.scale.flags[self.band.index][at] =
                    coder.band_symbol(context, u32::from(any)).min(1) as u8;
            });
        }
        active.clear();
        each(groups, |[x, y, z]| {
            if self.scale.flags[self.band.index][self.scale.groups.at(x, y, z)] != 0 {
                active.push([x as u16, y as u16, z as u16]);
            }
        });
    }

    fn flag_context(&self, pass: usize, [x, y, z]: [usize; 3], at: usize) -> usize {
        let (sy, sz) = (self.scale.groups.stride_y, self.scale.groups.stride_z);
        let flags = &self.scale.flags[self.band.index];
        let neighbours = [at - 1, at + 1, at - sy, at + sy, at - sz, at + sz]
            .iter()
            .map(|&j| u32::from(flags[j]))
            .sum();
        let mut parents = 0;
        if !self.parents.is_empty() {
            for (dx, dy, dz) in CORNERS {
                let (px, py, pz) = (2 * x + dx, 2 * y + dy, 2 * z + dz);
                parents += u32::from(self.parents[self.parent_cells.at(px, py, pz)]);
            }
            parents = parents.div_ceil(8);
        }
        let cousins = u32::from(self.scale.cousin_flags[at]);
        contexts::group_flag(
            self.band.depth,
            self.refines,
            pass,
            parents,
            neighbours,
            cousins,
        )
    }

    fn group_has_any(&self, [gx, gy, gz]: [usize; 3]) -> bool {
        let [w, h, d] = self.band.dims;
        (4 * gz..d.min(4 * gz + 4)).any(|z| {
            (4 * gy..h.min(4 * gy + 4)).any(|y| {
                let row = &self.target[self.shape.place(self.band, [4 * gx, y, z])..];
                match row.first_chunk::<4>() {
                    Some(four) if 4 * gx + 4 <= w => *four != [E::default(); 4],
                    _ => row[..4.min(w - 4 * gx)].iter().any(|&k| k.into() != 0),
                }
            })
        })
    }

    pub(super) fn code_coefficients<C: SymbolCoder>(
        &mut self,
        coder: &mut C,
        active: &[[u16; 3]],
        indices: &mut [E],
        signs: &mut Vec<u32>,
    ) -> Result<()> {
        let mut magnitudes = std::mem::take(&mut self.scale.magnitudes[self.band.index]);
        let cells = &mut magnitudes[..];
        coder.restart();
        let mut result = self.code_pass::<C, 0>(coder, active, cells, indices, signs);
        coder.restart();
        result = result.and_then(|()| self.code_pass::<C, 1>(coder, active, cells, indices, signs));
        coder.restart();
        result = result.and_then(|()| self.code_pass::<C, 2>(coder, active, cells, indices, signs));
        self.scale.magnitudes[self.band.index] = magnitudes;
        result
    }

    /// Where the places of a pass lie, relative to the first coefficient of their group.
    fn spots<const PASS: usize>(&self) -> [Spot; 32] {
        let (cells, parents, [nx, ny, _]) = (self.scale.cells, self.parent_cells, self.shape.dims);
        let mut spots = [Spot::default(); 32];
        for (spot, &(x, y, z)) in spots.iter_mut().zip(PASS_PLACES[PASS]) {
            let at = [x, y, z].map(usize::from);
            let [x, y, z] = at;
            let (sy, sz) = (cells.stride_y, cells.stride_z);
            *spot = Spot {
                at,
                cell: z * sz + y * sy + x,
                place: (z * ny + y) * nx + x,
                parent: z / 2 * parents.stride_z + y / 2 * parents.stride_y + x / 2,
                plane: if x & 1 == 0 {
                    [sy, sz]
                } else if y & 1 == 0 {
                    [1, sz]
                } else {
                    [1, sy]
                },
            };
        }
        spots
    }

    /// One parity pass over the active groups, in raster order of groups and inside them.
    /// `magnitudes` are the cells of the band.
    #[inline(always)]
    fn code_pass<C: SymbolCoder, const PASS: usize>(
        &mut self,
        coder: &mut C,
        active: &[[u16; 3]],
        magnitudes: &mut [u8],
        indices: &mut [E],
        signs: &mut Vec<u32>,
    ) -> Result<()> {
        let [w, h, d] = self.band.dims;
        let spots = self.spots::<PASS>();
        let table = contexts::coefficients(self.band.index, self.band.depth, PASS, self.refines);
        for group in active {
            let [gx, gy, gz] = group.map(|g| 4 * usize::from(g));
            let whole = gx + 4 <= w && gy + 4 <= h && gz + 4 <= d;
            let first = (
                self.scale.cells.at(gx, gy, gz),
                self.shape.place(self.band, [gx, gy, gz]),
                self.parent_cells.at(gx / 2, gy / 2, gz / 2),
            );
            for spot in &spots[..PASS_PLACES[PASS].len()] {
                let [x, y, z] = spot.at;
                if whole || (gx + x < w && gy + y < h && gz + z < d) {
                    let cell = first.0 + spot.cell;
                    let around =
                        self.around::<PASS>(magnitudes, cell, first.2 + spot.parent, spot.plane);
                    let place = first.1 + spot.place;
                    magnitudes[cell] = self.code_coefficient::<C, PASS>(
                        coder, table, &around, place, indices, signs,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Codes the coefficient at `place`; returns its magnitude as its neighbours will see it.
    #[inline(always)]
    fn code_coefficient<C: SymbolCoder, const PASS: usize>(
        &self,
        coder: &mut C,
        table: usize,
        around: &Around,
        place: usize,
        indices: &mut [E],
        signs: &mut Vec<u32>,
    ) -> Result<u8> {
        let blind = PASS == 0 && !self.refines;
        let before: i32 = if self.refines {
            indices[place].into()
        } else {
            0
        };
        let wanted: i32 = if C::ENCODES {
            self.target[place].into()
        } else {
            0
        };
        let magnitude = if before == 0 {
            let magnitude = coder.magnitude(
                around.coefficient(table, blind),
                around.shift(blind),
                wanted.unsigned_abs(),
            )?;
            if magnitude == 0 {
                return Ok(0);
            }
            signs.push(place as u32);
            indices[place] = E::saturate(i64::from(magnitude));
            magnitude
        } else {
            self.refine::<C>(
                coder,
                around.refinement(before.unsigned_abs(), PASS),
                before,
                wanted,
                &mut indices[place],
            )?
        };
        Ok(magnitude.min(255) as u8)
    }

    /// Four times the magnitude before, and -4..=4.
    fn refine<C: SymbolCoder>(
        &self,
        coder: &mut C,
        context: usize,
        before: i32,
        wanted: i32,
        index: &mut E,
    ) -> Result<u32> {
        let base = 4 * i64::from(before).abs();
        let sign = i64::from(before.signum());
        let delta = i64::from(wanted) * sign - base;
        if C::ENCODES && !(-4..=4).contains(&delta) {
            return Err(Error::corrupt(
                "layer",
                0,
                format!("refinement by {delta}, -4..=4 is allowed"),
            ));
        }
        let symbol = coder.band_symbol(context, (delta + 4) as u32);
        let magnitude = (base + i64::from(symbol) - 4).max(0);
        *index = E::saturate(sign * magnitude);
        Ok(magnitude.min(i64::from(u32::MAX)) as u32)
    }

    /// What is known around a cell. `plane` = strides of the plane in which the diagonals of a
    /// place with exactly one even coordinate lie.
    #[inline(always)]
    fn around<const PASS: usize>(
        &self,
        m: &[u8],
        cell: usize,
        parent: usize,
        [a, b]: [usize; 2],
    ) -> Around {
        let (sy, sz) = (self.scale.cells.stride_y, self.scale.cells.stride_z);
        let neighbours = match (PASS, self.refines) {
            (0, false) => 0,
            (1, refines) => {
                let edges = sum_at(m, [cell - a - b, cell - a + b, cell + a - b, cell + a + b]);
                if refines {
                    2 * edges + sum_at(m, faces(cell, sy, sz))
                } else {
                    3 * edges
                }
            }
            _ => 2 * sum_at(m, faces(cell, sy, sz)),
        };
        let cousins = (u32::from(self.scale.cousins[cell]) * COUSIN_WEIGHT[self.band.index]) >> 4;
        let parent = if self.parents.is_empty() {
            0
        } else {
            u32::from(self.parents[parent])
        };
        Around {
            neighbours,
            parent,
            cousins,
        }
    }

    pub(super) fn add_to_cousins(&mut self) {
        let index = self.band.index;
        for (sum, &m) in self
            .scale
            .cousins
            .iter_mut()
            .zip(&self.scale.magnitudes[index])
        {
            *sum += u16::from(m);
        }
        for (sum, &f) in self
            .scale
            .cousin_flags
            .iter_mut()
            .zip(&self.scale.flags[index])
        {
            *sum += f;
        }
    }
}

/// A place of a group, relative to the group's first coefficient.
#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    /// x, y, z in the group.
    at: [usize; 3],
    /// Offset in the padded cells of the band, in the block's box, in the padded parent band.
    cell: usize,
    place: usize,
    parent: usize,
    /// Strides of the axes other than the first even one.
    plane: [usize; 2],
}

#[inline(always)]
fn faces(cell: usize, sy: usize, sz: usize) -> [usize; 6] {
    [
        cell - 1,
        cell + 1,
        cell - sy,
        cell + sy,
        cell - sz,
        cell + sz,
    ]
}

#[inline(always)]
fn sum_at<const N: usize>(m: &[u8], at: [usize; N]) -> u32 {
    at.iter().fold(0, |sum, &i| sum + u32::from(m[i]))
}

/// `128 / (bands before)`: turns a sum over the cousins into eight times their mean.
pub(super) const COUSIN_WEIGHT: [u32; 8] = [0, 0, 128, 64, 43, 32, 26, 21];

const CORNERS: [(usize, usize, usize); 8] = [
    (0, 0, 0),
    (1, 0, 0),
    (0, 1, 0),
    (1, 1, 0),
    (0, 0, 1),
    (1, 0, 1),
    (0, 1, 1),
    (1, 1, 1),
];

/// Calls `f` for every x, y, z of a box in raster order.
fn each([w, h, d]: [usize; 3], mut f: impl FnMut([usize; 3])) {
    for z in 0..d {
        for y in 0..h {
            for x in 0..w {
                f([x, y, z]);
            }
        }
    }
}

/// Places of each pass inside a 4^3 group, raster order.
static PASS_PLACES: [&[(u8, u8, u8)]; PASSES] =
    [&places::<8>(0), &places::<24>(1), &places::<32>(2)];

const fn places<const N: usize>(pass: usize) -> [(u8, u8, u8); N] {
    let (mut out, mut n, mut i) = ([(0, 0, 0); N], 0, 0);
    while i < 64 {
        let (x, y, z) = (i & 3, i >> 2 & 3, i >> 4);
        if pass_of(x, y, z) == pass {
            out[n] = (x as u8, y as u8, z as u8);
            n += 1;
        }
        i += 1;
    }
    out
}
