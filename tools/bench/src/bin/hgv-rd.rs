//! Rate and distortion of blocks without a container: payload bytes and PSNR at several steps.
//! Writes the CSV columns that `bdrate.py` reads.

#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::path::Path;

use hgv::bench_api::BlockLab;
use hgv::encode::{ModelChoice, Preset};
use hgv_bench::lab::LabVolume;

fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: hgv-rd NAME SIDE LEVELS EVERY VOLUME.npy ... (every EVERYth block)";
    let mut next = || args.next().ok_or(usage);
    let name = next()?;
    let number = |s: String| s.parse::<usize>().map_err(|e| e.to_string());
    let (side, levels, every) = (number(next()?)?, number(next()?)?, number(next()?)?);
    let (preset, codec) = if name.contains("fast") {
        (Preset::Fast, name)
    } else {
        (Preset::Balanced, name)
    };
    let model = match &codec {
        n if n.contains("hashgrid") => ModelChoice::Hashgrid,
        n if n.contains("auto") => ModelChoice::Auto,
        _ => ModelChoice::Dense,
    };
    println!("dataset,codec,mode,param,bytes,ratio,psnr,ssim");
    for path in args {
        let volume = LabVolume::load(Path::new(&path))?;
        for exponent in [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.5, 11.0, 13.0] {
            let (bytes, psnr, voxels) = sweep(
                &volume,
                exponent,
                side,
                levels as u8,
                every,
                (preset, model),
            )?;
            let ratio = (voxels * volume.voxel_bytes) as f64 / bytes as f64;
            println!(
                "{},{codec},whole,{exponent},{bytes},{ratio:.4},{psnr:.4},0",
                volume.name
            );
            if ratio < 8.0 {
                break;
            }
        }
    }
    Ok(())
}

fn sweep(
    v: &LabVolume,
    exponent: f64,
    side: usize,
    levels: u8,
    every: usize,
    (preset, model): (Preset, ModelChoice),
) -> Result<(usize, f64, usize), String> {
    let span = f64::from(v.range.1) - f64::from(v.range.0);
    let lab = BlockLab::new(
        v.range.0,
        v.range.1,
        span * f64::exp2(-exponent),
        levels,
        side.ilog2(),
        preset,
        false,
    )
    .with_model(model);
    let (mut bytes, mut sse, mut voxels) = (0, 0.0, 0);
    for &corner in v.corners(side).iter().step_by(every) {
        let (dims, values) = v.cube(corner, side);
        let block = lab.encode(dims, &values).map_err(|e| e.to_string())?;
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
