//! Rate and distortion of blocks without a container: payload bytes and PSNR at several steps.
//! Writes the CSV columns that `bdrate.py` reads, and how many blocks are of which kind.
//!
//! NAME says what is measured: `dense` (wavelets), `hashgrid`, `auto` (the cheaper for each block) or
//! `curve` (as `dense-curve`), and behind it, each with a hyphen, `fast` or `best` for another preset,
//! `curve` for wavelets along a value curve where one pays, `filter` for in-block filters, `m` for coder M
//! with any preset, `t15` for tables of at most 2^15 entries; or `plain`: features and network trained for squared error alone,
//! rounded to 8 bits, in models of several sizes.

#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::path::PathBuf;
use std::sync::Mutex;

use clap::Parser;
use hgv::bench_api::{BlockLab, LabBlock, LabCurve, LabKind};
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

/// Rate and distortion of blocks without a container.
#[derive(Parser)]
struct Args {
    /// What is measured: dense, hashgrid, auto, curve, with words such as -best behind; or plain.
    name: String,
    /// Voxels along a side of a block.
    side: usize,
    /// Quality levels.
    levels: u8,
    /// Only every so-manieth block.
    every: usize,
    /// Volumes, .npy in C order.
    #[arg(required = true)]
    volumes: Vec<PathBuf>,
    /// Only so many blocks, evenly from quiet to busy.
    #[arg(long)]
    strata: Option<usize>,
    /// Steps: the volume's range divided by two to the power of each.
    #[arg(long, value_delimiter = ',')]
    steps: Option<Vec<f64>>,
}

#[derive(Clone, Copy)]
enum Method {
    Step {
        exponent: f64,
        model: ModelChoice,
        table_log2: u8,
        preset: Preset,
        curve: bool,
        filter: bool,
        mixing: bool,
    },
    Plain {
        spacings: (u8, u8),
        table_log2: u8,
    },
}

/// What blocks of a volume take together.
#[derive(Default)]
struct Totals {
    bytes: usize,
    voxels: usize,
    sse: f64,
    constant: usize,
    wavelet: usize,
    grid: usize,
}

fn main() -> Result<(), String> {
    let args = Args::parse();
    let name = &args.name;
    println!("dataset,codec,mode,param,bytes,ratio,psnr,ssim,constant,wavelet,grid");
    for path in &args.volumes {
        let volume = LabVolume::load(path)?;
        let corners = chosen(&volume, &args);
        for (i, method) in methods(&args)?.into_iter().enumerate() {
            let t = sweep(&volume, method, &args, &corners)?;
            let span = f64::from(volume.range.1) - f64::from(volume.range.0);
            let psnr = -10.0 * (t.sse / t.voxels as f64 / span / span).max(1e-30).log10();
            let ratio = (t.voxels * volume.voxel_bytes) as f64 / t.bytes as f64;
            println!(
                "{},{name},whole,{},{},{ratio:.4},{psnr:.4},0,{},{},{}",
                volume.name,
                method.param(i),
                t.bytes,
                t.constant,
                t.wavelet,
                t.grid
            );
            if ratio < 8.0 && args.steps.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// Corners of the blocks to measure: every so-manieth, or strata of them, ordered by the spread of
/// their voxels without those of one value.
fn chosen(v: &LabVolume, args: &Args) -> Vec<[usize; 3]> {
    let all = v.corners(args.side).into_iter().step_by(args.every);
    let Some(strata) = args.strata else {
        return all.collect();
    };
    let mut spread: Vec<_> = all
        .map(|corner| (variance(&v.cube(corner, args.side).1), corner))
        .filter(|(variance, _)| *variance > 0.0)
        .collect();
    spread.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let strata = strata.min(spread.len());
    let middle = |i: usize| spread[(2 * i + 1) * spread.len() / (2 * strata)].1;
    (0..strata).map(middle).collect()
}

fn variance(values: &[f32]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let square = |v: &f32| (f64::from(*v) - mean).powi(2);
    values.iter().map(square).sum::<f64>() / n
}

/// What a name stands for.
fn methods(args: &Args) -> Result<Vec<Method>, String> {
    let name = &args.name;
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
    let (mut curve, mut filter, mut mixing) = (name.starts_with("curve"), false, false);
    for word in words {
        match (word, word.strip_prefix('t')) {
            ("fast", _) => preset = Preset::Fast,
            ("best", _) => preset = Preset::Best,
            ("curve", _) => curve = true,
            ("filter", _) => filter = true,
            ("m", _) => mixing = true,
            (_, Some(t)) => table_log2 = t.parse().map_err(|e| format!("{name}: {e}"))?,
            _ => return Err(format!("{name}: what is {word}?")),
        }
    }
    let step = |&exponent| Method::Step {
        exponent,
        model,
        table_log2,
        preset,
        curve,
        filter,
        mixing,
    };
    let steps = args.steps.as_deref().unwrap_or(&EXPONENTS);
    Ok(steps.iter().map(step).collect())
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
                filter,
                mixing,
            } => {
                let mut lab = lab(exponent, preset)
                    .with_model(model)
                    .with_table_log2(table_log2);
                if mixing {
                    lab = lab.with_mixing();
                }
                if curve {
                    let chosen = &chosen_curve(v, preset, span)?[usize::from(exponent > 4.5)];
                    lab = lab.with_curve(chosen, v.range, span * f64::exp2(-exponent));
                }
                if !filter {
                    return Ok(lab);
                }
                let (blocks, share) = v.evenly(12);
                let filtered = lab.with_fitted_filters(&blocks, share);
                Ok(filtered.map_err(|e| e.to_string())?.0)
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
    let curve = |exponent: f64| v.curve(preset, span * f64::exp2(-exponent));
    let curves = [curve(3.5)?, curve(5.5)?];
    *chosen = Some((key, curves.clone()));
    Ok(curves)
}

/// The chosen blocks of a volume, all together.
fn sweep(
    v: &LabVolume,
    method: Method,
    args: &Args,
    corners: &[[usize; 3]],
) -> Result<Totals, String> {
    let lab = method.lab(v, args.side, args.levels)?;
    let mut totals = Totals::default();
    for &corner in corners {
        let (dims, values) = v.cube(corner, args.side);
        let block = method
            .encode(&lab, dims, &values)
            .map_err(|e| e.to_string())?;
        // A constant block costs five bytes, as for the peers.
        totals.bytes += match block.kind {
            LabKind::Constant => 5,
            _ => block.layers.iter().sum(),
        };
        match block.kind {
            LabKind::Constant => totals.constant += 1,
            LabKind::Wavelet => totals.wavelet += 1,
            LabKind::Grid => totals.grid += 1,
        }
        totals.sse += block.errors.last().map_or(0.0, |e| e.sse);
        totals.voxels += values.len();
    }
    Ok(totals)
}
