//! Values and gradients at any point: against the decoded voxels, against a plain trilinear
//! interpolation of them, and properties.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod volumes;

use std::sync::Arc;

use hgv::encode::Target;
use hgv::io::CountingSource;
use hgv::volume::{DType, MemoryVolume, Region, VoxelSource};
use hgv::{Error, Limits, Volume};
use proptest::prelude::*;
use volumes::points::{Voxels, assert_continuous, made, positions, some_points};
use volumes::{Field, encoded, memory, open, read};

/// Three blocks of 32 along x, two along y, two along z; all last ones cut, that of z to one voxel.
const EXTENT: [u64; 3] = [75, 45, 33];

fn opened(source: &MemoryVolume, quality: f64) -> Volume {
    let bytes = encoded(source, |o| {
        o.target = Target::Quality(quality);
        o.nan_mask = source.dtype().is_float();
    });
    open(memory(&bytes)).unwrap()
}

fn field() -> Volume {
    opened(&Field::default().volume(EXTENT, DType::Uint8), 60.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Whatever the volume, at every level of detail and quality: at voxels the value is the
    /// decoded one, exactly; anywhere value and gradient are those of a trilinear interpolation
    /// that knows no blocks.
    #[test]
    fn any_volume_is_interpolated(
        extent in [1u64..=75, 1u64..=70, 1u64..=40],
        dtype in proptest::sample::select(vec![
            DType::Uint8, DType::Uint16, DType::Int16, DType::Float32,
        ]),
        seed in any::<u64>(),
    ) {
        let wave = |[x, y, z]: [u64; 3]| {
            let noise = (x * 31 + y * 17 + z * 7 + seed % 97) % 13;
            100.0 + 70.0 * ((x + 2 * z) as f64 / 7.0).sin() + y as f64 + noise as f64
        };
        let source = match dtype {
            DType::Uint8 => made(extent, |p| wave(p) as u8),
            DType::Uint16 => made(extent, |p| (wave(p) * 200.0) as u16),
            DType::Int16 => made(extent, |p| (wave(p) * 100.0 - 15_000.0) as i16),
            _ => made(extent, |p| (wave(p) * 1e-3 - 0.1) as f32),
        };
        let v = opened(&source, 70.0);
        for (lod, level) in (0..v.lods().min(4)).flat_map(|lod| [(lod, 0), (lod, v.levels() - 1)]) {
            let voxels = Voxels::of(&v, lod, level);
            prop_assert_eq!(&v.sample(lod, level, &voxels.points()).unwrap(), &voxels.values);
            let largest = voxels.values.iter().fold(0f32, |m, v| m.max(v.abs()));
            let tolerance = f64::from(largest) * 1e-6;
            let points = some_points(extent, seed);
            let values = v.sample(lod, level, &points).unwrap();
            let gradients = v.gradient(lod, level, &points).unwrap();
            for ((&p, value), gradient) in points.iter().zip(values).zip(gradients) {
                let [expected, slopes @ ..] = voxels.at(p);
                prop_assert!((f64::from(value) - expected).abs() <= tolerance, "{p:?}");
                for (g, s) in gradient.into_iter().zip(slopes) {
                    prop_assert!((f64::from(g) - s).abs() <= tolerance, "{p:?}: {gradient:?} {slopes:?}");
                }
            }
        }
    }
}

/// Coarse levels of detail lie in blocks of their own; coordinates stay those of the full
/// resolution.
#[test]
fn overview_tiers_are_sampled_too() {
    let extent = [150, 140, 130];
    let v = opened(&Field::default().volume(extent, DType::Uint8), 60.0);
    assert!(v.reader().tiers().len() > 1);
    for lod in 2..v.lods() {
        let voxels = Voxels::of(&v, lod, 0);
        let values = v.sample(lod, 0, &voxels.points()).unwrap();
        assert_eq!(values, voxels.values, "lod {lod}");
        let points = some_points(extent, 5);
        let values = v.sample(lod, 0, &points).unwrap();
        for (&p, value) in points.iter().zip(values) {
            assert!((f64::from(value) - voxels.at(p)[0]).abs() < 1e-3, "{p:?}");
        }
    }
}

#[test]
fn the_function_is_continuous_over_faces_edges_and_corners() {
    // Neighbours differ by 255 at most, along three axes.
    assert_continuous(&field(), 2, 3.0 * 255.0, 255.0 * 2f32.powi(-22));
}

#[test]
fn gradients_are_the_differences_of_values_inside_cells() {
    const STEP: f64 = 0.05;
    let v = field();
    for (lod, side) in [(0, 1.0), (1, 2.0)] {
        // In the middle of cells, some of which lie between blocks.
        let middles: Vec<[f64; 3]> = positions([34, 9, 16])
            .map(|[x, y, z]| [x, y * 4 + 3, z * 2 + 1].map(|c| (c as f64 + 0.5) * side))
            .filter(|p| (0..3).all(|a| p[a] + side < EXTENT[a] as f64))
            .collect();
        let gradients = v.gradient(lod, 2, &middles).unwrap();
        for a in 0..3 {
            let moved = |by: f64| -> Vec<f32> {
                let mut points = middles.clone();
                points.iter_mut().for_each(|p| p[a] += by);
                v.sample(lod, 2, &points).unwrap()
            };
            let (up, down) = (moved(STEP), moved(-STEP));
            for (i, g) in gradients.iter().enumerate() {
                let difference = (up[i] - down[i]) / (2.0 * STEP as f32);
                let at = middles[i];
                assert!(
                    (g[a] - difference).abs() < 1e-3,
                    "{at:?}: {g:?} {difference}"
                );
            }
        }
    }
}

#[test]
fn points_outside_take_the_nearest_value_and_do_not_change() {
    let v = field();
    let far = f64::INFINITY;
    let outside = [[-5.0, 7.5, 3.25], [80.0, 50.0, 40.0], [-far, far, 12.5]];
    let nearest = [[0.0, 7.5, 3.25], [74.0, 44.0, 32.0], [0.0, 44.0, 12.5]];
    let sample = |p| v.sample(0, 2, p).unwrap();
    assert_eq!(sample(&outside), sample(&nearest));
    let (found, inside) = (
        v.gradient(0, 2, &outside).unwrap(),
        v.gradient(0, 2, &nearest).unwrap(),
    );
    assert_eq!(found[0], [0.0, inside[0][1], inside[0][2]]);
    assert_eq!(found[1], [0.0; 3]);
    assert_eq!(found[2], [0.0, 0.0, inside[2][2]]);
    assert!(inside.iter().flatten().any(|g| *g != 0.0));
}

#[test]
fn constants_are_constant() {
    let flat = opened(&made([70, 40, 10], |_| -7i16), 60.0);
    let points = some_points([70, 40, 10], 3);
    assert_eq!(
        flat.sample(0, 2, &points).unwrap(),
        vec![-7.0; points.len()]
    );
    assert_eq!(
        flat.gradient(0, 2, &points).unwrap(),
        vec![[0.0; 3]; points.len()]
    );
    // A constant block beside one that is not.
    let half = Field {
        empty_to_x: 32,
        noise: 0.0,
        ..Field::default()
    };
    let v = opened(&half.volume(EXTENT, DType::Uint8), 95.0);
    let kinds = v.blocks(0).unwrap().map(|b| b.unwrap().kind.name());
    assert!(kinds.filter(|k| *k == "constant").count() >= 4);
    let voxels = Voxels::of(&v, 0, 2);
    let [a, b] = [31, 32].map(|x| voxels.voxel([x, 10, 10]));
    let at = [[31.25, 10.0, 10.0]];
    assert_eq!(v.sample(0, 2, &at).unwrap(), [(a * 0.75 + b * 0.25) as f32]);
    assert_eq!(v.gradient(0, 2, &at).unwrap()[0][0], (b - a) as f32);
}

#[test]
fn masked_voxels_make_nan_where_they_count() {
    // All of the first block, a voxel at a block's border, one infinity inside.
    let source = made(EXTENT, |p| match p {
        [x, y, z] if x < 32 && y < 32 && z < 32 => f32::NAN,
        [63, 40, 5] => f32::NAN,
        [70, 10, 10] => f32::INFINITY,
        [x, y, z] => (x + 2 * y + 3 * z) as f32,
    });
    let v = opened(&source, 95.0);
    let nan = |p: [f64; 3]| v.sample(0, 2, &[p]).unwrap()[0].is_nan();
    for p in [
        [5.5, 5.5, 5.5],
        [31.0, 31.0, 31.0],
        [31.999, 20.0, 20.0],
        [63.5, 40.0, 5.0],
        [63.0, 39.5, 5.5],
        [70.0, 10.0, 10.0],
        [69.5, 10.5, 9.5],
    ] {
        assert!(nan(p), "{p:?}");
    }
    for p in [
        [32.0, 31.0, 31.0],
        [32.0, 32.0, 32.0],
        [31.0, 32.0, 10.5],
        [64.0, 40.0, 5.0],
        [62.0, 40.0, 5.0],
        [71.0, 10.5, 10.0],
    ] {
        assert!(!nan(p), "{p:?}");
    }
    // Beside the border the value is known, and what it does along the border; not across it.
    let g = v
        .gradient(0, 2, &[[31.5, 33.0, 10.0], [62.0, 40.0, 5.5]])
        .unwrap();
    assert!(g[0].iter().all(|c| c.is_finite()));
    assert!(g[1][0].is_nan() && g[1][1].is_finite() && g[1][2].is_finite());
}

#[test]
fn order_and_threads_change_nothing() {
    let bytes = encoded(&Field::default().volume(EXTENT, DType::Uint16), |_| {});
    let one = open(memory(&bytes)).unwrap();
    let mut points: Vec<_> = (0..40)
        .flat_map(|s| some_points(EXTENT, s * 7 + 1))
        .collect();
    let (values, gradients) = (
        one.sample(0, 1, &points).unwrap(),
        one.gradient(0, 1, &points).unwrap(),
    );
    let four = open(memory(&bytes)).unwrap().with_threads(4).unwrap();
    assert_eq!(values, four.sample(0, 1, &points).unwrap());
    assert_eq!(gradients, four.gradient(0, 1, &points).unwrap());
    points.reverse();
    let mut back = four.sample(0, 1, &points).unwrap();
    back.reverse();
    assert_eq!(values, back);
    let view = one.view(0, 1).unwrap();
    points.reverse();
    assert_eq!(values, view.sample(&points).unwrap());
    assert_eq!(gradients, view.gradient(&points).unwrap());
}

#[test]
fn only_blocks_that_count_are_read_and_each_once() {
    let bytes = encoded(&Field::default().volume(EXTENT, DType::Uint8), |_| {});
    let cost = |work: &dyn Fn(&Volume)| {
        let source = CountingSource::new(memory(&bytes));
        let v = open(Arc::new(source.clone())).unwrap();
        source.reset();
        work(&v);
        source.counts().bytes
    };
    let block = Region::new([32, 0, 0], [64, 32, 32]).unwrap();
    let all = Region::whole(EXTENT);
    let one = cost(&|v| drop(read(v, 0, 2, &block).unwrap()));
    // Its last voxels need no neighbour for their value, even between points of other blocks.
    let inside = [[32.0, 0.0, 0.0], [63.0, 31.0, 31.0], [40.5, 1.25, 30.0]];
    assert_eq!(cost(&|v| drop(v.sample(0, 2, &inside).unwrap())), one);
    assert!(cost(&|v| drop(v.sample(0, 2, &[[63.5, 31.0, 31.0]]).unwrap())) > one);
    let many: Vec<_> = (0..20).flat_map(|s| some_points(EXTENT, s + 1)).collect();
    let everything = cost(&|v| drop(read(v, 0, 2, &all).unwrap()));
    assert_eq!(cost(&|v| drop(v.sample(0, 2, &many).unwrap())), everything);
    assert_eq!(
        cost(&|v| drop(v.gradient(0, 2, &many).unwrap())),
        everything
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let v = field();
    let nan = [[1.0; 3], [2.0, f64::NAN, 3.0]];
    for error in [
        v.sample(0, 2, &nan).unwrap_err(),
        v.gradient(0, 2, &nan).unwrap_err(),
    ] {
        assert!(matches!(error, Error::InvalidArgument(_)));
        assert!(error.to_string().starts_with("point 1 is [2.0, NaN, 3.0]"));
    }
    for (lod, level) in [(0, 3), (99, 0)] {
        let error = v.sample(lod, level, &[]).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    }
    assert!(v.sample(0, 2, &[]).unwrap().is_empty());
    let bytes = encoded(&Field::default().volume([32; 3], DType::Uint8), |_| {});
    let limits = Limits {
        max_output: 100,
        ..Limits::default()
    };
    let small = Volume::from_source(memory(&bytes), limits).unwrap();
    assert_eq!(small.sample(0, 0, &[[0.0; 3]; 25]).unwrap().len(), 25);
    let error = small.gradient(0, 0, &[[0.0; 3]; 25]).unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
}
