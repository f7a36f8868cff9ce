//! The vectors of the specification that coder R made, taken apart.

use std::path::Path;

use hgv::backend::cpu::{CpuBackend, CpuLevel, Scratch};
use hgv::backend::{Backend, BlockJob, LayerStep, ValueRange};
use hgv::codec::Coder;
use hgv::codec::bands::BlockShape;
use hgv::model::{BlockModel, GridModel, Precision, Residual, WaveletModel};
use serde_json::Value;

use crate::cases::Case;

/// A vector whose model is a wavelet.
pub(crate) struct Vector {
    /// Its coefficients.
    pub(crate) case: Case,
    /// Bytes of its mask.
    pub(crate) mask: Option<Vec<u8>>,
    /// Bytes of its residual; empty without one.
    pub(crate) residual: Vec<u8>,
    model: WaveletModel,
    range: ValueRange,
}

impl Vector {
    /// Integers at full resolution before the residual, by the CPU.
    pub(crate) fn integers(&self) -> Vec<i32> {
        let model = BlockModel::Wavelet(WaveletModel {
            mask: false,
            residual: Residual::None,
            ..self.model
        });
        let steps: Vec<LayerStep> = (self.case.steps.iter())
            .map(|&(lod, quality)| LayerStep { lod, quality })
            .collect();
        let job = BlockJob {
            model: &model,
            shape: self.case.shape,
            range: self.range,
            exponent: 0,
            steps: &steps,
            layers: &self.case.layers,
            lod: 0,
        };
        let mut out = Vec::new();
        let cpu = CpuBackend::with_level(CpuLevel::Scalar).unwrap();
        cpu.decode_block(&job, &mut Scratch::default(), &mut out)
            .unwrap();
        out
    }
}

fn numbers(v: &Value) -> Vec<i64> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_i64().unwrap())
        .collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

/// The part of a layer before another, of which a u32 says the length, and the other.
fn split(layer: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let length = u32::from_le_bytes([layer[0], layer[1], layer[2], layer[3]]) as usize;
    let (first, second) = layer[4..].split_at(length);
    (first.to_vec(), second.to_vec())
}

/// Those on blocks of this side.
pub(crate) fn vectors(block_log2: u32) -> Vec<Vector> {
    let folder = hgv_cuda_emulator::repository().join("format-spec/vectors/payload");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    paths.iter().filter_map(|p| load(p, block_log2)).collect()
}

fn load(path: &Path, block_log2: u32) -> Option<Vector> {
    let about: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let record = from_hex(about["model"].as_str().unwrap());
    let kind = about["kind"].as_u64().unwrap_or(1) as u8;
    if kind == GridModel::KIND || about["block_log2"].as_u64() != Some(block_log2.into()) {
        return None;
    }
    let model = WaveletModel::from_bytes(&record).unwrap();
    if model.coder != Coder::R {
        return None;
    }
    let bytes = std::fs::read(path.with_extension("bin")).unwrap();
    let mut rest = &bytes[..];
    let mut layers: Vec<Vec<u8>> = numbers(&about["layers"])
        .into_iter()
        .map(|n| rest.split_off(..n as usize).unwrap().to_vec())
        .collect();
    let mut mask = None;
    if model.mask {
        let (first, second) = split(&layers[0]);
        (mask, layers[0]) = (Some(first), second);
    }
    let mut residual = Vec::new();
    if let Some(last) = layers
        .last_mut()
        .filter(|l| model.residual.is_some() && !l.is_empty())
    {
        (*last, residual) = split(last);
    }
    let (dims, range) = (numbers(&about["dims"]), numbers(&about["range"]));
    let case = Case {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        shape: BlockShape {
            dims: [0, 1, 2].map(|a| dims[a] as usize),
            depth: block_log2 as usize - 2,
        },
        wide: model.precision == Precision::I32,
        steps: (about["steps"].as_array().unwrap().iter())
            .map(|s| (numbers(s)[0] as u8, numbers(s)[1] as u8))
            .collect(),
        layers,
        targets: Vec::new(),
    };
    let range = ValueRange {
        lo: range[0] as i32,
        hi: range[1] as i32,
    };
    Some(Vector {
        case,
        mask,
        residual,
        model,
        range,
    })
}
