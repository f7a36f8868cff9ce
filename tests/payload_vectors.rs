//! Every payload vector of `format-spec/vectors/payload` decodes to the stated integers with every
//! vector unit of this machine, and damage to it is rejected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use hgv::backend::cpu::{CpuBackend, CpuLevel, Scratch};
use hgv::backend::{Backend, BlockJob, LayerStep, ValueRange};
use hgv::codec::bands::BlockShape;
use hgv::codec::mask::{Class, decode_mask};
use hgv::model::{BlockModel, Coder, GridModel, NON_FINITE, WaveletModel};
use serde_json::Value;
use sha2::{Digest, Sha256};

struct Vector {
    name: String,
    model: BlockModel,
    shape: BlockShape,
    range: ValueRange,
    steps: Vec<LayerStep>,
    layers: Vec<Vec<u8>>,
    classes: Option<Vec<Class>>,
    decoded: Vec<Value>,
}

fn numbers(v: &Value) -> Vec<i64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_i64().unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

/// The layers of a vector, one after the other in its `.bin`.
fn layers_of(path: &Path, about: &Value) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path.with_extension("bin")).unwrap();
    assert_eq!(
        hex(&Sha256::digest(&bytes)),
        about["bytes_sha256"],
        "{}",
        path.display()
    );
    let mut rest = &bytes[..];
    let lengths = numbers(&about["layers"]).into_iter();
    let layers = lengths
        .map(|n| rest.split_off(..n as usize).unwrap().to_vec())
        .collect();
    assert!(rest.is_empty());
    layers
}

/// Takes the mask off the first layer.
fn split_mask(first: &mut Vec<u8>, dims: [usize; 3]) -> Vec<Class> {
    let rest = first.split_off(4);
    let length = u32::from_le_bytes([first[0], first[1], first[2], first[3]]) as usize;
    let (mask, stream) = rest.split_at(length);
    *first = stream.to_vec();
    assert!(decode_mask(&mask[..length - 1], dims).is_err());
    assert!(decode_mask(&[mask, &[0]].concat(), dims).is_err());
    decode_mask(mask, dims).unwrap()
}

fn model_of(about: &Value) -> BlockModel {
    let record = from_hex(about["model"].as_str().unwrap());
    match about["kind"].as_u64().unwrap_or(1) as u8 {
        WaveletModel::KIND => BlockModel::Wavelet(WaveletModel::from_bytes(&record).unwrap()),
        GridModel::KIND => BlockModel::Grid(GridModel::from_bytes(&record).unwrap()),
        kind => panic!("kind {kind}"),
    }
}

fn mask_of(model: &mut BlockModel) -> &mut bool {
    match model {
        BlockModel::Wavelet(m) => &mut m.mask,
        BlockModel::Grid(m) => &mut m.mask,
    }
}

impl Vector {
    fn load(path: &Path) -> Self {
        let about: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let (dims, range) = (numbers(&about["dims"]), numbers(&about["range"]));
        let dims = [0, 1, 2].map(|a| dims[a] as usize);
        let step = |s: &Value| LayerStep {
            lod: numbers(s)[0] as u8,
            quality: numbers(s)[1] as u8,
        };
        let mut model = model_of(&about);
        let mut layers = layers_of(path, &about);
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            shape: BlockShape {
                dims,
                depth: about["block_log2"].as_u64().unwrap() as usize - 2,
            },
            range: ValueRange {
                lo: range[0] as i32,
                hi: range[1] as i32,
            },
            steps: about["steps"]
                .as_array()
                .unwrap()
                .iter()
                .map(step)
                .collect(),
            // Masks are taken off, as a second opinion on what the backend does.
            classes: std::mem::take(mask_of(&mut model)).then(|| split_mask(&mut layers[0], dims)),
            model,
            layers,
            decoded: about["decoded"].as_array().unwrap().clone(),
        }
    }

    /// Decodes layers without a mask.
    fn decode(&self, level: CpuLevel, layers: &[Vec<u8>], lod: usize) -> hgv::Result<Vec<i32>> {
        let job = BlockJob {
            model: &self.model,
            shape: self.shape,
            range: self.range,
            steps: &self.steps,
            layers,
            exponent: 0,
            lod,
        };
        let mut out = Vec::new();
        CpuBackend::with_level(level)?.decode_block(&job, &mut Scratch::default(), &mut out)?;
        self.put_classes(&mut out, lod);
        Ok(out)
    }

    fn put_classes(&self, q: &mut [i32], lod: usize) {
        let Some(classes) = &self.classes else { return };
        let ([w, h, _], [nx, ny, _]) = (self.shape.dims_at(lod), self.shape.dims);
        for (i, q) in q.iter_mut().enumerate() {
            let [x, y, z] = [i % w, i / w % h, i / (w * h)].map(|c| c << lod);
            if let class @ 1.. = classes[(z * ny + y) * nx + x] as usize {
                *q = NON_FINITE[class - 1];
            }
        }
    }

    /// Ways to break a layer that every reader must notice.
    fn damages(&self, number: usize) -> Vec<Vec<u8>> {
        let layer = &self.layers[number];
        let ends_lossless = self.model.residual().is_some() && number + 1 == self.steps.len();
        let around = |stream: &[u8]| match ends_lossless {
            true => [&(stream.len() as u32).to_le_bytes(), stream].concat(),
            false => stream.to_vec(),
        };
        let (mut out, mut stream) = (Vec::new(), &layer[..]);
        if ends_lossless {
            stream = &layer[4..];
            out.push(layer[..3].to_vec());
            out.push([&(layer.len() as u32 - 3).to_le_bytes(), stream].concat());
        }
        if matches!(&self.model, BlockModel::Wavelet(m) if m.coder == Coder::M) {
            out.push(around(&[stream, &[0]].concat()));
            return out;
        }
        out.push(around(&[&[6], &stream[1..]].concat()));
        out.push(around(&[&stream[..3], &[0, 0], &stream[5..]].concat()));
        out.push(around(&stream[..4]));
        out
    }
}

fn vectors() -> Vec<Vector> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors/payload");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    assert!(paths.len() >= 40, "{} vectors", paths.len());
    paths.iter().map(|p| Vector::load(p)).collect()
}

#[test]
fn vectors_decode_to_their_hashes() {
    for vector in vectors() {
        for want in &vector.decoded {
            let (layers, lod) = (
                want["layers"].as_u64().unwrap() as usize,
                want["lod"].as_u64().unwrap() as usize,
            );
            for level in CpuLevel::available() {
                let q = vector.decode(level, &vector.layers[..layers], lod).unwrap();
                let bytes: Vec<u8> = q.iter().flat_map(|q| q.to_le_bytes()).collect();
                assert_eq!(
                    hex(&Sha256::digest(&bytes)),
                    want["sha256"],
                    "{} {} {want}",
                    vector.name,
                    level.name()
                );
            }
        }
    }
}

#[test]
fn damage_is_rejected() {
    for vector in vectors().iter().filter(|v| v.shape.voxels() <= 10_000) {
        for (number, _) in vector
            .layers
            .iter()
            .enumerate()
            .filter(|(_, layer)| !layer.is_empty())
        {
            for (kind, broken) in vector.damages(number).into_iter().enumerate() {
                let layers = [&vector.layers[..number], &[broken]].concat();
                let result = vector.decode(CpuLevel::Scalar, &layers, 0);
                assert!(
                    result.is_err(),
                    "{} layer {number} damage {kind}",
                    vector.name
                );
            }
        }
    }
}
