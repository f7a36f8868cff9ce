//! Encodes a volume that is already in memory and prints what came out.
//!
//! Run: `cargo run --release --example 01_encode_in_memory`

#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;

use hgv::encode::{EncodeOptions, Target, encode};
use hgv::volume::{MemoryVolume, Metadata};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Voxels in [z][y][x] order: x is fastest. A ball of radius 40, 16 bits a voxel.
    let extent = [96u64, 96, 96];
    let mut voxels = Vec::new();
    for z in 0..96 {
        for y in 0..96 {
            for x in 0..96 {
                let squares = [x, y, z].map(|v| (f64::from(v) - 47.5).powi(2));
                let distance = squares.iter().sum::<f64>().sqrt();
                voxels.push((1000.0 * (40.0 - distance).clamp(0.0, 10.0)) as u16);
            }
        }
    }
    let metadata = Metadata {
        spacing: [0.5, 0.5, 0.5],
        unit: Some("mm".into()),
        ..Metadata::default()
    };
    let volume = MemoryVolume::new(extent, &voxels, metadata)?;

    let mut options = EncodeOptions::default();
    options.target = Target::Psnr(45.0);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ball.hgv");
    let report = encode(&volume, &path, &options, &|_| ControlFlow::Continue(()))?;

    println!(
        "{} bytes, {:.1}:1, PSNR {:?} dB, by {}",
        report.file_bytes, report.ratio, report.psnr, report.backend
    );
    Ok(())
}
