//! Coder M on the device: the same indices and the same bytes as on the CPU, and a bad status for exactly the
//! blocks that the CPU refuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mixing_cases;

use std::sync::Arc;

use hgv::backend::cuda::mixing::{EncodeBatch, LayerBatch, LayerCoder};
use hgv::backend::cuda::{
    BlockFlags, BlockHead, Buffer, Device, LayerHead, STATUS_BAD, STATUS_GOOD, Stream,
};
use hgv_cuda_emulator::{for_each_device, for_one_device};
use mixing_cases::{Case, Random, case_of, random_case, vector_cases};
use zerocopy::{Immutable, IntoBytes};

fn buffer<T: IntoBytes + Immutable>(stream: &mut Stream, data: &[T]) -> Buffer {
    let buffer = Buffer::new(stream.device(), size_of_val(data)).unwrap();
    stream.upload(&buffer, 0, data).unwrap();
    buffer
}

/// Cases in device memory.
struct Batch {
    stream: Stream,
    heads: Vec<BlockHead>,
    head_buffer: Buffer,
    layers: Buffer,
    bytes: Buffer,
    order: Buffer,
    narrow: Buffer,
    wide: Buffer,
    status: Buffer,
    block_log2: u32,
}

/// What the device makes of a case.
struct Outcome {
    layers: Vec<Vec<u8>>,
    indices: Vec<i32>,
}

impl Batch {
    /// Planes lie one block after the other and hold rubbish.
    fn new(device: &Arc<dyn Device>, cases: &[Case], block_log2: u32, bytes: &[u8]) -> Self {
        let mut stream = Stream::new(device).unwrap();
        let (mut heads, mut layers) = (Vec::new(), Vec::new());
        let (mut offset, mut voxels) = (0, [0u64; 2]);
        for case in cases {
            let plane = &mut voxels[usize::from(case.wide)];
            heads.push(BlockHead {
                indices: *plane,
                first_layer: layers.len() as u32,
                layers: case.steps.len() as u32,
                dims: case.shape.dims.map(|n| n as u32),
                depth: case.shape.depth as u32,
                flags: BlockFlags::CODER_M | if case.wide { BlockFlags::WIDE } else { 0 },
                ..BlockHead::default()
            });
            *plane += case.shape.voxels() as u64;
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
            head_buffer: buffer(&mut stream, &heads),
            layers: buffer(&mut stream, &layers),
            bytes: buffer(&mut stream, bytes),
            order: buffer(&mut stream, &order),
            narrow: Buffer::new(device, 2 * voxels[0] as usize).unwrap(),
            wide: Buffer::new(device, 4 * voxels[1] as usize).unwrap(),
            status: buffer(&mut stream, &vec![STATUS_GOOD; cases.len()]),
            stream,
            heads,
            block_log2,
        }
    }

    fn batch(&self) -> LayerBatch<'_> {
        LayerBatch {
            heads: &self.head_buffer,
            layers: &self.layers,
            bytes: &self.bytes,
            order: &self.order,
            count: self.heads.len() as u32,
            narrow: &self.narrow,
            wide: &self.wide,
            status: &self.status,
            block_log2: self.block_log2,
        }
    }

    /// `None` where the status is bad.
    fn outcomes(&mut self, cases: &[Case]) -> Vec<Option<Outcome>> {
        let buffers = [
            &self.narrow,
            &self.wide,
            &self.status,
            &self.layers,
            &self.bytes,
        ];
        let tickets = buffers.map(|b| self.stream.download(b, 0, b.len()).unwrap());
        self.stream.synchronise().unwrap();
        let narrow = self.stream.elements::<i16>(&tickets[0]).unwrap();
        let wide = self.stream.elements::<i32>(&tickets[1]).unwrap();
        let status = self.stream.elements::<u32>(&tickets[2]).unwrap();
        let layers = self.stream.elements::<LayerHead>(&tickets[3]).unwrap();
        let bytes = self.stream.bytes(&tickets[4]).unwrap();
        let of_case = |(case, head): (&Case, &BlockHead)| {
            let range = head.indices as usize..head.indices as usize + case.shape.voxels();
            let layers = &layers[head.first_layer as usize..][..head.layers as usize];
            let stream = |l: &LayerHead| bytes[l.offset as usize..][..l.bytes as usize].to_vec();
            Outcome {
                layers: layers.iter().map(stream).collect(),
                indices: match case.wide {
                    true => wide[range].to_vec(),
                    false => narrow[range].iter().map(|&k| k.into()).collect(),
                },
            }
        };
        let all = cases.iter().zip(&self.heads).zip(status);
        all.map(|(of, &status)| (status != STATUS_BAD).then(|| of_case(of)))
            .collect()
    }
}

/// Decodes all cases; returns how many are good and how many are not.
fn check_decode(device: &Arc<dyn Device>, cases: &[Case], block_log2: u32) -> (usize, usize) {
    let bytes: Vec<u8> = cases.iter().flat_map(|c| c.layers.concat()).collect();
    let mut batch = Batch::new(device, cases, block_log2, &bytes);
    let coder = LayerCoder::new(&mut batch.stream).unwrap();
    let mut stream = std::mem::replace(&mut batch.stream, Stream::new(device).unwrap());
    coder.decode(&mut stream, &batch.batch()).unwrap();
    stream.synchronise().unwrap();
    let (mut good, mut bad) = (0, 0);
    for (case, got) in cases.iter().zip(batch.outcomes(cases)) {
        let want = case.decode().ok();
        match want {
            Some(_) => good += 1,
            None => bad += 1,
        }
        let got = got.map(|g| g.indices);
        assert!(got == want, "{} on {}", case.name, device.name());
    }
    (good, bad)
}

/// Encodes all cases with `room` bytes each; returns how many are good.
fn check_encode(
    device: &Arc<dyn Device>,
    cases: &[Case],
    block_log2: u32,
    room: impl Fn(&Case) -> usize,
) -> usize {
    let mut rooms = vec![0u64];
    for case in cases {
        rooms.push(rooms[rooms.len() - 1] + room(case) as u64);
    }
    let bytes = vec![0xa7u8; rooms[cases.len()] as usize];
    let mut batch = Batch::new(device, cases, block_log2, &bytes);
    let mut stream = std::mem::replace(&mut batch.stream, Stream::new(device).unwrap());
    let (narrow, wide) = target_planes(cases);
    let [narrow_stride, wide_stride] = [narrow.len(), wide.len()].map(|n| n as u64 / 8);
    let coder = LayerCoder::new(&mut stream).unwrap();
    let encode = EncodeBatch {
        layers: batch.batch(),
        rooms: &buffer(&mut stream, &rooms),
        narrow_target: &buffer(&mut stream, &narrow),
        wide_target: &buffer(&mut stream, &wide),
        narrow_stride,
        wide_stride,
    };
    coder.encode(&mut stream, &encode).unwrap();
    stream.synchronise().unwrap();
    let mut good = 0;
    for (case, got) in cases.iter().zip(batch.outcomes(cases)) {
        let want = case.encode().ok();
        let fits = |(layers, _): &(Vec<Vec<u8>>, _)| layers.concat().len() <= room(case);
        let want = want.filter(fits);
        good += usize::from(want.is_some());
        let got = got.map(|g| (g.layers, g.indices));
        assert!(got == want, "{} on {}", case.name, device.name());
    }
    good
}

/// Targets of the cases at eight qualities, one plane behind the other.
fn target_planes(cases: &[Case]) -> (Vec<i16>, Vec<i32>) {
    let (mut narrow, mut wide) = (Vec::new(), Vec::new());
    for quality in 0..8 {
        for case in cases {
            let last = case.targets.len() - 1;
            let target = case.targets[quality.min(last)].iter();
            match case.wide {
                true => wide.extend(target),
                false => narrow.extend(target.map(|&k| k as i16)),
            }
        }
    }
    (narrow, wide)
}

fn room_enough(case: &Case) -> usize {
    case.layers.concat().len() + 3
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

#[test]
fn random_blocks_decode_to_the_indices_of_the_cpu() {
    for block_log2 in 5..=7 {
        let mut random = Random::new(block_log2.into());
        let cases: Vec<Case> = (0..16)
            .map(|_| random_case(&mut random, block_log2, 37))
            .collect();
        for_each_device(|device| assert_eq!(check_decode(device, &cases, block_log2).1, 0));
    }
}

#[test]
fn random_blocks_encode_to_the_bytes_of_the_cpu() {
    for block_log2 in 5..=7 {
        let mut random = Random::new(100 + u64::from(block_log2));
        let cases: Vec<Case> = (0..16)
            .map(|_| random_case(&mut random, block_log2, 37))
            .collect();
        for_each_device(|device| {
            let good = check_encode(device, &cases, block_log2, room_enough);
            assert_eq!(good, cases.len());
        });
    }
}

#[test]
fn whole_blocks_come_out_as_on_the_cpu() {
    let mut random = Random::new(9);
    for (block_log2, dims) in [(5, [32; 3]), (6, [64; 3]), (7, [128, 96, 5])] {
        let cases = [case_of(&mut random, block_log2, dims)];
        for_one_device(|device| {
            assert_eq!(check_decode(device, &cases, block_log2), (1, 0));
            assert_eq!(check_encode(device, &cases, block_log2, room_enough), 1);
        });
    }
}

#[test]
fn damage_is_noticed_as_on_the_cpu() {
    let mut random = Random::new(5);
    let mut cases = Vec::new();
    for _ in 0..24 {
        let case = random_case(&mut random, 5, 20);
        cases.extend((0..12).map(|_| case.damaged(&mut random)));
    }
    for_each_device(|device| {
        let (good, bad) = check_decode(device, &cases, 5);
        assert!(good > 10 && bad > 100, "{good} good, {bad} bad");
    });
}

#[test]
fn what_cannot_be_encoded_is_refused_as_on_the_cpu() {
    let mut random = Random::new(6);
    let mut cases: Vec<Case> = (0..24).map(|_| random_case(&mut random, 5, 16)).collect();
    // Every other block with more than one quality has an index that is no refinement.
    for case in cases.iter_mut().step_by(2).filter(|c| c.targets.len() > 1) {
        if let Some(i) = case.targets[0].iter().position(|&k| k != 0) {
            case.targets[1][i] = 4 * case.targets[0][i] + 5;
        }
    }
    for_each_device(|device| {
        let good = check_encode(device, &cases, 5, room_enough);
        assert!((8..24).contains(&good), "{good} good");
        // One byte too few, or no room at all.
        check_encode(device, &cases, 5, |c| {
            c.layers.concat().len().saturating_sub(1)
        });
        check_encode(device, &cases, 5, |_| 0);
    });
}
