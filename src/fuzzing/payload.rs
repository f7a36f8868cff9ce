//! Arbitrary bytes as the layers of one block.
//!
//! Input: `block side u8 | x y z u8 | levels u8 | lod u8 | level u8 | any u8 | lo hi i32 | model
//! record 16 | for each layer: length u16, bytes`. What is missing is zero or empty. If the first
//! byte is over 127 the model is a grid, and its record is `length u16, bytes` too. Behind a record that
//! says ranks comes their map, as `length u16, bytes`.

use crate::backend::cpu::{CpuBackend, CpuLevel, Scratch as Buffers};
use crate::codec::bands::BlockShape;
use crate::codec::grid::encode_grid_layer;
use crate::codec::grid::random::{self, Numbers};
use crate::codec::mask::{Class, encode_mask};
use crate::decode::BlockDecoder;
use crate::format::layer::Layers;
use crate::format::model::ModelRecord;
use crate::format::shape::Shape;
use crate::format::tier;
use crate::io::FileSource;
use crate::model::{
    Curve, GridModel, NON_FINITE, Ranks, Residual, ValueMap, WaveletModel, ordered,
};
use crate::reader::{BlockEntry, BlockState, HgvReader, PayloadEntry};
use crate::volume::DType;
use crate::{Limits, Result};

use super::volumes::{Plan, Scratch};

const HEAD: usize = 16;
/// Bytes of a wavelet model.
const WAVELET: usize = 16;
/// Flag of ranks in a record of a wavelet model.
const RANKS: u8 = 1 << 7;
/// Blocks are cut to this many voxels, to keep inputs fast.
const VOXELS: usize = 1 << 15;
/// Coded values of every type lie under this magnitude.
const TOP: i32 = 1 << 24;

/// Decodes a block at one level on all kinds of vectors: the same voxels inside the value range, or
/// an error from all.
pub(super) fn run(data: &[u8]) {
    let Some(input) = Input::new(data) else {
        return;
    };
    // A record that is refused is refused everywhere.
    let Some(scalar) = input.decode(CpuLevel::Scalar) else {
        return;
    };
    if let Ok(q) = &scalar {
        input.hold(q);
    }
    for other in CpuLevel::available().into_iter().skip(1) {
        match (&scalar, input.decode(other)) {
            (Ok(a), Some(Ok(b))) => assert!(*a == b, "scalar and {} differ", other.name()),
            (Err(_), Some(Err(_))) => {}
            _ => panic!("only one of scalar and {} fails", other.name()),
        }
    }
}

struct Input {
    shape: Shape,
    block: BlockShape,
    lod: usize,
    level: u8,
    range: (i32, i32),
    layers: Vec<Vec<u8>>,
}

impl Input {
    fn new(data: &[u8]) -> Option<Self> {
        let mut head = [0; HEAD];
        let n = data.len().min(HEAD);
        head[..n].copy_from_slice(&data[..n]);
        let number = |at: usize| {
            i32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) % TOP
        };
        let (a, b) = (number(8), number(12));
        let block_log2 = 5 + (head[0] & 127) % 3;
        let layers = Layers::standard(head[4] % 4 + 1).ok()?;
        let block = cut(block_log2, [head[1], head[2], head[3]]);
        let extent = block.dims.map(|n| n as u64);
        let (models, rest) = records(head[0] > 127, data.get(HEAD..).unwrap_or_default());
        let tiers = tier::plan(extent, block_log2);
        let range = (a.min(b), a.max(b));
        let shape = Shape::new(
            extent,
            DType::Float32,
            block_log2,
            1,
            range,
            0,
            layers,
            tiers,
            models,
        )
        .ok()?;
        let level = head[6] % shape.layers.levels();
        let lod = usize::from(head[5]) % (block.depth + 1);
        let prefix = shape.layers.prefix(lod as u8, level);
        let layers = split(rest, prefix);
        Some(Self {
            shape,
            block,
            lod,
            level,
            range,
            layers,
        })
    }

    /// Integers of the block; `None` if the model record is refused.
    fn decode(&self, cpu: CpuLevel) -> Option<Result<Vec<i32>>> {
        let cpu = CpuBackend::with_level(cpu).ok()?;
        let decoder = BlockDecoder::new(&self.shape, cpu, &Limits::default()).ok()?;
        let payload = PayloadEntry {
            model: 0,
            range: self.range,
            range_codes: [0; 2],
            errors: Vec::new(),
            segments: Vec::new(),
        };
        let entry = BlockEntry {
            tier: 0,
            block: [0; 3],
            state: BlockState::Payload(payload),
        };
        let mut out = Vec::new();
        let done = decoder.decode(
            &entry,
            &self.layers,
            self.block,
            self.lod,
            &mut Buffers::default(),
            &mut out,
        );
        Some(done.map(|_| out))
    }

    /// Every voxel lies in the range, unless a mask says that it is none or it is a float's bits.
    fn hold(&self, q: &[i32]) {
        let expected: usize = self.block.dims_at(self.lod).iter().product();
        assert_eq!(
            q.len(),
            expected,
            "level of detail {}, quality {}",
            self.lod,
            self.level
        );
        let (lo, hi) = self.range;
        let model = &self.shape.models[0];
        let flags = if model.kind == GridModel::KIND { 3 } else { 6 };
        let set = |flag| model.payload[flags] & flag != 0;
        let (masked, bits) = (
            set(2),
            set(8) || model.kind == WaveletModel::KIND && set(RANKS),
        );
        let fits = |q: &i32| (lo..=hi).contains(q) || bits || (masked && NON_FINITE.contains(q));
        assert!(q.iter().all(fits), "a voxel leaves {lo}..={hi}");
    }
}

/// The model record and a map of ranks if it wants one, and what follows them.
fn records(grid: bool, bytes: &[u8]) -> (Vec<ModelRecord>, &[u8]) {
    let (model, rest) = record(grid, bytes);
    if grid || model.payload[6] & RANKS == 0 {
        return (vec![model], rest);
    }
    let (map, rest) = take(rest);
    let ranks = ModelRecord {
        id: 1,
        kind: Ranks::KIND,
        payload: map.to_vec(),
    };
    (vec![model, ranks], rest)
}

/// The model record, and what follows it.
fn record(grid: bool, bytes: &[u8]) -> (ModelRecord, &[u8]) {
    let (kind, (payload, rest)) = if grid {
        (GridModel::KIND, take(bytes))
    } else {
        // A curve, and the step of a residual.
        let flags = bytes.get(6).copied().unwrap_or(0);
        let more = [(4, Curve::BYTES), (16, 4)].map(|(flag, n)| (flags & flag != 0) as usize * n);
        let length = WAVELET + more.iter().sum::<usize>();
        (WaveletModel::KIND, bytes.split_at(bytes.len().min(length)))
    };
    let mut payload = payload.to_vec();
    if !grid {
        payload.resize(payload.len().max(WAVELET), 0);
    }
    let model = ModelRecord {
        id: 0,
        kind,
        payload,
    };
    (model, rest)
}

/// What a length says, and the rest.
fn take(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
        return (&[], &[]);
    };
    rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()))
}

/// A block of at most [`VOXELS`].
fn cut(block_log2: u8, dims: [u8; 3]) -> BlockShape {
    let side = 1usize << block_log2;
    let mut dims = dims.map(|n| usize::from(n) % side + 1);
    while dims.iter().product::<usize>() > VOXELS {
        if let Some(longest) = dims.iter_mut().max() {
            *longest = longest.div_ceil(2);
        }
    }
    BlockShape {
        dims,
        depth: usize::from(block_log2) - 2,
    }
}

fn split(mut bytes: &[u8], count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|_| {
            let (layer, rest) = take(bytes);
            bytes = rest;
            layer.to_vec()
        })
        .collect()
}

/// Blocks that the encoder made and blocks of random grids, each read at another level.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let plans = (0..14u8).map(|i| {
        // Extent, type, target, its size, levels, preset and mask.
        let plan = [
            i.wrapping_mul(5) + 3,
            30 - i,
            9 + i % 4,
            i,
            i,
            40 + i,
            i,
            i * 3,
        ];
        let noise = (0..97u32).map(move |n| ((n * n * (u32::from(i) + 3)) >> 3) as u8);
        plan.into_iter().chain(noise).collect::<Vec<u8>>()
    });
    plans
        .enumerate()
        .filter_map(|(i, p)| seed(&Plan::new(&p), i as u8))
        .chain((0..16).filter_map(grid_seed))
        .chain((0..2).filter_map(ranks_seed))
        .collect()
}

/// A block of a random grid model. Every fourth has a mask, every fifth is lossless.
fn grid_seed(i: u8) -> Option<Vec<u8>> {
    let mut numbers = Numbers(u64::from(i));
    let dims = [0; 3].map(|_| numbers.below(20) as u8);
    let sides = dims.map(|n| usize::from(n) + 1);
    let levels = i % 3 + 1;
    let mut model = random::model(&mut numbers, sides, u64::from(levels) + 2);
    let mut weights = random::weights(&mut numbers, &model, sides);
    let mut layers = (0..usize::from(levels) + 2)
        .map(|layer| encode_grid_layer(&model, layer, &mut weights).ok())
        .collect::<Option<Vec<_>>>()?;
    // Both are a length and what it counts, in front of the layer or, with nothing behind, around it.
    if i % 4 == 3 {
        model.mask = true;
        let finite = encode_mask(&vec![Class::Finite; sides.iter().product()], sides);
        layers[0] = [
            &(finite.len() as u32).to_le_bytes(),
            &finite[..],
            &layers[0],
        ]
        .concat();
    }
    if i % 5 == 4 {
        model.residual = Residual::Step(1);
        let last = layers.last_mut()?;
        *last = [&(last.len() as u32).to_le_bytes()[..], last].concat();
    }
    let mut out = vec![
        128 + i % 3,
        dims[0],
        dims[1],
        dims[2],
        levels - 1,
        i % 4,
        i / 2,
        0,
    ];
    out.extend((-1000 * i32::from(i)).to_le_bytes());
    out.extend((1i32 << i).to_le_bytes());
    for part in std::iter::once(&model.to_bytes()).chain(&layers) {
        out.extend((part.len() as u16).to_le_bytes());
        out.extend(part);
    }
    Some(out)
}

/// A block of ranks without coefficients.
fn ranks_seed(i: u8) -> Option<Vec<u8>> {
    let values = ValueMap {
        dtype: DType::Float32,
        exponent: 0,
    };
    let keys = [-9.75f32, -0.0, 0.0, 0.25, 3e4].map(|v| ordered(v.to_bits()));
    let map = Ranks::new(values, (-99, 30_000), keys.to_vec()).ok()?;
    let mut out = vec![0, 20, 9, 5, 0, i, 0, 0];
    out.extend((-99i32).to_le_bytes());
    out.extend(30_000i32.to_le_bytes());
    let flags = RANKS | 1 << 5 | 1;
    out.extend([0, i, 0, 1, 8, 5, flags, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    for part in [&map.to_bytes()[..], &[], &[], &[]] {
        out.extend((part.len() as u16).to_le_bytes());
        out.extend(part);
    }
    Some(out)
}

fn seed(plan: &Plan, i: u8) -> Option<Vec<u8>> {
    let file = Scratch::new();
    plan.encode_to(&file.0)?;
    let reader = HgvReader::open(
        std::sync::Arc::new(FileSource::open(&file.0).ok()?),
        Limits::default(),
    )
    .ok()?;
    let shape = reader.shape();
    let entry = reader
        .blocks(0)
        .ok()?
        .filter_map(Result::ok)
        .find(|e| e.bytes(usize::MAX) > 0)?;
    let BlockState::Payload(payload) = &entry.state else {
        return None;
    };
    let model = shape.models.iter().find(|m| m.id == payload.model)?;
    if model.payload[6] & RANKS != 0 {
        // Its map is one of values that this target does not have.
        return None;
    }
    // A reader of seeds takes the extent from the file, which is one block here.
    let dims = shape.extent.map(|n| (n.min(32) - 1) as u8);
    let mut out = vec![
        0,
        dims[0],
        dims[1],
        dims[2],
        shape.layers.levels() - 1,
        i % 4,
        i / 2,
        i,
    ];
    out.extend(payload.range.0.to_le_bytes());
    out.extend(payload.range.1.to_le_bytes());
    out.extend(&model.payload);
    for layer in reader.read_layers(&entry, usize::MAX).ok()? {
        out.extend((layer.len() as u16).to_le_bytes());
        out.extend(layer);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn seeds_are_blocks_that_decode() {
        let seeds = seeds();
        let decoded = seeds.iter().filter(|s| {
            let input = Input::new(s).unwrap();
            input.decode(CpuLevel::Scalar).is_some_and(|r| r.is_ok())
        });
        assert_eq!(decoded.count(), seeds.len());
        let grids = seeds.iter().filter(|s| s[0] > 127).count();
        assert!(seeds.len() >= 24 && grids == 16, "{}", seeds.len());
    }
}
