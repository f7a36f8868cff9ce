//! Where bricks lie in chunks of device memory. Knows nothing of the device.
//!
//! A chunk is cut into cells of one size. Sizes are rounded up by at most an eighth, so that the bricks of a
//! volume, which differ at its edges and in their levels of detail, share chunks.

use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a chunk: few allocations, each of them slow, and not much that lies idle.
const CHUNK: u64 = 32 << 20;
/// Cells begin at multiples of this many bytes.
const ALIGN: usize = 256;

/// Place of a brick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) chunk: u32,
    /// Byte of the chunk where it begins.
    pub(super) offset: usize,
}

#[derive(Debug)]
struct Chunk {
    /// Bytes of a cell.
    cell: usize,
    cells: usize,
    /// Offsets of free cells.
    free: Vec<usize>,
}

impl Chunk {
    fn bytes(&self) -> u64 {
        self.cell as u64 * self.cells as u64
    }
}

/// Chunks and their free cells.
#[derive(Debug)]
pub(super) struct Shelves {
    limit: u64,
    held: u64,
    next: u32,
    chunks: BTreeMap<u32, Chunk>,
    /// Chunks with free cells, by the size of these.
    open: BTreeSet<(usize, u32)>,
}

/// Bytes of the cell that `bytes` lie in.
pub(super) fn cell(bytes: usize) -> usize {
    let step = bytes.checked_next_power_of_two().unwrap_or(bytes) / 16;
    bytes.max(1).next_multiple_of(step.max(ALIGN))
}

impl Shelves {
    /// No chunks, and at most `limit` bytes of them.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            held: 0,
            next: 0,
            chunks: BTreeMap::new(),
            open: BTreeSet::new(),
        }
    }

    /// Bytes of all chunks.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// A free cell for `bytes`.
    pub(super) fn take(&mut self, bytes: usize) -> Option<Spot> {
        let cell = cell(bytes);
        let &(_, chunk) = self.open.range((cell, 0)..=(cell, u32::MAX)).next()?;
        let free = &mut self.chunks.get_mut(&chunk)?.free;
        let offset = free.pop()?;
        if free.is_empty() {
            self.open.remove(&(cell, chunk));
        }
        Some(Spot { chunk, offset })
    }

    /// Gives a cell back.
    pub(super) fn give(&mut self, spot: Spot) {
        if let Some(chunk) = self.chunks.get_mut(&spot.chunk) {
            chunk.free.push(spot.offset);
            self.open.insert((chunk.cell, spot.chunk));
        }
    }

    /// A new chunk with cells for `bytes`, of one alone if `tight`: its name and its bytes; `None` if that is
    /// over the limit.
    pub(super) fn grow(&mut self, bytes: usize, tight: bool) -> Option<(u32, usize)> {
        let cell = cell(bytes);
        let left = self.limit.saturating_sub(self.held);
        let wanted = CHUNK.min(self.limit / 8) / cell as u64;
        let wanted = if tight { 1 } else { wanted.max(1) };
        let cells = usize::try_from(wanted.min(left / cell as u64)).ok()?;
        if cells == 0 {
            return None;
        }
        let name = self.next;
        self.next = name.checked_add(1)?;
        let chunk = Chunk {
            cell,
            cells,
            free: (0..cells).rev().map(|i| i * cell).collect(),
        };
        self.held += chunk.bytes();
        self.open.insert((cell, name));
        self.chunks.insert(name, chunk);
        Some((name, cells * cell))
    }

    /// Chunks without a cell in use.
    pub(super) fn unused(&self) -> Vec<u32> {
        let unused = |c: &Chunk| c.free.len() == c.cells;
        let names = self.open.iter().map(|&(_, name)| name);
        names
            .filter(|name| self.chunks.get(name).is_some_and(unused))
            .collect()
    }

    /// Forgets a chunk.
    pub(super) fn remove(&mut self, name: u32) {
        if let Some(chunk) = self.chunks.remove(&name) {
            self.held -= chunk.bytes();
            self.open.remove(&(chunk.cell, name));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cells_are_a_little_larger_than_what_they_hold() {
        for bytes in [
            1,
            256,
            257,
            1000,
            4097,
            300_763,
            601_526,
            1_203_052,
            1 << 24,
        ] {
            let cell = cell(bytes);
            assert!(
                cell >= bytes && cell.is_multiple_of(ALIGN),
                "{bytes}: {cell}"
            );
            assert!(
                cell <= (bytes + bytes / 8).max(bytes + ALIGN),
                "{bytes}: {cell}"
            );
        }
    }

    #[test]
    fn chunks_stay_within_the_limit_and_cells_apart() {
        let mut shelves = Shelves::new(1 << 20);
        assert_eq!(shelves.take(10_000), None);
        let mut spots = Vec::new();
        while let Some(spot) = shelves.take(10_000).or_else(|| {
            shelves.grow(10_000, false)?;
            shelves.take(10_000)
        }) {
            spots.push(spot);
        }
        assert!(shelves.held() <= 1 << 20);
        // All but one of the chunks at most is of use.
        assert!(spots.len() >= (1 << 20) / cell(10_000) * 9 / 10);
        let mut places: Vec<_> = spots.iter().map(|s| (s.chunk, s.offset)).collect();
        places.sort_unstable();
        assert!(
            places
                .windows(2)
                .all(|p| p[0].0 < p[1].0 || p[0].1 + 10_000 <= p[1].1)
        );
        assert!(shelves.unused().is_empty());
        shelves.give(spots[3]);
        assert_eq!(shelves.take(10_000), Some(spots[3]));
        for spot in spots {
            shelves.give(spot);
        }
        for name in shelves.unused() {
            shelves.remove(name);
        }
        assert_eq!(shelves.held(), 0);
        let (_, bytes) = shelves.grow(600_000, false).unwrap();
        assert_eq!(bytes, cell(600_000));
        assert_eq!(shelves.grow(600_000, true), None);
    }
}
