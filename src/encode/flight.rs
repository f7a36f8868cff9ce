//! How much of a volume is in the works at once.

use super::job::Job;
use super::search::Effort;

/// What may be in the works at once, so that memory stays within its budget for any number of
/// threads and any block. Of the budget, half is for blocks in the works and an eighth for blocks
/// that wait to be written; the writer and the overview have the rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flight {
    /// Blocks of a row along x that are read at once.
    pub(super) row: usize,
    /// Rows handed to the threads at once.
    pub(super) rows: usize,
    /// Single blocks handed to the threads at once.
    pub(super) blocks: usize,
}

/// Most blocks of a page along x.
const PAGE_ROW: u64 = 8;

impl Flight {
    fn new(memory: u64, threads: usize, block_voxels: u64, voxel_bytes: u64, work: u64) -> Self {
        let threads = threads.max(1) as u64;
        let work = block_voxels * work;
        // Bytes as read and values in units of `q`.
        let read = block_voxels * (voxel_bytes + 4);
        let at_once = (memory / 2 / (work + read)).clamp(1, threads);
        let row = ((memory / 2 / at_once).saturating_sub(work) / read).clamp(1, PAGE_ROW);
        let waiting = memory / 8 / (block_voxels * voxel_bytes);
        let rounds = |per_thread: u64| {
            if at_once < threads {
                at_once
            } else {
                per_thread * threads
            }
        };
        Self {
            row: row as usize,
            rows: rounds(2).min(waiting / row).max(1) as usize,
            blocks: rounds(16).min(waiting).max(1) as usize,
        }
    }
}

impl Job<'_> {
    /// How much may be in the works at once.
    pub(super) fn flight(&self) -> Flight {
        let threads = self.pool.current_num_threads();
        Flight::new(
            self.options.memory,
            threads,
            1 << (3 * self.block_log2),
            self.scan.values.dtype.size() as u64,
            self.grid_choice().work_bytes(self.levels()) + Effort::work_bytes(self.options.preset),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::grid::GridChoice;
    use super::*;

    #[test]
    fn what_is_in_the_works_fits_the_budget() {
        let memory = 768 << 20;
        assert_eq!(
            Flight::new(memory, 2, 1 << 18, 4, GridChoice::Never.work_bytes(3)),
            Flight {
                row: 8,
                rows: 4,
                blocks: 32
            }
        );
        for (threads, log2, bytes, levels, grid) in [
            (2, 21, 4, 8, GridChoice::Never),
            (64, 18, 4, 3, GridChoice::Never),
            (64, 18, 4, 3, GridChoice::Cheaper),
            (64, 21, 4, 8, GridChoice::Never),
            (256, 15, 1, 1, GridChoice::Always),
            (1, 21, 2, 8, GridChoice::Cheaper),
        ] {
            let work = grid.work_bytes(levels);
            let f = Flight::new(memory, threads, 1 << log2, bytes, work);
            let at_once = (f.rows.min(threads) as u64, f.blocks.min(threads) as u64);
            let work = work << log2;
            let read = (bytes + 4) << log2;
            assert!(
                at_once.0 * (work + f.row as u64 * read) <= memory / 2,
                "{threads} threads, blocks of 2^{log2}: {f:?}"
            );
            assert!(at_once.1 * (work + read) <= memory / 2);
            assert!((f.rows * f.row) as u64 * (bytes << log2) <= memory / 8);
        }
    }
}
