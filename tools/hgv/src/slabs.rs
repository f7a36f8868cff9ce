//! Streams a box of a volume slice by slice in bounded memory: what `decode` writes.
//!
//! Slabs are whole block layers, so that every block is decoded once. Where one block layer is
//! over the budget, its tiles wait in an unnamed scratch file until the layer is complete.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use hgv::volume::{Extent, Region, VoxelSource};
use hgv::{Error, Result};

/// More than this in one slab gains no speed and makes progress coarse.
const COMFORTABLE_SLAB: u64 = 64 << 20;

/// How to cut the box.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// The voxels to read.
    pub(crate) region: Region,
    /// Side of a block in voxels of the source.
    pub(crate) block: u64,
    /// Bytes that a buffer may have; one slice is always allowed.
    pub(crate) budget: u64,
    /// Folder of the scratch file, if one is needed.
    pub(crate) scratch: &'a Path,
}

/// Receives whole slices, first z first; then is told how many voxels are done.
pub(crate) type SliceSink<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// Reads `plan.region` of `source` in slices `[z][y][x]` into `sink`; calls `done` with the
/// number of voxels decoded so far, after every read.
///
/// # Errors
/// Those of `source`, `sink` and `done`, and [`Error::Io`] of the scratch file.
pub(crate) fn stream(
    source: &dyn VoxelSource,
    plan: &Plan<'_>,
    sink: &mut SliceSink<'_>,
    done: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader {
        source,
        size: source.dtype().size() as u64,
        voxels: 0,
        done,
    };
    let layer = bytes_of(slab_extent(&plan.region, plan.block), reader.size);
    if layer <= plan.budget {
        let layers = (plan.budget.min(COMFORTABLE_SLAB) / layer.max(1)).max(1);
        let thickness = plan.block.saturating_mul(layers);
        for (z0, z1) in aligned(plan.region.start[2], plan.region.end[2], thickness) {
            sink(&reader.read(&between(&plan.region, 2, z0, z1))?)?;
        }
        return Ok(());
    }
    for (z0, z1) in aligned(plan.region.start[2], plan.region.end[2], plan.block) {
        let slab = between(&plan.region, 2, z0, z1);
        let mut scratch = fill_scratch(&mut reader, plan, &slab)?;
        drain_scratch(&mut scratch, plan, &slab, reader.size, sink)?;
    }
    Ok(())
}

struct Reader<'a> {
    source: &'a dyn VoxelSource,
    size: u64,
    voxels: u64,
    done: &'a mut dyn FnMut(u64) -> Result<()>,
}

impl Reader<'_> {
    fn read(&mut self, region: &Region) -> Result<Vec<u8>> {
        let mut bytes = buffer(bytes_of(region.extent(), self.size))?;
        self.source.read(region, &mut bytes)?;
        self.voxels += region.voxels();
        (self.done)(self.voxels)?;
        Ok(bytes)
    }
}

fn fill_scratch(reader: &mut Reader<'_>, plan: &Plan<'_>, slab: &Region) -> Result<File> {
    let context = || format!("scratch file in {}", plan.scratch.display());
    let mut file = tempfile::tempfile_in(plan.scratch).map_err(|e| Error::io(context(), e))?;
    let [width, height, _] = slab.extent();
    let tile_width = tile_width(plan, width, reader.size);
    for (y0, y1) in aligned(slab.start[1], slab.end[1], plan.block) {
        for (x0, x1) in aligned(slab.start[0], slab.end[0], tile_width) {
            let tile = between(&between(slab, 1, y0, y1), 0, x0, x1);
            let bytes = reader.read(&tile)?;
            let origin = [x0 - slab.start[0], y0 - slab.start[1]];
            place_tile(
                &mut file,
                &bytes,
                tile.extent(),
                origin,
                [width, height],
                reader.size,
            )
            .map_err(|e| Error::io(context(), e))?;
        }
    }
    Ok(file)
}

/// Writes a tile to where its rows lie in the slab; full-width tiles go in one piece per slice.
fn place_tile(
    file: &mut File,
    bytes: &[u8],
    tile: Extent,
    origin: [u64; 2],
    slice: [u64; 2],
    size: u64,
) -> std::io::Result<()> {
    let full_width = tile[0] == slice[0];
    let rows_per_piece = if full_width { tile[1] } else { 1 };
    let piece = (tile[0] * rows_per_piece * size) as usize;
    let pieces_per_slice = tile[1] / rows_per_piece;
    for (i, part) in bytes.chunks(piece.max(1)).enumerate() {
        let (z, row) = (i as u64 / pieces_per_slice, i as u64 % pieces_per_slice);
        let y = origin[1] + row * rows_per_piece;
        file.seek(SeekFrom::Start(
            ((z * slice[1] + y) * slice[0] + origin[0]) * size,
        ))?;
        file.write_all(part)?;
    }
    Ok(())
}

fn drain_scratch(
    file: &mut File,
    plan: &Plan<'_>,
    slab: &Region,
    size: u64,
    sink: &mut SliceSink<'_>,
) -> Result<()> {
    let context = |e| Error::io(format!("scratch file in {}", plan.scratch.display()), e);
    let [width, height, depth] = slab.extent();
    let slice = bytes_of([width, height, 1], size);
    let at_once = (plan.budget.min(COMFORTABLE_SLAB) / slice.max(1)).max(1);
    file.seek(SeekFrom::Start(0)).map_err(context)?;
    let mut left = depth;
    while left > 0 {
        let slices = left.min(at_once);
        let mut bytes = buffer(slice.saturating_mul(slices))?;
        file.read_exact(&mut bytes).map_err(context)?;
        sink(&bytes)?;
        left -= slices;
    }
    Ok(())
}

/// Blocks of a tile side by side, at least one, so that it stays within the budget.
fn tile_width(plan: &Plan<'_>, width: u64, size: u64) -> u64 {
    let column = bytes_of([plan.block; 3], size).max(1);
    let blocks = (plan.budget / column).max(1);
    plan.block.saturating_mul(blocks).min(width.max(plan.block))
}

/// Cuts `from..to` at the multiples of `step`.
fn aligned(from: u64, to: u64, step: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let start = at;
        at = (start / step)
            .saturating_add(1)
            .saturating_mul(step)
            .min(to);
        (start < to).then_some((start, at))
    })
}

fn slab_extent(region: &Region, thickness: u64) -> Extent {
    let [width, height, depth] = region.extent();
    [width, height, depth.min(thickness)]
}

fn between(region: &Region, axis: usize, from: u64, to: u64) -> Region {
    let mut part = *region;
    part.start[axis] = from;
    part.end[axis] = to;
    part
}

fn bytes_of(extent: Extent, size: u64) -> u64 {
    extent.iter().fold(size, |n, &e| n.saturating_mul(e))
}

fn buffer(bytes: u64) -> Result<Vec<u8>> {
    let length = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(length).map_err(|_| {
        Error::argument(format!(
            "a slice needs {bytes} bytes of memory; decode a --region"
        ))
    })?;
    buffer.resize(length, 0);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use hgv::volume::{MemoryVolume, Metadata};

    /// Streams with a budget; returns the bytes, the largest piece and the reports.
    fn streamed(volume: &MemoryVolume, region: Region, budget: u64) -> (Vec<u8>, usize, Vec<u64>) {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan {
            region,
            block: 4,
            budget,
            scratch: dir.path(),
        };
        let (mut all, mut largest, mut reports) = (Vec::new(), 0, Vec::new());
        let mut sink = |bytes: &[u8]| {
            largest = largest.max(bytes.len());
            all.extend_from_slice(bytes);
            Ok(())
        };
        stream(volume, &plan, &mut sink, &mut |n| {
            reports.push(n);
            Ok(())
        })
        .unwrap();
        (all, largest, reports)
    }

    #[test]
    fn every_budget_gives_the_same_voxels() {
        let extent = [13, 11, 10];
        let voxels: Vec<u16> = (0..13 * 11 * 10).collect();
        let volume = MemoryVolume::new(extent, &voxels, Metadata::default()).unwrap();
        for region in [
            Region::whole(extent),
            Region::new([3, 1, 2], [12, 10, 9]).unwrap(),
        ] {
            let mut expected = vec![0; region.voxels() as usize * 2];
            volume.read(&region, &mut expected).unwrap();
            for budget in [1, 300, 500, 1200, 2000, 1 << 20] {
                let (bytes, largest, reports) = streamed(&volume, region, budget);
                assert!(bytes == expected, "{region:?} with {budget} bytes");
                let slice = region.extent()[0] * region.extent()[1] * 2;
                assert!(
                    largest as u64 <= budget.max(slice),
                    "{largest} for {budget}"
                );
                assert_eq!(reports.last(), Some(&region.voxels()));
                assert!(reports.is_sorted());
            }
        }
    }

    #[test]
    fn cuts_fall_on_multiples() {
        assert_eq!(
            aligned(3, 13, 4).collect::<Vec<_>>(),
            [(3, 4), (4, 8), (8, 12), (12, 13)]
        );
        assert_eq!(aligned(5, 5, 4).count(), 0);
    }

    #[test]
    fn an_error_of_the_caller_stops_it() {
        let volume = MemoryVolume::new([8, 8, 8], &[0u8; 512], Metadata::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let region = Region::whole([8, 8, 8]);
        let plan = Plan {
            region,
            block: 4,
            budget: 1,
            scratch: dir.path(),
        };
        let stopped = stream(&volume, &plan, &mut |_| Ok(()), &mut |_| {
            Err(Error::Cancelled)
        });
        assert!(matches!(stopped, Err(Error::Cancelled)));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
