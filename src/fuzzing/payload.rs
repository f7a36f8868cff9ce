//! Arbitrary bytes as the layers of one block.
//!
//! Input: `block side u8 | x y z u8 | levels u8 | lod u8 | level u8 | vectors u8 | lo hi i32 |
//! model record 16 | for each layer: length u16, bytes`. What is missing is zero or empty.

use crate::backend::cpu::{CpuBackend, CpuLevel, Scratch as Buffers};
use crate::codec::bands::BlockShape;
use crate::decode::BlockDecoder;
use crate::format::layer::Layers;
use crate::format::model::ModelRecord;
use crate::format::shape::Shape;
use crate::format::tier;
use crate::io::FileSource;
use crate::model::{NON_FINITE, WaveletModel};
use crate::reader::{BlockEntry, BlockState, HgvReader, PayloadEntry};
use crate::volume::DType;
use crate::{Limits, Result};

use super::volumes::{Plan, Scratch};

const HEAD: usize = 32;
/// Blocks are cut to this many voxels, to keep inputs fast.
const VOXELS: usize = 1 << 15;
/// Coded values of every type lie under this magnitude.
const TOP: i32 = 1 << 24;

/// Decodes a block at one level on two kinds of vectors: the same voxels inside the value range,
/// or an error from both.
pub(super) fn run(data: &[u8]) {
    let Some(input) = Input::new(data) else {
        return;
    };
    let levels = CpuLevel::available();
    let other = levels[usize::from(input.vectors) % levels.len()];
    let (a, b) = (input.decode(CpuLevel::Scalar), input.decode(other));
    match (a, b) {
        (Some(Ok(a)), Some(Ok(b))) => {
            assert!(a == b, "scalar and {} differ", other.name());
            input.hold(&a);
        }
        (Some(Err(_)), Some(Err(_))) | (None, None) => {}
        _ => panic!("only one of scalar and {} fails", other.name()),
    }
}

struct Input {
    shape: Shape,
    block: BlockShape,
    lod: usize,
    level: u8,
    vectors: u8,
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
        let block_log2 = 5 + head[0] % 3;
        let layers = Layers::standard(head[4] % 4 + 1).ok()?;
        let block = cut(block_log2, [head[1], head[2], head[3]]);
        let extent = block.dims.map(|n| n as u64);
        let model = ModelRecord {
            id: 0,
            kind: WaveletModel::KIND,
            payload: head[16..].to_vec(),
        };
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
            vec![model],
        )
        .ok()?;
        let level = head[6] % shape.layers.levels();
        let lod = usize::from(head[5]) % (block.depth + 1);
        let prefix = shape.layers.prefix(lod as u8, level);
        let layers = split(data.get(HEAD..).unwrap_or_default(), prefix);
        Some(Self {
            shape,
            block,
            lod,
            level,
            vectors: head[7],
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
        Some(done.map(|()| out))
    }

    /// Every voxel lies in the range, unless a mask says that it is none.
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
        let masked = self.shape.models[0].payload[6] & 2 != 0;
        let fits = |q: &i32| (lo..=hi).contains(q) || (masked && NON_FINITE.contains(q));
        assert!(q.iter().all(fits), "a voxel leaves {lo}..={hi}");
    }
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
            let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
                return Vec::new();
            };
            let (layer, rest) =
                rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
            bytes = rest;
            layer.to_vec()
        })
        .collect()
}

/// Blocks that the encoder made, each read at another level.
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
        .collect()
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
        assert!(seeds.len() >= 8, "{}", seeds.len());
    }
}
