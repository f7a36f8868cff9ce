//! Watches an encode, then cancels one: nothing is left under the final name.
//!
//! Run: `cargo run --release --example 06_progress_and_cancel`

#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;

use hgv::Error;
use hgv::encode::{EncodeOptions, Progress, encode};
use hgv::volume::{MemoryVolume, Metadata};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let voxels: Vec<i16> = (0..96i32.pow(3)).map(|i| (i % 1009) as i16).collect();
    let volume = MemoryVolume::new([96; 3], &voxels, Metadata::default())?;
    let options = EncodeOptions::default();
    let folder = tempfile::tempdir()?;

    // Called from worker threads: take a lock or use atomics for anything that is kept.
    let show = |p: Progress| {
        println!("{}: {} of {} voxels", p.phase, p.done, p.total);
        ControlFlow::Continue(())
    };
    encode(&volume, &folder.path().join("done.hgv"), &options, &show)?;

    let path = folder.path().join("cancelled.hgv");
    match encode(&volume, &path, &options, &|_| ControlFlow::Break(())) {
        Err(Error::Cancelled) => println!("cancelled"),
        other => return Err(format!("not cancelled: {other:?}").into()),
    }
    assert!(!path.exists());
    Ok(())
}
