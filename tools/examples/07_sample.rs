//! Reads values and gradients between the voxels: a line through the volume in world coordinates.
//!
//! Run: `cargo run --release --example 07_sample`

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

    // A line in millimetres, as points in voxels: the centre of voxel (i, j, k) is [i, j, k].
    let metadata = volume.metadata();
    let line: Vec<[f64; 3]> = (0..9)
        .map(|i| to_voxels(metadata, [4.0 + 0.35 * f64::from(i), 12.0, 9.25]))
        .collect();

    // All points in one call: each block is decoded once.
    let values = volume.sample(0, best, &line)?;
    let gradients = volume.gradient(0, best, &line)?;
    for ((point, value), gradient) in line.iter().zip(values).zip(gradients) {
        // Per voxel; divided by the spacing, per millimetre.
        let slope = f64::from(gradient[0]) / metadata.spacing[0];
        println!("at {point:.2?}: {value:.2}, {slope:.2} per mm along x");
    }

    // The same points in a coarse level of detail, which costs a fraction of the reading.
    let coarse = volume.view(2, 0)?.sample(&line)?;
    println!("level of detail 2: {coarse:.1?}");
    Ok(())
}

/// From the world to voxels; `direction` holds the axes of the voxels, at right angles.
fn to_voxels(metadata: &Metadata, world: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|a| {
        let along = (0..3).map(|b| (world[b] - metadata.origin[b]) * metadata.direction[a][b]);
        along.sum::<f64>() / metadata.spacing[a]
    })
}

/// A small volume with waves along every axis, a quarter of a millimetre a voxel.
fn sample(path: &Path) -> hgv::Result<()> {
    let value = |i: u32| {
        let [x, y, z] = [i % 100, i / 100 % 80, i / 8000].map(f64::from);
        (100.0 + 40.0 * (x / 8.0).sin() + 40.0 * (y / 6.0 + z / 9.0).cos()) as u8
    };
    let voxels: Vec<u8> = (0..100 * 80 * 60).map(value).collect();
    let metadata = Metadata {
        spacing: [0.25; 3],
        unit: Some("mm".into()),
        ..Metadata::default()
    };
    let volume = MemoryVolume::new([100, 80, 60], &voxels, metadata)?;
    let go_on = |_| ControlFlow::Continue(());
    encode(&volume, path, &EncodeOptions::default(), &go_on)?;
    Ok(())
}
