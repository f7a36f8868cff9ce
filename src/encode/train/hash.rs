//! The spatial hash of levels whose vertices outnumber their table, and the sums back into it.

use crate::model::grid::hash_index;

/// Table entry of every vertex of a lattice, `[z][y][x]`; `None` if the lattice fits the table
/// and entries are vertices.
pub(crate) fn entries(lattice: [usize; 3], table_log2: u8) -> Option<Vec<u32>> {
    let count: usize = lattice.iter().product();
    if count <= 1 << table_log2 {
        return None;
    }
    let mut all = Vec::with_capacity(count);
    for z in 0..lattice[2] {
        for y in 0..lattice[1] {
            all.extend((0..lattice[0]).map(|x| hash_index(x, y, z, table_log2) as u32));
        }
    }
    Some(all)
}

/// `lattice[v] = table[entries[v]]`.
pub(crate) fn gather(entries: &[u32], table: &[f32], lattice: &mut [f32]) {
    for (value, &entry) in lattice.iter_mut().zip(entries) {
        *value = table[entry as usize];
    }
}

/// The transpose of [`gather`]: sums in the order of the vertices.
pub(crate) fn scatter(entries: &[u32], lattice: &[f32], table: &mut [f32]) {
    table.fill(0.0);
    for (value, &entry) in lattice.iter().zip(entries) {
        table[entry as usize] += value;
    }
}
