//! Vectors of model kind 2: weights made by hand through the encoder of layers, and blocks that
//! the encoder fits.

use hgv::backend::ValueRange;
use hgv::backend::cpu::{CpuBackend, CpuLevel, Scratch};
use hgv::backend::{Backend, BlockJob, LayerStep};
use hgv::bench_api::{BlockLab, LabPayload};
use hgv::codec::bands::BlockShape;
use hgv::codec::encode_residual;
use hgv::codec::grid::{BlockNetwork, GridWeights, decode_grid_layer, encode_grid_layer};
use hgv::encode::{ModelChoice, Preset};
use hgv::model::grid::{
    GridLevel, GridModel, MAX_STEP, MAX_WEIGHT, Matrix, Network, NetworkShape, Order,
};
use hgv::model::{BlockModel, Residual};

use super::{Vector, classes, hash};

/// Which network the block has.
#[derive(Clone, Copy, PartialEq)]
enum Choice {
    None,
    Base,
    Own,
}

/// What one vector is made of.
struct Recipe {
    name: &'static str,
    block_log2: u32,
    dims: [usize; 3],
    range: (i32, i32),
    qualities: u8,
    order: Order,
    frac_bits: i8,
    levels: Vec<GridLevel>,
    /// Hidden layers and width, whether the record has a network, what the block has.
    network: Option<(u8, u8, bool, Choice)>,
    /// Shift of its first matrix; each further one shifts by one more.
    shift: u8,
    /// Largest magnitude of a weight.
    top: i32,
    /// Share of runs of 16 weights that are not zero, of 65536.
    share: i64,
    lossless: bool,
    mask: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            name: "",
            block_log2: 5,
            dims: [22, 19, 17],
            range: (0, 255),
            qualities: 1,
            order: Order::Linear,
            frac_bits: 8,
            levels: pyramid(4, 2),
            network: None,
            shift: 9,
            top: 40,
            share: 20_000,
            lossless: false,
            mask: false,
        }
    }
}

/// A level of one feature that adds to the output.
fn level(spacing: [u8; 3], layer: u8) -> GridLevel {
    let coarsest = u64::from(spacing.into_iter().max().unwrap_or(0));
    GridLevel {
        spacing,
        table_log2: 22,
        layer,
        skip: 1,
        input_shift: None,
        steps: vec![(coarsest + 2) * 5_000_011],
    }
}

/// The same level with more features; `skip` says which ones add to the output.
fn features(level: GridLevel, count: u64, skip: u8) -> GridLevel {
    let steps = (0..count).map(|f| level.steps[0] / (2 * f + 1)).collect();
    GridLevel {
        steps,
        skip,
        ..level
    }
}

/// A level that a network reads.
fn input(level: GridLevel, shift: u8) -> GridLevel {
    GridLevel {
        input_shift: Some(shift),
        ..level
    }
}

fn hashed(level: GridLevel, table_log2: u8) -> GridLevel {
    GridLevel {
        table_log2,
        ..level
    }
}

/// Isotropic levels, the finest ones one a layer, the others from layer `2 - spacing` on.
fn pyramid(levels: u8, last: u8) -> Vec<GridLevel> {
    let layer = |k: u8| last.saturating_sub(k);
    (0..levels).rev().map(|k| level([k; 3], layer(k))).collect()
}

/// One recipe for each thing that a decoder can get wrong.
fn recipes() -> Vec<Recipe> {
    [shapes(), tables(), networks(), numbers()]
        .into_iter()
        .flatten()
        .collect()
}

fn shapes() -> Vec<Recipe> {
    let cubic = |name, dims, block_log2, levels| Recipe {
        name,
        dims,
        block_log2,
        levels,
        order: Order::Cubic,
        ..Recipe::default()
    };
    let anisotropic = || {
        let k = [
            [4, 2, 0],
            [3, 2, 0],
            [3, 0, 0],
            [1, 0, 0],
            [1, 0, 0],
            [0, 0, 0],
        ];
        k.into_iter()
            .zip([0, 0, 1, 2, 3, 4])
            .map(|(k, l)| level(k, l))
            .collect()
    };
    vec![
        Recipe {
            name: "grid-linear",
            ..Recipe::default()
        },
        cubic("grid-cubic", [22, 19, 17], 5, pyramid(5, 2)),
        Recipe {
            qualities: 3,
            ..cubic("grid-cubic-q3", [21, 18, 9], 6, pyramid(6, 4))
        },
        Recipe {
            qualities: 3,
            ..cubic("grid-anisotropic", [37, 22, 5], 6, anisotropic())
        },
        Recipe {
            name: "grid-anisotropic-linear",
            block_log2: 6,
            dims: [5, 34, 13],
            qualities: 3,
            levels: anisotropic(),
            ..Recipe::default()
        },
        // Levels that are not there yet are stations of the refinement all the same.
        Recipe {
            qualities: 3,
            ..cubic(
                "grid-stations",
                [15, 14, 13],
                5,
                vec![level([3; 3], 0), level([3, 1, 2], 3), level([0, 1, 0], 4)],
            )
        },
        cubic("grid-line-z", [1, 1, 29], 5, pyramid(5, 2)),
        cubic("grid-line-x", [63, 1, 1], 6, pyramid(6, 2)),
        cubic("grid-sheet", [33, 1, 18], 6, pyramid(5, 2)),
        cubic("grid-one-voxel", [1, 1, 1], 5, pyramid(3, 2)),
        cubic("grid-side-128", [128, 9, 6], 7, pyramid(8, 2)),
        // One weight in most groups: many symbols, few bytes, 32 lanes.
        Recipe {
            name: "grid-32-lanes",
            block_log2: 6,
            dims: [44, 41, 43],
            levels: vec![level([2; 3], 0), level([0; 3], 2)],
            top: 1,
            share: 6000,
            ..Recipe::default()
        },
    ]
}

fn tables() -> Vec<Recipe> {
    let levels = |a, b| {
        vec![
            level([3; 3], 0),
            features(level([2; 3], 1), 2, 2),
            features(hashed(level([1; 3], 2), a), 2, 1),
            features(hashed(level([0; 3], 2), b), 3, 6),
        ]
    };
    vec![
        Recipe {
            name: "grid-hashed",
            dims: [24, 20, 22],
            levels: levels(8, 10),
            order: Order::Cubic,
            top: 9,
            ..Recipe::default()
        },
        Recipe {
            name: "grid-hashed-small",
            dims: [9, 30, 7],
            levels: levels(0, 4),
            share: 65_536,
            ..Recipe::default()
        },
        Recipe {
            name: "grid-hashed-parent",
            dims: [17, 16, 15],
            levels: vec![
                hashed(level([3, 2, 2], 0), 5),
                level([2; 3], 0),
                hashed(level([1; 3], 1), 9),
                level([0; 3], 2),
            ],
            ..Recipe::default()
        },
    ]
}

fn networks() -> Vec<Recipe> {
    let levels = |layers: [u8; 3]| {
        vec![
            input(features(level([3; 3], layers[0]), 2, 1), 5),
            input(features(level([2, 2, 1], layers[1]), 4, 0), 3),
            input(features(hashed(level([1, 1, 0], layers[2]), 9), 2, 2), 0),
            level([0; 3], layers[2]),
        ]
    };
    let with = |name, hidden, width, base, choice| Recipe {
        name,
        dims: [19, 14, 9],
        levels: levels([0, 1, 2]),
        network: Some((hidden, width, base, choice)),
        top: 12,
        ..Recipe::default()
    };
    vec![
        with("grid-network-1", 1, 8, false, Choice::Own),
        Recipe {
            order: Order::Cubic,
            qualities: 3,
            levels: levels([0, 2, 4]),
            ..with("grid-network-2", 2, 16, true, Choice::Own)
        },
        with("grid-network-base", 2, 24, true, Choice::Base),
        with("grid-network-none", 1, 32, true, Choice::None),
        Recipe {
            share: 0,
            ..with("grid-network-alone", 2, 32, false, Choice::Own)
        },
        // No level for the levels of detail over 1: the network has zeros to read.
        Recipe {
            levels: vec![input(level([1; 3], 0), 2), level([0; 3], 2)],
            ..with("grid-network-no-level", 1, 16, true, Choice::Base)
        },
        // Inputs and activations beyond their bounds, to the last bit of the output.
        Recipe {
            levels: vec![
                input(features(level([2; 3], 0), 2, 1), 2),
                input(level([0; 3], 2), 0),
            ],
            top: 4000,
            shift: 3,
            frac_bits: 0,
            range: (-(1 << 24) + 1, (1 << 24) - 1),
            ..with("grid-network-clamps", 2, 8, false, Choice::Own)
        },
        // 32 inputs that reach the largest activations, and products of both signs.
        Recipe {
            levels: (0..8)
                .map(|l| input(features(level([3 - l / 3; 3], l / 3), 4, 0), 1))
                .collect(),
            top: 3000,
            ..with("grid-network-widest", 2, 32, false, Choice::Own)
        },
    ]
}

fn numbers() -> Vec<Recipe> {
    let large = |name, order| Recipe {
        name,
        order,
        dims: [11, 10, 9],
        levels: pyramid(3, 2),
        top: MAX_WEIGHT,
        share: 50_000,
        ..Recipe::default()
    };
    let steep = |levels: Vec<GridLevel>| {
        levels.into_iter().map(|l| GridLevel {
            steps: vec![MAX_STEP >> 12],
            ..l
        })
    };
    vec![
        large("grid-large", Order::Linear),
        // Values at their bound: the sums wrap.
        Recipe {
            frac_bits: 0,
            range: (-(1 << 23), 1 << 23),
            levels: steep(pyramid(3, 2)).collect(),
            ..large("grid-wrap", Order::Cubic)
        },
        Recipe {
            name: "grid-wrap-network",
            levels: steep(pyramid(3, 2)).map(|l| input(l, 24)).collect(),
            network: Some((1, 8, false, Choice::Own)),
            ..large("", Order::Cubic)
        },
        Recipe {
            name: "grid-coarse-units",
            frac_bits: -4,
            range: (-30_000, 30_000),
            levels: (0..3)
                .rev()
                .map(|k| GridLevel {
                    steps: vec![900_001],
                    ..level([k; 3], 0)
                })
                .collect(),
            order: Order::Cubic,
            ..Recipe::default()
        },
        Recipe {
            name: "grid-mask-q2",
            range: (-(1 << 22), (1 << 22) - 1),
            frac_bits: 1,
            qualities: 2,
            levels: pyramid(4, 3)
                .into_iter()
                .map(|l| GridLevel {
                    steps: vec![l.steps[0] * 2000],
                    ..l
                })
                .collect(),
            mask: true,
            ..Recipe::default()
        },
        Recipe {
            name: "grid-mask-empty",
            dims: [9, 8, 7],
            share: 0,
            mask: true,
            ..Recipe::default()
        },
        Recipe {
            name: "grid-lossless",
            dims: [13, 12, 11],
            lossless: true,
            ..Recipe::default()
        },
        Recipe {
            name: "grid-lossless-network-q2",
            dims: [10, 9, 12],
            qualities: 2,
            levels: vec![
                input(level([2; 3], 0), 4),
                level([1; 3], 2),
                level([0; 3], 3),
            ],
            network: Some((1, 16, true, Choice::Base)),
            lossless: true,
            ..Recipe::default()
        },
    ]
}

/// Every vector of this kind, by name.
pub(super) fn vectors() -> Vec<(&'static str, Result<Vector, String>)> {
    let made = recipes().into_iter().enumerate();
    let mut all: Vec<_> = made
        .map(|(seed, r)| (r.name, make(&r, seed as u64 + 50)))
        .collect();
    for (name, levels, lossless, step) in [
        ("grid-fitted-q1", 1, false, 20.0),
        ("grid-fitted-q3", 3, false, 24.0),
        ("grid-fitted-lossless", 1, true, 30.0),
    ] {
        all.push((name, fitted(levels, lossless, step)));
    }
    all
}

/// A block of the encoder.
fn fitted(levels: u8, lossless: bool, step: f64) -> Result<Vector, String> {
    let recipe = super::Recipe {
        block_log2: 5,
        dims: [32; 3],
        ..super::PLAIN
    };
    let lab = BlockLab::new(0, 255, step, levels, 5, Preset::Balanced, lossless);
    let lab = lab.with_model(ModelChoice::Hashgrid);
    let payload = lab.payload(recipe.dims, &super::field(&recipe, 9));
    let payload = payload
        .map_err(|e| e.to_string())?
        .ok_or("it became a constant")?;
    match payload.model {
        BlockModel::Grid(_) => Ok(Vector {
            block_log2: 5,
            steps: lab.steps().to_vec(),
            payload,
            classes: None,
        }),
        BlockModel::Wavelet(_) => Err("it has another kind".into()),
    }
}

/// Layers with weights of no meaning.
fn make(recipe: &Recipe, seed: u64) -> Result<Vector, String> {
    if recipe.dims.iter().any(|&n| n > 1 << recipe.block_log2) {
        return Err("it is larger than its block".into());
    }
    let steps = steps(recipe.qualities);
    let mut model = model(recipe, seed);
    let weights = weights(recipe, &model, seed);
    let mut layers =
        encode(&model, &weights, recipe.dims, steps.len()).map_err(|e| e.to_string())?;
    let shape = BlockShape {
        dims: recipe.dims,
        depth: recipe.block_log2 as usize - 2,
    };
    let range = ValueRange {
        lo: recipe.range.0,
        hi: recipe.range.1,
    };
    if recipe.lossless {
        add_residual(&model, shape, range, &steps, &mut layers, seed).map_err(|e| e.to_string())?;
        model.residual = Residual::Step(1);
    }
    Ok(Vector {
        block_log2: recipe.block_log2,
        steps,
        payload: LabPayload {
            shape,
            range,
            layers,
            model: BlockModel::Grid(model),
        },
        classes: recipe.mask.then(|| classes(recipe.dims, seed)),
    })
}

fn steps(qualities: u8) -> Vec<LayerStep> {
    let finer = (0..qualities).map(|quality| LayerStep { lod: 0, quality });
    let coarse = [2, 1].map(|lod| LayerStep { lod, quality: 0 });
    coarse.into_iter().chain(finer).collect()
}

fn model(recipe: &Recipe, seed: u64) -> GridModel {
    let mut model = GridModel {
        order: recipe.order,
        frac_bits: recipe.frac_bits,
        residual: Residual::None,
        mask: false,
        levels: recipe.levels.clone(),
        network: recipe
            .network
            .map(|(hidden, width, ..)| NetworkShape { hidden, width }),
        base: None,
    };
    if recipe.network.is_some_and(|n| n.2) {
        model.base = Some(network(recipe, &model, seed));
    }
    model
}

/// Weights over the whole of their ranges.
fn network(recipe: &Recipe, model: &GridModel, seed: u64) -> Network {
    let number = |i: usize, j: usize, part: u64| hash([i as u64, j as u64, part], seed);
    let matrix = |(j, [outputs, inputs]): (usize, [usize; 2])| Matrix {
        shift: recipe.shift + j as u8,
        weights: (0..outputs * inputs)
            .map(|i| (number(i, j, 0) % 255 - 127) as i8)
            .collect(),
        biases: (0..outputs)
            .map(|i| (number(i, j, 1) % 65_535 - 32_767) as i16)
            .collect(),
    };
    Network {
        matrices: model
            .matrices()
            .into_iter()
            .enumerate()
            .map(matrix)
            .collect(),
    }
}

fn weights(recipe: &Recipe, model: &GridModel, seed: u64) -> GridWeights {
    let mut weights = GridWeights::default();
    weights.reset(model, recipe.dims);
    for (l, level) in weights.levels.iter_mut().enumerate() {
        for (f, feature) in level.features.iter_mut().enumerate() {
            for (i, w) in feature.iter_mut().enumerate() {
                *w = weight(recipe, [i as u64, l as u64, f as u64], seed);
            }
        }
    }
    weights.network = match recipe.network.map(|n| n.3) {
        Some(Choice::Own) => BlockNetwork::Own(network(recipe, model, seed + 1000)),
        Some(Choice::Base) => BlockNetwork::Base,
        Some(Choice::None) | None => BlockNetwork::None,
    };
    weights
}

/// Runs of zeros, magnitudes of every order up to the largest, signs that mostly agree.
fn weight(recipe: &Recipe, at: [u64; 3], seed: u64) -> i32 {
    let run = [at[0] / 16, at[1], at[2]];
    if hash(run, seed + 100) >= recipe.share {
        return 0;
    }
    let (order, low) = (hash(at, seed + 200), hash(at, seed + 300));
    let half = recipe.top >> (order % i64::from(recipe.top.ilog2() + 2)) >> 1;
    if low % 3 == 0 {
        return 0;
    }
    let magnitude = (half + low as i32 % (recipe.top - half).min(half.max(1) + 1)).max(1);
    let negative = hash(run, seed + 400) < if low % 5 == 0 { 50_000 } else { 12_000 };
    if negative { -magnitude } else { magnitude }
}

/// The layers, which decode to the weights again.
fn encode(
    model: &GridModel,
    weights: &GridWeights,
    dims: [usize; 3],
    count: usize,
) -> hgv::Result<Vec<Vec<u8>>> {
    let (mut known, mut again) = (weights.clone(), GridWeights::default());
    again.reset(model, dims);
    let mut layers = Vec::new();
    for layer in 0..count {
        let bytes = encode_grid_layer(model, layer, &mut known)?;
        decode_grid_layer(model, layer, &bytes, &mut again)?;
        layers.push(bytes);
    }
    if again == *weights {
        return Ok(layers);
    }
    Err(hgv::Error::Input("the weights do not come back".into()))
}

/// Ends the last layer with a residual that stays in the range.
fn add_residual(
    model: &GridModel,
    shape: BlockShape,
    range: ValueRange,
    steps: &[LayerStep],
    layers: &mut [Vec<u8>],
    seed: u64,
) -> hgv::Result<()> {
    let job = BlockJob {
        model: &BlockModel::Grid(model.clone()),
        shape,
        range,
        steps,
        layers,
        exponent: 0,
        lod: 0,
    };
    let mut q = Vec::new();
    CpuBackend::with_level(CpuLevel::Scalar)?.decode_block(
        &job,
        &mut Scratch::default(),
        &mut q,
    )?;
    let residual: Vec<i32> = q
        .iter()
        .enumerate()
        .map(|(i, &q)| {
            let wanted = hash([i as u64, 0, 0], seed + 500) as i32 % 7 - 3;
            wanted.clamp(range.lo - q, range.hi - q)
        })
        .collect();
    let tail = encode_residual(shape.dims, &q, &residual)?;
    if let Some(last) = layers.last_mut() {
        *last = [&(last.len() as u32).to_le_bytes(), &last[..], &tail].concat();
    }
    Ok(())
}
