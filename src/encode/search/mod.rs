//! Indices that minimise squared error plus lambda times bits.
//!
//! Coefficients are chosen one at a time, each for what the block then costs as a whole; groups
//! and bands are also tried without any. Errors of coefficients add up: the bands' steps make
//! them equal in the value domain.

mod field;

use crate::Result;
use crate::codec::bands::BlockShape;
use crate::codec::{Coefficient, Quantiser};
use field::{Field, each};

pub(crate) struct Effort {
    pub(crate) lambda: f32,
    pub(crate) sweeps: usize,
    pub(crate) group: u8,
    pub(crate) thr: f32,
}

pub(crate) fn effort() -> &'static Effort {
    static E: std::sync::OnceLock<Effort> = std::sync::OnceLock::new();
    E.get_or_init(|| {
        let v = |n: &str, d: f32| std::env::var(n).ok().and_then(|s| s.parse().ok()).unwrap_or(d);
        Effort {
            lambda: v("RDO_LAMBDA", 0.1155),
            sweeps: v("RDO_SWEEPS", 2.0) as usize,
            group: v("RDO_GROUP", 6.0) as u8,
            thr: v("RDO_THR", 0.5),
        }
    })
}

/// A search in one block, from quality to quality.
pub(crate) struct Search<'a> {
    coefficients: &'a [f32],
    field: Field,
    pulls: [f32; 2],
    effort: &'a Effort,
}

/// A coefficient that may be anything but zero.
#[derive(Clone, Copy)]
struct Candidate {
    b: usize,
    at: [usize; 3],
    cell: usize,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        coefficients: &'a [f32],
        shape: BlockShape,
        pulls: [u8; 2],
        effort: &'a Effort,
    ) -> Result<Self> {
        Ok(Self {
            coefficients,
            field: Field::new(shape)?,
            pulls: pulls.map(|p| f32::from(p) / 256.0),
            effort,
        })
    }

    /// Improves the indices of the next quality.
    pub(crate) fn run<E: Coefficient>(
        &mut self,
        quantiser: &Quantiser,
        first: bool,
        indices: &mut [E],
    ) -> Result<()> {
        if !first {
            self.field.advance()?;
        }
        self.load(quantiser, indices);
        self.field.recount();
        let candidates: Vec<_> = (0..self.field.bands.len())
            .rev()
            .map(|b| self.candidates(b))
            .collect();
        for _ in 0..self.effort.sweeps {
            // Coarse to fine, as they are coded.
            for depth in (0..self.field.shape.depth).rev() {
                for index in 1..8 {
                    let b = field::id(depth, index);
                    self.field.choose_variant(b);
                    self.sweep(&candidates[self.field.bands.len() - 1 - b]);
                }
            }
        }
        self.store(indices);
        Ok(())
    }

    fn place(&self, b: usize, [x, y, z]: [usize; 3]) -> usize {
        let ([nx, ny, _], [ox, oy, oz]) = (self.field.shape.dims, self.field.bands[b].band.origin);
        ((z + oz) * ny + y + oy) * nx + x + ox
    }

    fn load<E: Coefficient>(&mut self, quantiser: &Quantiser, indices: &mut [E]) {
        for b in 0..self.field.bands.len() {
            let band = self.field.bands[b].band;
            if band.is_empty() {
                continue;
            }
            let cells = self.field.sizes[band.depth].0;
            let inverse = 256.0 / quantiser.step(&self.field.shape, &band) as f32;
            each(band.dims, |[x, y, z]| {
                let place = self.place(b, [x, y, z]);
                let cell = &mut self.field.bands[b].cells[cells.at(x, y, z)];
                let c = self.coefficients[place] * inverse;
                let k: i32 = indices[place].into();
                let mut k = k.unsigned_abs();
                if cell.before > 0 {
                    k = k.clamp(4 * cell.before - 4, 4 * cell.before + 4);
                }
                cell.negative = c < 0.0;
                cell.target = c.abs();
                cell.magnitude = k;
            });
        }
    }

    fn store<E: Coefficient>(&self, indices: &mut [E]) {
        for b in 0..self.field.bands.len() {
            let band = self.field.bands[b].band;
            if band.is_empty() {
                continue;
            }
            let cells = self.field.sizes[band.depth].0;
            each(band.dims, |[x, y, z]| {
                let cell = &self.field.bands[b].cells[cells.at(x, y, z)];
                let k = i64::from(cell.magnitude);
                indices[self.place(b, [x, y, z])] = E::saturate(if cell.negative { -k } else { k });
            });
        }
    }

    /// By group.
    fn candidates(&self, b: usize) -> Vec<Vec<Candidate>> {
        let cells = self.field.sizes[self.field.bands[b].band.depth].0;
        let mut all = Vec::new();
        each(self.field.groups_of(b), |g| {
            let mut of_group = Vec::new();
            let [xs, ys, zs] = self.field.places(b, g);
            for z in zs {
                for y in ys.clone() {
                    for x in xs.clone() {
                        let cell = cells.at(x, y, z);
                        let c = &self.field.bands[b].cells[cell];
                        if c.magnitude > 0 || c.before > 0 || c.target > self.effort.thr {
                            of_group.push(Candidate { b, at: [x, y, z], cell });
                        }
                    }
                }
            }
            if !of_group.is_empty() {
                all.push(of_group);
            }
        });
        all
    }

    /// Squared error, in squares of the step.
    fn error(&self, target: f32, magnitude: u32) -> f32 {
        let value = match magnitude {
            0 => 0.0,
            1 => 1.0 - self.pulls[0],
            k => k as f32 - self.pulls[1],
        };
        (target - value) * (target - value)
    }

    fn sweep(&mut self, groups: &[Vec<Candidate>]) {
        for group in groups {
            for c in group {
                self.choose(*c);
            }
            self.try_zero(group);
        }
    }

    fn choose(&mut self, c: Candidate) {
        let cell = self.field.bands[c.b].cells[c.cell];
        if cell.target > 1000.0 {
            return;
        }
        let (lowest, highest) = if cell.before > 0 {
            (4 * cell.before - 4, 4 * cell.before + 4)
        } else {
            (0, u32::MAX)
        };
        let nearest = (cell.target + 0.5 + self.pulls[1]).max(0.0) as u32;
        let nearest = nearest.clamp(lowest, highest);
        let below = nearest.saturating_sub(1).max(lowest);
        let none = if nearest < 4 { lowest } else { below };
        let mut best = cell.magnitude;
        for k in [nearest, below, none] {
            let now = self.field.bands[c.b].cells[c.cell].magnitude;
            if k == now {
                continue;
            }
            let worse = self.error(cell.target, k) - self.error(cell.target, now);
            if worse > 24.0 * self.effort.lambda {
                continue;
            }
            let bits = self.field.set(c.b, c.at, k);
            if worse + self.effort.lambda * bits < 0.0 {
                best = k;
            } else {
                self.field.set(c.b, c.at, best);
            }
        }
    }

    /// All of a group at once.
    fn try_zero(&mut self, group: &[Candidate]) {
        let Some(b) = group.first().map(|c| c.b) else {
            return;
        };
        let at = |c: &Candidate, s: &Self| s.field.bands[b].cells[c.cell];
        let nonzero: Vec<_> = group
            .iter()
            .filter(|c| at(c, self).magnitude > 0)
            .map(|c| (*c, at(c, self).magnitude))
            .collect();
        let can = nonzero.iter().all(|(c, k)| at(c, self).before == 0 && *k < 3);
        if nonzero.len() < 2 || nonzero.len() > usize::from(self.effort.group) || !can {
            return;
        }
        let mut change = 0.0;
        for (c, k) in &nonzero {
            let target = at(c, self).target;
            change += self.error(target, 0) - self.error(target, *k);
            change += self.effort.lambda * self.field.set(b, c.at, 0);
        }
        if change >= 0.0 {
            for (c, k) in nonzero.iter().rev() {
                self.field.set(b, c.at, *k);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn noise(seed: &mut u32) -> f32 {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*seed >> 8) as f32 / (1 << 24) as f32 - 0.5
    }

    /// Every change costs what all bits say, whatever it opens or closes.
    #[test]
    fn changes_add_up() {
        for dims in [[32, 32, 32], [17, 9, 21], [1, 5, 30]] {
            let shape = BlockShape { dims, depth: 3 };
            let mut field = Field::new(shape).unwrap();
            let mut seed = 7;
            for quality in 0..3 {
                field.recount();
                let all = |f: &Field| (0..f.bands.len()).map(|b| f64::from(f.band_bits(b))).sum::<f64>();
                for _ in 0..600 {
                    let b = ((noise(&mut seed) + 0.5) * field.bands.len() as f32) as usize;
                    let dims = field.bands[b].band.dims;
                    if dims.contains(&0) {
                        continue;
                    }
                    let at = dims.map(|n| ((noise(&mut seed) + 0.5) * n.min(9) as f32) as usize);
                    let cell = field.sizes[field.bands[b].band.depth].0.at(at[0], at[1], at[2]);
                    let base = 4 * field.bands[b].cells[cell].before;
                    let u = noise(&mut seed).abs() * 2.0;
                    let k = base.saturating_sub(4).max((u * u * u * u * 40.0) as u32).min(base + 4);
                    let before = all(&field);
                    let change = f64::from(field.set(b, at, k));
                    let after = all(&field);
                    assert!((after - before - change).abs() < 0.05, "{dims:?} {quality} {b} {at:?} {k}: {before} {after} {change}");
                }
                let before = all(&field);
                field.recount();
                assert_eq!(before, all(&field));
                field.advance().unwrap();
            }
        }
    }
}
