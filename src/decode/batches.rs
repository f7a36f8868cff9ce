//! Decoding a box of voxels on a device: boxes of blocks, several under way at once, from their layers to voxels
//! of the caller's type.

use std::collections::VecDeque;

use rayon::prelude::*;

use super::region::{Buffers, Place, copy_box, decode_one};
use super::volume::Volume;
use crate::backend::cuda::{Content, CudaBackend, Flight, Placement, Voxels};
use crate::reader::BlockEntry;
use crate::volume::Region;
use crate::{Error, Result};

/// Layers of a block.
type Layers = Vec<Vec<u8>>;

/// What is asked for.
struct Wanted<'a> {
    volume: &'a Volume,
    cuda: &'a CudaBackend,
    place: Place,
    /// Layers of every block that are needed.
    layers: usize,
    region: &'a Region,
}

/// A box of blocks that is under way.
struct UnderWay<'a> {
    flight: Flight<'a>,
    /// The voxels of the region that it brings.
    part: Region,
    entries: Vec<BlockEntry>,
    layers: Vec<Layers>,
    /// Blocks that the CPU decoded.
    others: Vec<(Region, Vec<u8>)>,
}

/// Decodes `region` into `out`, as [`super::region::decode`] does.
pub(super) fn decode(
    volume: &Volume,
    cuda: &CudaBackend,
    place: Place,
    level: u32,
    region: &Region,
    out: &mut [u8],
) -> Result<()> {
    if region.voxels() == 0 {
        return Ok(());
    }
    let wanted = Wanted {
        volume,
        cuda,
        place,
        layers: (volume.reader.layers()).prefix(place.inner as u8, level as u8),
        region,
    };
    let voxels = 1 << (3 * place.grid.block_log2);
    let models = volume.decoder.models().values();
    let most = cuda.batch_blocks(voxels, volume.dtype().size(), models);
    let mut boxes: VecDeque<Region> = boxes_of(&blocks_touched(place, region), most).into();
    let mut under_way = VecDeque::new();
    while let Some(blocks) = boxes.pop_front() {
        if under_way.len() == cuda.lanes() {
            finish_oldest(&wanted, &mut under_way, out)?;
        }
        match wanted.start(&blocks) {
            Ok(started) => under_way.push_back(started),
            Err(Error::DeviceMemory(reason)) => {
                let idle = under_way.is_empty();
                while !under_way.is_empty() {
                    finish_oldest(&wanted, &mut under_way, out)?;
                }
                cuda.forget_lanes();
                // Others gave their memory back: once more; after that only with less.
                let again = match idle {
                    false => vec![blocks],
                    true => halves(&blocks).ok_or(Error::DeviceMemory(reason))?,
                };
                again.into_iter().rev().for_each(|b| boxes.push_front(b));
            }
            Err(e) => return Err(e),
        }
    }
    while !under_way.is_empty() {
        finish_oldest(&wanted, &mut under_way, out)?;
    }
    Ok(())
}

/// The box of blocks that a region of a level of detail touches.
fn blocks_touched(place: Place, region: &Region) -> Region {
    let side = place.grid.block_log2 - place.inner;
    Region {
        start: region.start.map(|v| v >> side),
        end: region.end.map(|v| v.div_ceil(1 << side)),
    }
}

/// Cuts a box of blocks in boxes of at most `most`, whole planes and whole rows as far as that goes.
fn boxes_of(all: &Region, most: usize) -> Vec<Region> {
    let [x, y, z] = all.extent();
    let most = (most as u64).max(1);
    let step = [
        x.min(most),
        (most / x.max(1)).clamp(1, y.max(1)),
        (most / (x * y).max(1)).clamp(1, z.max(1)),
    ];
    let starts = |a: usize| (all.start[a]..all.end[a]).step_by(step[a] as usize);
    let mut boxes = Vec::new();
    for z in starts(2) {
        for y in starts(1) {
            boxes.extend(starts(0).map(|x| {
                let start = [x, y, z];
                let end = [0, 1, 2].map(|a| (start[a] + step[a]).min(all.end[a]));
                Region { start, end }
            }));
        }
    }
    boxes
}

/// Two halves of a box of blocks; `None` of a single block.
fn halves(blocks: &Region) -> Option<Vec<Region>> {
    let extent = blocks.extent();
    let axis = (0..3).rev().max_by_key(|&a| extent[a])?;
    let middle = blocks.start[axis] + extent[axis] / 2;
    let (mut low, mut high) = (*blocks, *blocks);
    (low.end[axis], high.start[axis]) = (middle, middle);
    (extent[axis] > 1).then(|| vec![low, high])
}

impl<'a> Wanted<'a> {
    /// Voxels of a block at the level of detail.
    fn voxels_of(&self, block: [u64; 3]) -> Region {
        let region = self.place.grid.region(block);
        let shape = self.volume.decoder.shape(&self.place.grid, block);
        let start = region.start.map(|v| v >> self.place.inner);
        let dims = shape.dims_at(self.place.inner as usize);
        Region {
            start,
            end: [0, 1, 2].map(|a| start[a] + dims[a] as u64),
        }
    }

    /// Reads the blocks of a box and queues them.
    fn start(&self, blocks: &Region) -> Result<UnderWay<'a>> {
        let Self {
            volume,
            cuda,
            place,
            ..
        } = *self;
        let list = blocks_in(blocks);
        let entries = volume.reader.blocks_at(place.tier, &list)?;
        let wanted: Vec<_> = entries.iter().map(|e| (e, self.layers)).collect();
        let layers = volume.reader.read_many(&wanted)?;
        let part = self.part_of(blocks)?;
        let jobs = entries.iter().zip(&layers).map(|(entry, layers)| {
            let shape = volume.decoder.shape(&place.grid, entry.block);
            let inner = place.inner as usize;
            let content = volume.decoder.content(entry, layers, shape, inner)?;
            Ok((content, placement(&self.voxels_of(entry.block), &part)))
        });
        let jobs: Vec<(Content<'_>, Placement)> = jobs.collect::<Result<_>>()?;
        let whole = place.inner == 0 && self.layers == volume.reader.layers().as_slice().len();
        let voxels = Voxels::Typed {
            map: volume.values,
            ranks: volume.decoder.ranks(),
            whole,
        };
        let flight = cuda.submit(&jobs, &voxels, part.voxels() as usize)?;
        let others = volume.pool.install(|| {
            (flight.left().par_iter())
                .map_init(Buffers::default, |buffers, &i| {
                    decode_one(volume, place, &entries[i], &layers[i], buffers)
                })
                .collect::<Result<_>>()
        })?;
        Ok(UnderWay {
            flight,
            part,
            entries,
            layers,
            others,
        })
    }

    /// The voxels of the region that lie in a box of blocks.
    fn part_of(&self, blocks: &Region) -> Result<Region> {
        let last = blocks.end.map(|b| b.saturating_sub(1));
        let all = Region {
            start: self.voxels_of(blocks.start).start,
            end: self.voxels_of(last).end,
        };
        all.intersect(self.region)
            .ok_or_else(|| Error::argument("a box of blocks outside of the region"))
    }
}

/// Blocks of a box, x fastest.
fn blocks_in(blocks: &Region) -> Vec<[u64; 3]> {
    let mut list = Vec::new();
    for z in blocks.start[2]..blocks.end[2] {
        for y in blocks.start[1]..blocks.end[1] {
            list.extend((blocks.start[0]..blocks.end[0]).map(|x| [x, y, z]));
        }
    }
    list
}

/// Where the voxels of a block go in a buffer that holds `part`.
fn placement(block: &Region, part: &Region) -> Placement {
    let [w, h, _] = part.extent().map(|n| n as usize);
    let from = [0, 1, 2].map(|a| part.start[a].saturating_sub(block.start[a]) as usize);
    let to =
        [0, 1, 2].map(|a| part.end[a].min(block.end[a]).saturating_sub(block.start[a]) as usize);
    let away = [0, 1, 2].map(|a| block.start[a] as i64 - part.start[a] as i64);
    Placement {
        first: (away[2] * h as i64 + away[1]) * w as i64 + away[0],
        pitch: [w, w * h],
        from,
        to,
    }
}

/// Brings the voxels of the box that was queued first to `out`.
fn finish_oldest(
    wanted: &Wanted<'_>,
    under_way: &mut VecDeque<UnderWay<'_>>,
    out: &mut [u8],
) -> Result<()> {
    let Some(oldest) = under_way.pop_front() else {
        return Ok(());
    };
    let (volume, size) = (wanted.volume, wanted.volume.dtype().size());
    let part = oldest.part;
    let refused = oldest.flight.finish(|voxels| {
        let copy = || copy_part(voxels, &part, wanted.region, size, out);
        volume.pool.install(copy);
    })?;
    if let Some(&i) = refused.first() {
        let (entry, layers) = (&oldest.entries[i], &oldest.layers[i]);
        let shape = volume.decoder.shape(&wanted.place.grid, entry.block);
        let inner = wanted.place.inner as usize;
        let decoder = &volume.decoder;
        return decoder.explain(wanted.cuda, entry, layers, shape, inner);
    }
    for (at, bytes) in &oldest.others {
        copy_box(bytes, at, wanted.region, size, out);
    }
    Ok(())
}

/// Copies voxels of a part of a region to their place in it, plane by plane side by side.
fn copy_part(voxels: &[u8], part: &Region, region: &Region, size: usize, out: &mut [u8]) {
    let bytes = |r: &Region| (r.extent()[0] * r.extent()[1]) as usize * size;
    let (from, to) = (bytes(part), bytes(region));
    let first = (part.start[2] - region.start[2]) as usize;
    let planes = out.par_chunks_mut(to).skip(first);
    let from = voxels.par_chunks(from);
    from.zip(planes).enumerate().for_each(|(i, (from, to))| {
        let z = part.start[2] + i as u64;
        let plane = |r: &Region| {
            let mut r = *r;
            (r.start[2], r.end[2]) = (z, z + 1);
            r
        };
        copy_box(from, &plane(part), &plane(region), size, to);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(start: [u64; 3], end: [u64; 3]) -> Region {
        Region { start, end }
    }

    #[test]
    fn boxes_tile_what_is_touched() {
        let all = region([1, 2, 3], [6, 6, 6]);
        for most in 1..70 {
            let boxes = boxes_of(&all, most);
            let mut blocks: Vec<_> = boxes.iter().flat_map(blocks_in).collect();
            assert!(boxes.iter().all(|b| b.voxels() <= most as u64));
            blocks.sort_by_key(|b| [b[2], b[1], b[0]]);
            assert_eq!(blocks, blocks_in(&all), "{most}");
        }
    }

    #[test]
    fn halves_make_the_whole() {
        let all = region([0, 4, 1], [3, 5, 3]);
        let parts = halves(&all).unwrap_or_default();
        assert_eq!(parts.iter().map(Region::voxels).sum::<u64>(), all.voxels());
        assert_eq!(halves(&region([7, 7, 7], [8, 8, 8])), None);
    }

    #[test]
    fn parts_are_clipped_at_both_ends() {
        let block = region([8, 8, 8], [16, 16, 12]);
        let part = region([10, 0, 9], [13, 30, 40]);
        assert_eq!(
            placement(&block, &part),
            Placement {
                first: -3 * 30 + 8 * 3 - 2,
                pitch: [3, 90],
                from: [2, 0, 1],
                to: [5, 8, 4],
            }
        );
    }
}
