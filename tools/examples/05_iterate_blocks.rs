//! Goes through a volume block by block in bounded memory: each block is decoded once.
//!
//! Run: `cargo run --release --example 05_iterate_blocks`

#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::path::Path;

use hgv::Volume;
use hgv::encode::{EncodeOptions, encode};
use hgv::volume::{BlockGrid, MemoryVolume, Metadata};

/// log2 of the side of a block: 64 voxels, the default of the encoder.
const BLOCK_LOG2: u32 = 6;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sample.hgv");
    sample(&path)?;
    let volume = Volume::open(&path)?;
    let best = volume.levels() - 1;

    // Blocks at the far border are cut, not padded.
    let grid = BlockGrid {
        extent: volume.extent(),
        block_log2: BLOCK_LOG2,
    };
    let [blocks_x, blocks_y, blocks_z] = grid.blocks();
    let mut voxels = Vec::new();
    for bz in 0..blocks_z {
        for by in 0..blocks_y {
            for bx in 0..blocks_x {
                let region = grid.region([bx, by, bz]);
                voxels.resize(region.voxels() as usize, 0u8);
                volume.read_region(0, best, &region, &mut voxels)?;
                let sum: u64 = voxels.iter().map(|&v| u64::from(v)).sum();
                let mean = sum as f64 / voxels.len() as f64;
                println!(
                    "block {bx},{by},{bz}: {:?} voxels, mean {mean:.1}",
                    region.extent()
                );
            }
        }
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
