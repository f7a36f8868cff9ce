//! Layers, from bytes to indices.

use std::sync::Arc;

use hgv::backend::cuda::rans::{LayerBatch, LayerDecoder};
use hgv::backend::cuda::{
    BlockFlags, BlockHead, Device, LayerHead, STATUS_BAD, STATUS_GOOD, Stream,
};
use hgv_cuda_emulator::{for_each_device, for_one_device};

use crate::buffer;
use crate::cases::{Case, Random, random_case};
use crate::vectors::vectors;

/// Heads and bytes of a batch of blocks; planes lie one block after the other.
pub(crate) fn describe(cases: &[Case]) -> (Vec<BlockHead>, Vec<LayerHead>, Vec<u8>) {
    let (mut heads, mut layers, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut narrow, mut wide) = (0u64, 0u64);
    for case in cases {
        let plane = if case.wide { &mut wide } else { &mut narrow };
        heads.push(BlockHead {
            indices: *plane,
            first_layer: layers.len() as u32,
            layers: case.layers.len() as u32,
            dims: case.shape.dims.map(|n| n as u32),
            depth: case.shape.depth as u32,
            flags: if case.wide { BlockFlags::WIDE } else { 0 },
            ..BlockHead::default()
        });
        *plane += case.shape.voxels() as u64;
        for (&(lod, quality), layer) in case.steps.iter().zip(&case.layers) {
            layers.push(LayerHead {
                offset: bytes.len() as u64,
                bytes: layer.len() as u32,
                lod,
                quality,
                unused: 0,
            });
            bytes.extend_from_slice(layer);
        }
    }
    (heads, layers, bytes)
}

/// Indices of each block, `None` where its status is bad.
fn decode_on(device: &Arc<dyn Device>, cases: &[Case], block_log2: u32) -> Vec<Option<Vec<i32>>> {
    let mut stream = Stream::new(device).unwrap();
    let (heads, layers, bytes) = describe(cases);
    let voxels = |wide| -> usize {
        let own = cases.iter().filter(|c| c.wide == wide);
        own.map(|c| c.shape.voxels()).sum()
    };
    let order: Vec<u32> = (0..cases.len() as u32).rev().collect();
    let narrow = buffer(&mut stream, &vec![0i16; voxels(false)]);
    let wide = buffer(&mut stream, &vec![0i32; voxels(true)]);
    let status = buffer(&mut stream, &vec![STATUS_GOOD; cases.len()]);
    let batch = LayerBatch {
        heads: &buffer(&mut stream, &heads),
        layers: &buffer(&mut stream, &layers),
        bytes: &buffer(&mut stream, &bytes),
        order: &buffer(&mut stream, &order),
        count: cases.len() as u32,
        narrow: &narrow,
        wide: &wide,
        status: &status,
        block_log2,
    };
    let mut decoder = LayerDecoder::new(&mut stream).unwrap();
    decoder.decode(&mut stream, &batch).unwrap();
    let tickets = [&narrow, &wide, &status].map(|b| stream.download(b, 0, b.len()).unwrap());
    stream.synchronise().unwrap();
    let narrow = stream.elements::<i16>(&tickets[0]).unwrap();
    let wide = stream.elements::<i32>(&tickets[1]).unwrap();
    let status = stream.elements::<u32>(&tickets[2]).unwrap();
    let indices = heads
        .iter()
        .zip(cases)
        .zip(status)
        .map(|((h, c), &status)| {
            let range = h.indices as usize..h.indices as usize + c.shape.voxels();
            let values = match c.wide {
                true => wide[range].to_vec(),
                false => narrow[range].iter().map(|&k| k.into()).collect(),
            };
            (status != STATUS_BAD).then_some(values)
        });
    indices.collect()
}

fn check(device: &Arc<dyn Device>, cases: &[Case], block_log2: u32) -> (usize, usize) {
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

#[test]
fn vectors_decode_to_the_indices_of_the_cpu() {
    for block_log2 in 5..=7 {
        let cases: Vec<Case> = (vectors(block_log2).into_iter()).map(|v| v.case).collect();
        for_each_device(|device| assert_eq!(check(device, &cases, block_log2).1, 0));
    }
}

#[test]
fn random_blocks_decode_to_the_indices_of_the_cpu() {
    for block_log2 in 5..=7 {
        let mut random = Random::new(u64::from(block_log2));
        let cases: Vec<Case> = (0..24)
            .map(|_| random_case(&mut random, block_log2))
            .collect();
        for_each_device(|device| assert_eq!(check(device, &cases, block_log2).1, 0));
    }
}

#[test]
fn whole_blocks_decode_to_the_indices_of_the_cpu() {
    let mut random = Random::new(77);
    let cases: Vec<Case> = [6, 6, 7]
        .map(|log2| Case::new(&mut random, log2, [1 << log2; 3], log2 == 6))
        .into();
    for_one_device(|device| {
        check(device, &cases[..2], 6);
        check(device, &cases[2..], 7);
    });
}

#[test]
fn damage_is_noticed_as_on_the_cpu() {
    let mut random = Random::new(5);
    let mut cases = Vec::new();
    for _ in 0..40 {
        let case = random_case(&mut random, 5);
        cases.extend((0..12).map(|_| case.damaged(&mut random)));
    }
    for_each_device(|device| {
        let (good, bad) = check(device, &cases, 5);
        assert!(good > 10 && bad > 100, "{good} good, {bad} bad");
    });
}
