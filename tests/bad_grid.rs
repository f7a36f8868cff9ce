//! One malformed file for each rule about model kind 2 of `format-spec/payload.md` (sections 16 and
//! 18 to 20), with the exact error. Their containers are good, what lies in them is not.
//! `HGV_WRITE_BAD=1 cargo test --test bad_grid` writes `tests/bad/grid` again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Sample, check_bad, file_bytes};
use hgv::codec::grid::{BlockNetwork, GridWeights, encode_grid_layer};
use hgv::codec::mask::{Class, encode_mask};
use hgv::format::model::ModelRecord;
use hgv::io::MemorySource;
use hgv::model::grid::{GridLevel, MAX_STEP, Matrix, Network, NetworkShape, Order};
use hgv::model::{GridModel, Residual};
use hgv::volume::{DType, Region};
use hgv::writer::{BlockPayload, BlockRecord, FilePlan, WriterOptions};
use hgv::{Limits, Result, Volume};

/// A file of one block that is being made bad.
struct Bad {
    extent: [u64; 3],
    block_log2: u8,
    dtype: DType,
    record: Vec<u8>,
    layers: Vec<Vec<u8>>,
}

/// Offset of the first level of a record; a level of one feature has 16 bytes.
const LEVEL: usize = 8;

fn level(spacing: u8, layer: u8) -> GridLevel {
    GridLevel {
        spacing: [spacing; 3],
        table_log2: 22,
        layer,
        skip: 1,
        input_shift: None,
        steps: vec![1 << 16],
    }
}

fn model(levels: Vec<GridLevel>) -> GridModel {
    GridModel {
        order: Order::Linear,
        frac_bits: 2,
        residual: Residual::None,
        mask: false,
        levels,
        network: None,
        base: None,
    }
}

/// The file of a model and a block with these weights.
fn file(model: &GridModel, extent: [u64; 3], fill: impl Fn(&mut GridWeights)) -> Bad {
    let mut weights = GridWeights::default();
    weights.reset(model, extent.map(|n| n as usize));
    fill(&mut weights);
    Bad {
        extent,
        block_log2: 5,
        dtype: DType::Int16,
        record: model.to_bytes(),
        layers: (0..3)
            .map(|layer| encode_grid_layer(model, layer, &mut weights).unwrap())
            .collect(),
    }
}

/// Two levels, a few small weights: no raw bits.
fn plain() -> Bad {
    file(&model(vec![level(1, 0), level(0, 2)]), [5, 4, 3], |w| {
        w.levels[0].features[0][3] = 1;
        w.levels[1].features[0][7] = -2;
    })
}

/// One weight, which is so large that its escape is all raw bits of the layer: 19 zeros, a one and
/// 19 low bits.
fn one_weight(weight: i32, extent: [u64; 3], table_log2: u8) -> Bad {
    let level = GridLevel {
        table_log2,
        ..level(0, 0)
    };
    file(&model(vec![level]), extent, |w| {
        w.levels[0].features[0][0] = weight
    })
}

/// One input, one hidden layer of 8, a level of each kind.
fn network_model() -> GridModel {
    let input = GridLevel {
        input_shift: Some(2),
        ..level(1, 0)
    };
    GridModel {
        network: Some(NetworkShape {
            hidden: 1,
            width: 8,
        }),
        ..model(vec![input, level(0, 2)])
    }
}

/// Weights of 1 and biases of 0, but for the first weight and the first two biases.
fn network(weight: i8, biases: [i16; 2]) -> Network {
    let matrix = |outputs: usize, inputs: usize| Matrix {
        shift: 4,
        weights: vec![1; outputs * inputs],
        biases: vec![0; outputs],
    };
    let mut matrices = vec![matrix(8, 1), matrix(1, 8)];
    matrices[0].weights[0] = weight;
    matrices[0].biases[..2].copy_from_slice(&biases);
    Network { matrices }
}

/// A block with a network of its own: 2 raw bits for the choice, 5 for a shift, then weights.
fn own(weight: i8, biases: [i16; 2]) -> Bad {
    file(&network_model(), [5, 4, 3], |w| {
        w.network = BlockNetwork::Own(network(weight, biases));
    })
}

/// A record with a base network; the block asks for it or for none.
fn based(asks: bool) -> Bad {
    let model = GridModel {
        base: Some(network(1, [0; 2])),
        ..network_model()
    };
    file(&model, [5, 4, 3], |w| {
        w.levels[0].features[0][0] = 1;
        if asks {
            w.network = BlockNetwork::Base;
        }
    })
}

/// First byte of the base network of [`based`].
const BASE: usize = LEVEL + 2 * 16;

fn masked() -> Bad {
    let mut bad = plain();
    let mask = encode_mask(&[Class::Finite; 60], [5, 4, 3]);
    bad.dtype = DType::Float32;
    bad.record[3] |= 2;
    bad.layers[0] = [
        &(mask.len() as u32).to_le_bytes(),
        &mask[..],
        &bad.layers[0],
    ]
    .concat();
    bad
}

fn lossless() -> Bad {
    let mut bad = plain();
    bad.record[3] |= 1;
    bad.layers[2] = [
        &(bad.layers[2].len() as u32).to_le_bytes()[..],
        &bad.layers[2],
    ]
    .concat();
    bad
}

/// A model of `levels` of 4 features each and one more feature, for blocks that are too small.
fn many(levels: usize, input_shift: Option<u8>, spacing: u8, extent: u64, block_log2: u8) -> Bad {
    let level = |count| GridLevel {
        steps: vec![1; count],
        input_shift,
        ..level(spacing, 0)
    };
    let mut all = vec![level(4); levels];
    all.push(level(1));
    let model = GridModel {
        network: input_shift.map(|_| NetworkShape {
            hidden: 1,
            width: 8,
        }),
        ..model(all)
    };
    Bad {
        extent: [extent; 3],
        block_log2,
        ..file(&model, [1; 3], |_| {})
    }
}

impl Bad {
    fn bytes(&self) -> Vec<u8> {
        let range = (-1000, 1000);
        let mut plan = FilePlan::new(self.extent, self.dtype, self.block_log2, 1, range).unwrap();
        plan.models = vec![ModelRecord {
            id: 1,
            kind: GridModel::KIND,
            payload: self.record.clone(),
        }];
        let block = BlockPayload {
            model: 1,
            range: [0, 255],
            errors: vec![[0; 2]],
            layers: self.layers.clone(),
        };
        file_bytes(&Sample {
            plan,
            options: WriterOptions::default(),
            blocks: BTreeMap::from([((0, [0; 3]), BlockRecord::Payload(block))]),
            stats: None,
        })
    }

    /// Replaces bytes of the record.
    fn set(mut self, at: usize, bytes: &[u8]) -> Self {
        self.record[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Replaces bytes of a layer.
    fn layer(mut self, number: usize, at: usize, bytes: &[u8]) -> Self {
        self.layers[number][at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Inverts a raw bit of the first layer.
    fn flip(mut self, bit: usize) -> Self {
        let at = self.layers[0].len() - 1 - bit / 8;
        self.layers[0][at] ^= 1 << (bit % 8);
        self
    }

    fn resize_record(mut self, length: isize) -> Self {
        let length = (self.record.len() as isize + length) as usize;
        self.record.resize(length, 0);
        self
    }

    fn resize_layer(mut self, number: usize, length: usize) -> Self {
        self.layers[number].resize(length, 0);
        self
    }
}

/// Every case: names say section or number of the rule, then what is wrong.
fn cases() -> Vec<(&'static str, Bad)> {
    [
        records(),
        networks(),
        levels(),
        blocks(),
        layers(),
        streams(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn records() -> Vec<(&'static str, Bad)> {
    vec![
        ("18-coder", plain().set(0, &[1])),
        ("18-order", plain().set(1, &[2])),
        ("18-frac-bits", plain().set(2, &[25])),
        (
            "18-frac-bits-low",
            plain().set(2, &[(-17i8).to_le_bytes()[0]]),
        ),
        ("18-flags", plain().set(3, &[32])),
        ("18-residual-flags", plain().set(3, &[8])),
        ("18-mask-of-integers", plain().set(3, &[2])),
        ("18-no-levels", plain().set(4, &[0])),
        ("18-13-levels", plain().set(4, &[13])),
        ("18-hidden", own(1, [0; 2]).set(5, &[3])),
        ("18-width", own(1, [0; 2]).set(6, &[12])),
        ("18-width-0", own(1, [0; 2]).set(6, &[0])),
        ("18-width-alone", plain().set(6, &[8])),
        ("18-reserved", plain().set(7, &[1])),
        ("18-short", plain().resize_record(-1)),
        ("18-shorter", plain().resize_record(-33)),
        ("18-long", plain().resize_record(1)),
    ]
}

fn networks() -> Vec<(&'static str, Bad)> {
    let no_input = [255];
    vec![
        ("18-base-without-hidden", plain().set(3, &[4])),
        ("18-base-missing", own(1, [0; 2]).set(3, &[4])),
        ("18-base-short", based(true).resize_record(-1)),
        ("18-base-long", based(true).resize_record(1)),
        ("18-base-shift-0", based(true).set(BASE, &[0])),
        ("18-base-shift-25", based(true).set(BASE, &[25])),
        ("18-base-weight", based(true).set(BASE + 1, &[0x80])),
        ("18-base-bias", based(true).set(BASE + 9, &[0, 0x80])),
        ("18-no-inputs", own(1, [0; 2]).set(LEVEL + 7, &no_input)),
        ("18-33-inputs", many(8, Some(1), 5, 2, 5)),
    ]
}

fn levels() -> Vec<(&'static str, Bad)> {
    vec![
        ("18-spacing", plain().set(LEVEL + 2, &[8])),
        ("18-finer-first", plain().set(LEVEL + 16, &[2])),
        ("18-no-features", plain().set(LEVEL + 3, &[0])),
        ("18-5-features", plain().set(LEVEL + 3, &[5])),
        ("18-table", plain().set(LEVEL + 4, &[23])),
        ("18-layer-falls", plain().set(LEVEL + 5, &[3])),
        ("18-layer-missing", plain().set(LEVEL + 21, &[3])),
        ("18-skip", plain().set(LEVEL + 6, &[2])),
        ("18-input-shift", plain().set(LEVEL + 7, &[25])),
        ("18-input-shift-254", plain().set(LEVEL + 7, &[254])),
        ("18-step-0", plain().set(LEVEL + 8, &[0; 8])),
        (
            "18-step-over",
            plain().set(LEVEL + 8, &(MAX_STEP + 1).to_le_bytes()),
        ),
    ]
}

fn blocks() -> Vec<(&'static str, Bad)> {
    vec![
        ("19-vertices", many(1, None, 0, 32, 5)),
        ("19-inputs", many(2, Some(1), 5, 128, 7)),
    ]
}

fn layers() -> Vec<(&'static str, Bad)> {
    // 15 + 2^19 - 1: all low bits of the escape are 0.
    let zeros = (1 << 19) + 14;
    vec![
        ("20-choice-3", own(1, [0; 2]).flip(0)),
        ("20-choice-1-without-base", own(1, [0; 2]).flip(0).flip(1)),
        ("20-matrix-shift-0", own(1, [0; 2]).flip(4)),
        ("20-matrix-shift-28", own(1, [0; 2]).flip(5).flip(6)),
        // The one that ends the escape goes, the low bits 111 make another.
        ("20-network-weight", own(127, [0; 2]).flip(7)),
        // 39 raw bits before it, escape 8 + 1 + 8.
        ("20-network-bias", own(1, [32_767, 0]).flip(49)),
        ("20-weight", one_weight(1 << 20, [1; 3], 22).flip(22)),
        (
            "20-weight-hashed",
            one_weight(1 << 20, [2, 1, 1], 0).flip(22),
        ),
        ("16.7-escape", one_weight(zeros, [1; 3], 22).flip(19)),
        // An escape of 26 zeros, and 6 low bits.
        ("16.7-magnitude", own(1, [270 << 6, 4]).flip(47)),
    ]
}

fn streams() -> Vec<(&'static str, Bad)> {
    let left_over = plain().layers[0].len() + 1;
    vec![
        ("16.3-mask-3-bytes", masked().resize_layer(0, 3)),
        ("16.3-mask-length", masked().layer(0, 0, &[200])),
        ("16.3-lossless-3-bytes", lossless().resize_layer(2, 3)),
        ("16.3-lossless-length", lossless().layer(2, 0, &[200])),
        ("16.4-raw-bit", based(false).flip(5)),
        ("16.5-lanes", plain().layer(0, 0, &[6])),
        ("16.5-states", plain().resize_layer(2, 4)),
        ("16.5-state", plain().layer(2, 3, &[0, 0])),
        ("16.6-words", own(127, [32_767, -32_767]).resize_layer(0, 6)),
        ("16.8-final-state", based(true).layer(0, 3, &[0xFF, 0xFF])),
        ("16.9-left-over", plain().resize_layer(0, left_over)),
    ]
}

/// The first error of opening and reading.
fn error(bytes: Vec<u8>) -> Option<String> {
    read(bytes).err().map(|e| e.to_string())
}

fn read(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let volume = Volume::from_source(Arc::new(MemorySource::new(bytes)), Limits::default())?;
    let region = Region::whole(volume.lod_extent(0)?);
    let mut out = vec![0; region.voxels() as usize * volume.dtype().size()];
    volume.read_region_bytes(0, 0, &region, &mut out)?;
    Ok(out)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad/grid")
}

#[test]
fn the_good_files_are_good() {
    let zeros = (1 << 19) + 14;
    let goods = [
        plain(),
        masked(),
        lossless(),
        own(127, [32_767, -32_767]),
        based(true),
        based(false),
        one_weight(1 << 20, [1; 3], 22),
        one_weight(-(1 << 20), [2, 1, 1], 0),
        one_weight(zeros, [1; 3], 22),
        many(1, None, 0, 16, 5),
        many(7, Some(1), 5, 2, 5),
        many(1, Some(1), 5, 128, 7),
    ];
    for (i, good) in goods.iter().enumerate() {
        assert_eq!(error(good.bytes()), None, "{i}");
    }
}

#[test]
fn every_bad_file_has_its_exact_error() {
    let made: Vec<(&str, Vec<u8>)> = cases().iter().map(|(n, b)| (*n, b.bytes())).collect();
    check_bad("grid", &made, usize::MAX, |bytes| error(bytes.to_vec()));
    let names: BTreeSet<String> = made.iter().map(|(n, _)| format!("{n}.hgv")).collect();
    assert_eq!(names.len(), made.len());
    let files = std::fs::read_dir(folder()).unwrap();
    let files = files.map(|e| e.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.filter(|n| n != "expected.txt").collect();
    assert_eq!(names, files);
}
