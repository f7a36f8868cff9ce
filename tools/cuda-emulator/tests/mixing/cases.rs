//! Blocks for the tests of coder M: random ones, those of the vectors of the specification, damaged ones.

use std::path::{Path, PathBuf};

use hgv::codec::bands::BlockShape;
use hgv::codec::{Coder, Coefficient, CoefficientState, decode_layer, encode_layer};
use hgv::model::{Precision, WaveletModel};
use serde_json::Value;

/// Numbers that look random and are the same every time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A block as its layers.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) shape: BlockShape,
    pub(crate) wide: bool,
    /// Level of detail and quality of each layer.
    pub(crate) steps: Vec<(u8, u8)>,
    pub(crate) layers: Vec<Vec<u8>>,
    /// Indices at each quality; none if the block was not made from indices.
    pub(crate) targets: Vec<Vec<i32>>,
}

impl Case {
    /// Layers of the targets.
    pub(crate) fn encode(&self) -> hgv::Result<Vec<Vec<u8>>> {
        if self.wide {
            self.encode_as::<i32>(|k| k)
        } else {
            self.encode_as::<i16>(|k| k as i16)
        }
    }

    fn encode_as<E: Coefficient>(&self, cast: impl Fn(i32) -> E) -> hgv::Result<Vec<Vec<u8>>> {
        let mut state = CoefficientState::<E>::new();
        state.reset(self.shape);
        let mut layers = Vec::new();
        for &(lod, quality) in &self.steps {
            let target = &self.targets[usize::from(quality)];
            let target: Vec<E> = target.iter().map(|&k| cast(k)).collect();
            layers.push(encode_layer(
                &mut state,
                Coder::M,
                lod.into(),
                quality,
                &target,
            )?);
        }
        Ok(layers)
    }

    /// Indices of the layers.
    pub(crate) fn decode(&self) -> hgv::Result<Vec<i32>> {
        if self.wide {
            self.decode_as::<i32>()
        } else {
            self.decode_as::<i16>()
        }
    }

    fn decode_as<E: Coefficient>(&self) -> hgv::Result<Vec<i32>> {
        let mut state = CoefficientState::<E>::new();
        state.reset(self.shape);
        for (&(lod, quality), bytes) in self.steps.iter().zip(&self.layers) {
            decode_layer(&mut state, Coder::M, lod.into(), quality, bytes)?;
        }
        Ok(numbers(&state))
    }

    /// The same with a change to one of its layers.
    pub(crate) fn damaged(&self, random: &mut Random) -> Self {
        let mut case = self.clone();
        let number = random.below(case.layers.len() as u64) as usize;
        let how = damage(random, &mut case.layers[number]);
        case.name = format!("{}, layer {number} {how}", case.name);
        case.targets.clear();
        case
    }
}

fn numbers<E: Coefficient>(state: &CoefficientState<E>) -> Vec<i32> {
    state.indices().iter().map(|&k| k.into()).collect()
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>) -> &'static str {
    let place = random.below(bytes.len().max(1) as u64) as usize;
    match random.below(6) {
        0 => {
            bytes.truncate(place);
            "truncated"
        }
        1 => {
            bytes.push(random.next() as u8);
            "extended"
        }
        2 => {
            let length = random.below(40);
            *bytes = (0..length).map(|_| random.next() as u8).collect();
            "replaced by noise"
        }
        3 => {
            let byte = if random.below(2) == 0 { 0 } else { 255 };
            bytes.iter_mut().skip(place).for_each(|b| *b = byte);
            "flattened"
        }
        _ => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << random.below(8);
            }
            "with a bit flipped"
        }
    }
}

/// Tables of layers that a file may have.
const TABLES: [&[(u8, u8)]; 5] = [
    &[(2, 0), (1, 0), (0, 0)],
    &[(0, 0)],
    &[(2, 0), (1, 0), (0, 0), (0, 1), (0, 2)],
    &[(3, 0), (0, 0), (1, 1), (0, 1), (2, 2), (0, 2), (0, 3)],
    &[
        (0, 0),
        (0, 1),
        (0, 2),
        (0, 3),
        (0, 4),
        (0, 5),
        (0, 6),
        (0, 7),
    ],
];

/// A random block with extents up to `side`, if its own side allows.
pub(crate) fn random_case(random: &mut Random, block_log2: u32, side: u64) -> Case {
    let side = side.min(1 << block_log2);
    let mut dims = [0; 3].map(|_| 1 + random.below(side) as usize);
    if random.below(8) == 0 {
        dims[random.below(3) as usize] = 1;
    }
    case_of(random, block_log2, dims)
}

/// A random block of these extents.
pub(crate) fn case_of(random: &mut Random, block_log2: u32, dims: [usize; 3]) -> Case {
    let wide = random.below(2) == 1;
    let table = random.below(5) as usize;
    let shape = BlockShape {
        dims,
        depth: block_log2 as usize - 2,
    };
    let qualities = TABLES[table].iter().map(|s| s.1).max().unwrap() + 1;
    let mut case = Case {
        name: format!("{dims:?} of 2^{block_log2}, table {table}, wide {wide}"),
        shape,
        wide,
        steps: TABLES[table].to_vec(),
        layers: Vec::new(),
        targets: targets(random, dims, qualities, wide),
    };
    case.layers = case.encode().unwrap();
    case
}

/// Indices at each quality: boxes that are empty, sparse or dense, small or huge, each quality within 4 of four
/// times the one before.
fn targets(random: &mut Random, dims: [usize; 3], qualities: u8, wide: bool) -> Vec<Vec<i32>> {
    let top = if wide {
        i64::from(i32::MAX)
    } else {
        i64::from(i16::MAX)
    };
    let [w, h, _] = dims;
    let styles: Vec<u64> = (0..64).map(|_| random.below(12)).collect();
    let sign_runs = 1 + random.below(5) as usize;
    let mut last = vec![0i64; dims.iter().product()];
    let mut all = Vec::new();
    for quality in 0..qualities {
        for (i, k) in last.iter_mut().enumerate() {
            let cell = (i % w / 8 + i / w % h / 8 * 3 + i / (w * h) / 8 * 7) % styles.len();
            let sign = if i / sign_runs % 2 == 0 { 1 } else { -1 };
            *k = match (quality, *k) {
                (0, _) => sign * fresh(random, styles[cell], top),
                (_, 0) => sign * i64::from(random.below(30) == 0),
                (_, before) => {
                    let step = [0, 0, 0, 1, -1, 2, -3, 4, -4][random.below(9) as usize];
                    (4 * before + step).clamp(-top, top)
                }
            };
        }
        all.push(last.iter().map(|&k| k as i32).collect());
    }
    // What saturates cannot be refined.
    for i in 0..last.len() {
        if all
            .iter()
            .any(|plane: &Vec<i32>| i64::from(plane[i]).abs() > top / 2)
        {
            all.iter_mut().for_each(|plane| plane[i] = 0);
        }
    }
    all
}

fn fresh(random: &mut Random, style: u64, top: i64) -> i64 {
    let size = match style {
        0..=3 => 0,
        4 | 5 => u64::from(random.below(12) == 0),
        6 | 7 => random.below(3),
        8 => random.below(12),
        9 => random.below(400),
        10 => random.below(2) * random.below(top as u64 / 2),
        _ => 1,
    };
    size as i64
}

/// The vectors of coder M, with every prefix of their layers.
pub(crate) fn vector_cases(block_log2: u32) -> Vec<Case> {
    let folder = hgv_cuda_emulator::repository().join("format-spec/vectors/payload");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect();
    paths.sort();
    let whole = paths
        .iter()
        .filter_map(|path| vector_case(path, block_log2));
    whole.flat_map(prefixes).collect()
}

fn prefixes(case: Case) -> Vec<Case> {
    let prefix = |n: usize| Case {
        name: format!("{}, {n} layers", case.name),
        steps: case.steps[..n].to_vec(),
        layers: case.layers[..n].to_vec(),
        ..case.clone()
    };
    (1..=case.layers.len()).map(prefix).collect()
}

fn vector_case(path: &Path, block_log2: u32) -> Option<Case> {
    let about: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let integers = |v: &Value| -> Vec<u64> {
        let list = v.as_array().unwrap().iter();
        list.map(|n| n.as_u64().unwrap()).collect()
    };
    let is_wavelet = about["kind"].as_u64().unwrap_or(1) == 1;
    if !is_wavelet || about["block_log2"].as_u64() != Some(block_log2.into()) {
        return None;
    }
    let model = WaveletModel::from_bytes(&from_hex(about["model"].as_str().unwrap())).unwrap();
    let mut bytes = &std::fs::read(path.with_extension("bin")).unwrap()[..];
    let lengths = integers(&about["layers"]).into_iter();
    let mut layers: Vec<Vec<u8>> = lengths
        .map(|n| bytes.split_off(..n as usize).unwrap().to_vec())
        .collect();
    let steps: Vec<_> = (about["steps"].as_array().unwrap().iter())
        .map(|s| (integers(s)[0] as u8, integers(s)[1] as u8))
        .collect();
    if model.mask {
        layers[0] = split_counted(&layers[0]).1;
    }
    let last = steps.len() - 1;
    if model.residual.is_some() && layers.get(last).is_some_and(|l| !l.is_empty()) {
        layers[last] = split_counted(&layers[last]).0;
    }
    let dims = integers(&about["dims"]);
    (model.coder == Coder::M).then(|| Case {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        shape: BlockShape {
            dims: [0, 1, 2].map(|a| dims[a] as usize),
            depth: block_log2 as usize - 2,
        },
        wide: model.precision == Precision::I32,
        steps,
        layers,
        targets: Vec::new(),
    })
}

/// A number of bytes, so many bytes, the rest.
fn split_counted(layer: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (count, rest) = layer.split_at(4);
    let count = u32::from_le_bytes(count.try_into().unwrap()) as usize;
    (rest[..count].to_vec(), rest[count..].to_vec())
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}
