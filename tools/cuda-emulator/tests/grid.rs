//! Blocks under grid models decode on a device to the integers of the CPU, and damage is noticed exactly
//! where the CPU notices it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hgv::Error;
use hgv::backend::cpu::{CpuBackend, CpuLevel, Scratch};
use hgv::backend::cuda::grid::{GridBatch, GridDecoder, GridTarget, NetworkPath};
use hgv::backend::cuda::{BlockHead, Buffer, Device, LayerHead, STATUS_BAD, STATUS_GOOD, Stream};
use hgv::backend::{Backend, BlockJob, LayerStep, ValueRange};
use hgv::codec::bands::BlockShape;
use hgv::codec::grid::encode_grid_layer;
use hgv::codec::grid::random::{self, Numbers};
use hgv::model::{BlockModel, GridModel, NON_FINITE, Residual};
use hgv_cuda_emulator::{for_each_device, for_one_device};
use serde_json::Value;
use sha2::{Digest, Sha256};

const PATHS: [NetworkPath; 3] = [NetworkPath::Auto, NetworkPath::Dots, NetworkPath::Matrices];

/// A block, without mask and residual, at a level of detail.
#[derive(Debug, Clone)]
struct Case {
    model: GridModel,
    shape: BlockShape,
    range: ValueRange,
    layers: Vec<Vec<u8>>,
    lod: usize,
}

impl Case {
    /// Integers by the scalar CPU backend.
    fn on_cpu(&self) -> hgv::Result<Vec<i32>> {
        let job = BlockJob {
            model: &BlockModel::Grid(self.model.clone()),
            shape: self.shape,
            range: self.range,
            exponent: 0,
            steps: &vec![LayerStep { lod: 0, quality: 0 }; self.layers.len()],
            layers: &self.layers,
            lod: self.lod,
        };
        let mut out = Vec::new();
        CpuBackend::with_level(CpuLevel::Scalar)?.decode_block(
            &job,
            &mut Scratch::default(),
            &mut out,
        )?;
        Ok(out)
    }

    fn samples(&self) -> usize {
        self.shape.dims_at(self.lod).iter().product()
    }
}

/// A batch as it lies on a device.
struct Uploaded {
    heads: Vec<BlockHead>,
    buffers: [Buffer; 5],
}

fn uploaded(device: &Arc<dyn Device>, stream: &mut Stream, cases: &[Case]) -> Uploaded {
    let (mut heads, mut layers, mut bytes, mut integers) = (vec![], vec![], vec![], 0);
    for (i, case) in cases.iter().enumerate() {
        heads.push(BlockHead {
            integers,
            first_layer: layers.len() as u32,
            layers: case.layers.len() as u32,
            dims: case.shape.dims.map(|n| n as u32),
            depth: case.shape.depth as u32,
            lod: case.lod as u32,
            model: i as u32,
            lo: case.range.lo,
            hi: case.range.hi,
            ..BlockHead::default()
        });
        integers += case.samples() as u64;
        for layer in &case.layers {
            layers.push(LayerHead {
                offset: bytes.len() as u64,
                bytes: layer.len() as u32,
                ..LayerHead::default()
            });
            bytes.extend_from_slice(layer);
        }
    }
    let sizes = [
        heads.len() * size_of::<BlockHead>(),
        layers.len() * size_of::<LayerHead>(),
        bytes.len(),
        4 * heads.len(),
        4 * integers as usize,
    ];
    let buffers = sizes.map(|n| Buffer::new(device, n).unwrap());
    stream.upload(&buffers[0], 0, heads.as_slice()).unwrap();
    stream.upload(&buffers[1], 0, layers.as_slice()).unwrap();
    stream.upload(&buffers[2], 0, bytes.as_slice()).unwrap();
    stream.fill(&buffers[3], 0..sizes[3], 0).unwrap();
    Uploaded { heads, buffers }
}

/// Integers of blocks by a device; `None` = it found a broken rule.
fn on_device(device: &Arc<dyn Device>, cases: &[Case], path: NetworkPath) -> Vec<Option<Vec<i32>>> {
    let mut stream = Stream::new(device).unwrap();
    let Uploaded { heads, buffers } = uploaded(device, &mut stream, cases);
    let mut batch = GridBatch::new(path);
    for (i, case) in cases.iter().enumerate() {
        let bytes = case.layers.iter().map(Vec::len).sum();
        batch.push(i as u32, &heads[i], &case.model, bytes).unwrap();
    }
    let [head_buffer, layers, bytes, status, integers] = &buffers;
    let target = GridTarget {
        heads: head_buffer,
        layers,
        bytes,
        status,
        integers,
    };
    let mut decoder = GridDecoder::new(&mut stream).unwrap();
    // Twice: the second batch finds what the first has left in the workspace.
    for _ in 0..2 {
        decoder.decode(&mut stream, &batch, &target).unwrap();
    }
    let [status, integers] = [status, integers].map(|b| stream.download(b, 0, b.len()).unwrap());
    stream.synchronise().unwrap();
    let (status, integers) = (
        stream.elements::<u32>(&status).unwrap(),
        stream.elements::<i32>(&integers).unwrap(),
    );
    let blocks = heads.iter().zip(cases).zip(status);
    blocks
        .map(|((head, case), &status)| {
            assert!(status == STATUS_GOOD || status == STATUS_BAD);
            let from = head.integers as usize;
            (status == STATUS_GOOD).then(|| integers[from..from + case.samples()].to_vec())
        })
        .collect()
}

fn assert_equal(device: &Arc<dyn Device>, cases: &[Case], path: NetworkPath, about: &str) {
    for (i, (case, got)) in cases.iter().zip(on_device(device, cases, path)).enumerate() {
        let name = || {
            format!(
                "{about}: block {i}, {path:?}, lod {} of {:?} on {}, {:?}",
                case.lod,
                case.shape.dims,
                device.name(),
                case.model
            )
        };
        match case.on_cpu() {
            Ok(wanted) => assert_eq!(
                got.unwrap_or_else(|| panic!("{}", name())),
                wanted,
                "{}",
                name()
            ),
            Err(Error::Corrupt { .. }) => assert!(got.is_none(), "{}", name()),
            Err(e) => panic!("{}: {e}", name()),
        }
    }
}

/// A block of random model, weights and extent, at every level of detail but that of `lods`.
fn random_cases(numbers: &mut Numbers, most: [u64; 3], lods: usize) -> Vec<Case> {
    let dims = most.map(|n| 1 + numbers.below(n) as usize);
    let layers = 1 + numbers.below(3);
    let model = random::model(numbers, dims, layers);
    let mut weights = random::weights(numbers, &model, dims);
    let layers: Vec<_> = (0..layers as usize)
        .map(|i| encode_grid_layer(&model, i, &mut weights).unwrap())
        .collect();
    let ends = [0, 1].map(|_| numbers.below(1 << 20) as i32 - (1 << 19));
    let case = Case {
        model,
        shape: BlockShape { dims, depth: 5 },
        range: ValueRange {
            lo: ends[0].min(ends[1]),
            hi: ends[0].max(ends[1]),
        },
        layers,
        lod: 0,
    };
    let prefixes = (1..case.layers.len()).map(|n| Case {
        layers: case.layers[..n].to_vec(),
        ..case.clone()
    });
    let lods = (0..lods).map(|lod| Case {
        lod,
        ..case.clone()
    });
    prefixes.chain(lods).collect()
}

#[test]
fn random_blocks_equal_the_cpu() {
    for_each_device(|device| {
        for seed in 0..4 {
            let mut numbers = Numbers(seed);
            let cases: Vec<_> = (0..4)
                .flat_map(|_| random_cases(&mut numbers, [40, 20, 18], 6))
                .collect();
            for path in PATHS {
                assert_equal(device, &cases, path, &format!("seed {seed}"));
            }
        }
    });
}

#[test]
fn many_small_blocks_equal_the_cpu() {
    for_one_device(|device| {
        let mut numbers = Numbers(77);
        let cases: Vec<_> = (0..150)
            .flat_map(|_| random_cases(&mut numbers, [12, 9, 10], 2))
            .collect();
        for path in [NetworkPath::Dots, NetworkPath::Matrices] {
            assert_equal(device, &cases, path, "small blocks");
        }
    });
}

/// The same block with a byte changed or bytes missing.
fn damaged(numbers: &mut Numbers, case: &Case) -> Case {
    let mut case = case.clone();
    let with_bytes: Vec<_> = (0..case.layers.len())
        .filter(|&i| !case.layers[i].is_empty())
        .collect();
    if with_bytes.is_empty() {
        return case;
    }
    let layer = with_bytes[numbers.below(with_bytes.len() as u64) as usize];
    let bytes = &mut case.layers[layer];
    // Near the front, near the back, anywhere.
    let length = bytes.len() as u64;
    let at = match numbers.below(3) {
        0 => numbers.below(length.min(6)),
        1 => length - 1 - numbers.below(length.min(6)),
        _ => numbers.below(length),
    } as usize;
    match numbers.below(10) {
        0 => bytes.truncate(at),
        1 => bytes.push(0),
        n => bytes[at] ^= 1 << (n - 2),
    }
    case
}

#[test]
fn damage_is_noticed_where_the_cpu_notices_it() {
    for_one_device(|device| {
        let mut numbers = Numbers(5);
        let (mut good, mut bad) = (0, 0);
        for round in 0..6 {
            let cases: Vec<_> = (0..60)
                .map(|_| {
                    let whole = random_cases(&mut numbers, [14, 11, 9], 1).pop().unwrap();
                    damaged(&mut numbers, &whole)
                })
                .collect();
            for case in &cases {
                *(if case.on_cpu().is_ok() {
                    &mut good
                } else {
                    &mut bad
                }) += 1;
            }
            assert_equal(device, &cases, NetworkPath::Auto, &format!("round {round}"));
        }
        assert!(good > 10 && bad > 100, "{good} good, {bad} bad");
    });
}

fn numbers_of(v: &Value) -> Vec<i64> {
    let list = v.as_array().unwrap().iter();
    list.map(|n| n.as_i64().unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

/// Takes the first of two parts off: u32 length, the first, the second.
fn split(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let length = u32::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    (bytes[4..4 + length].to_vec(), bytes[4 + length..].to_vec())
}

/// Every prefix and level of detail that a vector lists, and the hash of the integers where neither a mask nor
/// a residual has the last word.
fn cases_of(path: &Path) -> Vec<(Case, Option<String>)> {
    let about: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (dims, range) = (numbers_of(&about["dims"]), numbers_of(&about["range"]));
    let mut model = GridModel::from_bytes(&from_hex(about["model"].as_str().unwrap())).unwrap();
    let bytes = std::fs::read(path.with_extension("bin")).unwrap();
    let mut rest = &bytes[..];
    let lengths = numbers_of(&about["layers"]);
    let mut layers: Vec<_> = lengths
        .iter()
        .map(|&n| rest.split_off(..n as usize).unwrap().to_vec())
        .collect();
    let masked = std::mem::take(&mut model.mask);
    if masked {
        layers[0] = split(&layers[0]).1;
    }
    let exact = std::mem::replace(&mut model.residual, Residual::None).is_some();
    if let Some(last) = layers.last_mut().filter(|l| exact && !l.is_empty()) {
        *last = split(last).0;
    }
    let decoded = about["decoded"].as_array().unwrap().iter();
    decoded
        .map(|want| {
            let (prefix, lod) = (
                want["layers"].as_u64().unwrap() as usize,
                want["lod"].as_u64().unwrap() as usize,
            );
            let case = Case {
                model: model.clone(),
                shape: BlockShape {
                    dims: [0, 1, 2].map(|a| dims[a] as usize),
                    depth: about["block_log2"].as_u64().unwrap() as usize - 2,
                },
                range: ValueRange {
                    lo: range[0] as i32,
                    hi: range[1] as i32,
                },
                layers: layers[..prefix].to_vec(),
                lod,
            };
            let ends_exactly = exact && lod == 0 && prefix == layers.len();
            let hash = want["sha256"].as_str().unwrap().to_owned();
            (case, (!masked && !ends_exactly).then_some(hash))
        })
        .collect()
}

fn vectors() -> Vec<PathBuf> {
    let folder = hgv_cuda_emulator::repository().join("format-spec/vectors/payload");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .filter(|p| p.file_name().unwrap().to_str().unwrap().starts_with("grid"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 25, "{} vectors", paths.len());
    paths
}

#[test]
fn payload_vectors_decode_to_their_hashes() {
    for_one_device(|device| {
        let mut hashes = 0;
        for path in vectors() {
            let (cases, wanted): (Vec<_>, Vec<_>) = cases_of(&path).into_iter().unzip();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let got = on_device(device, &cases, NetworkPath::Auto);
            for ((case, wanted), got) in cases.iter().zip(wanted).zip(got) {
                let got = got.unwrap_or_else(|| panic!("{name} is refused"));
                assert!(!got.iter().any(|q| NON_FINITE.contains(q)));
                assert_eq!(got, case.on_cpu().unwrap(), "{name} lod {}", case.lod);
                if let Some(wanted) = wanted {
                    let bytes: Vec<u8> = got.iter().flat_map(|q| q.to_le_bytes()).collect();
                    assert_eq!(
                        hex(&Sha256::digest(&bytes)),
                        wanted,
                        "{name} lod {}",
                        case.lod
                    );
                    hashes += 1;
                }
            }
            let networks = cases.first().is_some_and(|c| c.model.network.is_some());
            if networks && cases[0].shape.voxels() < 20_000 {
                for path in [NetworkPath::Dots, NetworkPath::Matrices] {
                    assert_equal(device, &cases, path, name);
                }
            }
        }
        assert!(hashes > 60, "{hashes} hashes");
    });
}
