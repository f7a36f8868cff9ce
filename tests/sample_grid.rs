//! Values and gradients at any point of blocks under grid models, with networks and without.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod volumes;

use hgv::Volume;
use hgv::codec::grid::{BlockNetwork, GridWeights, decode_grid_layer, encode_grid_layer};
use hgv::encode::{EncodeOptions, ModelChoice, Preset, Target};
use hgv::io::MemorySink;
use hgv::model::GridModel;
use hgv::model::grid::{Matrix, Network, NetworkShape};
use hgv::reader::{BlockEntry, BlockState, PayloadEntry};
use hgv::volume::MemoryVolume;
use hgv::writer::{BlockPayload, BlockRecord, FilePlan, HgvWriter, WriterOptions};
use volumes::points::{Voxels, assert_continuous, made, positions, some_points};
use volumes::{encoded, memory, open};

/// Three blocks of 32 along x, two along y, two along z; all last ones cut, that of z to one voxel.
const EXTENT: [u64; 3] = [75, 45, 33];

/// Smooth waves, edges and noise, of values from 0 to 250.
fn mixed([x, y, z]: [u64; 3]) -> f64 {
    let noise = (x * 31 + y * 17 + z * 7 + x * y * z) % 13;
    let edge = if (2 * x + y + 2 * z) % 90 < 40 {
        90.0
    } else {
        0.0
    };
    74.0 + 24.0 * waves([x, y, z]) + edge + noise as f64
}

/// Between -3 and 3.
fn waves([x, y, z]: [u64; 3]) -> f64 {
    (x as f64 / 9.0).sin() + (y as f64 / 13.0).cos() + (z as f64 / 7.0).sin()
}

/// A step of a smooth field: what networks are for.
fn step([x, y, z]: [u64; 3]) -> u8 {
    let [x, y, z] = [x, y, z].map(|c| c as f64 / 5.0);
    let inside = x.sin() + (0.8 * y + 1.0).cos() + (0.9 * z).sin() > 0.0;
    if inside { 250 } else { 0 }
}

/// With blocks of 32 under grid models.
fn hashgrid(
    source: &MemoryVolume,
    quality: f64,
    change: impl FnOnce(&mut EncodeOptions),
) -> Volume {
    let bytes = encoded(source, |o| {
        o.target = Target::Quality(quality);
        o.model = ModelChoice::Hashgrid;
        change(o);
    });
    open(memory(&bytes)).unwrap()
}

/// Grid models and the blocks of the full resolution that have them.
#[derive(Default, Debug)]
struct Grids {
    blocks: usize,
    networks: usize,
    others: usize,
    /// Smallest step of a level, in values.
    step: f64,
    /// Value of a unit of the integers.
    unit: f64,
}

impl Grids {
    fn of(v: &Volume) -> Self {
        let mut grids = Self {
            step: f64::INFINITY,
            unit: f64::from(v.reader().shape().value_exp).exp2(),
            ..Self::default()
        };
        for entry in v.reader().blocks(0).unwrap().map(Result::unwrap) {
            let BlockState::Payload(payload) = &entry.state else {
                continue;
            };
            let Some(model) = grid_model(v, payload) else {
                grids.others += 1;
                continue;
            };
            grids.blocks += 1;
            let steps = model.levels.iter().flat_map(|l| &l.steps);
            let least = *steps.min().unwrap() as f64 / 65_536.0;
            let least = least * (-f64::from(model.frac_bits)).exp2() * grids.unit;
            grids.step = grids.step.min(least);
            let layer = v.reader().read_layers(&entry, 1).unwrap().remove(0);
            let (_, weights) = first_layer(&model, v, entry.block, &layer);
            grids.networks += usize::from(weights.network != BlockNetwork::None);
        }
        grids
    }

    /// How far the function may be from the decoded voxels.
    fn tolerance(&self) -> f64 {
        // Sums of float32.
        0.5 * self.step + 0.5 * self.unit + 1e-4 * self.unit
    }
}

fn grid_model(v: &Volume, payload: &PayloadEntry) -> Option<GridModel> {
    let record = v.reader().models().iter().find(|m| m.id == payload.model);
    let record = record.filter(|m| m.kind == GridModel::KIND)?;
    Some(GridModel::from_bytes(&record.payload).unwrap())
}

/// The weights that a block's first layer begins with, and the mask before them.
fn first_layer(
    model: &GridModel,
    v: &Volume,
    block: [u64; 3],
    layer: &[u8],
) -> (Vec<u8>, GridWeights) {
    let side = 1 << v.reader().shape().block_log2;
    let dims = [0, 1, 2].map(|a| (v.extent()[a] - side * block[a]).min(side) as usize);
    let mut weights = GridWeights::default();
    weights.reset(model, dims);
    let mask = match model.mask {
        true => 4 + u32::from_le_bytes(layer[..4].try_into().unwrap()) as usize,
        false => 0,
    };
    decode_grid_layer(model, 0, &layer[mask..], &mut weights).unwrap();
    (layer[..mask].to_vec(), weights)
}

/// What is added to the ids of the models of a second file.
const SECOND: u16 = 100;

/// A file whose blocks get other networks.
struct Forged {
    volume: Volume,
    /// What the roundings of a network can add up to, in values.
    roundings: f64,
}

impl Forged {
    /// Any networks of this shape in place of those of the blocks of the full resolution.
    fn new(v: &Volume, network: NetworkShape) -> Self {
        Self::mixed([v, v], network)
    }

    /// The blocks in turn from two files of one plan, with the models of both.
    fn mixed(files: [&Volume; 2], network: NetworkShape) -> Self {
        let v = files[0];
        let shape = v.reader().shape();
        let mut plan = FilePlan::new(
            v.extent(),
            v.dtype(),
            shape.block_log2,
            v.levels() as u8,
            (shape.q_min, shape.q_max),
        )
        .unwrap();
        (plan.value_exp, plan.models) = (shape.value_exp, Vec::new());
        for (file, v) in files.iter().enumerate() {
            let mut models = v.reader().models().to_vec();
            models.iter_mut().for_each(|m| m.id += SECOND * file as u16);
            plan.models.extend(models);
        }
        for record in plan.models.iter_mut().filter(|m| m.kind == GridModel::KIND) {
            let mut model = GridModel::from_bytes(&record.payload).unwrap();
            model.network = Some(network);
            record.payload = model.to_bytes();
        }
        let sink = MemorySink::default();
        let options = WriterOptions::default();
        let mut writer = HgvWriter::to_sink(Box::new(sink.clone()), &plan, options).unwrap();
        let mut random = Random(7);
        let mut roundings = 0f64;
        for (tier, pages) in writer.shape().clone().pages.iter().enumerate() {
            for page in pages.iter() {
                writer.begin_cluster(tier as u8, page).unwrap();
                for block in (0..pages.slots(page)).map(|s| pages.block(page, s)) {
                    let file = (block.iter().sum::<u64>() % 2) as usize;
                    let entry = files[file].reader().block(tier as u8, block).unwrap();
                    let forged = forge(files[file], &entry, network, &mut random);
                    let (mut record, rounding) = forged;
                    if let BlockRecord::Payload(payload) = &mut record {
                        payload.model += SECOND * file as u16;
                    }
                    roundings = roundings.max(rounding);
                    writer.put_block(block, &record).unwrap();
                }
                writer.finish_cluster().unwrap();
            }
        }
        writer.finish().unwrap();
        Self {
            volume: open(memory(&sink.bytes())).unwrap(),
            roundings,
        }
    }
}

/// The record of a block, with another network if it is under a grid model, and its roundings.
fn forge(
    v: &Volume,
    entry: &BlockEntry,
    network: NetworkShape,
    random: &mut Random,
) -> (BlockRecord, f64) {
    let payload = match &entry.state {
        BlockState::Payload(p) => p,
        BlockState::Constant(q) => return (BlockRecord::Constant(*q), 0.0),
        BlockState::NotWritten => panic!("not written"),
    };
    let mut layers = v.reader().read_layers(entry, usize::MAX).unwrap();
    let mut rounding = 0.0;
    if let Some(mut model) = grid_model(v, payload) {
        let (mut first, mut weights) = first_layer(&model, v, entry.block, &layers[0]);
        model.network = Some(network);
        let (made, bound) = random.network(&model);
        rounding = bound * (-f64::from(model.frac_bits)).exp2() * Grids::of(v).unit;
        weights.network = BlockNetwork::Own(made);
        first.extend(encode_grid_layer(&model, 0, &mut weights).unwrap());
        layers[0] = first;
    }
    let record = BlockRecord::Payload(BlockPayload {
        model: payload.model,
        range: payload.range_codes,
        errors: payload.errors.clone(),
        layers,
    });
    (record, rounding)
}

struct Random(u64);

impl Random {
    /// From `-most` to `most`.
    fn below(&mut self, most: i32) -> i32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % (2 * most as u64 + 1)) as i32 - most
    }

    /// A network, and what its roundings can add up to in working units: half a unit of each number,
    /// times the weights behind it.
    fn network(&mut self, model: &GridModel) -> (Network, f64) {
        let (mut matrices, mut bound) = (Vec::new(), 0f64);
        for [outputs, inputs] in model.matrices() {
            // Working units are small.
            let shift = if outputs == 1 { 1 } else { 10 };
            let m = Matrix {
                shift,
                weights: (0..outputs * inputs)
                    .map(|_| self.below(127) as i8)
                    .collect(),
                biases: (0..outputs).map(|_| self.below(3000) as i16).collect(),
            };
            let rows = m.weights.chunks(inputs);
            let gains = rows.map(|r| r.iter().map(|w| f64::from(w.unsigned_abs())).sum::<f64>());
            bound = bound * gains.fold(0.0, f64::max) / f64::from(1 << shift) + 0.5;
            matrices.push(m);
        }
        (Network { matrices }, bound)
    }
}

/// Largest distance from the decoded voxels; NaN must be where voxels are not finite.
fn distance(v: &Volume, lod: u32, level: u32) -> f64 {
    let voxels = Voxels::of(v, lod, level);
    let values = v.sample(lod, level, &voxels.points()).unwrap();
    let pairs = values.iter().zip(&voxels.values);
    pairs.fold(0.0, |most, (&value, &voxel)| {
        assert_eq!(value.is_finite(), voxel.is_finite());
        let distance = f64::from(value) - f64::from(voxel);
        if voxel.is_finite() {
            distance.abs().max(most)
        } else {
            most
        }
    })
}

#[test]
fn grid_blocks_agree_with_the_decoded_voxels() {
    let bytes = made(EXTENT, |p| mixed(p) as u8);
    let words = made(EXTENT, |p| (mixed(p) * 200.0) as u16);
    let floats = made(EXTENT, |p| waves(p).tanh() as f32);
    for (name, source) in [("bytes", &bytes), ("words", &words), ("floats", &floats)] {
        for (quality, preset) in [
            (5.0, Preset::Best),
            (30.0, Preset::Balanced),
            (70.0, Preset::Balanced),
        ] {
            let v = hashgrid(source, quality, |o| o.preset = preset);
            let grids = Grids::of(&v);
            assert!(grids.blocks > 0 && grids.others == 0, "{name} {grids:?}");
            agree(&v, name);
        }
    }
}

/// At every level of detail, and the ends of the qualities.
fn agree(v: &Volume, name: &str) -> Grids {
    let grids = Grids::of(v);
    for lod in 0..v.lods().min(4) {
        for level in [0, v.levels() - 1] {
            let distance = distance(v, lod, level);
            assert!(
                distance <= grids.tolerance(),
                "{name} {lod} {level}: {distance} {grids:?}"
            );
        }
    }
    grids
}

/// Networks that the encoder trained and kept because they pay.
#[test]
fn trained_networks_agree_with_the_decoded_voxels() {
    let source = made([150, 90, 70], step);
    for quality in [10.0, 30.0, 50.0] {
        let grids = agree(&hashgrid(&source, quality, |o| o.block = 64), "step");
        assert!(grids.networks > 0 && grids.others == 0, "{grids:?}");
    }
}

/// A volume whose blocks have networks of this shape.
fn networks(hidden: u8, width: u8) -> Forged {
    let v = hashgrid(&made(EXTENT, |p| mixed(p) as u8), 40.0, |_| {});
    Forged::new(&v, NetworkShape { hidden, width })
}

/// Whatever the network, the function is the decoded voxels but for the roundings that decoding
/// makes.
#[test]
fn any_network_agrees_with_the_decoded_voxels() {
    let floats = hashgrid(&made(EXTENT, |p| mixed(p) as f32 * 1e-3), 40.0, |_| {});
    let shape = |hidden, width| NetworkShape { hidden, width };
    for forged in [
        networks(1, 8),
        networks(2, 32),
        Forged::new(&floats, shape(2, 16)),
    ] {
        let v = &forged.volume;
        let grids = Grids::of(v);
        assert_eq!((grids.networks, grids.others), (12, 0), "{grids:?}");
        // Float32 sums of numbers up to 2^17 times a unit of a hidden number.
        let most = 0.5 * grids.unit + 1.1 * forged.roundings;
        for lod in 0..v.lods().min(4) {
            for level in 0..v.levels() {
                let distance = distance(v, lod, level);
                assert!(distance <= most);
            }
        }
    }
}

#[test]
fn networks_are_continuous_over_blocks() {
    let v = networks(1, 16).volume;
    // A network may be steeper than the volume.
    assert_continuous(&v, 2, 60.0 * 255.0, 255.0 * 2f32.powi(-20));
}

/// Along an axis inside a cell a network is linear but where a unit switches; few cells have such
/// a place within the step.
#[test]
fn gradients_of_networks_are_differences_of_values() {
    const STEP: f64 = 0.01;
    let v = networks(1, 16).volume;
    for (lod, side) in [(0, 1.0), (1, 2.0)] {
        let middles: Vec<[f64; 3]> = positions([36, 20, 16])
            .map(|[x, y, z]| [2 * x, 2 * y, 2 * z].map(|c| (c as f64 + 0.3) * side))
            .filter(|p| (0..3).all(|a| p[a] + side < EXTENT[a] as f64))
            .collect();
        let gradients = v.gradient(lod, 2, &middles).unwrap();
        for a in 0..3 {
            let moved = |by: f64| -> Vec<f32> {
                let mut points = middles.clone();
                points.iter_mut().for_each(|p| p[a] += by * side);
                v.sample(lod, 2, &points).unwrap()
            };
            let (up, down) = (moved(STEP), moved(-STEP));
            let mut errors: Vec<f64> = (0..middles.len())
                .map(|i| {
                    let difference = f64::from(up[i] - down[i]) / (2.0 * STEP * side);
                    (f64::from(gradients[i][a]) - difference).abs()
                })
                .collect();
            errors.sort_by(f64::total_cmp);
            let of = |share: f64| errors[(errors.len() as f64 * share) as usize];
            assert!(of(0.5) < 0.01 && of(0.9) < 0.05);
        }
    }
}

#[test]
fn networks_are_the_same_on_any_number_of_threads() {
    let one = networks(2, 24).volume;
    let four = networks(2, 24).volume.with_threads(4).unwrap();
    let points: Vec<_> = (0..40)
        .flat_map(|s| some_points(EXTENT, s * 7 + 1))
        .collect();
    assert_eq!(
        one.sample(0, 1, &points).unwrap(),
        four.sample(0, 1, &points).unwrap()
    );
    assert_eq!(
        one.gradient(0, 1, &points).unwrap(),
        four.gradient(0, 1, &points).unwrap()
    );
}

#[test]
fn masks_of_grid_blocks_are_kept() {
    let source = made(EXTENT, |p| match p {
        [x, y, z] if x < 20 && y < 20 && z < 20 => f32::NAN,
        [63, 40, 5] | [70, 10, 10] => f32::INFINITY,
        p => mixed(p) as f32,
    });
    let v = hashgrid(&source, 40.0, |o| o.nan_mask = true);
    let grids = Grids::of(&v);
    assert!(grids.blocks > 0 && grids.others == 0, "{grids:?}");
    for lod in 0..3 {
        let distance = distance(&v, lod, 2);
        assert!(distance <= grids.tolerance(), "{distance} {grids:?}");
    }
    let value = |p: [f64; 3]| v.sample(0, 2, &[p]).unwrap()[0];
    assert!(value([19.5, 5.0, 5.0]).is_nan() && value([69.5, 10.5, 9.5]).is_nan());
    assert!(value([20.0, 5.5, 5.5]).is_finite() && value([69.0, 10.5, 9.5]).is_finite());
    let g = v.gradient(0, 2, &[[62.0, 40.0, 5.5]]).unwrap()[0];
    assert!(g[0].is_nan() && g[1].is_finite() && g[2].is_finite());
}

#[test]
fn files_of_both_kinds() {
    let source = made(EXTENT, |p| mixed(p) as u8);
    let files = [ModelChoice::Hashgrid, ModelChoice::Dense];
    let files = files.map(|model| hashgrid(&source, 40.0, |o| o.model = model));
    let network = NetworkShape {
        hidden: 1,
        width: 16,
    };
    let forged = Forged::mixed([&files[0], &files[1]], network);
    let v = &forged.volume;
    let grids = Grids::of(v);
    assert_eq!((grids.networks, grids.others), (6, 6), "{grids:?}");
    assert!(distance(v, 0, 2) <= 0.5 + 1.1 * forged.roundings);
    // Wavelets are what they are beside grids.
    let block = positions([32; 3]).map(|[x, y, z]| [x + 32, y, z].map(|c| c as f64));
    let block: Vec<_> = block.collect();
    assert_eq!(
        v.sample(0, 2, &block).unwrap(),
        files[1].sample(0, 2, &block).unwrap()
    );
    // Between two blocks the ends of both count, whatever they are.
    let line = [[31.0, 9.5, 8.5], [31.25, 9.5, 8.5], [32.0, 9.5, 8.5]];
    let [left, between, right] = v.sample(0, 2, &line).unwrap()[..] else {
        panic!("three values");
    };
    assert!((0.75 * left + 0.25 * right - between).abs() < 1e-4);
    let slope = v.gradient(0, 2, &line[1..2]).unwrap()[0][0];
    assert!((right - left - slope).abs() < 1e-4);
}

#[test]
fn lossless_grid_blocks_are_exact_at_full_detail() {
    let source = made(EXTENT, |p| mixed(p) as u8);
    let v = hashgrid(&source, 0.0, |o| o.target = Target::Lossless);
    let grids = Grids::of(&v);
    assert!(grids.blocks > 0, "{grids:?}");
    assert_eq!(distance(&v, 0, 2), 0.0);
    for (lod, level) in [(0, 1), (1, 2)] {
        let distance = distance(&v, lod, level);
        assert!(distance > 0.0 && distance <= grids.tolerance());
    }
}
