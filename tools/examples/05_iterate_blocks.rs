//! Goes through a volume block by block in bounded memory: each block is decoded once.
//!
//! Run: `cargo run --release --example 05_iterate_blocks`

#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::path::Path;

use hgv::Volume;
use hgv::encode::{EncodeOptions, encode};
use hgv::volume::{MemoryVolume, Metadata};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sample.hgv");
    sample(&path)?;
    let volume = Volume::open(&path)?;
    let best = volume.levels() - 1;

    // The index alone says where a block lies, what its values are between and what it costs.
    let mut voxels = Vec::new();
    for block in volume.blocks(0)? {
        let block = block?;
        voxels.resize(block.region.voxels() as usize, 0u8);
        volume.read_region(0, best, &block.region, &mut voxels)?;
        let sum: u64 = voxels.iter().map(|&v| u64::from(v)).sum();
        let mean = sum as f64 / voxels.len() as f64;
        let [x, y, z] = block.block;
        let [low, high] = block.range;
        println!(
            "block {x},{y},{z}: {} bytes, values {low} to {high}, mean {mean:.1}",
            block.bytes.last().copied().unwrap_or(0)
        );
    }
    Ok(())
}

/// A small volume with waves along every axis, encoded with three quality levels.
fn sample(path: &Path) -> hgv::Result<()> {
    let value = |i: u32| {
        let [x, y, z] = [i % 100, i / 100 % 80, i / 8000].map(f64::from);
        (100.0 + 40.0 * (x / 8.0).sin() + 40.0 * (y / 6.0 + z / 9.0).cos()) as u8
    };
    let voxels: Vec<u8> = (0..100 * 80 * 60).map(value).collect();
    let volume = MemoryVolume::new([100, 80, 60], &voxels, Metadata::default())?;
    let go_on = |_| ControlFlow::Continue(());
    encode(&volume, path, &EncodeOptions::default(), &go_on)?;
    Ok(())
}
