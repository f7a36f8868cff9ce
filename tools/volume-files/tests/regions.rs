//! Any box, from any thread, is what the whole volume has there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{open, part, pattern, rich, write};
use hgv::volume::{DType, MemoryVolume, Metadata, Region, VoxelSource};
use hgv_volume_files::{OpenOptions, open_volume};
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::OnceLock;

// Rows longer than the gap up to which rows are read together, and short ones.
const EXTENTS: [[u64; 3]; 2] = [[3001, 7, 3], [37, 29, 11]];

struct Fixture {
    _folder: tempfile::TempDir,
    volumes: Vec<(PathBuf, MemoryVolume)>,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut volumes = Vec::new();
        for (i, extent) in EXTENTS.into_iter().enumerate() {
            let voxels = pattern(extent, DType::Int16);
            for name in ["v.nrrd", "v.nii.gz", "v.tif"] {
                let path = folder.path().join(format!("{i}{name}"));
                write(&path, extent, DType::Int16, &Metadata::default(), &voxels);
                let memory = MemoryVolume::from_bytes(
                    extent,
                    DType::Int16,
                    voxels.clone(),
                    Metadata::default(),
                );
                volumes.push((path, memory.unwrap()));
            }
        }
        Fixture {
            _folder: folder,
            volumes,
        }
    })
}

fn cut(extent: [u64; 3], [a, b, c]: [(f64, f64); 3]) -> Region {
    let axis = |n: u64, (p, q): (f64, f64)| {
        let start = ((n as f64 * p) as u64).min(n - 1);
        (
            start,
            start + 1 + ((n - start - 1) as f64 * q).round() as u64,
        )
    };
    let [x, y, z] = [axis(extent[0], a), axis(extent[1], b), axis(extent[2], c)];
    Region::new([x.0, y.0, z.0], [x.1, y.1, z.1]).unwrap()
}

fn fractions() -> impl Strategy<Value = [(f64, f64); 3]> {
    let one = (0.0..1.0, prop_oneof![Just(0.0), 0.0..1.0, Just(1.0)]);
    prop::array::uniform3(one)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
    #[test]
    fn boxes_of_files_are_boxes_of_memory(at in fractions(), crop in fractions()) {
        for (path, memory) in &fixture().volumes {
            let region = cut(memory.extent(), at);
            let want = part(memory, &region);
            prop_assert_eq!(&part(open(path).source.as_ref(), &region), &want);
            // The same with the volume itself cut to a box first.
            let inner = cut(region.extent(), crop);
            let options = OpenOptions { region: Some(region), ..OpenOptions::default() };
            let opened = open_volume(path, &options).unwrap();
            let shifted = Region {
                start: [0, 1, 2].map(|a| inner.start[a] + region.start[a]),
                end: [0, 1, 2].map(|a| inner.end[a] + region.start[a]),
            };
            prop_assert_eq!(part(opened.source.as_ref(), &inner), part(memory, &shifted));
        }
    }
}

#[test]
fn several_threads_read_at_once() {
    for (path, memory) in &fixture().volumes {
        let opened = open(path);
        std::thread::scope(|scope| {
            for z in 0..memory.extent()[2] {
                let source = opened.source.as_ref();
                scope.spawn(move || {
                    let [x, y, _] = memory.extent();
                    let region = Region::new([1, 0, z], [x, y, z + 1]).unwrap();
                    for _ in 0..20 {
                        assert_eq!(part(source, &region), part(memory, &region));
                    }
                });
            }
        });
    }
}

#[test]
fn a_region_moves_the_origin() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.nrrd");
    write(
        &path,
        [5, 3, 4],
        DType::Uint8,
        &rich(),
        &pattern([5, 3, 4], DType::Uint8),
    );
    let region = Region::new([1, 2, 3], [4, 3, 4]).unwrap();
    let options = OpenOptions {
        region: Some(region),
        ..OpenOptions::default()
    };
    let opened = open_volume(&path, &options).unwrap();
    assert_eq!(opened.source.extent(), [3, 1, 1]);
    common::assert_same(opened.source.metadata(), &rich().cropped([1, 2, 3]));
}

#[test]
fn a_file_that_shrinks_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.nrrd");
    write(
        &path,
        [64, 64, 4],
        DType::Uint8,
        &Metadata::default(),
        &[0; 64 * 64 * 4],
    );
    let source = open(&path).source;
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1000)
        .unwrap();
    let message = source
        .read(&Region::whole([64, 64, 4]), &mut [0; 64 * 64 * 4])
        .unwrap_err()
        .to_string();
    assert!(message.contains("v.nrrd became shorter"), "{message}");
}
