//! Indices that minimise squared error plus lambda times bits.
//!
//! Coefficients are chosen one at a time, each for what the block then costs as a whole; groups
//! and bands are also tried without any. Errors of coefficients add up: the bands' steps make
//! them equal in the value domain.

mod field;
mod metric;
mod gram;

use crate::Result;
use crate::codec::bands::BlockShape;
use crate::codec::{Coefficient, Quantiser};
use field::{Field, each};
use gram::Gram;

pub(crate) struct Effort {
    pub(crate) lambda: f32,
    pub(crate) sweeps: usize,
    pub(crate) group: u8,
    pub(crate) thr: f32,
    pub(crate) rounds: usize,
    pub(crate) often: bool,
    pub(crate) least: f32,
    pub(crate) finest: usize,
}

pub(crate) fn effort() -> &'static Effort {
    static E: std::sync::OnceLock<Effort> = std::sync::OnceLock::new();
    E.get_or_init(|| {
        let v = |n: &str, d: f32| std::env::var(n).ok().and_then(|s| s.parse().ok()).unwrap_or(d);
        Effort {
            lambda: v("RDO_LAMBDA", 0.1155),
            sweeps: v("RDO_SWEEPS", 1.0) as usize,
            group: v("RDO_GROUP", 6.0) as u8,
            thr: v("RDO_THR", 0.5),
            rounds: v("RDO_ROUNDS", 1.0) as usize,
            often: v("RDO_OFTEN", 1.0) > 0.0,
            least: v("RDO_LEAST", 0.01),
            finest: v("RDO_FINEST", 9.0) as usize,
        }
    })
}

/// A search in one block, from quality to quality.
pub(crate) struct Search<'a> {
    coefficients: &'a [f32],
    field: Field,
    pulls: [f32; 2],
    effort: &'a Effort,
    grams: Vec<[Gram; 3]>,
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
            grams: (0..shape.depth).map(|d| shape.dims.map(|n| Gram::new(n, d))).collect(),
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
        for _ in 0..self.effort.rounds {
            self.store(indices);
            self.aim(quantiser, indices);
            for depth in (0..self.field.shape.depth.min(self.effort.finest)).rev() {
                if self.effort.often && depth + 1 < self.field.shape.depth {
                    self.store(indices);
                    self.aim(quantiser, indices);
                }
                for _ in 0..self.effort.sweeps {
                    for index in 1..8 {
                        let b = field::id(depth, index);
                        self.field.choose_variant(b);
                        let candidates = self.candidates(b);
                        self.sweep(&candidates);
                    }
                }
            }
        }
        self.store(indices);
        Ok(())
    }

    /// Tells its neighbours that an index has changed.
    fn shift(&mut self, c: Candidate, before: u32, after: u32) {
        let mut change = value(after, self.pulls) - value(before, self.pulls);
        if self.field.bands[c.b].cells[c.cell].negative {
            change = -change;
        }
        let band = self.field.bands[c.b].band;
        let cells = self.field.sizes[band.depth].0;
        let first = c.b + 1 - band.index;
        let grams = &self.grams[band.depth];
        let rows = [0, 1, 2].map(|a| grams[a].row(band.index >> a & 1, c.at[a]));
        let least = self.effort.least;
        for other in 1..8 {
            let to = &mut self.field.bands[first + other - 1];
            let [xs, ys, zs] = [0, 1, 2].map(|a| &rows[a].others[other >> a & 1]);
            for &(z, along_z) in zs {
                if along_z.abs() < least {
                    continue;
                }
                for &(y, along_y) in ys {
                    let plane = along_z * along_y;
                    if plane.abs() < least {
                        continue;
                    }
                    for &(x, along_x) in xs {
                        let product = plane * along_x;
                        if product.abs() < least {
                            continue;
                        }
                        let at = [x as usize, y as usize, z as usize];
                        let i = cells.at(at[0], at[1], at[2]);
                        if other == band.index && i == c.cell {
                            continue;
                        }
                        let cell = &mut to.cells[i];
                        let towards = product * change / square(grams, other, at);
                        cell.target -= if cell.negative { -towards } else { towards };
                    }
                }
            }
        }
    }

    /// Errors of coefficients, in working units.
    fn errors<E: Coefficient>(&self, quantiser: &Quantiser, indices: &[E]) -> Vec<f32> {
        let shape = self.field.shape;
        let mut errors = self.coefficients.to_vec();
        let bands = (0..shape.depth).flat_map(|d| (1..8).map(move |i| (d, i)));
        for band in bands.map(|(d, i)| shape.band(d, i)).chain([shape.coarsest()]) {
            let step = quantiser.step(&shape, &band) as f32 / 256.0;
            let pulls = if band.index == 0 { [0.0; 2] } else { self.pulls };
            for i in crate::codec::rows(&shape, &band).flatten() {
                let k: i32 = indices[i].into();
                errors[i] -= k.signum() as f32 * value(k.unsigned_abs(), pulls) * step;
            }
        }
        errors
    }

    /// Ideal magnitudes given all other indices as they are.
    fn aim<E: Coefficient>(&mut self, quantiser: &Quantiser, indices: &[E]) {
        let shape = self.field.shape;
        let mut errors = self.errors(quantiser, indices);
        metric::products(&mut errors, &mut Vec::new(), &shape);
        for b in 0..self.field.bands.len() {
            let band = self.field.bands[b].band;
            if band.is_empty() {
                continue;
            }
            let cells = self.field.sizes[band.depth].0;
            let step = quantiser.step(&shape, &band) as f32 / 256.0;
            let norm = quantiser.value_step() / step;
            let scale = 1.0 / (norm * norm * step);
            each(band.dims, |[x, y, z]| {
                let square = square(&self.grams[band.depth], band.index, [x, y, z]);
                let place = self.place(b, [x, y, z]);
                let cell = &mut self.field.bands[b].cells[cells.at(x, y, z)];
                let towards = if cell.negative { -errors[place] } else { errors[place] };
                cell.target = value(cell.magnitude, self.pulls)
                    + towards * scale / square;
                if cell.magnitude == 0 && cell.before == 0 && cell.target < 0.0 {
                    cell.target = -cell.target;
                    cell.negative = !cell.negative;
                }
            });
        }
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
    fn weight(&self, c: &Candidate) -> f32 {
        let band = self.field.bands[c.b].band;
        square(&self.grams[band.depth], band.index, c.at)
    }

    fn error(&self, target: f32, magnitude: u32) -> f32 {
        let value = value(magnitude, self.pulls);
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
        let weight = self.weight(&c);
        let mut best = cell.magnitude;
        for k in [nearest, below, none] {
            if k == best {
                continue;
            }
            let worse = weight * (self.error(cell.target, k) - self.error(cell.target, best));
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
        if best != cell.magnitude {
            self.shift(c, cell.magnitude, best);
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
            change += self.weight(c) * (self.error(target, 0) - self.error(target, *k));
            change += self.effort.lambda * self.field.set(b, c.at, 0);
            self.shift(*c, *k, 0);
        }
        if change >= 0.0 {
            for (c, k) in nonzero.iter().rev() {
                self.field.set(b, c.at, *k);
                self.shift(*c, 0, *k);
            }
        }
    }
}

/// Squared norm of the basis function of a coefficient.
fn square(grams: &[Gram; 3], index: usize, at: [usize; 3]) -> f32 {
    (0..3).fold(1.0, |p, a| p * grams[a].row(index >> a & 1, at[a]).square)
}

/// What a magnitude stands for, in steps.
fn value(magnitude: u32, pulls: [f32; 2]) -> f32 {
    match magnitude {
        0 => 0.0,
        1 => 1.0 - pulls[0],
        k => k as f32 - pulls[1],
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

    /// What single changes promise is what they do to the squared error of the block.
    #[test]
    fn errors_add_up() {
        let shape = BlockShape { dims: [64; 3], depth: 4 };
        let mut seed = 3;
        let mut values: Vec<f32> = (0..shape.voxels()).map(|i| noise(&mut seed) * 20.0 + ((i % 64) as f32 * 0.3).sin() * 60.0).collect();
        crate::encode::forward::forward(&mut values, &mut Vec::new(), &shape);
        let model = crate::encode::plan::wavelet_models(-100, 100, 12.0, 1, false).1;
        values.iter_mut().for_each(|v| *v *= f32::from(model.frac_bits).exp2());
        let quantiser = Quantiser::new(&model, 0);
        let mut indices = Vec::<i32>::new();
        crate::encode::quantise::quantise(&values, &shape, &quantiser, crate::encode::Preset::Balanced, &mut indices);
        let mut search = Search::new(&values, shape, [8, 5], effort()).unwrap();
        search.load(&quantiser, &mut indices);
        search.field.recount();
        let unit = f64::from(quantiser.value_step());
        let total = |s: &Search<'_>, indices: &[i32]| {
            let e = s.errors(&quantiser, indices);
            let mut p = e.clone();
            metric::products(&mut p, &mut Vec::new(), &shape);
            e.iter().zip(&p).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() / unit / unit
        };
        search.aim(&quantiser, &indices);
        let mut now = total(&search, &indices);
        let mut expected = now;
        println!("start {now}");
        for b in (0..28).rev() {
            let mut n = 0;
            for group in search.candidates(b) {
                for c in group {
                    let cell = search.field.bands[b].cells[c.cell];
                    let k = if cell.magnitude == 0 { 1 } else { cell.magnitude - 1 };
                    n += 1;
                    if n % 50 != 1 { continue; }
                    expected += f64::from(search.weight(&c)) * f64::from(search.error(cell.target, k) - search.error(cell.target, cell.magnitude));
                    search.field.set(b, c.at, k);
                    search.shift(c, cell.magnitude, k);
                    search.store(&mut indices);
                }
            }
            now = total(&search, &indices);
            println!("{b} {n} {now} {expected}");
            search.aim(&quantiser, &indices);
            expected = now;
        }
    }

    #[test]
    fn descends() {
        let shape = BlockShape { dims: [64; 3], depth: 4 };
        let mut seed = 3;
        let mut values: Vec<f32> = (0..shape.voxels()).map(|i| noise(&mut seed) * 20.0 + if ((i % 64) as f32 * 0.3).sin() + ((i / 64 % 64) as f32 * 0.2).cos() > 0.3 { 60.0 } else {0.0}).collect();
        crate::encode::forward::forward(&mut values, &mut Vec::new(), &shape);
        let model = crate::encode::plan::wavelet_models(-100, 100, 12.0, 1, false).1;
        values.iter_mut().for_each(|v| *v *= f32::from(model.frac_bits).exp2());
        let quantiser = Quantiser::new(&model, 0);
        let mut indices = Vec::<i32>::new();
        crate::encode::quantise::quantise(&values, &shape, &quantiser, crate::encode::Preset::Balanced, &mut indices);
        let mut search = Search::new(&values, shape, [8, 5], effort()).unwrap();
        search.load(&quantiser, &mut indices);
        search.field.recount();
        let unit = f64::from(quantiser.value_step());
        let total = |s: &Search<'_>, indices: &[i32]| {
            let e = s.errors(&quantiser, indices);
            let mut p = e.clone();
            metric::products(&mut p, &mut Vec::new(), &shape);
            e.iter().zip(&p).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() / unit / unit
        };
        let bits = |s: &Search<'_>| (0..28).map(|b| f64::from(s.field.band_bits(b))).sum::<f64>();
        for round in 0..3 {
            search.aim(&quantiser, &indices);
            println!("round {round} {} {}", total(&search, &indices), bits(&search));
            for b in (0..28).rev() {
                if b % 7 == 6 { search.aim(&quantiser, &indices); }
                search.field.choose_variant(b);
                let groups = search.candidates(b);
                search.sweep(&groups);
                search.store(&mut indices);
                println!("{b} {} {}", total(&search, &indices), bits(&search));
            }
        }
    }
}
