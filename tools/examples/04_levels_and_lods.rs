//! Reads coarse levels of detail and coarse quality levels: previews that cost few bytes.
//!
//! Run: `cargo run --release --example 04_levels_and_lods`

#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::path::Path;

use hgv::Volume;
use hgv::encode::{EncodeOptions, encode};
use hgv::volume::{MemoryVolume, Metadata, Region, VoxelSource};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sample.hgv");
    sample(&path)?;
    let volume = Volume::open(&path)?;
    let best = volume.levels() - 1;

    // Each level of detail halves every axis; its spacing grows, its origin stays.
    for lod in 0..volume.lods() {
        let view = volume.view(lod, best)?;
        println!(
            "lod {lod}: {:?}, spacing {:?}",
            view.extent(),
            view.metadata().spacing
        );
    }

    // The same voxels at every quality level: each one adds bytes to those before it.
    let row = Region::new([0, 40, 30], [12, 41, 31])?;
    for level in 0..volume.levels() {
        let mut voxels = [0u8; 12];
        volume.read_region(0, level, &row, &mut voxels)?;
        println!("level {level}: {voxels:?}");
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
