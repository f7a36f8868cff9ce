//! From coefficient indices to integers on a device: what the scalar CPU gives, whatever the indices, the model
//! and the shape.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use hgv::backend::cpu::{CpuBackend, CpuLevel, Scratch};
use hgv::backend::cuda::{CudaBackend, Device};
use hgv::backend::{Backend, BlockJob, LayerStep, ValueRange};
use hgv::codec::bands::BlockShape;
use hgv::codec::mask::{Class, encode_mask};
use hgv::codec::{Coder, Coefficient, CoefficientState, encode_layer, encode_residual};
use hgv::model::{BlockModel, Curve, Filter, Filters, Precision, Residual, WaveletModel};
use hgv_cuda_emulator::for_each_device;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const WHOLE: [LayerStep; 1] = [LayerStep { lod: 0, quality: 0 }];

/// A block, the levels of detail that are wanted of it, and its layer.
#[derive(Debug, Clone)]
struct Block {
    model: BlockModel,
    shape: BlockShape,
    range: ValueRange,
    layers: Vec<Vec<u8>>,
}

fn layer<E: Coefficient>(shape: BlockShape, seed: &[i32]) -> Vec<u8> {
    let target: Vec<E> = (0..shape.voxels())
        .map(|i| E::saturate(seed[i * 7 % seed.len()].into()))
        .collect();
    let mut state = CoefficientState::new();
    state.reset(shape);
    encode_layer(&mut state, Coder::R, 0, 0, &target).unwrap()
}

/// The layer with what a residual makes of it, from numbers between -`spread` and `spread`.
fn with_residual(
    model: &WaveletModel,
    (shape, range): (BlockShape, ValueRange),
    layer: Vec<u8>,
    seed: &[i32],
    spread: i32,
) -> Vec<u8> {
    let plain = WaveletModel {
        residual: Residual::None,
        mask: false,
        ..*model
    };
    let layers = vec![layer];
    let q = scalar(&BlockJob {
        model: &BlockModel::Wavelet(plain),
        shape,
        range,
        exponent: 0,
        steps: &WHOLE,
        layers: &layers,
        lod: 0,
    });
    let numbers = (0..).zip(&q).map(|(i, &q)| {
        let r = seed[i * 5 % seed.len()] % (spread + 1);
        match model.residual {
            // Voxels must stay within their range.
            Residual::Step(1) => {
                (i64::from(q) + i64::from(r)).clamp(range.lo.into(), range.hi.into()) as i32 - q
            }
            _ => r,
        }
    });
    let numbers: Vec<i32> = numbers.collect();
    let residual = encode_residual(shape.dims, &q, &numbers).unwrap();
    let length = (layers[0].len() as u32).to_le_bytes();
    [&length[..], &layers[0], &residual].concat()
}

fn scalar(job: &BlockJob<'_>) -> Vec<i32> {
    let cpu = CpuBackend::with_level(CpuLevel::Scalar).unwrap();
    let mut out = Vec::new();
    cpu.decode_block(job, &mut Scratch::default(), &mut out)
        .unwrap();
    out
}

/// Steep at one end, flat at the other.
fn curve() -> impl Strategy<Value = Curve> {
    let rise = prop_oneof![Just(0u16), 0u16..300, any::<u16>()];
    let rises = proptest::array::uniform16(rise);
    (any::<i16>(), 4u8..=24, -16i8..=16, rises)
        .prop_map(|(start, segment_log2, fraction, rises)| Curve {
            start: start.into(),
            segment_log2,
            fraction,
            rises,
        })
        .prop_filter("allowed", |c| Curve::from_bytes(&c.to_bytes()).is_ok())
}

fn filter() -> impl Strategy<Value = Filter> {
    let limit = prop_oneof![1u32..4000, Just(1 << 24)];
    let weight = prop_oneof![Just(0i8), any::<i8>()];
    (limit, proptest::collection::vec(weight, 36)).prop_map(|(limit, weights)| {
        let mut filter = Filter {
            limit,
            ..Filter::NONE
        };
        let taps = filter.weights.as_flattened_mut().as_flattened_mut();
        taps.copy_from_slice(&weights);
        filter
    })
}

fn model() -> impl Strategy<Value = WaveletModel> {
    let step = prop_oneof![1u64..1 << 24, (1u64..1 << 48), Just(1 << 48)];
    (
        any::<bool>(),
        -16i8..=24,
        step,
        [0u8..128, 0u8..128],
        proptest::option::of(curve()),
        proptest::option::of(filter()),
        0u8..8,
        (1u8..=8, any::<bool>()),
    )
        .prop_map(
            |(wide, frac_bits, step_q16, recon, curve, filter, kind, (qualities, mask))| {
                let reversible = kind == 0;
                let mut model = WaveletModel {
                    coder: Coder::R,
                    precision: if wide { Precision::I32 } else { Precision::I16 },
                    frac_bits: if reversible { 0 } else { frac_bits },
                    qualities,
                    step_q16: if reversible { 1 << 16 } else { step_q16 },
                    recon_one: recon[0],
                    recon_more: recon[1],
                    residual: Residual::None,
                    mask,
                    curve: curve.filter(|_| !reversible && kind > 2),
                    reversible,
                    filters: None,
                    ranks: false,
                };
                let filters = filter.filter(|_| !reversible && kind % 2 == 1);
                model.filters = filters.map(|f| Filters::new([f; 8]));
                let room = |m: &WaveletModel| WaveletModel::from_bytes(&m.to_bytes()).is_ok();
                if !room(&model) {
                    model.filters = None;
                }
                assert!(room(&model), "{model:?}");
                model
            },
        )
}

fn block() -> impl Strategy<Value = Block> {
    let side = prop_oneof![1usize..=12, Just(32), 1usize..=40];
    let dims = [side.clone(), side.clone(), side];
    let small = -40i32..40;
    let index = prop_oneof![
        small.clone(),
        small,
        any::<i16>().prop_map(i32::from),
        any::<i32>()
    ];
    let seed = proptest::collection::vec(index, 1..97);
    let range = prop_oneof![
        Just((-30_000, 29_999)),
        Just((0, 255)),
        (-1i32 << 24..1 << 24, -1i32 << 24..1 << 24)
    ];
    let residual = prop_oneof![
        3 => Just(Residual::None),
        1 => Just(Residual::Step(1)),
        1 => (2u32..=1 << 24).prop_map(Residual::Step),
        1 => Just(Residual::FloatBits),
    ];
    let spread = prop_oneof![Just(0), Just(3), Just(i32::MAX - 1)];
    let residual = (residual, spread);
    let parts = (model(), dims, seed, range, 3usize..=5, residual);
    parts.prop_map(
        |(mut model, dims, seed, (a, b), depth, (residual, spread))| {
            let shape = BlockShape { dims, depth };
            let range = ValueRange {
                lo: a.min(b),
                hi: a.max(b),
            };
            model.residual = residual;
            model.mask &= residual != Residual::FloatBits;
            let mut layer = match model.precision {
                Precision::I16 => layer::<i16>(shape, &seed),
                Precision::I32 => layer::<i32>(shape, &seed),
            };
            if residual.is_some() {
                layer = with_residual(&model, (shape, range), layer, &seed, spread);
            }
            if model.mask {
                let classes: Vec<Class> = (0..shape.voxels())
                    .map(|i| match seed[i * 3 % seed.len()] & 31 {
                        1 => Class::Nan,
                        2 => Class::Infinity,
                        3 => Class::MinusInfinity,
                        _ => Class::Finite,
                    })
                    .collect();
                let mask = encode_mask(&classes, shape.dims);
                layer = [&(mask.len() as u32).to_le_bytes()[..], &mask, &layer].concat();
            }
            Block {
                model: BlockModel::Wavelet(model),
                shape,
                range,
                layers: vec![layer],
            }
        },
    )
}

fn check(device: &Arc<dyn Device>, blocks: &[Block]) {
    let jobs: Vec<BlockJob<'_>> = blocks
        .iter()
        .flat_map(|b| {
            (0..=b.shape.depth).map(|lod| BlockJob {
                model: &b.model,
                shape: b.shape,
                range: b.range,
                exponent: -7,
                steps: &WHOLE,
                layers: &b.layers,
                lod,
            })
        })
        .collect();
    let cuda = CudaBackend::new(Arc::clone(device), CpuBackend::new());
    assert!(jobs.iter().all(|job| cuda.covers(job)));
    let results = cuda.decode_blocks(&jobs).unwrap();
    for (job, result) in jobs.iter().zip(results) {
        assert!(
            result.unwrap() == scalar(job),
            "{} differs at level of detail {} of {:?} {:?}",
            device.name(),
            job.lod,
            job.shape,
            job.model
        );
    }
}

#[test]
fn any_indices_give_the_integers_of_the_cpu() {
    for_each_device(|device| {
        let mut runner = TestRunner::new(Config {
            cases: 24,
            failure_persistence: None,
            ..Config::default()
        });
        let blocks = proptest::collection::vec(block(), 1..4);
        runner
            .run(&blocks, |blocks| {
                check(device, &blocks);
                Ok(())
            })
            .unwrap();
    });
}
