//! Coder M on the device: the same indices and the same bytes as on the CPU, and a bad status for exactly the
//! blocks that the CPU refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;

use std::sync::Arc;

use cases::{Case, Random, case_of, random_case, vector_cases};
use hgv::backend::cuda::mixing::{MixingDecoder, MixingEncoder};
use hgv::backend::cuda::rans::{LayerBatch, LayerEncodeBatch};
use hgv::backend::cuda::{
    BlockFlags, BlockHead, Buffer, ByteSink, Device, LayerHead, STATUS_BAD, STATUS_FULL,
    STATUS_GOOD, Stream,
};
use hgv_cuda_emulator::{for_each_device, for_one_device};
use zerocopy::{Immutable, IntoBytes};

fn buffer<T: IntoBytes + Immutable>(stream: &mut Stream, data: &[T]) -> Buffer {
    let buffer = Buffer::new(stream.device(), size_of_val(data)).unwrap();
    stream.upload(&buffer, 0, data).unwrap();
    buffer
}

/// Cases in device memory.
struct Batch {
    heads: Vec<BlockHead>,
    head_buffer: Buffer,
    layers: Buffer,
    order: Buffer,
    status: Buffer,
    /// Elements of the planes of both widths.
    voxels: [usize; 2],
}

impl Batch {
    /// Planes lie one block after the other.
    fn new(stream: &mut Stream, cases: &[Case]) -> Self {
        let (mut heads, mut layers) = (Vec::new(), Vec::new());
        let (mut offset, mut voxels) = (0, [0; 2]);
        for case in cases {
            let plane = &mut voxels[usize::from(case.wide)];
            heads.push(BlockHead {
                indices: *plane as u64,
                first_layer: layers.len() as u32,
                layers: case.steps.len() as u32,
                dims: case.shape.dims.map(|n| n as u32),
                depth: case.shape.depth as u32,
                flags: BlockFlags::CODER_M | if case.wide { BlockFlags::WIDE } else { 0 },
                ..BlockHead::default()
            });
            *plane += case.shape.voxels();
            for (&(lod, quality), layer) in case.steps.iter().zip(&case.layers) {
                layers.push(LayerHead {
                    offset,
                    bytes: layer.len() as u32,
                    lod,
                    quality,
                    unused: 0,
                });
                offset += layer.len() as u64;
            }
        }
        let order: Vec<u32> = (0..cases.len() as u32).rev().collect();
        Self {
            head_buffer: buffer(stream, &heads),
            layers: buffer(stream, &layers),
            order: buffer(stream, &order),
            status: buffer(stream, &vec![STATUS_GOOD; cases.len()]),
            heads,
            voxels,
        }
    }
}

/// Indices of each block, `None` where its status is bad.
fn decode_on(device: &Arc<dyn Device>, cases: &[Case], block_log2: u32) -> Vec<Option<Vec<i32>>> {
    let mut stream = Stream::new(device).unwrap();
    let batch = Batch::new(&mut stream, cases);
    let bytes: Vec<u8> = cases.iter().flat_map(|c| c.layers.concat()).collect();
    // Planes hold rubbish.
    let narrow = Buffer::new(device, 2 * batch.voxels[0]).unwrap();
    let wide = Buffer::new(device, 4 * batch.voxels[1]).unwrap();
    let layers = LayerBatch {
        heads: &batch.head_buffer,
        layers: &batch.layers,
        bytes: &buffer(&mut stream, &bytes),
        order: &batch.order,
        count: cases.len() as u32,
        narrow: &narrow,
        wide: &wide,
        status: &batch.status,
        block_log2,
    };
    let decoder = MixingDecoder::new(&mut stream).unwrap();
    decoder.decode(&mut stream, &layers).unwrap();
    let tickets = [&narrow, &wide, &batch.status].map(|b| stream.download(b, 0, b.len()).unwrap());
    stream.synchronise().unwrap();
    let narrow = stream.elements::<i16>(&tickets[0]).unwrap();
    let wide = stream.elements::<i32>(&tickets[1]).unwrap();
    let status = stream.elements::<u32>(&tickets[2]).unwrap();
    let all = batch.heads.iter().zip(cases).zip(status);
    all.map(|((head, case), &status)| {
        let range = head.indices as usize..head.indices as usize + case.shape.voxels();
        let values = match case.wide {
            true => wide[range].to_vec(),
            false => narrow[range].iter().map(|&k| k.into()).collect(),
        };
        (status == STATUS_GOOD).then_some(values)
    })
    .collect()
}

/// Decodes all cases; returns how many are good and how many are not.
fn check_decode(device: &Arc<dyn Device>, cases: &[Case], block_log2: u32) -> (usize, usize) {
    let (mut good, mut bad) = (0, 0);
    for (case, got) in cases.iter().zip(decode_on(device, cases, block_log2)) {
        let want = case.decode().ok();
        match want {
            Some(_) => good += 1,
            None => bad += 1,
        }
        assert!(got == want, "{} on {}", case.name, device.name());
    }
    (good, bad)
}

/// What an encoder leaves.
struct Encoded {
    /// Status of each block.
    status: Vec<u32>,
    /// Layers of each block whose status is good.
    layers: Vec<Vec<Vec<u8>>>,
    /// Bytes that all took or would have taken.
    used: u64,
}

/// Encodes blocks of one width.
fn encode_on(
    device: &Arc<dyn Device>,
    cases: &[Case],
    block_log2: u32,
    capacity: usize,
) -> Encoded {
    let mut stream = Stream::new(device).unwrap();
    let batch = Batch::new(&mut stream, cases);
    let planes: Vec<Buffer> = (0..8)
        .map(|quality| target_plane(&mut stream, cases, quality))
        .collect();
    let sink = ByteSink::new(device, capacity).unwrap();
    sink.clear(&mut stream).unwrap();
    let layers = LayerEncodeBatch {
        heads: &batch.head_buffer,
        layers: &batch.layers,
        planes: &planes.iter().map(Buffer::address).collect::<Vec<_>>(),
        wide: cases[0].wide,
        order: &batch.order,
        count: cases.len() as u32,
        status: &batch.status,
        sink: &sink,
        block_log2,
    };
    let mut encoder = MixingEncoder::new(&mut stream).unwrap();
    encoder.encode_layers(&mut stream, &layers).unwrap();
    let tickets = [&batch.status, &batch.layers, sink.bytes()]
        .map(|b| stream.download(b, 0, b.len()).unwrap());
    let used = sink.used(&mut stream).unwrap();
    stream.synchronise().unwrap();
    let status = stream.elements::<u32>(&tickets[0]).unwrap().to_vec();
    let heads = stream.elements::<LayerHead>(&tickets[1]).unwrap();
    let bytes = stream.bytes(&tickets[2]).unwrap();
    let layers_of = |(head, &status): (&BlockHead, &u32)| {
        let heads = &heads[head.first_layer as usize..][..head.layers as usize];
        let piece = |l: &LayerHead| bytes[l.offset as usize..][..l.bytes as usize].to_vec();
        let good = heads.iter().filter(|_| status == STATUS_GOOD);
        good.map(piece).collect()
    };
    Encoded {
        layers: batch.heads.iter().zip(&status).map(layers_of).collect(),
        used: ByteSink::read_used(&stream, &used).unwrap(),
        status,
    }
}

/// Targets of the cases at a quality.
fn target_plane(stream: &mut Stream, cases: &[Case], quality: usize) -> Buffer {
    let target = |case: &Case| case.targets[quality.min(case.targets.len() - 1)].clone();
    let all: Vec<i32> = cases.iter().flat_map(target).collect();
    match cases[0].wide {
        true => buffer(stream, &all),
        false => buffer(stream, &all.iter().map(|&k| k as i16).collect::<Vec<_>>()),
    }
}

/// Encodes all cases; returns how many can be.
fn check_encode(device: &Arc<dyn Device>, cases: &[Case], block_log2: u32) -> usize {
    let mut good = 0;
    for wide in [false, true] {
        let cases: Vec<Case> = cases.iter().filter(|c| c.wide == wide).cloned().collect();
        if cases.is_empty() {
            continue;
        }
        let want: Vec<_> = cases.iter().map(|c| c.encode().ok()).collect();
        let bytes: usize = cases.iter().map(|c| c.layers.concat().len()).sum();
        let got = encode_on(device, &cases, block_log2, bytes + 100);
        for (i, (case, want)) in cases.iter().zip(want).enumerate() {
            let status = if want.is_some() {
                STATUS_GOOD
            } else {
                STATUS_BAD
            };
            let name = format!("{} on {}", case.name, device.name());
            assert_eq!(got.status[i], status, "{name}");
            assert!(got.layers[i] == want.unwrap_or_default(), "{name}");
        }
        good += got.status.iter().filter(|s| **s == STATUS_GOOD).count();
    }
    good
}

#[test]
fn vectors_decode_to_the_indices_of_the_cpu() {
    let mut count = 0;
    for block_log2 in 5..=7 {
        let cases = vector_cases(block_log2);
        count += cases.len();
        for_each_device(|device| assert_eq!(check_decode(device, &cases, block_log2).1, 0));
    }
    assert!(count >= 10, "{count} vectors of coder M");
}

/// Random blocks of a block side, small enough to be decoded in every order of threads.
fn random_cases(seed: u64, block_log2: u32) -> Vec<Case> {
    let mut random = Random::new(seed + u64::from(block_log2));
    let case = |_| random_case(&mut random, block_log2, 24);
    (0..8).map(case).collect()
}

#[test]
fn random_blocks_decode_to_the_indices_of_the_cpu() {
    for block_log2 in 5..=7 {
        let cases = random_cases(0, block_log2);
        for_each_device(|device| {
            assert_eq!(check_decode(device, &cases, block_log2), (cases.len(), 0));
        });
    }
}

#[test]
fn random_blocks_encode_to_the_bytes_of_the_cpu() {
    for block_log2 in 5..=7 {
        let cases = random_cases(100, block_log2);
        for_each_device(|device| {
            assert_eq!(check_encode(device, &cases, block_log2), cases.len());
        });
    }
}

#[test]
fn whole_blocks_come_out_as_on_the_cpu() {
    let mut random = Random::new(9);
    for (block_log2, dims) in [(5, [32; 3]), (6, [64, 64, 40]), (7, [128, 96, 5])] {
        let cases = [case_of(&mut random, block_log2, dims)];
        for_one_device(|device| {
            assert_eq!(check_decode(device, &cases, block_log2), (1, 0));
            assert_eq!(check_encode(device, &cases, block_log2), 1);
        });
    }
}

#[test]
fn damage_is_noticed_as_on_the_cpu() {
    let mut random = Random::new(5);
    let mut cases = Vec::new();
    for _ in 0..24 {
        let case = random_case(&mut random, 5, 14);
        cases.extend((0..8).map(|_| case.damaged(&mut random)));
    }
    for_each_device(|device| {
        let (good, bad) = check_decode(device, &cases, 5);
        assert!(good > 10 && bad > 80, "{good} good, {bad} bad");
    });
}

#[test]
fn what_is_no_refinement_is_refused_as_on_the_cpu() {
    let mut random = Random::new(6);
    let mut cases: Vec<Case> = (0..16).map(|_| random_case(&mut random, 5, 12)).collect();
    // Every other block with more than one quality has an index that is too far from the one before.
    for case in cases.iter_mut().step_by(2).filter(|c| c.targets.len() > 1) {
        if let Some(i) = case.targets[0].iter().position(|&k| k != 0) {
            case.targets[1][i] = 4 * case.targets[0][i] + 5;
        }
    }
    for_each_device(|device| {
        let good = check_encode(device, &cases, 5);
        assert!((4..16).contains(&good), "{good} good");
    });
}

#[test]
fn bytes_without_room_are_counted() {
    let mut random = Random::new(7);
    let cases: Vec<Case> = (0..8)
        .map(|_| random_case(&mut random, 5, 12))
        .filter(|c| c.wide)
        .collect();
    let bytes: usize = cases.iter().map(|c| c.layers.concat().len()).sum();
    for_each_device(|device| {
        for capacity in [0, bytes - 1] {
            let got = encode_on(device, &cases, 5, capacity);
            assert_eq!(got.used, bytes as u64);
            assert!(got.status.contains(&STATUS_FULL));
            for (case, layers) in cases.iter().zip(&got.layers) {
                assert!(layers.is_empty() || *layers == case.layers, "{}", case.name);
            }
        }
    });
}
