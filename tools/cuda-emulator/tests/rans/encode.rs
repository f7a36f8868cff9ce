//! Layers, residuals and masks, from numbers to bytes.

use std::sync::Arc;

use hgv::backend::cuda::rans::{LayerEncodeBatch, RansEncoder, ResidualEncodeBatch};
use hgv::backend::cuda::{
    BlockHead, Buffer, ByteSink, Device, LayerHead, MaskEncodeBatch, MaskEncoder, STATUS_BAD,
    STATUS_FULL, STATUS_GOOD, Stream,
};
use hgv_cuda_emulator::{for_each_device, for_one_device};

use crate::cases::{Case, Random, random_case, random_dims};
use crate::layers::describe;
use crate::{buffer, mask, residual};

/// What an encoder left behind: the status of each block and the bytes of each stream.
struct Encoded {
    status: Vec<u32>,
    streams: Vec<Vec<u8>>,
    used: u64,
}

const ROOM: usize = 32 << 20;

/// Reads heads by `place`, and the bytes where they say.
fn collect<H: zerocopy::FromBytes + zerocopy::Immutable>(
    stream: &mut Stream,
    (heads, status, sink): (&Buffer, &Buffer, &ByteSink),
    place: impl Fn(&H) -> (u64, u32),
) -> Encoded {
    let used = sink.used(stream).unwrap();
    let tickets = [heads, status, sink.bytes()].map(|b| stream.download(b, 0, b.len()).unwrap());
    stream.synchronise().unwrap();
    let bytes = stream.bytes(&tickets[2]).unwrap();
    let streams = stream
        .elements::<H>(&tickets[0])
        .unwrap()
        .iter()
        .map(|head| {
            let (offset, length) = place(head);
            let range = offset as usize..offset as usize + length as usize;
            bytes.get(range).unwrap_or_default().to_vec()
        });
    Encoded {
        streams: streams.collect(),
        status: stream.elements::<u32>(&tickets[1]).unwrap().to_vec(),
        used: ByteSink::read_used(stream, &used).unwrap(),
    }
}

/// Layers of blocks of one width, block by block.
fn encode_layers(
    device: &Arc<dyn Device>,
    cases: &[Case],
    block_log2: u32,
    room: usize,
) -> (Encoded, Vec<Vec<Vec<u8>>>) {
    let mut stream = Stream::new(device).unwrap();
    let (heads, mut layers, _) = describe(cases);
    let wide = cases[0].wide;
    for layer in &mut layers {
        (layer.offset, layer.bytes) = (0, 0);
    }
    let qualities = cases.iter().map(|c| c.targets.len()).max().unwrap();
    let planes: Vec<Buffer> = (0..qualities)
        .map(|q| {
            let indices = cases.iter().flat_map(|c| match c.targets.get(q) {
                Some(target) => target.clone(),
                None => vec![0; c.shape.voxels()],
            });
            if wide {
                buffer(&mut stream, &indices.collect::<Vec<i32>>())
            } else {
                buffer(
                    &mut stream,
                    &indices.map(|k| k as i16).collect::<Vec<i16>>(),
                )
            }
        })
        .collect();
    let sink = ByteSink::new(device, room).unwrap();
    sink.clear(&mut stream).unwrap();
    let order: Vec<u32> = (0..cases.len() as u32).rev().collect();
    let layer_heads = buffer(&mut stream, &layers);
    let status = buffer(&mut stream, &vec![STATUS_GOOD; cases.len()]);
    let batch = LayerEncodeBatch {
        heads: &buffer(&mut stream, &heads),
        layers: &layer_heads,
        planes: &planes.iter().map(Buffer::address).collect::<Vec<_>>(),
        wide,
        order: &buffer(&mut stream, &order),
        count: cases.len() as u32,
        status: &status,
        sink: &sink,
        block_log2,
    };
    let mut encoder = RansEncoder::new(&mut stream).unwrap();
    encoder.encode_layers(&mut stream, &batch).unwrap();
    let place = |l: &LayerHead| (l.offset, l.bytes);
    let encoded = collect(&mut stream, (&layer_heads, &status, &sink), place);
    let mut all = encoded.streams.iter().cloned();
    let by_block = cases
        .iter()
        .map(|c| all.by_ref().take(c.layers.len()).collect());
    let by_block = by_block.collect();
    (encoded, by_block)
}

fn check(device: &Arc<dyn Device>, cases: &[Case], block_log2: u32) {
    for wide in [false, true] {
        let cases: Vec<Case> = cases.iter().filter(|c| c.wide == wide).cloned().collect();
        if cases.is_empty() {
            continue;
        }
        let (encoded, layers) = encode_layers(device, &cases, block_log2, ROOM);
        for (i, case) in cases.iter().enumerate() {
            let name = format!("{} on {}", case.name, device.name());
            assert_eq!(encoded.status[i], STATUS_GOOD, "{name}");
            assert!(layers[i] == case.layers, "{name}");
        }
        let total: usize = cases.iter().flat_map(|c| &c.layers).map(Vec::len).sum();
        assert_eq!(encoded.used, total as u64);
    }
}

#[test]
fn random_blocks_encode_to_the_bytes_of_the_cpu() {
    for block_log2 in 5..=7 {
        let mut random = Random::new(40 + u64::from(block_log2));
        let cases: Vec<Case> = (0..20)
            .map(|_| random_case(&mut random, block_log2))
            .collect();
        for_each_device(|device| check(device, &cases, block_log2));
    }
}

#[test]
fn whole_blocks_encode_to_the_bytes_of_the_cpu() {
    let mut random = Random::new(78);
    let cases: Vec<Case> = [6, 6, 7]
        .map(|log2| Case::new(&mut random, log2, [1 << log2; 3], log2 == 6))
        .into();
    for_one_device(|device| {
        check(device, &cases[..2], 6);
        check(device, &cases[2..], 7);
    });
}

#[test]
fn what_no_layer_can_say_and_what_does_not_fit_has_a_status() {
    let mut random = Random::new(31);
    let mut cases: Vec<Case> = Vec::new();
    while cases.len() < 6 {
        let case = Case::new(&mut random, 5, [11, 12, 13], false);
        if case.targets.len() > 1 && case.targets[0].iter().any(|&k| k != 0) {
            cases.push(case);
        }
    }
    for case in &mut cases[3..] {
        // The last ones are of a fine band; differences of the coarsest may be any.
        let broken = case.targets[0].iter().rposition(|&k| k != 0).unwrap();
        case.targets[1][broken] = -case.targets[0][broken].signum() * 3;
    }
    for_each_device(|device| {
        let (encoded, layers) = encode_layers(device, &cases, 5, ROOM);
        for (i, case) in cases.iter().enumerate().take(3) {
            assert!(layers[i] == case.layers);
        }
        let (good, bad) = (STATUS_GOOD, STATUS_BAD);
        assert_eq!(encoded.status, [good, good, good, bad, bad, bad]);
        let (encoded, _) = encode_layers(device, &cases[..3], 5, 30);
        let total: usize = cases[..3].iter().map(|c| c.layers[0].len()).sum();
        assert!(encoded.status.contains(&STATUS_FULL) && encoded.used >= total as u64);
    });
}

fn encode_residuals(device: &Arc<dyn Device>, cases: &[residual::Case], block_log2: u32) {
    let mut stream = Stream::new(device).unwrap();
    let mut heads = residual::heads(cases);
    for head in &mut heads {
        (head.residual_offset, head.residual_bytes) = (0, 0);
    }
    let integers: Vec<i32> = cases.iter().flat_map(|c| c.integers.clone()).collect();
    let residuals: Vec<i32> = cases.iter().flat_map(|c| c.residual.clone()).collect();
    let sink = ByteSink::new(device, ROOM).unwrap();
    sink.clear(&mut stream).unwrap();
    let order: Vec<u32> = (0..cases.len() as u32).collect();
    let heads = buffer(&mut stream, &heads);
    let status = buffer(&mut stream, &vec![STATUS_GOOD; cases.len()]);
    let batch = ResidualEncodeBatch {
        heads: &heads,
        integers: &buffer(&mut stream, &integers),
        residuals: &buffer(&mut stream, &residuals),
        order: &buffer(&mut stream, &order),
        count: cases.len() as u32,
        status: &status,
        sink: &sink,
        block_log2,
    };
    let mut encoder = RansEncoder::new(&mut stream).unwrap();
    encoder.encode_residuals(&mut stream, &batch).unwrap();
    let place = |h: &BlockHead| (h.residual_offset, h.residual_bytes);
    let encoded = collect(&mut stream, (&heads, &status, &sink), place);
    for ((case, bytes), status) in cases.iter().zip(encoded.streams).zip(encoded.status) {
        assert_eq!(status, STATUS_GOOD);
        assert!(bytes == case.bytes, "{:?} on {}", case.dims, device.name());
    }
}

#[test]
fn residuals_encode_to_the_bytes_of_the_cpu() {
    for block_log2 in 5..=7 {
        let mut random = Random::new(200 + u64::from(block_log2));
        let cases: Vec<residual::Case> = (0..16)
            .map(|_| {
                let dims = random_dims(&mut random, block_log2);
                residual::Case::new(&mut random, dims)
            })
            .collect();
        for_each_device(|device| encode_residuals(device, &cases, block_log2));
    }
}

fn encode_masks(device: &Arc<dyn Device>, cases: &[mask::Case]) {
    let mut stream = Stream::new(device).unwrap();
    let (heads, places) = mask::heads(cases);
    let heads: Vec<BlockHead> = heads
        .into_iter()
        .map(|h| BlockHead {
            mask_offset: 0,
            mask_bytes: 0,
            ..h
        })
        .collect();
    let classes: Vec<u8> = cases
        .iter()
        .flat_map(|c| c.classes.iter().map(|&c| c as u8))
        .collect();
    let sink = ByteSink::new(device, ROOM).unwrap();
    sink.clear(&mut stream).unwrap();
    let order: Vec<u32> = (0..cases.len() as u32).collect();
    let heads = buffer(&mut stream, &heads);
    let status = buffer(&mut stream, &vec![STATUS_GOOD; cases.len()]);
    let batch = MaskEncodeBatch {
        heads: &heads,
        order: &buffer(&mut stream, &order),
        places: &buffer(&mut stream, &places),
        count: cases.len() as u32,
        classes: &buffer(&mut stream, &classes),
        status: &status,
        sink: &sink,
        block_log2: 7,
    };
    let mut encoder = MaskEncoder::new(&stream).unwrap();
    encoder.encode(&mut stream, &batch).unwrap();
    let place = |h: &BlockHead| (h.mask_offset, h.mask_bytes);
    let encoded = collect(&mut stream, (&heads, &status, &sink), place);
    for ((case, bytes), status) in cases.iter().zip(encoded.streams).zip(encoded.status) {
        assert_eq!(status, STATUS_GOOD);
        assert!(bytes == case.bytes, "{:?} on {}", case.dims, device.name());
    }
}

#[test]
fn masks_encode_to_the_bytes_of_the_cpu() {
    let mut random = Random::new(23);
    let cases: Vec<mask::Case> = (0..40)
        .map(|i| {
            let dims = random_dims(&mut random, 5 + i % 3);
            mask::Case::new(&mut random, dims)
        })
        .collect();
    for_each_device(|device| encode_masks(device, &cases));
}
