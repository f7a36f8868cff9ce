//! The magnitudes of a block as their contexts see them, and what a change of one costs in bits
//! everywhere: in its own place, in its neighbours, cousins and children, in flags of groups and
//! bands. Exact up to the choice of the tables' variants.

use crate::Result;
use crate::codec::bands::{Band, BlockShape};
use crate::codec::contexts::pass_of;
use crate::codec::rates::{BandRates, Place};
use crate::codec::state::Padded;
use crate::codec::tables::VARIANTS;

/// One coefficient.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell {
    /// The ideal magnitude in steps; negative if the sign is fixed and wrong.
    pub(super) target: f32,
    /// Magnitude of the index.
    pub(super) magnitude: u32,
    /// Magnitude at the quality before.
    pub(super) before: u32,
    pub(super) near: u16,
    pub(super) cousins: u16,
    /// Its sign.
    pub(super) negative: bool,
    /// Whether it has a symbol: its group is active.
    coded: bool,
}

impl Cell {
    /// Magnitudes that it may have.
    pub(super) fn bounds(&self) -> (u32, u32) {
        match self.before {
            0 => (0, u32::MAX),
            n => (4 * n - 4, 4 * n + 4),
        }
    }
}

/// A 4^3 group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Group {
    /// Coefficients that are not zero.
    pub(super) count: u8,
    /// Active since an earlier quality: it has no flag.
    pub(super) locked: bool,
    pub(super) neighbours: u8,
    pub(super) cousins: u8,
}

impl Group {
    pub(super) fn active(&self) -> bool {
        self.locked || self.count > 0
    }
}

/// One band.
#[derive(Debug, Clone)]
pub(super) struct BandField {
    pub(super) band: Band,
    pub(super) cells: Vec<Cell>,
    /// What children see: twice the magnitude and the six face neighbours.
    pub(super) activity: Vec<u16>,
    pub(super) groups: Vec<Group>,
    /// Active groups; the band is coded if there are any or it is `locked`.
    pub(super) active: usize,
    pub(super) locked: bool,
    pub(super) rates: BandRates,
}

impl BandField {
    pub(super) fn coded(&self) -> bool {
        self.locked || self.active > 0
    }
}

/// All bands of a block but the coarsest.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) shape: BlockShape,
    pub(super) refines: bool,
    /// Of each split: padded cells and padded groups.
    pub(super) sizes: Vec<(Padded, Padded)>,
    /// Bands of a split are at `7 depth + index - 1`.
    pub(super) bands: Vec<BandField>,
}

/// What a magnitude counts in contexts.
pub(super) fn seen(magnitude: u32) -> i32 {
    magnitude.min(255) as i32
}

pub(super) fn add(sum: &mut u16, change: i32) {
    *sum = (i32::from(*sum) + change) as u16;
}

fn add_flag(sum: &mut u8, on: bool) {
    *sum = if on { *sum + 1 } else { *sum - 1 };
}

/// Position in the field of a band.
pub(super) fn id(depth: usize, index: usize) -> usize {
    7 * depth + index - 1
}

impl Field {
    /// All zero, at the first quality.
    pub(super) fn new(shape: BlockShape) -> Result<Self> {
        let low = |depth| shape.dims_at(depth + 1);
        let sizes: Vec<_> = (0..shape.depth)
            .map(|d| {
                (
                    Padded::new(low(d)),
                    Padded::new(low(d).map(|n| n.div_ceil(4))),
                )
            })
            .collect();
        let bands = (0..7 * shape.depth)
            .map(|i| {
                let band = shape.band(i / 7, i % 7 + 1);
                let (cells, groups) = sizes[i / 7];
                Ok(BandField {
                    band,
                    cells: vec![Cell::default(); cells.len],
                    activity: vec![0; cells.len],
                    groups: vec![Group::default(); groups.len],
                    active: 0,
                    locked: false,
                    rates: BandRates::new(&band, false)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            shape,
            refines: false,
            sizes,
            bands,
        })
    }

    fn parent_activity(&self, b: usize, [x, y, z]: [usize; 3]) -> u16 {
        match self.bands.get(b + 7) {
            Some(parent) => {
                let cells = &self.sizes[parent.band.depth].0;
                parent.activity[cells.at(x / 2, y / 2, z / 2)]
            }
            None => 0,
        }
    }

    #[inline(always)]
    fn bits_of(&self, b: usize, cell: &Cell, pass: usize, parent: u16) -> f32 {
        let place = Place {
            pass,
            near: cell.near,
            parent,
            cousins: cell.cousins,
            before: cell.before,
        };
        self.bands[b].rates.coefficient(&place, cell.magnitude)
    }

    /// Bits of the coefficient at a place, as if its group were active.
    fn bits_at(&self, b: usize, at: [usize; 3]) -> f32 {
        let [x, y, z] = at;
        let depth = self.bands[b].band.depth;
        let cell = &self.bands[b].cells[self.sizes[depth].0.at(x, y, z)];
        self.bits_of(b, cell, pass_of(x, y, z), self.parent_activity(b, at))
    }

    /// Places of a group inside the band.
    pub(super) fn places(&self, b: usize, group: [usize; 3]) -> [std::ops::Range<usize>; 3] {
        let dims = self.bands[b].band.dims;
        [0, 1, 2].map(|a| 4 * group[a]..dims[a].min(4 * group[a] + 4))
    }

    fn group_bits(&self, b: usize, group: [usize; 3]) -> f32 {
        let [xs, ys, zs] = self.places(b, group);
        let mut bits = 0.0;
        for z in zs {
            for y in ys.clone() {
                for x in xs.clone() {
                    bits += self.bits_at(b, [x, y, z]);
                }
            }
        }
        bits
    }

    pub(super) fn mark_group(&mut self, b: usize, group: [usize; 3], coded: bool) {
        let [xs, ys, zs] = self.places(b, group);
        let cells = self.sizes[self.bands[b].band.depth].0;
        for z in zs {
            for y in ys.clone() {
                for x in xs.clone() {
                    self.bands[b].cells[cells.at(x, y, z)].coded = coded;
                }
            }
        }
    }

    /// Bits of the flag of a group; nothing if it has none.
    fn flag_bits(&self, b: usize, [x, y, z]: [usize; 3]) -> f32 {
        let field = &self.bands[b];
        let depth = field.band.depth;
        let group = &field.groups[self.sizes[depth].1.at(x, y, z)];
        if group.locked || !field.coded() {
            return 0.0;
        }
        let mut parents = 0;
        if let Some(parent) = self.bands.get(b + 7) {
            let cells = &self.sizes[depth + 1].0;
            let first = cells.at(2 * x, 2 * y, 2 * z);
            for corner in [0, cells.stride_z] {
                for row in [corner, corner + cells.stride_y] {
                    parents += u32::from(parent.activity[first + row]);
                    parents += u32::from(parent.activity[first + row + 1]);
                }
            }
        }
        let pass = pass_of(x, y, z);
        let (near, cousins) = (group.neighbours, group.cousins);
        (field.rates).flag(pass, parents, near, cousins, group.count > 0)
    }

    pub(super) fn groups_of(&self, b: usize) -> [usize; 3] {
        self.bands[b].band.dims.map(|n| n.div_ceil(4))
    }

    fn all_flag_bits(&self, b: usize) -> f32 {
        let mut bits = 0.0;
        each(self.groups_of(b), |g| bits += self.flag_bits(b, g));
        bits
    }

    /// Bits of the header and of the flags of a band.
    fn frame_bits(&self, b: usize) -> f32 {
        let field = &self.bands[b];
        if field.band.is_empty() {
            return 0.0;
        }
        let header = if field.locked {
            0.0
        } else {
            field.rates.opening(field.active > 0)
        };
        header + self.all_flag_bits(b)
    }

    /// Bits of everything in a band.
    pub(super) fn band_bits(&self, b: usize) -> f32 {
        let mut bits = self.frame_bits(b);
        let groups = self.sizes[self.bands[b].band.depth].1;
        each(self.groups_of(b), |g| {
            if self.bands[b].groups[groups.at(g[0], g[1], g[2])].active() {
                bits += self.group_bits(b, g);
            }
        });
        bits
    }

    /// Uses the variant of the tables that suits a band best.
    pub(super) fn choose_variant(&mut self, b: usize) {
        if !self.bands[b].coded() {
            return;
        }
        let mut best = (f32::INFINITY, 0);
        for variant in 0..VARIANTS {
            self.bands[b].rates = self.bands[b].rates.with_variant(variant);
            let bits = self.band_bits(b);
            if bits < best.0 {
                best = (bits, variant);
            }
        }
        self.bands[b].rates = self.bands[b].rates.with_variant(best.1);
    }

    /// What the bits of a coefficient itself grow by if its magnitude changes; `None` if its group
    /// opens or closes with it.
    pub(super) fn own_bits(&self, b: usize, at: [usize; 3], magnitude: u32) -> Option<f32> {
        let [x, y, z] = at;
        let (cells, groups) = self.sizes[self.bands[b].band.depth];
        let group = &self.bands[b].groups[groups.at(x / 4, y / 4, z / 4)];
        let cell = self.bands[b].cells[cells.at(x, y, z)];
        let others = group.count - u8::from(cell.magnitude > 0);
        if others == 0 && !group.locked {
            return None;
        }
        let (pass, parent) = (pass_of(x, y, z), self.parent_activity(b, at));
        let changed = Cell { magnitude, ..cell };
        Some(self.bits_of(b, &changed, pass, parent) - self.bits_of(b, &cell, pass, parent))
    }

    /// Changes a magnitude; returns by how many bits the block grows.
    pub(super) fn set(&mut self, b: usize, at: [usize; 3], magnitude: u32) -> f32 {
        let [x, y, z] = at;
        let depth = self.bands[b].band.depth;
        let (cells, groups) = self.sizes[depth];
        let (cell, g) = (cells.at(x, y, z), at.map(|v| v / 4));
        let group = groups.at(g[0], g[1], g[2]);
        let old = self.bands[b].cells[cell].magnitude;
        if old == magnitude {
            return 0.0;
        }
        let Group { count, locked, .. } = self.bands[b].groups[group];
        let opens = old == 0 && count == 0 && !locked;
        let closes = magnitude == 0 && count == 1 && !locked;
        let mut bits = 0.0;
        if closes {
            bits -= self.group_bits(b, g);
            self.mark_group(b, g, false);
        } else if !opens {
            bits -= self.bits_at(b, at);
        }
        self.bands[b].cells[cell].magnitude = magnitude;
        let change = seen(magnitude) - seen(old);
        if change != 0 {
            bits += self.spread(b, at, change);
        }
        if opens {
            self.mark_group(b, g, true);
            bits += self.group_bits(b, g);
        } else if !closes {
            bits += self.bits_at(b, at);
        }
        if opens || closes {
            bits += self.switch_group(b, g, opens);
        } else if old == 0 {
            self.bands[b].groups[group].count += 1;
        } else if magnitude == 0 {
            self.bands[b].groups[group].count -= 1;
        }
        bits
    }

    /// Turns the flag of a group; returns by how many bits flags and headers grow.
    fn switch_group(&mut self, b: usize, g: [usize; 3], on: bool) -> f32 {
        let groups = self.sizes[self.bands[b].band.depth].1;
        let at = groups.at(g[0], g[1], g[2]);
        let alone = !self.bands[b].locked && self.bands[b].active == usize::from(!on);
        let mut bits = if alone {
            -self.frame_bits(b)
        } else {
            -self.flag_bits(b, g)
        };
        self.bands[b].groups[at].count = u8::from(on);
        if on {
            self.bands[b].active += 1;
        } else {
            self.bands[b].active -= 1;
        }
        let later = pass_of(g[0], g[1], g[2]) < 2;
        if alone {
            if later {
                self.each_face(b, g, |field, n| {
                    let near = &mut field.bands[b].groups[groups.at(n[0], n[1], n[2])];
                    add_flag(&mut near.neighbours, on);
                });
            }
            bits += self.frame_bits(b);
        } else {
            bits += self.flag_bits(b, g);
            if later {
                self.each_face(b, g, |field, n| {
                    bits -= field.flag_bits(b, n);
                    let near = &mut field.bands[b].groups[groups.at(n[0], n[1], n[2])];
                    add_flag(&mut near.neighbours, on);
                    bits += field.flag_bits(b, n);
                });
            }
        }
        bits + self.switch_cousins(b, g, on)
    }

    fn switch_cousins(&mut self, b: usize, g: [usize; 3], on: bool) -> f32 {
        let groups = self.sizes[self.bands[b].band.depth].1;
        let at = groups.at(g[0], g[1], g[2]);
        let mut bits = 0.0;
        for later in b + 1..b + 8 - self.bands[b].band.index {
            let exists = (self.groups_of(later).iter().zip(g)).all(|(n, g)| g < *n);
            if exists {
                bits -= self.flag_bits(later, g);
            }
            add_flag(&mut self.bands[later].groups[at].cousins, on);
            if exists {
                bits += self.flag_bits(later, g);
            }
        }
        bits
    }

    pub(super) fn each_face(
        &mut self,
        b: usize,
        g: [usize; 3],
        mut f: impl FnMut(&mut Self, [usize; 3]),
    ) {
        let n = self.groups_of(b);
        for axis in 0..3 {
            let mut near = g;
            if g[axis] > 0 {
                near[axis] = g[axis] - 1;
                f(self, near);
            }
            if g[axis] + 1 < n[axis] {
                near[axis] = g[axis] + 1;
                f(self, near);
            }
        }
    }

    /// Tells all contexts that a magnitude changed; returns what that costs elsewhere.
    fn spread(&mut self, b: usize, at: [usize; 3], change: i32) -> f32 {
        let [x, y, z] = at;
        let mut bits = 0.0;
        match pass_of(x, y, z) {
            0 => {
                let weight = if self.refines { 2 } else { 3 };
                bits += self.spread_near(b, at, &EDGES, 1, weight * change);
                bits += self.spread_near(b, at, &FACES, 2, 2 * change);
            }
            1 => bits += self.spread_near(b, at, &FACES, 2, 2 * change),
            _ => {}
        }
        bits + self.spread_cousins(b, at, change) + self.spread_children(b, at, change)
    }

    #[inline(always)]
    fn spread_near(
        &mut self,
        b: usize,
        [x, y, z]: [usize; 3],
        near: &[[isize; 3]],
        pass: usize,
        change: i32,
    ) -> f32 {
        let cells = self.sizes[self.bands[b].band.depth].0;
        let here = cells.at(x, y, z) as isize;
        let (sy, sz) = (cells.stride_y as isize, cells.stride_z as isize);
        let mut bits = 0.0;
        for [dx, dy, dz] in near {
            let there = (here + dx + dy * sy + dz * sz) as usize;
            let mut cell = self.bands[b].cells[there];
            if cell.coded {
                let at = [
                    x.wrapping_add_signed(*dx),
                    y.wrapping_add_signed(*dy),
                    z.wrapping_add_signed(*dz),
                ];
                let parent = self.parent_activity(b, at);
                bits -= self.bits_of(b, &cell, pass, parent);
                add(&mut cell.near, change);
                bits += self.bits_of(b, &cell, pass, parent);
            }
            add(&mut self.bands[b].cells[there].near, change);
        }
        bits
    }

    fn spread_cousins(&mut self, b: usize, at: [usize; 3], change: i32) -> f32 {
        let [x, y, z] = at;
        let index = self.sizes[self.bands[b].band.depth].0.at(x, y, z);
        let pass = pass_of(x, y, z);
        let mut bits = 0.0;
        for later in b + 1..b + 8 - self.bands[b].band.index {
            let mut cell = self.bands[later].cells[index];
            if cell.coded {
                let parent = self.parent_activity(later, at);
                bits -= self.bits_of(later, &cell, pass, parent);
                add(&mut cell.cousins, change);
                bits += self.bits_of(later, &cell, pass, parent);
            }
            add(&mut self.bands[later].cells[index].cousins, change);
        }
        bits
    }

    fn spread_children(&mut self, b: usize, at: [usize; 3], change: i32) -> f32 {
        let depth = self.bands[b].band.depth;
        let cells = self.sizes[depth].0;
        let here = cells.at(at[0], at[1], at[2]) as isize;
        let strides = [1, cells.stride_y as isize, cells.stride_z as isize];
        if depth == 0 || !self.bands[b - 7].coded() {
            add(&mut self.bands[b].activity[here as usize], 2 * change);
            for d in FACES {
                let there = here + d[0] + d[1] * strides[1] + d[2] * strides[2];
                add(&mut self.bands[b].activity[there as usize], change);
            }
            return 0.0;
        }
        let children = b - 7;
        let mut bits = 0.0;
        let flags = self.flags_under(children, at);
        for g in flags.iter().flatten() {
            bits -= self.flag_bits(children, *g);
        }
        bits += self.spread_to(children, at, here as usize, 2 * change);
        for d in FACES {
            let there = here + d[0] + d[1] * strides[1] + d[2] * strides[2];
            let parent = [0, 1, 2].map(|a| at[a].wrapping_add_signed(d[a]));
            bits += self.spread_to(children, parent, there as usize, change);
        }
        for g in flags.iter().flatten() {
            bits += self.flag_bits(children, *g);
        }
        bits
    }

    /// Groups of children whose flags see the activity at `at` or next to it.
    fn flags_under(&self, children: usize, at: [usize; 3]) -> [Option<[usize; 3]>; 4] {
        let n = self.groups_of(children);
        let own = at.map(|v| v / 2);
        let mut all = [Some(own), None, None, None];
        for axis in 0..3 {
            let mut next = own;
            next[axis] = if at[axis].is_multiple_of(2) {
                own[axis].wrapping_sub(1)
            } else {
                own[axis] + 1
            };
            all[axis + 1] = Some(next);
        }
        all.map(|g| g.filter(|g| (0..3).all(|a| g[a] < n[a])))
    }

    /// Changes the activity of one parent; returns what its eight children cost more.
    fn spread_to(&mut self, children: usize, at: [usize; 3], parent: usize, change: i32) -> f32 {
        let before = self.bands[children + 7].activity[parent];
        let mut after = before;
        add(&mut after, change);
        self.bands[children + 7].activity[parent] = after;
        let depth = self.bands[children].band.depth;
        let low = self.shape.dims_at(depth + 2);
        if (0..3).any(|a| at[a] >= low[a]) {
            return 0.0;
        }
        let cells = self.sizes[depth].0;
        let mut bits = 0.0;
        let first = cells.at(2 * at[0], 2 * at[1], 2 * at[2]);
        for corner in 0..8 {
            let [x, y, z] = [corner & 1, corner >> 1 & 1, corner >> 2];
            let cell =
                &self.bands[children].cells[first + x + y * cells.stride_y + z * cells.stride_z];
            if cell.coded {
                let pass = pass_of(x, y, z);
                bits += self.bits_of(children, cell, pass, after)
                    - self.bits_of(children, cell, pass, before);
            }
        }
        bits
    }
}

pub(super) const FACES: [[isize; 3]; 6] = [
    [-1, 0, 0],
    [1, 0, 0],
    [0, -1, 0],
    [0, 1, 0],
    [0, 0, -1],
    [0, 0, 1],
];

/// Places with exactly two coordinates next to those of one whose coordinates are all even.
pub(super) const EDGES: [[isize; 3]; 12] = [
    [-1, -1, 0],
    [1, -1, 0],
    [-1, 1, 0],
    [1, 1, 0],
    [-1, 0, -1],
    [1, 0, -1],
    [-1, 0, 1],
    [1, 0, 1],
    [0, -1, -1],
    [0, 1, -1],
    [0, -1, 1],
    [0, 1, 1],
];

/// Calls `f` for every x, y, z of a box in raster order.
pub(super) fn each([w, h, d]: [usize; 3], mut f: impl FnMut([usize; 3])) {
    for z in 0..d {
        for y in 0..h {
            for x in 0..w {
                f([x, y, z]);
            }
        }
    }
}
