//! Decoding a box of voxels: which blocks, in which batches, and where their voxels go.

use rayon::prelude::*;

use super::batches;
use super::volume::Volume;
use crate::backend::Numbers;
use crate::backend::cpu::{GridParts, Scratch};
use crate::model::ValueMap;
use crate::reader::BlockEntry;
use crate::volume::{BlockGrid, Region};
use crate::{Limits, Result};

/// Blocks decoded side by side, times threads: enough to keep every thread busy and to merge
/// ranges, few enough to bound memory.
const BATCH: usize = 8;
/// Bytes that a batch may take, whatever the number of threads and the block: output, and about
/// `WORK_BYTES` a voxel while it is decoded; `GRID_BYTES` and two for each input of a network more
/// if that is a grid model's.
const BATCH_BYTES: usize = 256 << 20;
const WORK_BYTES: usize = 16;
const GRID_BYTES: usize = 24;

/// Where a level of detail lies in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Tier that serves it.
    pub(super) tier: u8,
    /// In-block level of detail inside that tier.
    pub(super) inner: u32,
    /// Block grid of the tier.
    pub(super) grid: BlockGrid,
}

/// Decodes `region` (voxels of the level of detail at `place`) at quality `level` into `out`.
pub(super) fn decode(
    volume: &Volume,
    place: Place,
    level: u32,
    region: &Region,
    out: &mut [u8],
) -> Result<()> {
    let size = volume.dtype().size();
    Limits::check(
        "bytes of a decoded region",
        region.voxels().saturating_mul(size as u64),
        volume.limits.max_output,
    )?;
    if let Some(cuda) = volume.decoder.backend.cuda() {
        return batches::decode(volume, cuda, place, level, region, out);
    }
    over_blocks(
        volume,
        place,
        level,
        (&touched(place, region), 0),
        |_, entry, layers, buffers| decode_one(volume, place, entry, layers, buffers),
        |_, (at, bytes)| copy_box(&bytes, &at, region, size, out),
    )
}

/// Reads blocks in batches: `work` gets the place in `blocks`, the index entry and the layers of
/// each, on any thread; `done` gets what it returns, in the order of `blocks`. `extra` are the bytes
/// a voxel of a block that `work` takes beside decoding it.
pub(super) fn over_blocks<R: Send>(
    volume: &Volume,
    place: Place,
    level: u32,
    (blocks, extra): (&[[u64; 3]], usize),
    work: impl Fn(usize, &BlockEntry, &[Vec<u8>], &mut Buffers) -> Result<R> + Sync,
    mut done: impl FnMut(usize, R),
) -> Result<()> {
    let layers = volume
        .reader
        .layers()
        .prefix(place.inner as u8, level as u8);
    let inputs = volume.decoder.most_inputs();
    let work_bytes = WORK_BYTES + inputs.map_or(0, |n| GRID_BYTES + 2 * n) + extra;
    let most = BATCH_BYTES / ((volume.dtype().size() + work_bytes) << (3 * place.grid.block_log2));
    let batch = (BATCH * volume.pool.current_num_threads().max(1))
        .min(most)
        .max(1);
    for (b, blocks) in blocks.chunks(batch).enumerate() {
        let entries = volume.reader.blocks_at(place.tier, blocks)?;
        let wanted: Vec<_> = entries.iter().map(|e| (e, layers)).collect();
        let payloads = volume.reader.read_many(&wanted)?;
        let results: Vec<R> = volume.pool.install(|| {
            entries
                .par_iter()
                .zip(&payloads)
                .enumerate()
                .map_init(Buffers::default, |buffers, (i, (entry, payload))| {
                    work(b * batch + i, entry, payload, buffers)
                })
                .collect::<Result<_>>()
        })?;
        for (i, result) in results.into_iter().enumerate() {
            done(b * batch + i, result);
        }
    }
    Ok(())
}

/// What a thread keeps from block to block.
#[derive(Default)]
pub(super) struct Buffers {
    scratch: Scratch,
    /// The block that was decoded last, `[z][y][x]`.
    pub(super) integers: Vec<i32>,
}

/// Decodes a block into `buffers.integers`; returns its extent at the level of detail, and what the
/// integers are.
pub(super) fn decode_block(
    volume: &Volume,
    place: Place,
    entry: &BlockEntry,
    layers: &[Vec<u8>],
    buffers: &mut Buffers,
) -> Result<([usize; 3], Numbers)> {
    let shape = volume.decoder.shape(&place.grid, entry.block);
    let inner = place.inner as usize;
    let Buffers { scratch, integers } = buffers;
    let decoder = &volume.decoder;
    let numbers = decoder.decode(entry, layers, shape, inner, scratch, integers)?;
    Ok((shape.dims_at(inner), numbers))
}

/// What a block under a grid model is evaluated from between its voxels, and its extent at the level
/// of detail; `None` where the voxels of [`decode_block`] say all.
pub(super) fn grid_parts<'a>(
    volume: &'a Volume,
    place: Place,
    entry: &BlockEntry,
    layers: &'a [Vec<u8>],
    buffers: &'a mut Buffers,
) -> Result<Option<([usize; 3], GridParts<'a>)>> {
    let shape = volume.decoder.shape(&place.grid, entry.block);
    let inner = place.inner as usize;
    let scratch = &mut buffers.scratch;
    let parts = volume
        .decoder
        .grid_parts(entry, layers, shape, inner, scratch)?;
    Ok(parts.map(|parts| (shape.dims_at(inner), parts)))
}

/// Voxels of a block and where they lie in its level of detail.
pub(super) fn decode_one(
    volume: &Volume,
    place: Place,
    entry: &BlockEntry,
    layers: &[Vec<u8>],
    buffers: &mut Buffers,
) -> Result<(Region, Vec<u8>)> {
    let (dims, numbers) = decode_block(volume, place, entry, layers, buffers)?;
    let start = place
        .grid
        .region(entry.block)
        .start
        .map(|v| v >> place.inner);
    let end = [0, 1, 2].map(|a| start[a] + dims[a] as u64);
    let mut bytes = vec![0; buffers.integers.len() * volume.dtype().size()];
    to_bytes(&volume.values, numbers, &buffers.integers, &mut bytes);
    Ok((Region { start, end }, bytes))
}

/// Decoded integers as little-endian voxels.
pub(super) fn to_bytes(map: &ValueMap, numbers: Numbers, integers: &[i32], out: &mut [u8]) {
    match numbers {
        Numbers::Units => map.to_bytes(integers, out),
        Numbers::FloatBits => {
            for (bits, out) in integers.iter().zip(out.chunks_exact_mut(4)) {
                out.copy_from_slice(&bits.to_le_bytes());
            }
        }
    }
}

/// Blocks that a region of a level of detail touches, x fastest.
fn touched(place: Place, region: &Region) -> Vec<[u64; 3]> {
    let side = place.grid.block_log2 - place.inner;
    let (first, last) = (
        region.start.map(|v| v >> side),
        region.end.map(|v| v.saturating_sub(1) >> side),
    );
    let mut blocks = Vec::new();
    if region.voxels() == 0 {
        return blocks;
    }
    for z in first[2]..=last[2] {
        for y in first[1]..=last[1] {
            blocks.extend((first[0]..=last[0]).map(|x| [x, y, z]));
        }
    }
    blocks
}

/// Copies the voxels that `from` (at `at`) and the region have in common into the region's buffer.
pub(super) fn copy_box(from: &[u8], at: &Region, region: &Region, size: usize, out: &mut [u8]) {
    let Some(common) = at.intersect(region) else {
        return;
    };
    let row = common.extent()[0] as usize * size;
    let offset = |r: &Region, x: u64, y: u64, z: u64| {
        let [w, h, _] = r.extent();
        (((z - r.start[2]) * h + y - r.start[1]) * w + x - r.start[0]) as usize * size
    };
    for z in common.start[2]..common.end[2] {
        for y in common.start[1]..common.end[1] {
            let (a, b) = (
                offset(at, common.start[0], y, z),
                offset(region, common.start[0], y, z),
            );
            out[b..b + row].copy_from_slice(&from[a..a + row]);
        }
    }
}
