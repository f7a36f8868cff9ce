//! The choice of one coefficient, and of none in a whole group.

use super::field::{Cell, Field};
use super::gram::{self, LEAST};
use super::{Search, value};

/// Magnitudes from here on are rounded: what their bits vary by is no match for the error.
const LARGE: f32 = 1000.0;
/// Bits that a change saves in the contexts of others for it to be worth a trial.
const ELSEWHERE: f32 = 0.5;
/// Below this many steps a coefficient that is zero stays so.
const HOPELESS: f32 = 0.5;
/// Bits that a change of one index saves at most, or nearly so.
const MOST_BITS: f32 = 24.0;
/// Groups of more coefficients that are not zero are not tried without any.
const MOST_ZEROED: usize = 6;

/// A coefficient that may be other than zero.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    at: [usize; 3],
    /// Where it is among the cells of its band.
    cell: usize,
}

impl Search<'_> {
    /// Chooses all coefficients of a band, group by group.
    pub(super) fn sweep(&mut self, b: usize) {
        let [w, h, d] = self.field.groups_of(b);
        let mut candidates = Vec::with_capacity(64);
        for z in 0..d {
            for y in 0..h {
                for x in 0..w {
                    candidates.clear();
                    list(&self.field, b, [x, y, z], &mut candidates);
                    for c in &candidates {
                        self.choose(b, c);
                    }
                    if self.effort.groups {
                        self.try_without(b, &candidates);
                    }
                }
            }
        }
    }

    fn cell(&self, b: usize, c: &Candidate) -> &Cell {
        &self.field.bands[b].cells[c.cell]
    }

    /// Squared error, in squares of the step, that another magnitude adds.
    fn worse(&self, b: usize, c: &Candidate, magnitude: u32) -> f32 {
        let cell = self.cell(b, c);
        let error = |k: u32| {
            let d = cell.target - value(k, self.pulls);
            d * d
        };
        let band = &self.field.bands[b].band;
        let square = gram::square(&self.grams[band.depth], band.index, c.at);
        square * (error(magnitude) - error(cell.magnitude))
    }

    /// The cheapest of the nearest magnitude, the one below, and none.
    fn choose(&mut self, b: usize, c: &Candidate) {
        let cell = *self.cell(b, c);
        if cell.target > LARGE {
            return;
        }
        let (lowest, highest) = cell.bounds();
        let nearest = (cell.target + 0.5 + self.pulls[1]).max(0.0) as u32;
        let nearest = nearest.clamp(lowest, highest);
        let below = nearest.saturating_sub(1).max(lowest);
        let none = if nearest < 4 { lowest } else { below };
        for k in [nearest, below, none] {
            let now = self.cell(b, c).magnitude;
            let worse = self.worse(b, c, k);
            if k == now || worse > MOST_BITS * self.lambda {
                continue;
            }
            let own = self.field.own_bits(b, c.at, k);
            if own.is_some_and(|own| worse + self.lambda * (own - ELSEWHERE) > 0.0) {
                continue;
            }
            let bits = self.field.set(b, c.at, k);
            if worse + self.lambda * bits >= 0.0 {
                self.field.set(b, c.at, now);
            }
        }
        let now = self.cell(b, c).magnitude;
        self.tell(b, c, cell.magnitude, now);
    }

    /// All of a group at once.
    fn try_without(&mut self, b: usize, group: &[Candidate]) {
        let mut zeroed = [(0, 0); MOST_ZEROED];
        let mut count = 0;
        for (i, c) in group.iter().enumerate() {
            let Cell {
                magnitude, before, ..
            } = *self.cell(b, c);
            if magnitude == 0 {
                continue;
            }
            if count == MOST_ZEROED || before > 0 || magnitude > 2 {
                return;
            }
            zeroed[count] = (i, magnitude);
            count += 1;
        }
        // One alone has been tried.
        if count < 2 {
            return;
        }
        let mut cost = 0.0;
        for &(i, magnitude) in &zeroed[..count] {
            let c = &group[i];
            cost += self.worse(b, c, 0) + self.lambda * self.field.set(b, c.at, 0);
            self.tell(b, c, magnitude, 0);
        }
        if cost >= 0.0 {
            for &(i, magnitude) in zeroed[..count].iter().rev() {
                self.field.set(b, group[i].at, magnitude);
                self.tell(b, &group[i], 0, magnitude);
            }
        }
    }

    /// Tells the coefficients of the same split what a change leaves to them.
    fn tell(&mut self, b: usize, c: &Candidate, before: u32, after: u32) {
        if before == after {
            return;
        }
        let change = value(after, self.pulls) - value(before, self.pulls);
        let change = if self.cell(b, c).negative {
            -change
        } else {
            change
        };
        let band = self.field.bands[b].band;
        let grams = &self.grams[band.depth];
        let cells = self.field.sizes[band.depth].0;
        let rows = [0, 1, 2].map(|a| grams[a].row(band.index >> a & 1, c.at[a]));
        for other in 1..8 {
            let [xs, ys, zs] = [0, 1, 2].map(|a| &rows[a].others[other >> a & 1]);
            let to = &mut self.field.bands[b + other - band.index].cells;
            for &(z, along_z) in zs {
                for &(y, along_y) in ys {
                    let plane = along_z * along_y;
                    if plane.abs() < LEAST {
                        continue;
                    }
                    for &(x, along_x) in xs {
                        let product = plane * along_x;
                        let at = [x, y, z].map(|v| v as usize);
                        let cell = cells.at(at[0], at[1], at[2]);
                        if product.abs() < LEAST || (other == band.index && cell == c.cell) {
                            continue;
                        }
                        let left = product * change / gram::square(grams, other, at);
                        let cell = &mut to[cell];
                        cell.target -= if cell.negative { -left } else { left };
                    }
                }
            }
        }
    }
}

/// The candidates of a group, in raster order.
fn list(field: &Field, b: usize, group: [usize; 3], out: &mut Vec<Candidate>) {
    let band = &field.bands[b];
    let cells = field.sizes[band.band.depth].0;
    let [xs, ys, zs] = field.places(b, group);
    for z in zs {
        for y in ys.clone() {
            let first = cells.at(xs.start, y, z);
            for (i, cell) in band.cells[first..first + xs.len()].iter().enumerate() {
                if cell.magnitude > 0 || cell.before > 0 || cell.target > HOPELESS {
                    out.push(Candidate {
                        at: [xs.start + i, y, z],
                        cell: first + i,
                    });
                }
            }
        }
    }
}
