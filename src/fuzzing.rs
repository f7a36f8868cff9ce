//! What the fuzz targets call. Each function takes any bytes and must neither panic, nor hang,
//! nor take memory that the bytes do not justify; a broken promise of the library is a panic.
#![expect(
    clippy::panic,
    reason = "a fuzz target reports a broken promise by panicking"
)]

mod page;
mod payload;
mod seal;
mod volumes;

use std::sync::Arc;

use crate::io::MemorySource;
use crate::volume::Region;
use crate::{Limits, Volume};
use volumes::{Plan, Scratch};

/// A function under test.
pub type Function = fn(&[u8]);

/// Every function under test, by the name of its fuzz target.
pub const TARGETS: &[(&str, Function)] = &[
    ("open", open),
    ("page", page),
    ("payload", payload),
    ("roundtrip", roundtrip),
    #[cfg(feature = "http")]
    ("http", http),
];

/// Inputs to start from, made by the library itself.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let plans = (0..12u8).map(|i| {
        let varied = [
            i.wrapping_mul(17),
            i + 9,
            40 - i,
            i,
            i,
            i.wrapping_mul(50),
            i,
            i,
        ];
        [&varied[..], b"voxels of a small volume"].concat()
    });
    match target {
        "roundtrip" => plans.collect(),
        "open" => plans.filter_map(|p| encoded(&Plan::new(&p))).collect(),
        "page" => page::seeds(),
        "payload" => payload::seeds(),
        #[cfg(feature = "http")]
        "http" => crate::stream::fuzz::seeds(),
        _ => Vec::new(),
    }
}

/// Opens the bytes as a file and, if that works, reads everything that is small enough; then once
/// more with the checksums put right.
pub fn open(data: &[u8]) {
    read_file(data.to_vec());
    let mut sealed = data.to_vec();
    seal::seal(&mut sealed);
    if sealed != data {
        read_file(sealed);
    }
}

fn read_file(bytes: Vec<u8>) {
    let source = Arc::new(MemorySource::new(bytes));
    let Ok(volume) = Volume::from_source(source, limits()).and_then(|v| v.with_threads(1)) else {
        return;
    };
    let _ = volume.info();
    let _ = volume.reader().verify_structure();
    for lod in 0..volume.lods() {
        for level in 0..volume.levels() {
            let Ok(extent) = volume.lod_extent(lod) else {
                continue;
            };
            let region = Region::whole(extent.map(|e| e.min(40)));
            let bytes = region.voxels() as usize * volume.dtype().size();
            let _ = volume.read_region_bytes(lod, level, &region, &mut vec![0; bytes]);
        }
    }
}

/// Parses the bytes as an index page.
pub fn page(data: &[u8]) {
    page::run(data);
}

/// Decodes the bytes as the payload of one block.
pub fn payload(data: &[u8]) {
    payload::run(data);
}

/// Judges the bytes as the head of an answer of a web server.
#[cfg(feature = "http")]
pub fn http(data: &[u8]) {
    crate::stream::fuzz::run(data);
}

/// Encodes a small volume made from the bytes and holds the decoded one against its target.
pub fn roundtrip(data: &[u8]) {
    let plan = Plan::new(data);
    let file = Scratch::new();
    let Some(original) = plan.encode_to(&file.0) else {
        return;
    };
    let check = || -> crate::Result<()> {
        let volume = Volume::open(&file.0)?;
        for level in 0..volume.levels() {
            for lod in 1..volume.lods() {
                read_all(&volume, lod, level)?;
            }
        }
        let decoded = read_all(&volume, 0, volume.levels() - 1)?;
        plan.hold(&original, &decoded);
        Ok(())
    };
    if let Err(e) = check() {
        panic!("{plan:?} was encoded but cannot be decoded: {e}");
    }
}

/// Bounds that keep one input fast.
fn limits() -> Limits {
    Limits {
        max_head: 1 << 20,
        max_page: 1 << 20,
        max_segment: 1 << 20,
        max_block_voxels: 1 << 21,
        max_output: 1 << 24,
        ..Limits::default()
    }
}

fn read_all(volume: &Volume, lod: u32, level: u32) -> crate::Result<Vec<u8>> {
    let region = Region::whole(volume.lod_extent(lod)?);
    let mut out = vec![0; region.voxels() as usize * volume.dtype().size()];
    volume.read_region_bytes(lod, level, &region, &mut out)?;
    Ok(out)
}

fn encoded(plan: &Plan) -> Option<Vec<u8>> {
    let file = Scratch::new();
    plan.encode_to(&file.0)?;
    std::fs::read(&file.0).ok()
}
