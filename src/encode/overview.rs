//! The voxels of an overview tier while it waits to be encoded: in memory, or in a scratch file
//! where that would take too much.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Mutex;

use crate::model::unit_of;
use crate::volume::{Extent, Region};
use crate::{Error, Result};

/// Integers of one tier, `[z][y][x]`, written box by box and read box by box.
#[derive(Debug)]
pub(crate) struct TierVoxels {
    extent: Extent,
    store: Store,
}

#[derive(Debug)]
enum Store {
    Memory(Mutex<Vec<i32>>),
    Scratch(Mutex<File>),
}

impl TierVoxels {
    /// Room for a tier; over `budget` bytes it lies in an unnamed file in `scratch`.
    pub(crate) fn new(extent: Extent, budget: u64, scratch: &Path) -> Result<Self> {
        let bytes = Region::whole(extent).voxels().saturating_mul(4);
        let store = if bytes <= budget {
            Store::Memory(Mutex::new(vec![0; (bytes / 4) as usize]))
        } else {
            let file = tempfile::tempfile_in(scratch)
                .and_then(|f| f.set_len(bytes).map(|()| f))
                .map_err(|e| Error::io(format!("scratch file in {}", scratch.display()), e))?;
            Store::Scratch(Mutex::new(file))
        };
        Ok(Self { extent, store })
    }

    /// Index of the first voxel of each row of a box, and the row's length.
    fn rows(&self, region: &Region) -> (Vec<u64>, usize) {
        let [w, h, _] = self.extent;
        let starts = (region.start[2]..region.end[2])
            .flat_map(|z| {
                (region.start[1]..region.end[1]).map(move |y| (z * h + y) * w + region.start[0])
            })
            .collect();
        (starts, region.extent()[0] as usize)
    }

    /// Stores the voxels of a box.
    pub(crate) fn put(&self, region: &Region, q: &[i32]) -> Result<()> {
        let (starts, row) = self.rows(region);
        match &self.store {
            Store::Memory(cells) => {
                let mut cells = lock(cells);
                for (&at, line) in starts.iter().zip(q.chunks_exact(row)) {
                    cells[at as usize..at as usize + row].copy_from_slice(line);
                }
            }
            Store::Scratch(file) => {
                let mut file = lock(file);
                for (&at, line) in starts.iter().zip(q.chunks_exact(row)) {
                    let bytes: Vec<u8> = line.iter().flat_map(|v| v.to_le_bytes()).collect();
                    file.seek(SeekFrom::Start(at * 4))
                        .and_then(|_| file.write_all(&bytes))
                        .map_err(scratch_failed)?;
                }
            }
        }
        Ok(())
    }

    /// Appends the voxels of a box to `out`.
    pub(crate) fn read(&self, region: &Region, out: &mut Vec<f32>) -> Result<()> {
        let (starts, row) = self.rows(region);
        match &self.store {
            Store::Memory(cells) => {
                let cells = lock(cells);
                for &at in &starts {
                    out.extend(
                        cells[at as usize..at as usize + row]
                            .iter()
                            .map(|&q| unit_of(q)),
                    );
                }
            }
            Store::Scratch(file) => {
                let (mut file, mut bytes) = (lock(file), vec![0; row * 4]);
                for &at in &starts {
                    file.seek(SeekFrom::Start(at * 4))
                        .and_then(|_| file.read_exact(&mut bytes))
                        .map_err(scratch_failed)?;
                    out.extend(
                        bytes
                            .chunks_exact(4)
                            .map(|b| unit_of(i32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
                    );
                }
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panicking thread leaves cells, at worst, unwritten; the panic itself is passed on.
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn scratch_failed(e: std::io::Error) -> Error {
    Error::io("scratch file of an overview", e)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn memory_and_scratch_hold_the_same() {
        let (extent, folder) = ([7, 5, 3], tempfile::tempdir().unwrap());
        let stores =
            [u64::MAX, 0].map(|budget| TierVoxels::new(extent, budget, folder.path()).unwrap());
        let region = Region {
            start: [2, 1, 0],
            end: [6, 4, 2],
        };
        let q: Vec<i32> = (0..24).map(|i| i * 1000 - 7).collect();
        let read = stores.each_ref().map(|s| {
            s.put(&region, &q).unwrap();
            let mut out = Vec::new();
            s.read(&Region::whole(extent), &mut out).unwrap();
            out
        });
        assert_eq!(read[0], read[1]);
        assert_eq!(read[0].iter().filter(|&&v| v != 0.0).count(), 24);
    }
}
