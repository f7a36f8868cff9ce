//! Writes the payload vectors: encoded blocks and the hashes of what they decode to, so that any
//! decoder can be held against this one. Deterministic: every field comes from integer
//! arithmetic with a seed.
//!
//! A vector is two files: `NAME.bin`, the layers one after the other, and `NAME.json`, described
//! in `format-spec/README.md`.

mod grid;

use std::path::Path;

use hgv::backend::cpu::{CpuBackend, CpuLevel, Scratch};
use hgv::backend::{Backend, BlockJob, LayerStep};
use hgv::bench_api::{BlockLab, LabCurve, LabPayload};
use hgv::codec::mask::{Class, encode_mask};
use hgv::encode::Preset;
use hgv::model::{BlockModel, Filter, Filters, NON_FINITE, Precision, WaveletModel};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What one vector is made of.
struct Recipe {
    name: &'static str,
    block_log2: u32,
    dims: [usize; 3],
    /// Integers of the whole volume lie in here; the field spans them.
    range: (i32, i32),
    /// In units of `q`.
    step: f64,
    levels: u8,
    lossless: bool,
    /// Whether the transform is reversible; the step means nothing then.
    reversible: bool,
    /// Whether some voxels are not finite.
    mask: bool,
    /// Layer table, in-block level of detail and quality; empty for the usual one.
    steps: &'static [(u8, u8)],
    /// Amplitude of white noise, in 1/65536 of the range.
    noise: u32,
    /// Factor on the step in the model record after encoding. Over 1 it makes working values
    /// overflow, which decoders must do alike.
    overdrive: u64,
    /// Shares of the range that the segments of a value curve rise, in 1/256; none without a curve.
    curve: Option<[u16; 16]>,
    /// Smallest limit of the filters of all qualities, in working units; none without filters.
    filter: Option<u32>,
    /// The best preset has coder M.
    preset: Preset,
}

const PLAIN: Recipe = Recipe {
    name: "",
    block_log2: 6,
    dims: [64; 3],
    range: (0, 255),
    step: 8.0,
    levels: 1,
    lossless: false,
    reversible: false,
    mask: false,
    steps: &[],
    noise: 600,
    overdrive: 1,
    curve: None,
    filter: None,
    preset: Preset::Balanced,
};

/// The same under coder M.
const MIXING: Recipe = Recipe {
    preset: Preset::Best,
    ..PLAIN
};

/// Flat at an end and in the middle, steep beside it.
const STEPS: [u16; 16] = [0, 3, 4, 0, 0, 40, 81, 40, 6, 3, 2, 1, 2, 6, 35, 33];
/// Steep below, nearly flat above.
const ROOT: [u16; 16] = [46, 42, 36, 30, 25, 19, 14, 10, 8, 7, 5, 4, 4, 3, 2, 1];

/// One recipe for each thing that a decoder can get wrong.
fn recipes() -> Vec<Recipe> {
    let floats = (-(1 << 22), (1 << 22) - 1);
    vec![
        Recipe {
            name: "whole-i16-q1",
            step: 14.0,
            ..PLAIN
        },
        Recipe {
            name: "whole-i16-q3",
            step: 20.0,
            levels: 3,
            ..PLAIN
        },
        Recipe {
            name: "whole-i16-32-lanes",
            step: 5.0,
            noise: 2000,
            ..PLAIN
        },
        Recipe {
            name: "side-32-i16-q3",
            block_log2: 5,
            dims: [32, 32, 32],
            step: 10.0,
            levels: 3,
            ..PLAIN
        },
        Recipe {
            name: "side-128-i32-q2",
            block_log2: 7,
            dims: [128, 21, 9],
            range: floats,
            step: 8000.0,
            noise: 200,
            levels: 2,
            ..PLAIN
        },
        Recipe {
            name: "cut-i16-q3",
            dims: [33, 17, 5],
            step: 3.0,
            levels: 3,
            ..PLAIN
        },
        Recipe {
            name: "cut-i32-q3",
            dims: [33, 17, 5],
            range: floats,
            step: 5000.0,
            levels: 3,
            ..PLAIN
        },
        Recipe {
            name: "cut-i32-fine",
            dims: [17, 18, 19],
            range: floats,
            step: 40.0,
            noise: 3000,
            ..PLAIN
        },
        Recipe {
            name: "coarse-units-i16",
            dims: [30, 20, 10],
            range: (0, 65_535),
            step: 600.0,
            levels: 2,
            ..PLAIN
        },
        Recipe {
            name: "line-z-i32-q3",
            dims: [1, 1, 9],
            range: floats,
            step: 2000.0,
            levels: 3,
            noise: 20_000,
            ..PLAIN
        },
        Recipe {
            name: "line-x-i16",
            dims: [64, 1, 1],
            step: 4.0,
            ..PLAIN
        },
        Recipe {
            name: "sheet-z-i16-q1",
            dims: [64, 64, 1],
            step: 6.0,
            ..PLAIN
        },
        Recipe {
            name: "sheet-x-i32-q3",
            dims: [1, 50, 37],
            range: floats,
            step: 6000.0,
            levels: 3,
            ..PLAIN
        },
        Recipe {
            name: "eight-levels-i32",
            dims: [12, 9, 7],
            range: (0, 65_535),
            step: 1.0,
            levels: 8,
            ..PLAIN
        },
        Recipe {
            name: "lossless-i16-q1",
            dims: [33, 17, 5],
            range: (-128, 127),
            step: 3.0,
            lossless: true,
            ..PLAIN
        },
        Recipe {
            name: "lossless-i16-q3",
            dims: [20, 22, 24],
            range: (-2000, 2000),
            step: 12.0,
            levels: 3,
            lossless: true,
            ..PLAIN
        },
        Recipe {
            name: "reversible-i16-q1",
            dims: [33, 17, 5],
            range: (-128, 127),
            lossless: true,
            reversible: true,
            ..PLAIN
        },
        Recipe {
            name: "reversible-i32-q3",
            dims: [26, 23, 21],
            range: (0, 65_535),
            levels: 3,
            reversible: true,
            ..PLAIN
        },
        Recipe {
            name: "mixing-reversible-i16-q2",
            dims: [1, 40, 29],
            levels: 2,
            lossless: true,
            reversible: true,
            ..MIXING
        },
        Recipe {
            name: "lossless-i32-noise",
            dims: [11, 13, 9],
            range: (0, 65_535),
            step: 900.0,
            lossless: true,
            noise: 65_536,
            ..PLAIN
        },
        Recipe {
            name: "lossless-i16-sparse",
            dims: [30, 22, 19],
            step: 0.7,
            lossless: true,
            noise: 0,
            ..PLAIN
        },
        Recipe {
            name: "lossless-no-coefficients",
            dims: [9, 8, 7],
            step: 2000.0,
            lossless: true,
            ..PLAIN
        },
        Recipe {
            name: "other-steps-i16",
            dims: [29, 31, 14],
            levels: 2,
            steps: &[(4, 0), (0, 0), (2, 1), (0, 1)],
            ..PLAIN
        },
        Recipe {
            name: "mask-i32-q2",
            dims: [33, 17, 5],
            range: floats,
            step: 5000.0,
            levels: 2,
            mask: true,
            ..PLAIN
        },
        Recipe {
            name: "wrap-i16",
            dims: [20, 13, 9],
            step: 4.0,
            levels: 2,
            overdrive: 20,
            ..PLAIN
        },
        Recipe {
            name: "wrap-i32",
            dims: [20, 13, 9],
            range: floats,
            step: 6000.0,
            levels: 2,
            overdrive: 150,
            ..PLAIN
        },
        Recipe {
            name: "mixing-i16-q1",
            dims: [40, 36, 33],
            step: 10.0,
            ..MIXING
        },
        Recipe {
            name: "mixing-i16-q3",
            dims: [33, 17, 5],
            step: 3.0,
            levels: 3,
            ..MIXING
        },
        Recipe {
            name: "mixing-i32-q3",
            dims: [21, 14, 9],
            range: floats,
            step: 5000.0,
            levels: 3,
            ..MIXING
        },
        Recipe {
            name: "mixing-i32-fine",
            dims: [17, 18, 19],
            range: floats,
            step: 40.0,
            noise: 3000,
            ..MIXING
        },
        Recipe {
            name: "mixing-side-128-i32-q2",
            block_log2: 7,
            dims: [66, 9, 5],
            range: floats,
            step: 8000.0,
            levels: 2,
            ..MIXING
        },
        Recipe {
            name: "mixing-line-x-i16",
            dims: [64, 1, 1],
            step: 4.0,
            ..MIXING
        },
        Recipe {
            name: "mixing-sheet-z-i16",
            dims: [64, 64, 1],
            step: 6.0,
            ..MIXING
        },
        Recipe {
            name: "mixing-lossless-i16-q3",
            dims: [20, 22, 24],
            range: (-2000, 2000),
            step: 12.0,
            levels: 3,
            lossless: true,
            ..MIXING
        },
        Recipe {
            name: "mixing-other-steps-i16",
            dims: [29, 31, 14],
            levels: 2,
            steps: &[(4, 0), (0, 0), (2, 1), (0, 1)],
            ..MIXING
        },
        Recipe {
            name: "mixing-mask-i32-q2",
            dims: [33, 17, 5],
            range: floats,
            step: 5000.0,
            levels: 2,
            mask: true,
            ..MIXING
        },
        Recipe {
            name: "curve-i16-q1",
            curve: Some(STEPS),
            ..PLAIN
        },
        Recipe {
            name: "curve-i16-q3",
            dims: [33, 17, 5],
            step: 3.0,
            levels: 3,
            curve: Some(ROOT),
            ..PLAIN
        },
        Recipe {
            name: "curve-i32-q2",
            dims: [33, 17, 5],
            range: floats,
            step: 5000.0,
            levels: 2,
            mask: true,
            curve: Some(ROOT),
            ..PLAIN
        },
        Recipe {
            name: "curve-coarse-units-i16",
            dims: [30, 20, 10],
            range: (0, 65_535),
            step: 600.0,
            curve: Some(STEPS),
            ..PLAIN
        },
        Recipe {
            name: "curve-lossless-i16-q2",
            dims: [20, 22, 24],
            range: (-2000, 2000),
            step: 12.0,
            levels: 2,
            lossless: true,
            curve: Some(STEPS),
            ..PLAIN
        },
        Recipe {
            name: "filter-i16-q1",
            dims: [64, 40, 37],
            step: 14.0,
            noise: 3000,
            filter: Some(3),
            ..PLAIN
        },
        Recipe {
            name: "filter-i16-q3",
            dims: [33, 17, 2],
            step: 3.0,
            levels: 3,
            filter: Some(1),
            ..PLAIN
        },
        Recipe {
            name: "filter-i32-q2",
            dims: [33, 17, 5],
            range: floats,
            step: 5000.0,
            levels: 2,
            mask: true,
            filter: Some(40),
            ..PLAIN
        },
        Recipe {
            name: "filter-coarse-units-i16",
            dims: [30, 20, 10],
            range: (0, 65_535),
            step: 600.0,
            filter: Some(1),
            ..PLAIN
        },
        Recipe {
            name: "filter-curve-i16-q2",
            dims: [40, 33, 20],
            step: 6.0,
            levels: 2,
            filter: Some(2),
            curve: Some(STEPS),
            ..PLAIN
        },
        Recipe {
            name: "filter-curve-coarse-units-i16",
            dims: [30, 20, 10],
            range: (0, 65_535),
            step: 600.0,
            filter: Some(1),
            curve: Some(ROOT),
            ..PLAIN
        },
        Recipe {
            name: "filter-curve-i32",
            dims: [19, 17, 5],
            range: floats,
            step: 5000.0,
            filter: Some(900),
            curve: Some(ROOT),
            ..PLAIN
        },
        Recipe {
            name: "filter-lossless-i16-q2",
            dims: [20, 22, 24],
            range: (-2000, 2000),
            step: 12.0,
            levels: 2,
            lossless: true,
            filter: Some(4),
            ..PLAIN
        },
        Recipe {
            name: "filter-wrap-i16",
            dims: [20, 13, 9],
            step: 4.0,
            levels: 2,
            overdrive: 20,
            filter: Some(900),
            ..PLAIN
        },
        Recipe {
            name: "curve-wrap-i16",
            dims: [20, 13, 9],
            step: 4.0,
            levels: 2,
            overdrive: 20,
            curve: Some(ROOT),
            ..PLAIN
        },
    ]
}

fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let folder = args
        .next()
        .ok_or("usage: hgv-payload-vectors FOLDER [NAME ...]")?;
    let wanted: Vec<String> = args.collect();
    let wavelets = recipes();
    let wavelets = wavelets
        .iter()
        .enumerate()
        .map(|(seed, recipe)| (recipe.name, Vector::encode(recipe, seed as u64)));
    let all = wavelets.chain(grid::vectors());
    for (name, vector) in
        all.filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|w| w == name))
    {
        let written = vector.and_then(|v| v.write(Path::new(&folder), name));
        written.map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

/// An encoded block.
struct Vector {
    block_log2: u32,
    steps: Vec<LayerStep>,
    /// Its model says nothing of a mask.
    payload: LabPayload,
    /// Not in the payload yet: blocks are decoded without.
    classes: Option<Vec<Class>>,
}

impl Vector {
    fn encode(recipe: &Recipe, seed: u64) -> Result<Self, String> {
        let lab = lab(recipe);
        let payload = lab
            .payload(recipe.dims, &field(recipe, seed))
            .map_err(|e| e.to_string())?;
        let mut payload = payload.ok_or("it became a constant")?;
        let BlockModel::Wavelet(model) = &mut payload.model else {
            return Err("it has another kind".into());
        };
        let unexpected = match model.precision {
            Precision::I16 => "i32",
            Precision::I32 => "i16",
        };
        if recipe.name.contains(unexpected) {
            return Err(format!("it has {:?}", model.precision));
        }
        model.step_q16 = (model.step_q16 * recipe.overdrive).min(1 << 48);
        Ok(Self {
            block_log2: recipe.block_log2,
            steps: lab.steps().to_vec(),
            payload,
            classes: recipe.mask.then(|| classes(recipe.dims, seed)),
        })
    }

    fn write(&self, folder: &Path, name: &str) -> Result<(), String> {
        let write = |ending: &str, bytes: &[u8]| {
            let path = folder.join(format!("{name}.{ending}"));
            std::fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display()))
        };
        write("bin", &self.layers().concat())?;
        write("json", self.describe()?.as_bytes())
    }

    /// The layers as in a file.
    fn layers(&self) -> Vec<Vec<u8>> {
        let mut layers = self.payload.layers.clone();
        if let (Some(classes), Some(first)) = (&self.classes, layers.first_mut()) {
            let mask = encode_mask(classes, self.payload.shape.dims);
            *first = [&(mask.len() as u32).to_le_bytes(), &mask[..], first].concat();
        }
        layers
    }

    /// Puts NaN and infinities in their places.
    fn put_classes(&self, q: &mut [i32], lod: usize) {
        let Some(classes) = &self.classes else { return };
        let ([w, h, _], [nx, ny, _]) = (self.payload.shape.dims_at(lod), self.payload.shape.dims);
        for (i, q) in q.iter_mut().enumerate() {
            let [x, y, z] = [i % w, i / w % h, i / (w * h)].map(|c| c << lod);
            if let class @ 1.. = classes[(z * ny + y) * nx + x] as usize {
                *q = NON_FINITE[class - 1];
            }
        }
    }

    /// The JSON, one line for each field and each decoded level.
    fn describe(&self) -> Result<String, String> {
        let (layers, payload) = (self.layers(), &self.payload);
        let steps: Vec<_> = self.steps.iter().map(|s| [s.lod, s.quality]).collect();
        let lengths: Vec<_> = layers.iter().map(Vec::len).collect();
        let (kind, record) = self.model().record();
        let mut fields = vec![
            ("block_log2", json!(self.block_log2)),
            ("dims", json!(payload.shape.dims)),
            ("range", json!([payload.range.lo, payload.range.hi])),
            ("kind", json!(kind)),
            ("model", json!(hex(&record))),
            ("steps", json!(steps)),
            ("layers", json!(lengths)),
            ("bytes_sha256", json!(hex(&Sha256::digest(layers.concat())))),
        ];
        fields.retain(|(name, _)| *name != "kind" || kind != WaveletModel::KIND);
        let fields: String = fields
            .iter()
            .map(|(name, value)| format!(" \"{name}\": {value},\n"))
            .collect();
        Ok(format!(
            "{{\n{fields} \"decoded\": [\n{}\n ]\n}}\n",
            self.decoded()?.join(",\n")
        ))
    }

    /// The model with the mask.
    fn model(&self) -> BlockModel {
        let mut model = self.payload.model.clone();
        match &mut model {
            BlockModel::Wavelet(m) => m.mask = self.classes.is_some(),
            BlockModel::Grid(m) => m.mask = self.classes.is_some(),
        }
        model
    }

    /// One line for each level of detail and quality.
    fn decoded(&self) -> Result<Vec<String>, String> {
        let lods = 0..=self.payload.shape.depth;
        let levels = self.steps.iter().map(|s| s.quality + 1).max().unwrap_or(0);
        let all = (0..levels).flat_map(|quality| lods.clone().map(move |lod| (lod, quality)));
        all.map(|(lod, quality)| self.decode(lod, quality).map(|v| format!("  {v}")))
            .collect()
    }

    /// Decodes with the scalar oracle and hashes the integers, little-endian i32, `[z][y][x]`.
    fn decode(&self, lod: usize, quality: u8) -> Result<Value, String> {
        let (steps, payload) = (&self.steps, &self.payload);
        let used =
            prefix(steps, lod, quality).ok_or("a level of detail that no layer completes")?;
        let job = BlockJob {
            model: &payload.model,
            shape: payload.shape,
            range: payload.range,
            steps,
            layers: &payload.layers[..used],
            exponent: 0,
            lod,
        };
        let cpu = CpuBackend::with_level(CpuLevel::Scalar).map_err(|e| e.to_string())?;
        let mut out = Vec::new();
        cpu.decode_block(&job, &mut Scratch::default(), &mut out)
            .map_err(|e| e.to_string())?;
        self.put_classes(&mut out, lod);
        let bytes: Vec<u8> = out.iter().flat_map(|q| q.to_le_bytes()).collect();
        Ok(json!({
            "lod": lod,
            "quality": quality,
            "layers": used,
            "dims": payload.shape.dims_at(lod),
            "sha256": hex(&Sha256::digest(&bytes)),
        }))
    }
}

fn lab(recipe: &Recipe) -> BlockLab {
    let (lo, hi) = recipe.range;
    let lab = BlockLab::new(
        lo,
        hi,
        recipe.step,
        recipe.levels,
        recipe.block_log2,
        recipe.preset,
        recipe.lossless,
    );
    let lab = match recipe.curve {
        Some(rises) => {
            let curve = LabCurve::of_rises(rises.map(|r| f64::from(r) / 256.0));
            lab.with_curve(&curve, recipe.range, recipe.step)
        }
        None if recipe.reversible => lab.with_reversible(recipe.range),
        None => lab,
    };
    let lab = match recipe.filter {
        Some(limit) => lab.with_filters(filters(limit, recipe.levels)),
        None => lab,
    };
    if recipe.steps.is_empty() {
        return lab;
    }
    lab.with_steps(
        recipe
            .steps
            .iter()
            .map(|&(lod, quality)| LayerStep { lod, quality })
            .collect(),
    )
}

/// Filters that smooth what differs little, other ones for each quality.
fn filters(limit: u32, levels: u8) -> Filters {
    Filters::new((0..levels as i8).map(|quality| {
        let weight = |axis: usize, distance: usize, n: usize| {
            [4, 3, -2, 1][n] + axis as i8 - distance as i8 + quality % 2
        };
        let weights = |axis| std::array::from_fn(|d| std::array::from_fn(|n| weight(axis, d, n)));
        Filter {
            limit: limit << (levels as i8 - 1 - quality),
            weights: std::array::from_fn(weights),
        }
    }))
}

/// Number of layers that give `lod` at `quality`.
fn prefix(steps: &[LayerStep], lod: usize, quality: u8) -> Option<usize> {
    let completes = |s: &LayerStep| match quality {
        0 => s.quality == 0 && usize::from(s.lod) <= lod,
        _ => s.quality == quality && s.lod == 0,
    };
    steps.iter().position(completes).map(|i| i + 1)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Smooth noise of two scales, a sharp edge and white noise, `[z][y][x]`, over the whole range.
fn field(recipe: &Recipe, seed: u64) -> Vec<f32> {
    let [w, h, d] = recipe.dims;
    let span = i64::from(recipe.range.1) - i64::from(recipe.range.0);
    let mut out = Vec::with_capacity(w * h * d);
    for z in 0..d {
        for y in 0..h {
            for x in 0..w {
                let level = level([x, y, z].map(|c| c as u64), seed, recipe.noise);
                out.push((i64::from(recipe.range.0) + ((level * span + 32_767) / 65_535)) as f32);
            }
        }
    }
    out
}

/// Regions of every class.
fn classes([w, h, d]: [usize; 3], seed: u64) -> Vec<Class> {
    let mut out = Vec::with_capacity(w * h * d);
    for z in 0..d {
        for y in 0..h {
            for x in 0..w {
                let at = [x, y, z].map(|c| c as u64);
                out.push(match lattice(at, 5, 4 * seed + 2) {
                    ..20_000 => Class::Nan,
                    20_000..24_000 => Class::Infinity,
                    24_000..26_000 => Class::MinusInfinity,
                    _ => Class::Finite,
                });
            }
        }
    }
    out
}

/// 0..=65535 at a voxel.
fn level(at: [u64; 3], seed: u64, noise: u32) -> i64 {
    let smooth = (3 * lattice(at, 19, 4 * seed) + lattice(at, 6, 4 * seed + 1)) / 4;
    let material = if lattice(at, 27, 4 * seed + 2) > 30_000 {
        15_000
    } else {
        0
    };
    let white = hash(at, 4 * seed + 3) * i64::from(noise) / 65_536 - i64::from(noise) / 2;
    (smooth * 3 / 4 + material + white).clamp(0, 65_535)
}

/// Trilinear interpolation of random values on a lattice.
fn lattice(at: [u64; 3], spacing: u64, seed: u64) -> i64 {
    let mut sum = 0;
    for corner in 0..8u64 {
        let high = [0, 1, 2].map(|a| corner >> a & 1);
        let weight: u64 = [0, 1, 2]
            .map(|a| {
                if high[a] == 1 {
                    at[a] % spacing
                } else {
                    spacing - at[a] % spacing
                }
            })
            .iter()
            .product();
        sum += hash([0, 1, 2].map(|a| at[a] / spacing + high[a]), seed) * weight as i64;
    }
    sum / (spacing * spacing * spacing) as i64
}

/// 0..=65535, by the finaliser of SplitMix64.
fn hash(at: [u64; 3], seed: u64) -> i64 {
    let mut x = at[0] | at[1] << 16 | at[2] << 32 | seed << 48;
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ x >> 31) >> 48) as i64
}
