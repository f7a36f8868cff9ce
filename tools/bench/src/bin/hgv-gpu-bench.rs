//! Speed of a CUDA device, one JSON object a line on standard output.
//!
//! * `decode RUNS FILE.hgv ...` decodes whole files from memory to memory, RUNS times each, and once on the CPU.
//!   Bytes that differ are an error.
//! * `encode RUNS PRESET cpu|no-cpu QUALITY NAME_XxYxZ_DTYPE.raw OUT.hgv` encodes from memory at one step for
//!   device and CPU (QUALITY as `hgv encode --quality`). Files of two runs that differ are an error.
//! * `render FRAMES NAME_XxYxZ_DTYPE.raw` draws a volume from FRAMES sides and prints a table in Markdown. Pictures
//!   that are far from those of the CPU are an error.
//! * `bandwidth` prints what filling memory moves, in GB/s, alone.
//! * `report BANDWIDTH LINES.jsonl` prints what the others printed as tables in Markdown. BANDWIDTH is that of
//!   the memory in GB/s, or - if it is not known.
#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hgv::backend::cuda::{Buffer, Device, Stream, devices};
use hgv::encode::{EncodeOptions, ModelChoice, Preset, Target};
use hgv::volume::{MemoryVolume, Region, VoxelSource};
use hgv_bench::gpu_decode::{DecodeSpeed, decode_speed, least_bytes};
use hgv_bench::gpu_encode::{EncodeSpeed, Encoded, encode_speed, load_raw};
use hgv_bench::gpu_render::{RenderSpeed, render_speed, render_table};
use hgv_bench::gpu_report::tables;
use serde_json::{Value, json};

const USAGE: &str = "usage: hgv-gpu-bench decode RUNS FILE.hgv ... | encode RUNS PRESET cpu|no-cpu QUALITY \
                     NAME_XxYxZ_DTYPE.raw OUT.hgv | render FRAMES NAME_XxYxZ_DTYPE.raw | bandwidth | report BANDWIDTH LINES.jsonl";

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["decode", runs, ref files @ ..] if !files.is_empty() => {
            let (runs, device) = (count(runs)?, device()?);
            files.iter().try_for_each(|f| decode(&device, f, runs))
        }
        ["encode", runs, preset, cpu, quality, volume, out] => {
            let options = options(preset, quality)?;
            let how = (count(runs)?, cpu == "cpu");
            encode(&device()?, &options, how, volume, Path::new(out))
        }
        ["render", frames, volume] => pictures(&device()?, volume, count(frames)? as u32),
        ["bandwidth"] => print_bandwidth(&device()?).map_err(|e| e.to_string()),
        ["report", bandwidth, lines] => report(bandwidth, lines),
        _ => Err(USAGE.into()),
    }
}

fn count(word: &str) -> Result<usize, String> {
    word.parse().map_err(|_| USAGE.into())
}

fn device() -> Result<Arc<dyn Device>, String> {
    Ok(devices(None).map_err(|e| e.to_string())?.swap_remove(0))
}

/// Options of a preset word; `hashgrid` is preset balanced with trained grids.
fn options(preset: &str, quality: &str) -> Result<EncodeOptions, String> {
    let (preset, model) = match preset {
        "fast" => (Preset::Fast, ModelChoice::Auto),
        "balanced" => (Preset::Balanced, ModelChoice::Auto),
        "best" => (Preset::Best, ModelChoice::Auto),
        "hashgrid" => (Preset::Balanced, ModelChoice::Hashgrid),
        _ => return Err(USAGE.into()),
    };
    let quality = quality.parse().map_err(|_| USAGE.to_owned())?;
    Ok(EncodeOptions::default()
        .with_preset(preset)
        .with_model(model)
        .with_target(Target::Quality(quality)))
}

/// Prints one line for a file.
fn decode(device: &Arc<dyn Device>, file: &str, runs: usize) -> Result<(), String> {
    let speed = decode_speed(Path::new(file), device, runs).map_err(|e| format!("{file}: {e}"))?;
    println!("{}", decode_line(file, &device.name(), &speed));
    if speed.same {
        Ok(())
    } else {
        Err(format!("{file}: the device and the CPU decode other bytes"))
    }
}

fn decode_line(file: &str, device: &str, speed: &DecodeSpeed) -> Value {
    let voxels = speed.voxels as f64;
    let size = speed.voxel_bytes as f64 / voxels;
    let best = speed.device.iter().copied().reduce(f64::min);
    json!({
        "what": "decode",
        "file": file,
        "device": device,
        "voxels": speed.voxels,
        "ratio": speed.voxel_bytes as f64 / speed.file_bytes as f64,
        "seconds": speed.device,
        "gvoxel_s": best.map(|s| voxels / 1e9 / s),
        "cpu_seconds": speed.cpu,
        "cpu_gvoxel_s": voxels / 1e9 / speed.cpu,
        "same": speed.same,
        "kernels": kernels(&speed.kernels, voxels, size),
    })
}

fn kernels(times: &BTreeMap<&'static str, (u32, f64)>, voxels: f64, size: f64) -> Vec<Value> {
    let lines = times.iter().map(|(name, &(runs, milliseconds))| {
        let width = if name.ends_with("wide") { 4.0 } else { 2.0 };
        json!({
            "kernel": name,
            "runs": runs,
            "milliseconds": milliseconds,
            "least_bytes": least_bytes(name, size, width).map(|b| b * voxels),
        })
    });
    lines.collect()
}

/// Prints one line for a volume.
fn encode(
    device: &Arc<dyn Device>,
    options: &EncodeOptions,
    how: (usize, bool),
    volume: &str,
    out: &Path,
) -> Result<(), String> {
    let named = |e: hgv::Error| format!("{volume}: {e}");
    let source = load_raw(Path::new(volume)).map_err(named)?;
    let speed = encode_speed(&source, options, device, how, out).map_err(named)?;
    println!(
        "{}",
        encode_line(volume, device.as_ref(), options, &source, &speed)
    );
    if speed.same {
        Ok(())
    } else {
        Err(format!("{volume}: two runs on the device gave other bytes"))
    }
}

/// Prints a table for a volume.
fn pictures(device: &Arc<dyn Device>, volume: &str, frames: u32) -> Result<(), String> {
    let named = |e: hgv::Error| format!("{volume}: {e}");
    let source = load_raw(Path::new(volume)).map_err(named)?;
    let speeds = render_speed(&source, device, frames).map_err(named)?;
    println!("{}", render_table(&speeds));
    if speeds.iter().all(RenderSpeed::is_right) {
        Ok(())
    } else {
        Err(format!(
            "{volume}: pictures of the device and the CPU differ"
        ))
    }
}

fn encode_line(
    file: &str,
    device: &dyn Device,
    options: &EncodeOptions,
    source: &MemoryVolume,
    speed: &EncodeSpeed,
) -> Value {
    let voxels = Region::whole(source.extent()).voxels() as f64;
    let rate = |e: &Encoded| voxels / 1e6 / e.seconds;
    let seconds: Vec<f64> = speed.device.iter().map(|e| e.seconds).collect();
    let best = speed.device.iter().map(rate).reduce(f64::max);
    let report = speed.device.first().map(|e| &e.report);
    let preset = match options.model {
        ModelChoice::Hashgrid => "hashgrid".to_owned(),
        _ => format!("{:?}", options.preset).to_lowercase(),
    };
    json!({
        "what": "encode",
        "file": file,
        "device": device.name(),
        "preset": preset,
        "voxels": voxels,
        "seconds": seconds,
        "mvoxel_s": best,
        "ratio": report.map(|r| r.ratio),
        "psnr": report.and_then(|r| r.psnr),
        "cpu_seconds": speed.cpu.as_ref().map(|e| e.seconds),
        "cpu_mvoxel_s": speed.cpu.as_ref().map(rate),
        "cpu_ratio": speed.cpu.as_ref().map(|e| e.report.ratio),
        "cpu_psnr": speed.cpu.as_ref().and_then(|e| e.report.psnr),
        "same": speed.same,
        "kernels": kernels(&speed.kernels, voxels, source.dtype().size() as f64),
    })
}

/// The best of several fills of the same memory, large enough to leave every cache.
fn print_bandwidth(device: &Arc<dyn Device>) -> hgv::Result<()> {
    let bytes = usize::try_from(device.limits().memory / 4).map_or(1 << 30, |b| b.min(4 << 30));
    let memory = Buffer::new(device, bytes)?;
    let mut stream = Stream::new(device)?;
    let mut best = f64::INFINITY;
    for byte in 0..8 {
        let start = Instant::now();
        stream.fill(&memory, 0..bytes, byte)?;
        stream.synchronise()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{:.1}", bytes as f64 / 1e9 / best);
    Ok(())
}

fn report(bandwidth: &str, path: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let lines = lines.map_err(|e| format!("{path}: {e}"))?;
    println!("{}", tables(&lines, bandwidth.parse().ok()));
    Ok(())
}
