#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::mlp::{Mlp, MlpShape};
use super::mlp_trainer::{MlpOptions, train_mlp};
use super::net::{LevelSpec, Net};
use super::oracle;
use super::pass::{Pass, Samples, Work, tiles};
use super::random::{Random, noise};
use super::rate::{Measure, Rate};
use super::refine::{Path, Rooms};
use super::relax::Relaxed;
use super::trainer::{TrainOptions, Trainer, train_block};
use crate::backend::cpu::{CpuLevel, with_floats};
use crate::model::grid::{Order, lattice};

const ORDERS: [Order; 2] = [Order::Linear, Order::Cubic];

fn randoms(n: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..n).map(|_| random.signed()).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| f64::from(a) * f64::from(b))
        .sum()
}

fn assert_close(a: f64, b: f64, tolerance: f64, what: &str) {
    assert!(
        (a - b).abs() <= tolerance * (1.0 + a.abs().max(b.abs())),
        "{what}: {a} {b}"
    );
}

/// Levels that differ between axes, a hashed one, and features that skip, feed, and both.
fn specs() -> Vec<LevelSpec> {
    let level = |exponents, table_log2, skip, input_scale, steps: &[f32]| LevelSpec {
        exponents,
        table_log2,
        skip,
        input_scale,
        steps: steps.to_vec(),
    };
    vec![
        level([3, 3, 2], 22, 1, Some(0.7), &[0.5]),
        level([2, 1, 1], 4, 0, Some(1.3), &[0.25, 0.5]),
        level([1, 1, 0], 22, 1, None, &[0.3]),
        level([0, 0, 0], 6, 2, Some(0.9), &[0.2, 0.4]),
    ]
}

/// A model with random weights everywhere.
fn random_net(dims: [usize; 3], order: Order, hidden: Option<(usize, usize)>, seed: u64) -> Net {
    let mut net = Net::new(dims, order, specs(), hidden, seed).unwrap();
    let mut random = Random::new(seed + 1);
    for weight in net.levels.iter_mut().flat_map(|l| &mut l.weights).flatten() {
        *weight = 2.0 * random.signed();
    }
    if let Some(mlp) = &mut net.mlp {
        for p in &mut mlp.parameters {
            *p += 0.3 * random.signed();
        }
    }
    net
}

fn options(cpu: CpuLevel) -> TrainOptions {
    TrainOptions {
        steps: 120,
        settle: 0.25,
        grid_rate: 0.3,
        mlp_rate: 0.02,
        damping: 0.0,
        lambda: 0.0,
        hardness: 0.0,
        noise: 0.0,
        tolerance: 0.0,
        seed: 3,
        cpu,
    }
}

#[test]
fn lattices_reach_past_the_last_voxel() {
    assert_eq!(lattice([64, 1, 33], [3, 3, 3]), [9, 1, 5]);
    assert_eq!(lattice([5, 2, 9], [0, 1, 3]), [5, 2, 2]);
}

#[test]
fn transpose_of_refinement_has_the_adjoint_identity() {
    let shapes = [
        ([17, 9, 13], [3, 2, 3]),
        ([64, 33, 6], [3, 0, 2]),
        ([1, 2, 3], [2, 2, 1]),
    ];
    for (dims, from) in shapes {
        for (order, to) in ORDERS
            .into_iter()
            .flat_map(|o| [(o, [0; 3]), (o, [0, 0, 1])])
        {
            for cpu in CpuLevel::available() {
                let path = Path::new(dims, from, to, order);
                let (x, y) = (randoms(path.coarse(), 1), randoms(path.fine(), 2));
                let (mut ax, mut ty) = (vec![0.0; y.len()], vec![0.0; x.len()]);
                path.forward(cpu, &x, &mut ax, &mut Rooms::default());
                path.transpose(cpu, &y, &mut ty, &mut Rooms::default());
                assert_close(dot(&ax, &y), dot(&x, &ty), 1e-4, "adjoint");
            }
        }
    }
}

#[test]
fn linear_fields_are_refined_exactly() {
    for order in ORDERS {
        let (dims, k) = ([13, 8, 6], [2, 3, 1]);
        let path = Path::new(dims, k, [0; 3], order);
        let plane = |size: [usize; 3], k: [u8; 3]| -> Vec<f32> {
            let at = |i: usize| {
                let p = [i % size[0], i / size[0] % size[1], i / size[0] / size[1]];
                (0..3)
                    .map(|a| (p[a] << k[a]) as f32 * [1.0, -2.0, 3.0][a])
                    .sum()
            };
            (0..size.iter().product()).map(at).collect()
        };
        let mut fine = vec![0.0; path.fine()];
        let coarse = plane(lattice(dims, k), k);
        path.forward(CpuLevel::best(), &coarse, &mut fine, &mut Rooms::default());
        assert_eq!(fine, plane(dims, [0; 3]));
    }
}

/// Error and gradients of a model, from the kernels: grid weights by list, then the network.
fn gradients(net: &Net, target: &[f32], cpu: CpuLevel) -> (f64, Vec<Vec<f32>>) {
    let mut trainer = Trainer::new(net.clone(), target, options(cpu)).unwrap();
    let (loss, lists) = trainer.gradients_for_tests();
    (loss.error, lists)
}

/// The parameters of a model in the same order.
fn lists(net: &mut Net) -> Vec<&mut Vec<f32>> {
    let grid = net.levels.iter_mut().flat_map(|l| &mut l.weights);
    grid.chain(net.mlp.as_mut().map(|m| &mut m.parameters))
        .collect()
}

#[test]
fn gradients_are_those_of_the_oracle() {
    for (hidden, dims) in [
        (None, [11, 9, 7]),
        (Some((1, 8)), [12, 7, 9]),
        (Some((2, 16)), [9, 10, 6]),
    ] {
        for order in ORDERS {
            let net = random_net(dims, order, hidden, 5);
            let target = randoms(net.voxels(), 9);
            check_gradients(&net, &target);
        }
    }
}

fn check_gradients(net: &Net, target: &[f32]) {
    let expected = oracle::loss(net, target);
    let all: Vec<_> = CpuLevel::available()
        .into_iter()
        .map(|cpu| gradients(net, target, cpu))
        .collect();
    for (loss, _) in &all {
        assert_close(*loss, expected, 1e-4, "loss");
    }
    let mut moved = net.clone();
    for list in 0..all[0].1.len() {
        let n = all[0].1[list].len();
        let scale = all[0].1[list].iter().fold(0.0f32, |a, g| a.max(g.abs()));
        for i in (0..n).step_by(n.div_ceil(23)) {
            let own = lists(&mut moved)[list][i];
            // So little that hardly any unit switches on or off in between.
            let (high, low) = (own + 1.0 / 262_144.0, own - 1.0 / 262_144.0);
            lists(&mut moved)[list][i] = high;
            let up = oracle::loss(&moved, target);
            lists(&mut moved)[list][i] = low;
            let down = oracle::loss(&moved, target);
            let difference = (up - down) / (f64::from(high) - f64::from(low));
            lists(&mut moved)[list][i] = own;
            for (_, gradient) in &all {
                let error = (f64::from(gradient[list][i]) - difference).abs();
                assert!(
                    error <= 2e-3 * f64::from(scale) + 1e-6,
                    "{list} {i}: {error} of {scale}"
                );
            }
        }
    }
}

#[test]
fn fused_levels_agree_to_the_bit_and_plain_rust_nearly() {
    let net = random_net([21, 14, 10], Order::Cubic, Some((2, 24)), 8);
    let target = randoms(net.voxels(), 2);
    let all: Vec<_> = CpuLevel::available()
        .into_iter()
        .map(|cpu| gradients(&net, &target, cpu))
        .collect();
    for (loss, lists) in &all[1..] {
        assert_eq!((loss, lists), (&all[1].0, &all[1].1));
        for (a, b) in lists.iter().zip(&all[0].1) {
            let scale = b.iter().fold(0.0f32, |s, v| s.max(v.abs()));
            let apart = a
                .iter()
                .zip(b)
                .fold(0.0f32, |s, (a, b)| s.max((a - b).abs()));
            assert!(apart <= 1e-4 * scale, "{apart} of {scale}");
        }
    }
}

#[test]
fn the_rate_is_the_derivative_of_the_bits() {
    let weights: Vec<f32> = randoms(100, 4).iter().map(|w| w * 3.0).collect();
    let rate = Rate::new(0.8);
    let bits = |w: &[f32]| {
        let sums = with_floats(CpuLevel::best(), Measure(w));
        rate.bits(w.len(), sums.knees)
    };
    for i in 0..weights.len() {
        let (mut up, mut down) = (weights.clone(), weights.clone());
        up[i] += 0.02;
        down[i] -= 0.02;
        let difference = (bits(&up) - bits(&down)) / 0.04;
        assert_close(
            difference,
            f64::from(rate.derivative(weights[i])),
            1e-2,
            "rate",
        );
    }
    let sum: f64 = weights.iter().map(|&w| f64::from(w.abs())).sum();
    assert_close(
        with_floats(CpuLevel::best(), Measure(&weights)).sum,
        sum,
        1e-5,
        "sum",
    );
}

#[test]
fn soft_rounding_ends_hard_and_keeps_order() {
    for hardness in [0.0, 0.5, 1.0] {
        let relaxed = Relaxed {
            hardness,
            noise: 0.0,
            seed: 0,
        };
        let mut before = f32::NEG_INFINITY;
        for i in -300..300 {
            let w = i as f32 / 97.0;
            let (value, slope) = relaxed.round(w);
            assert!(value >= before && slope >= 0.0);
            before = value;
            assert!((value - w).abs() <= 0.5);
            if (w - w.round()).abs() < 0.45 {
                let h = 1e-3;
                let difference = (relaxed.round(w + h).0 - relaxed.round(w - h).0) / (2.0 * h);
                assert!(
                    (difference - slope).abs() < 1e-2,
                    "{w}: {difference} {slope}"
                );
            }
        }
    }
    assert!((0..9999).all(|i| noise(7, i).abs() <= 0.5));
    let mean = (0..9999).map(|i| noise(7, i)).sum::<f32>() / 9999.0;
    assert!(mean.abs() < 0.01, "{mean}");
}

/// A smooth field behind a step: what a network is for.
fn sharp(dims: [usize; 3]) -> (Vec<f32>, Vec<f32>) {
    let (mut field, mut target) = (Vec::new(), Vec::new());
    for i in 0..dims.iter().product() {
        let p = [i % dims[0], i / dims[0] % dims[1], i / dims[0] / dims[1]];
        let far = p
            .iter()
            .zip(dims)
            .map(|(&p, n)| (p as f32 - n as f32 * 0.4).powi(2));
        let phi = far.sum::<f32>().sqrt() - dims[0] as f32 * 0.3;
        field.push(phi);
        target.push(if phi < 0.0 { 100.0 } else { -60.0 });
    }
    (field, target)
}

#[test]
fn the_network_learns_a_step() {
    let dims = [40, 33, 20];
    let (field, target) = sharp(dims);
    let constant = vec![3.0; field.len()];
    let mut mlp = Mlp::new(
        MlpShape {
            inputs: 2,
            hidden: 1,
            width: 16,
        },
        1,
    );
    let options = MlpOptions {
        epochs: 30,
        batch: 2048,
        ..MlpOptions::new(1, CpuLevel::best())
    };
    let inputs: [&[f32]; 2] = [&field, &constant];
    let report = train_mlp(&mut mlp, &inputs, &target, options).unwrap();
    assert!(report.with < 0.05 * report.without, "{report:?}");
    let squares = field
        .iter()
        .zip(&target)
        .map(|(&f, &t)| (oracle::network(&mlp, &[f64::from(f), 3.0]) - f64::from(t)).powi(2));
    let measured = squares.sum::<f64>() / target.len() as f64;
    assert_close(measured, report.with, 1e-3, "reported error");
    let mut again = Mlp::new(mlp.shape, 1);
    assert_eq!(
        train_mlp(&mut again, &inputs, &target, options),
        Some(report)
    );
    assert_eq!(again, mlp);
}

#[test]
fn a_network_that_cannot_help_is_silent() {
    let target = randoms(3000, 5);
    let zero = vec![0.0; 3000];
    let mut mlp = Mlp::new(
        MlpShape {
            inputs: 1,
            hidden: 1,
            width: 8,
        },
        1,
    );
    let options = MlpOptions {
        stride: 3,
        ..MlpOptions::new(1, CpuLevel::best())
    };
    let report = train_mlp(&mut mlp, &[&zero], &target, options).unwrap();
    assert!(report.with <= report.without);
    assert!(train_mlp(&mut mlp, &[&zero[1..]], &target, options).is_none());
    assert!(train_mlp(&mut mlp, &[], &target, options).is_none());
}

#[test]
fn the_kernel_reads_only_its_tiles() {
    let n = 1000;
    let (input, target) = (randoms(n, 1), randoms(n, 2));
    let mlp = Mlp::new(
        MlpShape {
            inputs: 1,
            hidden: 2,
            width: 8,
        },
        3,
    );
    let squares = |tiles: &[u32]| {
        let inputs: [&[f32]; 1] = [&input];
        let samples = Samples {
            inputs: &inputs,
            scales: &[1.0],
            base: None,
            target: &target,
            tiles,
        };
        let work = &mut Work::new(mlp.shape);
        let pass = Pass {
            cpu: CpuLevel::best(),
            mlp: &mlp,
            samples,
            factor: 1.0,
            work,
            gradient: None,
            voxels: None,
        };
        pass.run()
    };
    assert_eq!(tiles(n), 8);
    assert_close(
        squares(&[0, 1, 2, 3, 4, 5, 6, 7]),
        dot(&target, &target),
        1e-6,
        "all",
    );
    assert_close(
        squares(&[7, 2]),
        dot(&target[256..384], &target[256..384]) + dot(&target[896..], &target[896..]),
        1e-6,
        "two",
    );
}

#[test]
fn training_brings_the_error_down_and_ends_on_whole_numbers() {
    let dims = [24, 20, 16];
    let (_, target) = sharp(dims);
    for hidden in [None, Some((1, 16))] {
        let mut levels = specs();
        for step in levels.iter_mut().flat_map(|l| &mut l.steps) {
            *step *= 20.0;
        }
        for level in &mut levels {
            level.input_scale = level.input_scale.map(|s| s / 20.0);
        }
        let options = TrainOptions {
            hardness: 0.9,
            noise: 0.25,
            damping: 0.1,
            ..options(CpuLevel::best())
        };
        let net = Net::new(dims, Order::Cubic, levels, hidden, 2).unwrap();
        let (trained, report) = train_block(net.clone(), &target, options).unwrap();
        assert!(report.after.error < 0.1 * report.before.error, "{report:?}");
        assert_close(
            oracle::loss(&trained, &target),
            report.after.error,
            1e-3,
            "reported error",
        );
        let weights = || trained.levels.iter().flat_map(|l| &l.weights).flatten();
        assert!(weights().all(|w| w.fract() == 0.0));
        let dear = TrainOptions {
            lambda: 200.0,
            ..options
        };
        let (_, cheap) = train_block(net.clone(), &target, dear).unwrap();
        assert!(cheap.after.bits < report.after.bits && cheap.after.error > report.after.error);
        assert_eq!(
            train_block(net, &target, options).unwrap(),
            (trained, report)
        );
    }
}

#[test]
fn models_that_no_file_can_hold_are_refused() {
    let build = |change: fn(&mut Vec<LevelSpec>), hidden| {
        let mut levels = specs();
        change(&mut levels);
        Net::new([8, 8, 8], Order::Linear, levels, hidden, 1)
    };
    assert!(build(|_| (), Some((2, 32))).is_ok());
    assert!(build(|_| (), Some((1, 12))).is_err());
    assert!(build(|l| l.reverse(), None).is_err());
    assert!(build(|l| l[0].exponents = [8; 3], None).is_err());
    assert!(build(|l| l[0].steps[0] = 0.0, None).is_err());
    assert!(
        build(
            |l| l.iter_mut().for_each(|l| l.input_scale = None),
            Some((1, 8))
        )
        .is_err()
    );
}
