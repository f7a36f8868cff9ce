//! The bricks as a medium: where the next particle is that light meets, and how much comes through.

use super::random::Random;
use crate::render::atlas::Shown;
use crate::render::atlas::grid::{AnyGrid, CELL_LOG2, Grid, mix, with_grid};
use crate::render::march::{Marcher, Ray, gradient, places};
use crate::render::transfer::{STEPS, Table};
use crate::render::vector::dot;

/// What comes through of light below which chance decides whether it goes on.
const FAINT: f32 = 0.1;

/// The most extinction of any range of values.
#[derive(Debug)]
struct Bounds {
    /// Level `l` has the most of `2^l` entries of the table, from each entry on.
    levels: Vec<Vec<f32>>,
}

impl Bounds {
    fn new(table: &Table) -> Self {
        let mut levels = vec![table.entries.iter().map(|e| e[3]).collect::<Vec<_>>()];
        let mut width = 1;
        while let Some(last) = levels.last()
            && last.len() > width
        {
            let next = (0..last.len() - width)
                .map(|i| last[i].max(last[i + width]))
                .collect();
            levels.push(next);
            width *= 2;
        }
        Self { levels }
    }

    /// The most extinction of values within a range.
    fn most(&self, table: &Table, [lo, hi]: [f32; 2]) -> f32 {
        if lo > hi {
            return 0.0;
        }
        let entry = |v: f32| {
            let u = ((v - table.first) * table.scale).max(0.0).min(STEPS as f32);
            u as usize
        };
        // Extinctions lie between two entries; rounding may reach one more.
        let first = entry(lo).saturating_sub(1);
        let count = (entry(hi) + 3).min(STEPS + 2) - first;
        let level = count.ilog2() as usize;
        let row = &self.levels[level];
        row[first].max(row[first + count - (1 << level)])
    }
}

/// Bounds of the extinction of a block.
#[derive(Debug)]
struct Bounded {
    most: f32,
    /// By cell, `[z][y][x]`.
    cells: Vec<f32>,
}

/// The bricks as a medium.
pub(super) struct Medium<'a> {
    pub(super) marcher: &'a Marcher<'a>,
    /// By slot.
    bounded: Vec<Option<Bounded>>,
}

/// A particle that light meets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Particle {
    /// Where it is in voxels of the full resolution.
    pub(super) voxels: [f64; 3],
    pub(super) colour: [f32; 3],
    /// Gradient for a unit of length.
    pub(super) gradient: [f32; 3],
}

/// A piece of a ray with one bound.
#[derive(Debug, Clone, Copy)]
struct Piece {
    end: f64,
    most: f32,
    slot: Option<usize>,
}

impl<'a> Medium<'a> {
    pub(super) fn new(marcher: &'a Marcher<'a>) -> Self {
        let table = &marcher.look.table;
        let bounds = Bounds::new(table);
        let bounded = marcher.stage.shown.iter().map(|shown| {
            let (grid, _) = shown.values.as_ref()?;
            let ranges = grid.ranges();
            let cells: Vec<f32> = ranges.iter().map(|&r| bounds.most(table, r)).collect();
            Some(Bounded {
                most: cells.iter().copied().fold(0.0, f32::max),
                cells,
            })
        });
        Self {
            bounded: bounded.collect(),
            marcher,
        }
    }

    /// The first particle that light of a ray meets between two places, or none.
    pub(super) fn meet(
        &self,
        ray: &Ray,
        [enter, leave]: [f64; 2],
        random: &mut Random,
    ) -> Option<Particle> {
        let mut pieces = Pieces::new(self, ray, leave);
        let mut t = enter;
        while let Some(piece) = pieces.next(&mut t, random) {
            if let Some(slot) = piece.slot
                && let Some(found) = self.look_at(slot, ray.at(t), random.uniform() * piece.most)
            {
                return Some(found);
            }
        }
        None
    }

    /// What part of light comes through between two places: right in the mean.
    pub(super) fn through(&self, ray: &Ray, [enter, leave]: [f64; 2], random: &mut Random) -> f32 {
        let mut pieces = Pieces::new(self, ray, leave);
        let mut t = enter;
        let mut left = 1.0;
        while let Some(piece) = pieces.next(&mut t, random) {
            if let Some(slot) = piece.slot {
                left *= 1.0 - (self.extinction(slot, ray.at(t)) / piece.most).min(1.0);
            }
            if left < FAINT {
                if random.uniform() < 0.5 {
                    return 0.0;
                }
                left *= 2.0;
            }
        }
        left
    }

    fn extinction(&self, slot: usize, place: [f64; 3]) -> f32 {
        let shown = &self.marcher.stage.shown[slot];
        let Some((grid, _)) = &shown.values else {
            return 0.0;
        };
        with_grid!(&**grid, g => {
            let u = in_grid(shown, g, place);
            let value = g.sample(u);
            self.of_value(value, || self.gradient(shown, g, u)).1
        })
    }

    /// What is at a place, if its extinction is over `least`.
    fn look_at(&self, slot: usize, place: [f64; 3], least: f32) -> Option<Particle> {
        let shown = &self.marcher.stage.shown[slot];
        let (grid, _) = shown.values.as_ref()?;
        with_grid!(&**grid, g => {
            let u = in_grid(shown, g, place);
            let (entry, extinction) = self.of_value(g.sample(u), || self.gradient(shown, g, u));
            if extinction <= least {
                return None;
            }
            let [r, gr, b, _] = self.marcher.look.table.entries[entry];
            Some(Particle {
                voxels: place,
                colour: [r, gr, b],
                gradient: self.gradient(shown, g, u),
            })
        })
    }

    /// Entry of the table and extinction of a value.
    fn of_value(&self, value: f32, gradient: impl FnOnce() -> [f32; 3]) -> (usize, f32) {
        let table = &self.marcher.look.table;
        if value.is_nan() {
            return (0, 0.0);
        }
        let u = ((value - table.first) * table.scale)
            .max(0.0)
            .min(STEPS as f32);
        let at = (u as usize).min(STEPS);
        let (a, b) = (table.entries[at][3], table.entries[at + 1][3]);
        let mut extinction = mix(a, b, u - at as f32);
        if let Some(factors) = &table.factors
            && extinction > 0.0
        {
            let g = gradient();
            extinction *= factors.factor(dot(g, g).sqrt());
        }
        (at, extinction)
    }

    fn gradient<T: crate::render::atlas::Stored>(
        &self,
        shown: &Shown,
        grid: &Grid<T>,
        u: [f32; 3],
    ) -> [f32; 3] {
        let scale = 1.0 / (1u64 << shown.lod) as f32;
        let per_length = self.marcher.spacing.map(|s| scale / s);
        gradient(grid, &places(grid, u, [0.0; 3], 0.0), 0, per_length)
    }
}

/// A place in voxels from the corner of a grid's apron, held inside as for marching.
fn in_grid<T>(shown: &Shown, grid: &Grid<T>, place: [f64; 3]) -> [f32; 3] {
    let scale = 1.0 / (1u64 << shown.lod) as f64;
    [0, 1, 2].map(|a| {
        let u = (1.0 + (place[a] - shown.first[a]) * scale) as f32;
        u.max(1.0).min(grid.end[a])
    })
}

/// A ray, cut where bounds change.
struct Pieces<'a> {
    medium: &'a Medium<'a>,
    ray: &'a Ray,
    leave: f64,
    nudge: f64,
    /// The block of the last piece, and where the ray leaves it.
    slot: Option<usize>,
    exit: f64,
}

impl<'a> Pieces<'a> {
    fn new(medium: &'a Medium<'a>, ray: &'a Ray, leave: f64) -> Self {
        let unit = (1u64 << medium.marcher.stage.tree.unit_log2) as f64;
        Self {
            medium,
            ray,
            leave,
            nudge: 1e-7 * unit.max(leave.abs().min(1e12)),
            slot: None,
            exit: f64::NEG_INFINITY,
        }
    }

    /// Moves `t` to where light would meet the next particle if each piece were as dense as its bound, and
    /// returns the piece; none at the end of the ray.
    fn next(&mut self, t: &mut f64, random: &mut Random) -> Option<Piece> {
        let mut depth = random.depth();
        loop {
            let piece = self.at(*t)?;
            let whole = piece.most * (piece.end - *t) as f32;
            if whole > depth {
                *t += f64::from(depth / piece.most);
                return Some(piece);
            }
            depth -= whole;
            *t = piece.end;
        }
    }

    /// The piece from a place on; none at the end of the ray. Places must not fall.
    fn at(&mut self, t: f64) -> Option<Piece> {
        if t >= self.leave {
            return None;
        }
        if t >= self.exit {
            let (slot, exit) = self.medium.marcher.leaf(self.ray, t + self.nudge);
            self.slot = slot;
            self.exit = exit.max(t + self.nudge);
        }
        let end = self.exit.min(self.leave);
        let nothing = Piece {
            end,
            most: 0.0,
            slot: None,
        };
        let Some(slot) = self.slot else {
            return Some(nothing);
        };
        let shown = &self.medium.marcher.stage.shown[slot];
        match (&shown.values, &self.medium.bounded[slot]) {
            (Some((grid, _)), Some(bounded)) if bounded.most > 0.0 => {
                let (cell, exit) = self.cell(shown, grid, t + self.nudge);
                Some(Piece {
                    end: exit.max(t + self.nudge).min(end),
                    most: bounded.cells[cell],
                    slot: Some(slot),
                })
            }
            _ => Some(nothing),
        }
    }

    /// The cell at a place, and where the ray leaves it.
    fn cell(&self, shown: &Shown, grid: &AnyGrid, t: f64) -> (usize, f64) {
        let counts = grid.cells();
        let place = self.ray.at(t);
        let side = (1u64 << (shown.lod + CELL_LOG2)) as f64;
        let mut index = 0;
        let mut exit = f64::INFINITY;
        for a in [2, 1, 0] {
            let v = (place[a] - shown.first[a]) / side;
            let c = (v.max(0.0) as usize).min(counts[a] - 1);
            index = index * counts[a] + c;
            let along = self.ray.along[a];
            let edge = if along > 0.0 { c + 1 } else { c };
            // What lies outside of the first and last cells belongs to them.
            if along != 0.0 && edge != 0 && edge != counts[a] {
                let at = shown.first[a] + edge as f64 * side;
                exit = exit.min((at - self.ray.from[a]) / along);
            }
        }
        (index, exit)
    }
}
