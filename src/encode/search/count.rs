//! Everything that contexts see, worked out anew from the magnitudes of all bands.

use super::field::{Cell, EDGES, FACES, Field, add, each, seen};
use crate::Result;
use crate::codec::contexts::pass_of;
use crate::codec::rates::BandRates;

impl Field {
    /// The next quality: what there is now counts four times, groups and bands stay active.
    pub(super) fn advance(&mut self) -> Result<()> {
        self.refines = true;
        for b in 0..self.bands.len() {
            let field = &mut self.bands[b];
            field.rates = BandRates::new(&field.band, true)?;
            field.locked = field.coded();
            for group in &mut field.groups {
                group.locked = group.active();
            }
            for cell in &mut field.cells {
                cell.before = cell.magnitude;
            }
        }
        Ok(())
    }

    /// Works out all sums anew from the magnitudes (and those before).
    pub(super) fn recount(&mut self) {
        for b in 0..self.bands.len() {
            self.recount_groups(b);
            self.recount_near(b);
        }
        for b in 0..self.bands.len() {
            self.recount_cousins(b);
        }
    }

    fn recount_groups(&mut self, b: usize) {
        let (cells, groups) = self.sizes[self.bands[b].band.depth];
        let mut active = 0;
        each(self.groups_of(b), |g| {
            let [xs, ys, zs] = self.places(b, g);
            let mut count = 0;
            for z in zs {
                for y in ys.clone() {
                    let row = cells.at(xs.start, y, z);
                    let row = &self.bands[b].cells[row..row + xs.len()];
                    count += row.iter().filter(|c| c.magnitude > 0).count();
                }
            }
            let group = &mut self.bands[b].groups[groups.at(g[0], g[1], g[2])];
            group.count = count as u8;
            let on = group.active();
            active += usize::from(on);
            if on {
                self.mark_group(b, g, true);
            }
        });
        self.bands[b].active = active;
        // Flags that a flag sees: later passes see this quality, earlier ones the one before.
        each(self.groups_of(b), |g| {
            let last = pass_of(g[0], g[1], g[2]) == 2;
            let mut sum = 0;
            self.each_face(b, g, |field, n| {
                let near = &field.bands[b].groups[groups.at(n[0], n[1], n[2])];
                sum += u8::from(if last { near.active() } else { near.locked });
            });
            self.bands[b].groups[groups.at(g[0], g[1], g[2])].neighbours = sum;
        });
    }

    fn recount_near(&mut self, b: usize) {
        let cells = self.sizes[self.bands[b].band.depth].0;
        let (sy, sz) = (cells.stride_y as isize, cells.stride_z as isize);
        let field = &mut self.bands[b];
        field.activity.fill(0);
        for cell in &mut field.cells {
            cell.near = 0;
            cell.cousins = 0;
        }
        for group in &mut field.groups {
            group.cousins = 0;
        }
        let refines = self.refines;
        each(field.band.dims, |[x, y, z]| {
            let here = cells.at(x, y, z);
            let Cell {
                magnitude, before, ..
            } = field.cells[here];
            let (now, old) = (seen(magnitude), (4 * seen(before)).min(255));
            if now == 0 && old == 0 {
                return;
            }
            let there = |d: &[isize; 3]| (here as isize + d[0] + d[1] * sy + d[2] * sz) as usize;
            let pass = pass_of(x, y, z);
            add(&mut field.activity[here], 2 * now);
            for d in &FACES {
                add(&mut field.activity[there(d)], now);
                let near = &mut field.cells[there(d)].near;
                if pass < 2 {
                    // A face neighbour of it is of pass 2.
                    add(near, 2 * now);
                } else if refines {
                    // It is of an earlier pass and sees the quality before.
                    let to = [0, 1, 2].map(|a| [x, y, z][a].wrapping_add_signed(d[a]));
                    let weight = if pass_of(to[0], to[1], to[2]) == 0 {
                        2
                    } else {
                        1
                    };
                    add(near, weight * old);
                }
            }
            if pass == 0 {
                for d in &EDGES {
                    add(
                        &mut field.cells[there(d)].near,
                        if refines { 2 } else { 3 } * now,
                    );
                }
            }
        });
    }

    fn recount_cousins(&mut self, b: usize) {
        for later in b + 1..b + 8 - self.bands[b].band.index {
            let (before, after) = self.bands.split_at_mut(later);
            let (from, to) = (&before[b], &mut after[0]);
            for (c, f) in to.cells.iter_mut().zip(&from.cells) {
                add(&mut c.cousins, seen(f.magnitude));
            }
            for (c, f) in to.groups.iter_mut().zip(&from.groups) {
                c.cousins += u8::from(f.active());
            }
        }
    }
}
