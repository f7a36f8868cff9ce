//! The weights of a dense level: group flags, then weights, each in three parity passes.

use super::super::contexts::{PASSES, pass_of};
use super::super::state::Padded;
use super::super::symbols::SymbolCoder;
use super::contexts::{self, Around};
use super::parents::LIMIT;
use crate::Result;

/// Side of a group.
const GROUP: usize = 4;

/// What the symbols of a level look at.
pub(super) struct Walk<'a> {
    lattice: [usize; 3],
    class: usize,
    parents: &'a [u16],
    cells: Padded,
    /// Weights known so far, held between `-LIMIT` and `LIMIT`.
    near: Vec<i16>,
    groups: Padded,
    flags: Vec<u8>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(lattice: [usize; 3], class: usize, parents: &'a [u16]) -> Self {
        let cells = Padded::new(lattice);
        let groups = Padded::new(lattice.map(|n| n.div_ceil(GROUP)));
        Self {
            lattice,
            class,
            parents,
            near: vec![0; cells.len],
            cells,
            flags: vec![0; groups.len],
            groups,
        }
    }

    /// Codes all weights, `[z][y][x]` over the lattice. `sign` takes the places of the signs that
    /// end the layer.
    pub(super) fn run<C: SymbolCoder>(
        mut self,
        coder: &mut C,
        weights: &mut [i32],
        sign: &mut impl FnMut(usize),
    ) -> Result<()> {
        let active = self.code_flags(coder, weights);
        self.code_pass::<C, 0>(coder, &active, weights, sign)?;
        self.code_pass::<C, 1>(coder, &active, weights, sign)?;
        self.code_pass::<C, 2>(coder, &active, weights, sign)
    }

    /// Codes which groups are active; returns them in raster order.
    fn code_flags<C: SymbolCoder>(&mut self, coder: &mut C, weights: &[i32]) -> Vec<[usize; 3]> {
        let all = each(self.lattice.map(|n| n.div_ceil(GROUP)));
        for pass in 0..PASSES {
            coder.restart();
            for &[x, y, z] in all.iter().filter(|g| pass_of(g[0], g[1], g[2]) == pass) {
                let (at, neighbours) = self.known_flags([x, y, z]);
                let rows = self.rows([x, y, z]);
                let parents = self.parents;
                let active = |row: std::ops::Range<usize>| {
                    parents[row].iter().filter(|&&p| p > 0).count() as u32
                };
                let parents = rows.clone().map(active).sum();
                let any = C::ENCODES && rows.flatten().any(|i| weights[i] != 0);
                let context = contexts::flag(self.class, pass, parents, neighbours);
                self.flags[at] = coder.band_symbol(context, u32::from(any)).min(1) as u8;
            }
        }
        let active = |&[x, y, z]: &[usize; 3]| self.flags[self.groups.at(x, y, z)] != 0;
        all.into_iter().filter(active).collect()
    }

    fn known_flags(&self, [x, y, z]: [usize; 3]) -> (usize, u32) {
        let (at, sy, sz) = (
            self.groups.at(x, y, z),
            self.groups.stride_y,
            self.groups.stride_z,
        );
        let faces = [at - 1, at + 1, at - sy, at + sy, at - sz, at + sz];
        (at, faces.iter().map(|&i| u32::from(self.flags[i])).sum())
    }

    /// Index ranges of the rows of a group.
    fn rows(
        &self,
        group: [usize; 3],
    ) -> impl Iterator<Item = std::ops::Range<usize>> + Clone + use<> {
        let [nx, ny, nz] = self.lattice;
        let [x, y, z] = group.map(|g| g * GROUP);
        (z..nz.min(z + GROUP)).flat_map(move |z| {
            (y..ny.min(y + GROUP)).map(move |y| {
                let row = (z * ny + y) * nx;
                row + x..row + nx.min(x + GROUP)
            })
        })
    }

    fn code_pass<C: SymbolCoder, const PASS: usize>(
        &mut self,
        coder: &mut C,
        active: &[[usize; 3]],
        weights: &mut [i32],
        sign: &mut impl FnMut(usize),
    ) -> Result<()> {
        coder.restart();
        let [nx, ny, nz] = self.lattice;
        for group in active {
            let [gx, gy, gz] = group.map(|g| g * GROUP);
            for z in gz..nz.min(gz + GROUP) {
                for y in gy..ny.min(gy + GROUP) {
                    // Passes 0 and 1 have an even number of odd coordinates, pass 2 an odd one.
                    let odd = (y + z + usize::from(PASS == 2)) % 2;
                    if PASS == 0 && (y | z) & 1 != 0 || PASS == 1 && (y | z) & 1 == 0 {
                        continue;
                    }
                    for x in (gx + odd..nx.min(gx + GROUP)).step_by(2) {
                        let i = (z * ny + y) * nx + x;
                        self.code_weight::<C, PASS>(coder, [x, y, z], i, &mut weights[i], sign)?;
                    }
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn code_weight<C: SymbolCoder, const PASS: usize>(
        &mut self,
        coder: &mut C,
        [x, y, z]: [usize; 3],
        index: usize,
        weight: &mut i32,
        sign: &mut impl FnMut(usize),
    ) -> Result<()> {
        let cell = self.cells.at(x, y, z);
        let (activity, pull) = sums::<PASS>(&self.near, &self.cells, cell, [x, y, z]);
        let around = Around {
            activity,
            pull,
            parents: u32::from(self.parents[index]),
        };
        let context = around.magnitude(contexts::magnitudes(self.class, PASS));
        let magnitude = coder.magnitude(context, around.shift(PASS), weight.unsigned_abs())?;
        if magnitude == 0 {
            return Ok(());
        }
        let mut negative = C::ENCODES && *weight < 0;
        if PASS == 2 && pull == 0 {
            // Nothing depends on this sign.
            sign(index);
        } else {
            let context = around.sign(self.class, PASS, magnitude > 1);
            let flipped = coder.band_symbol(context, u32::from(negative ^ (pull < 0))) != 0;
            negative = flipped ^ (pull < 0);
        }
        let clipped = magnitude.min(LIMIT.unsigned_abs()) as i16;
        self.near[cell] = if negative { -clipped } else { clipped };
        if !C::ENCODES {
            let magnitude = magnitude.min(i32::MAX as u32) as i32;
            *weight = if negative { -magnitude } else { magnitude };
        }
        Ok(())
    }
}

/// Sums over the neighbours of earlier passes: magnitudes, and values; weights 12 in all.
#[inline(always)]
pub(super) fn sums<const PASS: usize>(
    near: &[i16],
    cells: &Padded,
    at: usize,
    [x, y, z]: [usize; 3],
) -> (u32, i32) {
    let (sy, sz) = (cells.stride_y, cells.stride_z);
    let mut activity = 0;
    let mut pull = 0;
    let mut add = |i: usize| {
        activity += u32::from(near[i].unsigned_abs());
        pull += i32::from(near[i]);
    };
    match PASS {
        0 => {}
        1 => {
            let (a, b) = match (x & 1, y & 1, z & 1) {
                (0, _, _) => (sy, sz),
                (_, 0, _) => (1, sz),
                _ => (1, sy),
            };
            [at - a - b, at - a + b, at + a - b, at + a + b]
                .into_iter()
                .for_each(&mut add);
        }
        _ => {
            [at - 1, at + 1, at - sy, at + sy, at - sz, at + sz]
                .into_iter()
                .for_each(&mut add);
        }
    }
    let weight = if PASS == 1 { 3 } else { 2 };
    (activity * weight, pull * weight as i32)
}

/// All places of a box, x fastest.
fn each([nx, ny, nz]: [usize; 3]) -> Vec<[usize; 3]> {
    (0..nx * ny * nz)
        .map(|i| [i % nx, i / nx % ny, i / (nx * ny)])
        .collect()
}
