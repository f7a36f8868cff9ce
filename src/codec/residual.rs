//! The residual of a block, a number for each voxel, given the decoded voxels
//! (specification, "Residual"). What the numbers mean is the caller's.
//!
//! Same machinery as a band: 4^3 zero groups, three parity passes, magnitude tokens, signs last.
//! Contexts see the residuals of earlier passes and the texture of the decoded block.

use super::contexts::{self, PASSES, pass_of};
use super::state::{Padded, refill};
use super::symbols::{Player, Recorder, SymbolCoder};
use super::tables::TableSet;
use crate::{Error, Result};

/// Codes `residual`, `[z][y][x]` over `dims`, given the decoded voxels. All zero = no bytes.
/// -2^31 stands for itself and for 2^31.
///
/// # Errors
/// [`Error::Corrupt`] never for sane input; the coder's own checks.
pub fn encode_residual(dims: [usize; 3], decoded: &[i32], residual: &[i32]) -> Result<Vec<u8>> {
    if residual.iter().all(|&r| r == 0) {
        return Ok(Vec::new());
    }
    let mut recorder = Recorder::new(TableSet::Wavelet)?;
    let mut walk = Walk::new(dims, decoded, residual);
    walk.run(&mut recorder)?;
    let negative: Vec<bool> = walk
        .signs
        .iter()
        .map(|&i| residual[i as usize] < 0)
        .collect();
    Ok(recorder.finish(&negative))
}

/// Decodes what [`encode_residual`] wrote; no bytes are no numbers, which stand for zeros.
///
/// # Errors
/// [`Error::Corrupt`] if the bytes break a rule.
pub fn decode_residual(dims: [usize; 3], decoded: &[i32], bytes: &[u8]) -> Result<Vec<i32>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut player = Player::new(bytes, TableSet::Wavelet)?;
    let mut walk = Walk::new(dims, decoded, &[]);
    walk.run(&mut player)?;
    let Walk {
        mut values, signs, ..
    } = walk;
    player.finish(signs.len(), |i| {
        let v = &mut values[signs[i] as usize];
        *v = v.wrapping_neg();
    })?;
    Ok(values)
}

/// Counts the symbols of a residual, to train tables.
#[doc(hidden)]
pub fn count_residual(
    dims: [usize; 3],
    decoded: &[i32],
    residual: &[i32],
) -> Result<super::symbols::Counter> {
    let mut counter = super::symbols::Counter::default();
    Walk::new(dims, decoded, residual).run(&mut counter)?;
    Ok(counter)
}

struct Walk<'a> {
    dims: [usize; 3],
    texture: Vec<u32>,
    texture_shift: u32,
    target: &'a [i32],
    /// Magnitudes as known so far, `[z][y][x]`.
    values: Vec<i32>,
    cells: Padded,
    magnitudes: Vec<u32>,
    groups: Padded,
    flags: Vec<u8>,
    signs: Vec<u32>,
}

impl<'a> Walk<'a> {
    fn new(dims: [usize; 3], decoded: &[i32], target: &'a [i32]) -> Self {
        let (cells, groups) = (Padded::new(dims), Padded::new(dims.map(|n| n.div_ceil(4))));
        let texture = texture(dims, decoded);
        let mean = texture.iter().map(|&t| u64::from(t)).sum::<u64>() / texture.len().max(1) as u64;
        let mut flags = Vec::new();
        refill(&mut flags, groups.len);
        Self {
            dims,
            texture_shift: (mean / 8).checked_ilog2().unwrap_or(0),
            texture,
            target,
            values: vec![0; dims.iter().product()],
            cells,
            magnitudes: vec![0; cells.len],
            groups,
            flags,
            signs: Vec::new(),
        }
    }

    fn place(&self, x: usize, y: usize, z: usize) -> usize {
        (z * self.dims[1] + y) * self.dims[0] + x
    }

    fn run<C: SymbolCoder>(&mut self, coder: &mut C) -> Result<()> {
        let mut base = 0;
        if C::ENCODES {
            let sum: u64 = self
                .target
                .iter()
                .map(|r| u64::from(r.unsigned_abs()))
                .sum();
            base = (sum / self.target.len().max(1) as u64 / 4)
                .checked_ilog2()
                .unwrap_or(0)
                .min(31);
        }
        let base = coder.raw(base, 5)?;
        coder.begin_band(contexts::variant(0));
        for pass in 0..PASSES {
            coder.restart();
            self.code_flags(coder, pass);
        }
        for pass in 0..PASSES {
            coder.restart();
            self.code_pass(coder, pass, base)?;
        }
        coder.end_band();
        Ok(())
    }

    fn code_flags<C: SymbolCoder>(&mut self, coder: &mut C, pass: usize) {
        let [gx, gy, gz] = self.dims.map(|n| n.div_ceil(4));
        for (z, y, x) in
            (0..gz).flat_map(|z| (0..gy).flat_map(move |y| (0..gx).map(move |x| (z, y, x))))
        {
            if pass_of(x, y, z) != pass {
                continue;
            }
            let at = self.groups.at(x, y, z);
            let (sy, sz) = (self.groups.stride_y, self.groups.stride_z);
            let near = [at - 1, at + 1, at - sy, at + sy, at - sz, at + sz];
            let neighbours = near.iter().map(|&j| u32::from(self.flags[j])).sum();
            let (mut texture, mut any) = (0, false);
            self.each_in_group([x, y, z], |i| {
                texture = texture.max(self.texture[i] >> self.texture_shift);
                any |= C::ENCODES && self.target[i] != 0;
            });
            self.flags[at] = coder
                .band_symbol(
                    contexts::residual_flag(pass, neighbours, texture),
                    u32::from(any),
                )
                .min(1) as u8;
        }
    }

    fn each_in_group(&self, [gx, gy, gz]: [usize; 3], mut f: impl FnMut(usize)) {
        let [w, h, d] = self.dims;
        for z in 4 * gz..d.min(4 * gz + 4) {
            for y in 4 * gy..h.min(4 * gy + 4) {
                for x in 4 * gx..w.min(4 * gx + 4) {
                    f(self.place(x, y, z));
                }
            }
        }
    }

    fn code_pass<C: SymbolCoder>(&mut self, coder: &mut C, pass: usize, base: u32) -> Result<()> {
        let [w, h, d] = self.dims;
        for z in 0..d {
            for y in 0..h {
                for x in 0..w {
                    let active = self.flags[self.groups.at(x / 4, y / 4, z / 4)] != 0;
                    if pass_of(x, y, z) == pass && active {
                        self.code_voxel(coder, pass, base, [x, y, z])?;
                    }
                }
            }
        }
        Ok(())
    }

    fn code_voxel<C: SymbolCoder>(
        &mut self,
        coder: &mut C,
        pass: usize,
        base: u32,
        [x, y, z]: [usize; 3],
    ) -> Result<()> {
        let (cell, place) = (self.cells.at(x, y, z), self.place(x, y, z));
        let neighbours = self.neighbours(pass, cell, [x, y, z]);
        let texture = self.texture[place] >> self.texture_shift;
        let context = contexts::residual(pass, neighbours, texture);
        let shift = if pass == 0 {
            base
        } else {
            contexts::residual_shift(neighbours)
        };
        let wanted = if C::ENCODES {
            self.target[place].unsigned_abs()
        } else {
            0
        };
        let magnitude = coder.magnitude(context, shift, wanted)?;
        if magnitude != 0 {
            if magnitude > 1 << 31 {
                return Err(Error::corrupt("residual", 0, "a value over 2^31"));
            }
            self.values[place] = magnitude as i32;
            self.magnitudes[cell] = magnitude.min(1 << 20);
            self.signs.push(place as u32);
        }
        Ok(())
    }

    /// Sum over the neighbours of earlier passes, weights 12 in all.
    fn neighbours(&self, pass: usize, cell: usize, [x, y, _]: [usize; 3]) -> u32 {
        let (sy, sz) = (self.cells.stride_y, self.cells.stride_z);
        let m = &self.magnitudes;
        match pass {
            0 => 0,
            1 => {
                let (a, b) = if x & 1 == 0 {
                    (sy, sz)
                } else if y & 1 == 0 {
                    (1, sz)
                } else {
                    (1, sy)
                };
                3 * (m[cell - a - b] + m[cell - a + b] + m[cell + a - b] + m[cell + a + b])
            }
            _ => {
                2 * (m[cell - 1]
                    + m[cell + 1]
                    + m[cell - sy]
                    + m[cell + sy]
                    + m[cell - sz]
                    + m[cell + sz])
            }
        }
    }
}

/// Sum of absolute differences to the face neighbours inside the block.
fn texture(dims: [usize; 3], v: &[i32]) -> Vec<u32> {
    let [w, h, d] = dims;
    let strides = [1, w, w * h];
    let mut out = vec![0u32; v.len()];
    for z in 0..d {
        for y in 0..h {
            for x in 0..w {
                let i = (z * h + y) * w + x;
                for (p, n, s) in [(x, w, strides[0]), (y, h, strides[1]), (z, d, strides[2])] {
                    if p + 1 < n {
                        let difference = v[i].abs_diff(v[i + s]);
                        out[i] = out[i].saturating_add(difference);
                        out[i + s] = out[i + s].saturating_add(difference);
                    }
                }
            }
        }
    }
    out
}
