//! Residuals, from bytes to numbers.

use std::sync::Arc;

use hgv::backend::cuda::rans::{ResidualBatch, ResidualDecoder};
use hgv::backend::cuda::{BlockHead, Buffer, Device, STATUS_BAD, STATUS_GOOD, Stream};
use hgv::codec::{decode_residual, encode_residual};
use hgv_cuda_emulator::{for_each_device, for_one_device};

use crate::buffer;
use crate::cases::{Random, damage, random_dims};
use crate::vectors::vectors;

/// A block whose voxels are known but for a residual.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) dims: [usize; 3],
    pub(crate) integers: Vec<i32>,
    pub(crate) residual: Vec<i32>,
    pub(crate) bytes: Vec<u8>,
}

impl Case {
    pub(crate) fn new(random: &mut Random, dims: [usize; 3]) -> Self {
        let voxels: usize = dims.iter().product();
        let (noise, style) = (1 << random.below(12), random.below(5));
        let mut level = 0i64;
        let integers: Vec<i32> = (0..voxels)
            .map(|_| {
                level = (level + random.below(2 * noise + 1) as i64 - noise as i64)
                    .clamp(-(1 << 24) + 1, (1 << 24) - 1);
                level as i32
            })
            .collect();
        let residual: Vec<i32> = (0..voxels)
            .map(|i| match (style, i / 500 % 3) {
                (0, _) | (_, 0) => 0,
                (1, _) => random.below(3) as i32 - 1,
                (2, _) => random.below(9000) as i32 - 4500,
                (3, 1) => random.next() as i32,
                (3, _) => i32::MIN >> random.below(31),
                _ => i32::from(random.below(50) == 0),
            })
            .collect();
        let bytes = encode_residual(dims, &integers, &residual).unwrap();
        Self {
            dims,
            integers,
            residual,
            bytes,
        }
    }

    /// What the CPU makes of it.
    fn decode(&self) -> Option<Vec<i32>> {
        let residual = decode_residual(self.dims, &self.integers, &self.bytes).ok()?;
        Some(match residual.is_empty() {
            true => vec![0; self.integers.len()],
            false => residual,
        })
    }

    fn damaged(&self, random: &mut Random) -> Self {
        let mut case = self.clone();
        damage(random, &mut case.bytes);
        case
    }
}

/// Heads of blocks whose planes and bytes lie one behind the other.
pub(crate) fn heads(cases: &[Case]) -> Vec<BlockHead> {
    let (mut integers, mut bytes) = (0, 0);
    let heads = cases.iter().map(|case| {
        let head = BlockHead {
            integers,
            residual_offset: bytes,
            residual_bytes: case.bytes.len() as u32,
            dims: case.dims.map(|n| n as u32),
            ..BlockHead::default()
        };
        integers += case.integers.len() as u64;
        bytes += case.bytes.len() as u64;
        head
    });
    heads.collect()
}

fn decode_on(device: &Arc<dyn Device>, cases: &[Case], block_log2: u32) -> Vec<Option<Vec<i32>>> {
    let mut stream = Stream::new(device).unwrap();
    let heads = heads(cases);
    let bytes: Vec<u8> = cases.iter().flat_map(|c| c.bytes.clone()).collect();
    let integers: Vec<i32> = cases.iter().flat_map(|c| c.integers.clone()).collect();
    let order: Vec<u32> = (0..cases.len() as u32).rev().collect();
    let residuals = Buffer::new(device, 4 * integers.len()).unwrap();
    let status = buffer(&mut stream, &vec![STATUS_GOOD; cases.len()]);
    let batch = ResidualBatch {
        heads: &buffer(&mut stream, &heads),
        bytes: &buffer(&mut stream, &bytes),
        order: &buffer(&mut stream, &order),
        count: cases.len() as u32,
        integers: &buffer(&mut stream, &integers),
        residuals: &residuals,
        status: &status,
        block_log2,
    };
    let mut decoder = ResidualDecoder::new(&mut stream).unwrap();
    decoder.decode(&mut stream, &batch).unwrap();
    let tickets = [&residuals, &status].map(|b| stream.download(b, 0, b.len()).unwrap());
    stream.synchronise().unwrap();
    let residuals = stream.elements::<i32>(&tickets[0]).unwrap();
    let status = stream.elements::<u32>(&tickets[1]).unwrap();
    let values = heads
        .iter()
        .zip(cases)
        .zip(status)
        .map(|((h, c), &status)| {
            let range = h.integers as usize..h.integers as usize + c.integers.len();
            (status != STATUS_BAD).then(|| residuals[range].to_vec())
        });
    values.collect()
}

fn check(device: &Arc<dyn Device>, cases: &[Case], block_log2: u32) -> usize {
    let mut bad = 0;
    for (case, got) in cases.iter().zip(decode_on(device, cases, block_log2)) {
        let want = case.decode();
        bad += usize::from(want.is_none());
        assert!(got == want, "{:?} on {}", case.dims, device.name());
    }
    bad
}

#[test]
fn residuals_of_the_vectors_decode_to_the_numbers_of_the_cpu() {
    let mut count = 0;
    for block_log2 in 5..=7 {
        let cases: Vec<Case> = (vectors(block_log2).iter())
            .filter(|v| !v.residual.is_empty())
            .map(|v| Case {
                dims: v.case.shape.dims,
                integers: v.integers(),
                residual: Vec::new(),
                bytes: v.residual.clone(),
            })
            .collect();
        count += cases.len();
        for_each_device(|device| assert_eq!(check(device, &cases, block_log2), 0));
    }
    assert!(count > 3, "{count} vectors");
}

#[test]
fn residuals_decode_to_the_numbers_of_the_cpu() {
    for block_log2 in 5..=7 {
        let mut random = Random::new(100 + u64::from(block_log2));
        let cases: Vec<Case> = (0..16)
            .map(|_| {
                let dims = random_dims(&mut random, block_log2);
                Case::new(&mut random, dims)
            })
            .collect();
        for case in &cases {
            assert!(case.decode().unwrap() == case.residual);
        }
        for_each_device(|device| assert_eq!(check(device, &cases, block_log2), 0));
    }
}

#[test]
fn a_whole_residual_decodes_to_the_numbers_of_the_cpu() {
    let case = Case::new(&mut Random::new(3), [64; 3]);
    for_one_device(|device| assert_eq!(check(device, std::slice::from_ref(&case), 6), 0));
}

#[test]
fn damaged_residuals_are_noticed_as_on_the_cpu() {
    let mut random = Random::new(9);
    let mut cases = Vec::new();
    for _ in 0..25 {
        let case = Case::new(&mut random, [9, 14, 11]);
        cases.extend((0..10).map(|_| case.damaged(&mut random)));
    }
    for_each_device(|device| {
        let bad = check(device, &cases, 5);
        assert!(bad > 50 && bad + 5 < cases.len(), "{bad} bad");
    });
}
