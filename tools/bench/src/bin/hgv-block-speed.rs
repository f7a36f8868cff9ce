//! Encode and decode speed of blocks in memory on one core, for every vector unit of the machine.
//! Arguments: dense (preset fast, every other block), dense-balanced (every fourth), dense-best or
//! hashgrid (balanced, every eighth), volumes.
//! Time is CPU time where Linux tells it: other work on the machine takes less of it away.

#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::path::Path;

use hgv::bench_api::{BlockLab, CpuBackend, CpuLevel, LabPayload, Scratch};
use hgv::encode::{ModelChoice, Preset};
use hgv_bench::lab::LabVolume;
use hgv_bench::time::CpuTime;

fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let kind =
        match args.next().as_deref() {
            Some("dense") => (ModelChoice::Dense, Preset::Fast, 2),
            Some("dense-balanced") => (ModelChoice::Dense, Preset::Balanced, 4),
            Some("dense-best") => (ModelChoice::Dense, Preset::Best, 8),
            Some("hashgrid") => (ModelChoice::Hashgrid, Preset::Balanced, 8),
            _ => return Err(
                "usage: hgv-block-speed dense|dense-balanced|dense-best|hashgrid VOLUME.npy ..."
                    .into(),
            ),
        };
    println!("volume,ratio,encode_mvoxel_s,decode_level,decode_mvoxel_s");
    for path in args {
        let volume = LabVolume::load(Path::new(&path))?;
        measure(&volume, kind)?;
    }
    Ok(())
}

/// The step whose ratio is nearest to 30:1, every so many blocks.
fn measure(
    volume: &LabVolume,
    (model, preset, every): (ModelChoice, Preset, usize),
) -> Result<(), String> {
    let span = f64::from(volume.range.1) - f64::from(volume.range.0);
    let blocks: Vec<_> = volume
        .corners(64)
        .into_iter()
        .step_by(every)
        .map(|c| volume.cube(c, 64))
        .collect();
    let voxels: usize = blocks.iter().map(|b| b.1.len()).sum();
    let code = |exponent: f64| -> Result<(BlockLab, Vec<LabPayload>, f64), String> {
        let lab = BlockLab::new(
            volume.range.0,
            volume.range.1,
            span * f64::exp2(-exponent),
            1,
            6,
            preset,
            false,
        )
        .with_model(model);
        let payloads: Vec<_> = blocks
            .iter()
            .filter_map(|(dims, values)| lab.payload(*dims, values).transpose())
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        let bytes: usize = payloads.iter().flat_map(|p| &p.layers).map(Vec::len).sum();
        Ok((
            lab,
            payloads,
            (voxels * volume.voxel_bytes) as f64 / bytes as f64,
        ))
    };
    let (mut low, mut high) = (0.5, 14.0);
    for _ in 0..7 {
        let middle = (low + high) / 2.0;
        if code(middle)?.2 > 30.0 {
            low = middle
        } else {
            high = middle
        }
    }
    let start = CpuTime::now();
    let (lab, payloads, ratio) = code(low)?;
    let encode = voxels as f64 / 1e6 / start.elapsed().as_secs_f64();
    for level in CpuLevel::available() {
        let cpu = CpuBackend::with_level(level).map_err(|e| e.to_string())?;
        let (mut scratch, mut out) = (Scratch::default(), Vec::new());
        let mut best = f64::MAX;
        for _ in 0..7 {
            let start = CpuTime::now();
            for p in &payloads {
                lab.decode(cpu, p, &mut scratch, &mut out)
                    .map_err(|e| e.to_string())?;
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!(
            "{},{ratio:.1},{encode:.1},{},{:.1}",
            volume.name,
            level.name(),
            voxels as f64 / 1e6 / best
        );
    }
    Ok(())
}
