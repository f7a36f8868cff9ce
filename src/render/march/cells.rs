//! Which samples of a ray in a block are worth a look.

use std::ops::Range;

use crate::render::atlas::grid::CELL_LOG2;

/// A walk of a ray over the cells of a block.
pub(super) struct Cells<'a> {
    counts: [usize; 3],
    seen: &'a [bool],
    /// Place of sample 0 in cells, and way to the next sample.
    from: [f32; 3],
    step: [f32; 3],
    /// Samples for each cell along an axis.
    inverse: [f32; 3],
}

impl<'a> Cells<'a> {
    pub(super) fn new(
        counts: [usize; 3],
        seen: &'a [bool],
        from: [f32; 3],
        step: [f32; 3],
    ) -> Self {
        let side = 1.0 / (1 << CELL_LOG2) as f32;
        let step = step.map(|s| s * side);
        Self {
            counts,
            seen,
            from: from.map(|u| (u - 1.0) * side),
            step,
            inverse: step.map(|s| if s == 0.0 { 0.0 } else { 1.0 / s }),
        }
    }

    /// Whether the cell of a sample may be seen, and the first sample behind the cell.
    #[inline(always)]
    fn cell(&self, sample: u32) -> (bool, u32) {
        let k = sample as f32;
        let mut index = 0;
        let mut exit = f32::INFINITY;
        for a in [2, 1, 0] {
            let v = self.from[a] + k * self.step[a];
            let c = (v.max(0.0) as usize).min(self.counts[a] - 1);
            index = index * self.counts[a] + c;
            if self.inverse[a] != 0.0 {
                let edge = if self.step[a] > 0.0 { c + 1 } else { c };
                let at = (edge as f32 - self.from[a]) * self.inverse[a];
                // What lies outside of the first and last cells belongs to them.
                let is_end = edge == 0 || edge == self.counts[a];
                exit = if is_end { exit } else { exit.min(at) };
            }
        }
        let seen = self.seen.get(index).copied().unwrap_or(true);
        (seen, (exit.ceil() as u32).max(sample + 1))
    }

    /// The next samples from `at` to `end` that may be seen.
    pub(super) fn next_seen(&mut self, at: u32, end: u32) -> Range<u32> {
        let mut from = at;
        while from < end {
            let (seen, next) = self.cell(from);
            if seen {
                let mut to = next;
                while to < end {
                    let (seen, next) = self.cell(to);
                    if !seen {
                        break;
                    }
                    to = next;
                }
                return from..to.min(end);
            }
            from = next;
        }
        end..end
    }
}
