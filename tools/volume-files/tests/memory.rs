//! Memory does not grow with the volume. One test, so that nothing else runs in the process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use hgv::volume::{DType, Metadata, Region};
use hgv_volume_files::{OpenOptions, VolumeWriter, open_volume};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// Highest resident set of the process so far, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

const GROWTH_KIB: u64 = 24 * 1024;

#[test]
fn the_resident_set_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let before = peak();
    boxes_of_a_sparse_file(folder.path());
    assert!(
        peak() - before < GROWTH_KIB,
        "in place: {} KiB",
        peak() - before
    );
    a_packed_file(folder.path());
    assert!(
        peak() - before < GROWTH_KIB,
        "spooled: {} KiB",
        peak() - before
    );
    a_converted_file(folder.path());
    assert!(
        peak() - before < GROWTH_KIB,
        "converted: {} KiB",
        peak() - before
    );
    writers(folder.path());
    assert!(
        peak() - before < GROWTH_KIB,
        "written: {} KiB",
        peak() - before
    );
}

/// 64 GiB without a byte on the disk.
fn boxes_of_a_sparse_file(folder: &Path) {
    let path = folder.join("s_4096x4096x2048_int16.raw");
    File::create(&path)
        .unwrap()
        .set_len(4096 * 4096 * 2048 * 2)
        .unwrap();
    let source = open_volume(&path, &OpenOptions::default()).unwrap().source;
    let mut out = vec![1; 64 * 64 * 64 * 2];
    for i in 0..128 {
        let start = [i * 31, i * 31, i * 15];
        let region = Region::new(start, start.map(|s| s + 64)).unwrap();
        source.read(&region, &mut out).unwrap();
        assert!(out.iter().all(|&b| b == 0));
    }
    let mut rows = vec![1; 4096 * 64 * 2];
    source
        .read(
            &Region::new([0, 64, 9], [4096, 128, 10]).unwrap(),
            &mut rows,
        )
        .unwrap();
    fs::remove_file(&path).unwrap();
}

/// 256 MiB of zeros in 256 KiB.
fn a_packed_file(folder: &Path) {
    let path = folder.join("z_512x512x1024_uint8.raw.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
    io::copy(&mut io::repeat(0).take(512 * 512 * 1024), &mut encoder).unwrap();
    encoder.finish().unwrap();
    let opened = open_volume(
        &path,
        &OpenOptions {
            scratch: Some(folder.to_owned()),
            ..OpenOptions::default()
        },
    )
    .unwrap();
    assert!(opened.spooled);
    let mut out = vec![1; 64 * 64 * 64];
    opened
        .source
        .read(&Region::new([3; 3], [67; 3]).unwrap(), &mut out)
        .unwrap();
    drop(opened);
    assert_eq!(
        fs::read_dir(folder).unwrap().count(),
        1,
        "the scratch file is gone"
    );
    fs::remove_file(&path).unwrap();
}

/// 256 MiB of float64, scanned and converted on the way.
fn a_converted_file(folder: &Path) {
    let path = folder.join("d_512x256x256_float64.raw");
    File::create(&path)
        .unwrap()
        .set_len(512 * 256 * 256 * 8)
        .unwrap();
    let source = open_volume(&path, &OpenOptions::default()).unwrap().source;
    assert_eq!(source.dtype(), DType::Float32);
    let mut out = vec![1; 512 * 256 * 4];
    source
        .read(&Region::new([0, 0, 7], [512, 256, 8]).unwrap(), &mut out)
        .unwrap();
    fs::remove_file(&path).unwrap();
}

/// 96 MiB through every writer.
fn writers(folder: &Path) {
    let slab = vec![7; 256 * 256 * 2];
    for name in ["w.nrrd", "w.nii.gz", "w.mrc", "w.tif", "w.npy", "w.raw"] {
        let path = folder.join(name);
        let mut writer = VolumeWriter::create(
            &path,
            [256, 256, 768],
            DType::Uint16,
            &Metadata::default(),
            false,
        )
        .unwrap();
        for _ in 0..768 {
            writer.write_slab(&slab).unwrap();
        }
        writer.finish().unwrap();
        fs::remove_file(&path).unwrap();
    }
    io::stdout().flush().unwrap();
}
