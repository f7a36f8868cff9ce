//! Masks, from bytes to classes.

use std::sync::Arc;

use hgv::backend::cuda::{
    BlockHead, Buffer, Device, MaskBatch, STATUS_BAD, STATUS_GOOD, Stream, decode_masks,
};
use hgv::codec::mask::{Class, decode_mask, encode_mask};
use hgv_cuda_emulator::{for_each_device, for_one_device};

use crate::buffer;
use crate::cases::{Random, damage, random_dims};
use crate::vectors::vectors;

pub(crate) struct Case {
    pub(crate) dims: [usize; 3],
    pub(crate) classes: Vec<Class>,
    pub(crate) bytes: Vec<u8>,
}

impl Case {
    pub(crate) fn new(random: &mut Random, dims: [usize; 3]) -> Self {
        let voxels: usize = dims.iter().product();
        let mut classes = Vec::with_capacity(voxels);
        let longest = 1 << random.below(12);
        while classes.len() < voxels {
            let all = [
                Class::Finite,
                Class::Nan,
                Class::Infinity,
                Class::MinusInfinity,
            ];
            let class = all[random.below(4) as usize];
            let run = (1 + random.below(longest) as usize).min(voxels - classes.len());
            classes.resize(classes.len() + run, class);
        }
        let bytes = encode_mask(&classes, dims);
        Self {
            dims,
            classes,
            bytes,
        }
    }

    fn voxels(&self) -> usize {
        self.dims.iter().product()
    }
}

/// Heads of blocks whose masks lie one behind the other, and where their classes lie, likewise.
pub(crate) fn heads(cases: &[Case]) -> (Vec<BlockHead>, Vec<u64>) {
    let (mut offset, mut place) = (0, 0);
    let (mut heads, mut places) = (Vec::new(), Vec::new());
    for case in cases {
        heads.push(BlockHead {
            mask_offset: offset,
            mask_bytes: case.bytes.len() as u32,
            dims: case.dims.map(|n| n as u32),
            ..BlockHead::default()
        });
        places.push(place);
        offset += case.bytes.len() as u64;
        place += case.voxels() as u64;
    }
    (heads, places)
}

fn decode_on(device: &Arc<dyn Device>, cases: &[Case]) -> Vec<Option<Vec<u8>>> {
    let mut stream = Stream::new(device).unwrap();
    let (heads, places) = heads(cases);
    let bytes: Vec<u8> = cases.iter().flat_map(|c| c.bytes.clone()).collect();
    let order: Vec<u32> = (0..cases.len() as u32).collect();
    let classes = Buffer::new(device, cases.iter().map(Case::voxels).sum()).unwrap();
    let status = buffer(&mut stream, &vec![STATUS_GOOD; cases.len()]);
    let batch = MaskBatch {
        heads: &buffer(&mut stream, &heads),
        bytes: &buffer(&mut stream, &bytes),
        order: &buffer(&mut stream, &order),
        places: &buffer(&mut stream, &places),
        count: cases.len() as u32,
        classes: &classes,
        status: &status,
    };
    decode_masks(&mut stream, &batch).unwrap();
    let tickets = [&classes, &status].map(|b| stream.download(b, 0, b.len()).unwrap());
    stream.synchronise().unwrap();
    let classes = stream.bytes(&tickets[0]).unwrap();
    let status = stream.elements::<u32>(&tickets[1]).unwrap();
    let values = places
        .iter()
        .zip(cases)
        .zip(status)
        .map(|((&at, c), &status)| {
            let range = at as usize..at as usize + c.voxels();
            (status != STATUS_BAD).then(|| classes[range].to_vec())
        });
    values.collect()
}

fn check(device: &Arc<dyn Device>, cases: &[Case]) -> usize {
    let mut bad = 0;
    for (case, got) in cases.iter().zip(decode_on(device, cases)) {
        let want = decode_mask(&case.bytes, case.dims).ok();
        let want = want.map(|classes| classes.into_iter().map(|c| c as u8).collect::<Vec<_>>());
        bad += usize::from(want.is_none());
        assert!(got == want, "{:?} on {}", case.dims, device.name());
    }
    bad
}

#[test]
fn masks_of_the_vectors_decode_to_the_classes_of_the_cpu() {
    let all = (5..=7).flat_map(vectors);
    let cases: Vec<Case> = all
        .filter_map(|v| {
            Some(Case {
                dims: v.case.shape.dims,
                classes: Vec::new(),
                bytes: v.mask?,
            })
        })
        .collect();
    assert!(!cases.is_empty());
    for_each_device(|device| assert_eq!(check(device, &cases), 0));
}

#[test]
fn masks_decode_to_the_classes_of_the_cpu() {
    let mut random = Random::new(21);
    let cases: Vec<Case> = (0..40)
        .map(|i| {
            let dims = random_dims(&mut random, 5 + i % 3);
            Case::new(&mut random, dims)
        })
        .collect();
    for_each_device(|device| assert_eq!(check(device, &cases), 0));
}

#[test]
fn uniform_masks_decode_to_the_classes_of_the_cpu() {
    let dims = [64; 3];
    let classes = vec![Class::Nan; 64 * 64 * 64];
    let bytes = encode_mask(&classes, dims);
    let case = Case {
        dims,
        classes,
        bytes,
    };
    for_one_device(|device| assert_eq!(check(device, std::slice::from_ref(&case)), 0));
}

#[test]
fn damaged_masks_are_noticed_as_on_the_cpu() {
    let mut random = Random::new(22);
    let mut cases = Vec::new();
    for _ in 0..300 {
        let dims = [0; 3].map(|_: i32| 1 + random.below(9) as usize);
        let mut case = Case::new(&mut random, dims);
        damage(&mut random, &mut case.bytes);
        cases.push(case);
    }
    for_each_device(|device| {
        let bad = check(device, &cases);
        assert!(bad > 50 && bad + 20 < cases.len(), "{bad} bad");
    });
}
