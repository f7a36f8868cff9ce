//! Speed of a CUDA device, as JSON on standard output: `hgv-gpu-bench decode RUNS FILE.hgv ...` decodes whole
//! files from memory to memory, RUNS times each, and once on the CPU. Bytes that differ are an error.
#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::path::Path;
use std::sync::Arc;

use hgv::backend::cuda::{Device, devices};
use hgv_bench::gpu_decode::{DecodeSpeed, decode_speed, least_bytes};
use serde_json::{Value, json};

const USAGE: &str = "usage: hgv-gpu-bench decode RUNS FILE.hgv ...";

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["decode", runs, ref files @ ..] if !files.is_empty() => {
            let runs = runs.parse().map_err(|_| USAGE)?;
            let device = devices(None).map_err(|e| e.to_string())?.swap_remove(0);
            files.iter().try_for_each(|f| decode(&device, f, runs))
        }
        _ => Err(USAGE.into()),
    }
}

/// Prints one line for a file.
fn decode(device: &Arc<dyn Device>, file: &str, runs: usize) -> Result<(), String> {
    let speed = decode_speed(Path::new(file), device, runs).map_err(|e| format!("{file}: {e}"))?;
    println!("{}", report(file, &device.name(), &speed));
    if speed.same {
        Ok(())
    } else {
        Err(format!("{file}: the device and the CPU decode other bytes"))
    }
}

fn report(file: &str, device: &str, speed: &DecodeSpeed) -> Value {
    let voxels = speed.voxels as f64;
    let size = speed.voxel_bytes as f64 / voxels;
    let kernels = speed.kernels.iter().map(|(name, &(runs, milliseconds))| {
        let width = if name.ends_with("wide") { 4.0 } else { 2.0 };
        json!({
            "kernel": name,
            "runs": runs,
            "milliseconds": milliseconds,
            "least_bytes": least_bytes(name, size, width).map(|b| b * voxels),
        })
    });
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
        "kernels": kernels.collect::<Vec<_>>(),
    })
}
