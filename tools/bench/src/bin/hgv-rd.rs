//! Rate and distortion of blocks without a container: payload bytes and PSNR at several steps.
//! Writes the CSV columns that `bdrate.py` reads.
//!
//! NAME says what is measured: `dense`, `hashgrid`, `hashgrid-t15` (tables of at most 2^15 entries),
//! `curve` (wavelets along a value curve where one pays), `auto` (the cheaper for each block), each with `-fast` or `-best` at the end for another preset;
//! or `plain`: features and network trained for squared error alone, rounded to 8 bits, in models
//! of several sizes.

#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::path::Path;
use std::sync::Mutex;

use hgv::bench_api::{BlockLab, LabBlock, LabCurve};
use hgv::encode::{ModelChoice, Preset};
use hgv_bench::lab::LabVolume;

/// Steps as powers of two of the volume's range.
const EXPONENTS: [f64; 16] = [
    2.0, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.0, 8.75, 9.5, 11.0, 13.0,
];
/// Coarsest and finest spacing exponents and table sizes of plain models, small to large.
const SIZES: [((u8, u8), u8); 6] = [
    ((4, 3), 9),
    ((4, 2), 11),
    ((4, 1), 11),
    ((4, 1), 13),
    ((4, 1), 15),
    ((4, 0), 17),
];
/// Adam steps of a plain model, each over all voxels of the block.
const STEPS: usize = 300;

#[derive(Clone, Copy)]
enum Method {
    Step {
        exponent: f64,
        model: ModelChoice,
        table_log2: u8,
        preset: Preset,
        curve: bool,
    },
    Plain {
        spacings: (u8, u8),
        table_log2: u8,
    },
}

fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: hgv-rd NAME SIDE LEVELS EVERY VOLUME.npy ... (every EVERYth block)";
    let mut next = || args.next().ok_or(usage);
    let name = next()?;
    let number = |s: String| s.parse::<usize>().map_err(|e| e.to_string());
    let (side, levels, every) = (number(next()?)?, number(next()?)?, number(next()?)?);
    println!("dataset,codec,mode,param,bytes,ratio,psnr,ssim");
    for path in args {
        let volume = LabVolume::load(Path::new(&path))?;
        for (i, method) in methods(&name)?.into_iter().enumerate() {
            let (bytes, psnr, voxels) = sweep(&volume, method, side, levels as u8, every)?;
            let ratio = (voxels * volume.voxel_bytes) as f64 / bytes as f64;
            let (volume, param) = (&volume.name, method.param(i));
            println!("{volume},{name},whole,{param},{bytes},{ratio:.4},{psnr:.4},0");
            if ratio < 8.0 {
                break;
            }
        }
    }
    Ok(())
}

/// What a name stands for.
fn methods(name: &str) -> Result<Vec<Method>, String> {
    let mut words = name.split('-');
    let model = match words.next() {
        Some("dense" | "curve") => ModelChoice::Dense,
        Some("hashgrid") => ModelChoice::Hashgrid,
        Some("auto") => ModelChoice::Auto,
        Some("plain") => {
            let plain = |(spacings, table_log2)| Method::Plain {
                spacings,
                table_log2,
            };
            return Ok(SIZES.map(plain).to_vec());
        }
        _ => return Err(format!("{name}: dense, curve, hashgrid, auto or plain")),
    };
    let (mut preset, mut table_log2) = (Preset::Balanced, 22);
    for word in words {
        match (word, word.strip_prefix('t')) {
            ("fast", _) => preset = Preset::Fast,
            ("best", _) => preset = Preset::Best,
            (_, Some(t)) => table_log2 = t.parse().map_err(|e| format!("{name}: {e}"))?,
            _ => return Err(format!("{name}: what is {word}?")),
        }
    }
    let step = |exponent| Method::Step {
        exponent,
        model,
        table_log2,
        preset,
        curve: name.starts_with("curve"),
    };
    Ok(EXPONENTS.map(step).to_vec())
}

impl Method {
    fn param(self, index: usize) -> f64 {
        match self {
            Self::Step { exponent, .. } => exponent,
            Self::Plain { .. } => index as f64,
        }
    }

    fn lab(self, v: &LabVolume, side: usize, levels: u8) -> Result<BlockLab, String> {
        let span = f64::from(v.range.1) - f64::from(v.range.0);
        let (low, high) = v.range;
        let lab = |exponent: f64, preset| {
            let step = span * f64::exp2(-exponent);
            BlockLab::new(low, high, step, levels, side.ilog2(), preset, false)
        };
        match self {
            Self::Step {
                exponent,
                model,
                table_log2,
                preset,
                curve,
            } => {
                let lab = lab(exponent, preset)
                    .with_model(model)
                    .with_table_log2(table_log2);
                if !curve {
                    return Ok(lab);
                }
                let step = |exponent: f64| span * f64::exp2(-exponent);
                let chosen = chosen_curve(v, preset, span)?;
                Ok(lab.with_curve(
                    &chosen[usize::from(exponent > 4.5)],
                    v.range,
                    step(exponent),
                ))
            }
            Self::Plain { .. } => Ok(lab(4.0, Preset::Balanced)),
        }
    }

    fn encode(self, lab: &BlockLab, dims: [usize; 3], values: &[f32]) -> hgv::Result<LabBlock> {
        match self {
            Self::Plain {
                spacings,
                table_log2,
            } if values.iter().any(|v| *v != values[0]) => {
                lab.encode_plain(dims, values, spacings, table_log2, STEPS)
            }
            _ => lab.encode(dims, values),
        }
    }
}

/// Curves of a volume for coarse and for fine steps, chosen on eight of its blocks or a few more
/// (once for each volume and preset: a choice takes longer than a point).
fn chosen_curve(v: &LabVolume, preset: Preset, span: f64) -> Result<[LabCurve; 2], String> {
    static CHOSEN: Mutex<Option<(String, [LabCurve; 2])>> = Mutex::new(None);
    let mut chosen = CHOSEN.lock().map_err(|e| e.to_string())?;
    let key = format!("{} {preset:?}", v.name);
    if let Some((_, curves)) = chosen.as_ref().filter(|(of, _)| *of == key) {
        return Ok(curves.clone());
    }
    let curve = |exponent: f64| choose_curve(v, preset, span * f64::exp2(-exponent));
    let curves = [curve(3.5)?, curve(5.5)?];
    *chosen = Some((key, curves.clone()));
    Ok(curves)
}

fn choose_curve(v: &LabVolume, preset: Preset, step: f64) -> Result<LabCurve, String> {
    let corners = v.corners(64);
    let every = (corners.len() / 8).max(1) | usize::from(corners.len() >= 16);
    let blocks: Vec<_> = (corners.iter().step_by(every))
        .map(|&corner| v.cube(corner, 64))
        .collect();
    let share = blocks.len() as f64 / corners.len() as f64;
    LabCurve::choose(blocks, share, v.range, preset, step).map_err(|e| e.to_string())
}

/// Bytes, PSNR and voxels of the chosen blocks of a volume.
fn sweep(
    v: &LabVolume,
    method: Method,
    side: usize,
    levels: u8,
    every: usize,
) -> Result<(usize, f64, usize), String> {
    let span = f64::from(v.range.1) - f64::from(v.range.0);
    let lab = method.lab(v, side, levels)?;
    let (mut bytes, mut sse, mut voxels) = (0, 0.0, 0);
    for &corner in v.corners(side).iter().step_by(every) {
        let (dims, values) = v.cube(corner, side);
        let block = method
            .encode(&lab, dims, &values)
            .map_err(|e| e.to_string())?;
        // A constant block costs five bytes, as for the peers.
        bytes += if block.layers.is_empty() {
            5
        } else {
            block.layers.iter().sum()
        };
        sse += block.errors.last().map_or(0.0, |e| e.sse);
        voxels += values.len();
    }
    let mse = sse / voxels as f64 / span / span;
    Ok((bytes, -10.0 * mse.max(1e-30).log10(), voxels))
}
