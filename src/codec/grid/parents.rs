//! How active the coarser level is around each vertex.

use super::weights::{GridWeights, LevelWeights};
use crate::model::grid::GridModel;

/// Magnitudes beyond this count as this.
pub(super) const LIMIT: i32 = 4095;

/// Activity of the parents of every vertex of a level, `[z][y][x]`: the sum over the eight vertices
/// of the level before that surround it; one that it coincides with counts more than once.
/// Zeros without a level before.
pub(crate) fn of(
    model: &GridModel,
    index: usize,
    feature: usize,
    weights: &GridWeights,
) -> Vec<u16> {
    let lattice = weights.levels[index].lattice;
    let Some(before) = index.checked_sub(1) else {
        return vec![0; lattice.iter().product()];
    };
    let parent = &weights.levels[before];
    let spacing = |i: usize| model.levels[i].spacing;
    let shift = std::array::from_fn(|a| spacing(before)[a] - spacing(index)[a]);
    around(
        &magnitudes(parent, feature.min(parent.features.len() - 1)),
        parent.lattice,
        lattice,
        shift,
    )
}

fn magnitudes(level: &LevelWeights, feature: usize) -> Vec<u16> {
    let mut gathered = Vec::new();
    level.gather(feature, &mut gathered);
    let clipped = |w: i32| w.unsigned_abs().min(LIMIT.unsigned_abs()) as u16;
    gathered.into_iter().map(clipped).collect()
}

/// Sums of the two vertices below and above on each axis in turn.
fn around(old: &[u16], from: [usize; 3], to: [usize; 3], shift: [u8; 3]) -> Vec<u16> {
    let pair = |axis: usize, v: usize| {
        let up = (1usize << shift[axis]) - 1;
        [
            v >> shift[axis],
            ((v + up) >> shift[axis]).min(from[axis] - 1),
        ]
    };
    let along_x: Vec<u16> = old
        .chunks_exact(from[0])
        .flat_map(|row| (0..to[0]).map(|x| pair(0, x).map(|i| row[i]).iter().sum()))
        .collect();
    let sum_rows = |rows: &[u16], width: usize, axis: usize| -> Vec<u16> {
        let mut out = Vec::with_capacity(rows.len() / from[axis] * to[axis]);
        for slab in rows.chunks_exact(width * from[axis]) {
            for v in 0..to[axis] {
                let [a, b] = pair(axis, v).map(|i| &slab[i * width..][..width]);
                out.extend(a.iter().zip(b).map(|(a, b)| a + b));
            }
        }
        out
    };
    let along_y = sum_rows(&along_x, to[0], 1);
    sum_rows(&along_y, to[0] * to[1], 2)
}

/// The same for the entries of the level's hash table: the most active of the vertices that share
/// one.
pub(crate) fn of_entries(level: &LevelWeights, table_log2: u8, parents: &[u16]) -> Vec<u16> {
    let mut entries = vec![0; 1 << table_log2];
    level.for_each_entry(|vertex, entry| entries[entry] = parents[vertex].max(entries[entry]));
    entries
}
