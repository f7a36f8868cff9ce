//! Opens a file and prints what it says of itself: extent, spacing, size, quality levels.
//!
//! Run: `cargo run --release --example 02_open_and_info`

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

    // Opening reads the head of the file only, whatever its size.
    let volume = Volume::open(&path)?;
    println!(
        "{:?} voxels (x, y, z) of {}",
        volume.extent(),
        volume.dtype()
    );
    println!("spacing {:?}", volume.metadata().spacing);

    // `info` reads every index page, but no block.
    let info = volume.info()?;
    println!(
        "{} bytes, {:.1}:1, {} blocks",
        info.file_bytes, info.ratio, info.blocks
    );
    for (index, level) in info.levels.iter().enumerate() {
        println!(
            "level {index}: {} bytes, PSNR {:?} dB",
            level.bytes, level.psnr
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
