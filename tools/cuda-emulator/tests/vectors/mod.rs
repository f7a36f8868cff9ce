//! Payload vectors of `format-spec/vectors/payload` as jobs for a backend.

use std::path::{Path, PathBuf};

use hgv::backend::{BlockJob, LayerStep, ValueRange};
use hgv::codec::bands::BlockShape;
use hgv::model::{BlockModel, GridModel, WaveletModel};
use serde_json::Value;

/// A block with its layers.
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) model: BlockModel,
    pub(crate) shape: BlockShape,
    pub(crate) range: ValueRange,
    pub(crate) steps: Vec<LayerStep>,
    pub(crate) layers: Vec<Vec<u8>>,
    /// Prefixes that are decoded, and to which level of detail.
    pub(crate) decoded: Vec<(usize, usize)>,
}

fn numbers(v: &Value) -> Vec<i64> {
    let all = v.as_array().unwrap().iter();
    all.map(|n| n.as_i64().unwrap()).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

impl Vector {
    fn load(path: &Path) -> Self {
        let about: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let record = from_hex(about["model"].as_str().unwrap());
        let model = match about["kind"].as_u64().unwrap_or(1) as u8 {
            WaveletModel::KIND => BlockModel::Wavelet(WaveletModel::from_bytes(&record).unwrap()),
            GridModel::KIND => BlockModel::Grid(GridModel::from_bytes(&record).unwrap()),
            kind => panic!("kind {kind}"),
        };
        let (dims, range) = (numbers(&about["dims"]), numbers(&about["range"]));
        let bytes = std::fs::read(path.with_extension("bin")).unwrap();
        let mut rest = &bytes[..];
        let lengths = numbers(&about["layers"]).into_iter();
        let layers = lengths.map(|n| rest.split_off(..n as usize).unwrap().to_vec());
        let steps = about["steps"].as_array().unwrap().iter().map(numbers);
        let decoded = about["decoded"].as_array().unwrap().iter();
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            model,
            shape: BlockShape {
                dims: [0, 1, 2].map(|a| dims[a] as usize),
                depth: about["block_log2"].as_u64().unwrap() as usize - 2,
            },
            range: ValueRange {
                lo: range[0] as i32,
                hi: range[1] as i32,
            },
            layers: layers.collect(),
            steps: steps
                .map(|s| LayerStep {
                    lod: s[0] as u8,
                    quality: s[1] as u8,
                })
                .collect(),
            decoded: decoded
                .map(|d| ["layers", "lod"].map(|f| d[f].as_u64().unwrap() as usize))
                .map(|[layers, lod]| (layers, lod))
                .collect(),
        }
    }

    /// Every prefix and level of detail that the vector states.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = BlockJob<'_>> {
        self.decoded.iter().map(|&(layers, lod)| BlockJob {
            model: &self.model,
            shape: self.shape,
            range: self.range,
            exponent: 0,
            steps: &self.steps,
            layers: &self.layers[..layers],
            lod,
        })
    }
}

/// All of them, by name.
pub(crate) fn vectors() -> Vec<Vector> {
    let folder = hgv_cuda_emulator::repository().join("format-spec/vectors/payload");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.sort();
    assert!(paths.len() >= 40, "{} vectors", paths.len());
    paths.iter().map(|p| Vector::load(p)).collect()
}
