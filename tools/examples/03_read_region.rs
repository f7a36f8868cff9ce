//! Reads a box of voxels into a buffer of the caller's.
//!
//! Run: `cargo run --release --example 03_read_region`

#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::path::Path;

use hgv::Volume;
use hgv::encode::{EncodeOptions, encode};
use hgv::volume::{MemoryVolume, Metadata, Region};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sample.hgv");
    sample(&path)?;

    let volume = Volume::open(&path)?;
    let best = volume.levels() - 1;

    // Half open, x y z. Only the blocks that the box touches are read.
    let region = Region::new([10, 20, 30], [42, 28, 31])?;
    let [width, height, _] = region.extent();
    let mut voxels = vec![0u8; (width * height) as usize];
    volume.read_region(0, best, &region, &mut voxels)?;
    for row in voxels.chunks(width as usize) {
        let text: String = row
            .iter()
            .map(|v| if *v > 100 { '#' } else { '.' })
            .collect();
        println!("{text}");
    }

    // Where the voxel type is known at run time only: little-endian bytes.
    let mut bytes = vec![0u8; region.voxels() as usize * volume.dtype().size()];
    volume.read_region_bytes(0, best, &region, &mut bytes)?;
    assert_eq!(bytes, voxels);
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
