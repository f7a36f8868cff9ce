//! Generated volumes: the same bytes whatever the threads, the volumes under `tests/data`, and
//! what makes the porous medium look like micro-CT.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Read;
use std::path::{Path, PathBuf};

use hgv::volume::DType;
use hgv_bench::generate::{Kind, Phantom, Porous, Turbulence, write};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data")
        .join(name)
}

/// The bytes of a volume file, with what is compressed in it unpacked.
fn unpacked(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let gzip = bytes.windows(3).position(|w| w == [0x1f, 0x8b, 8]);
    let packed = path.extension().is_some_and(|e| e == "gz" || e == "nrrd");
    let Some(start) = gzip.filter(|_| packed) else {
        return bytes;
    };
    let mut out = bytes[..start].to_vec();
    flate2::read::GzDecoder::new(&bytes[start..])
        .read_to_end(&mut out)
        .unwrap();
    out
}

fn make(kind: &dyn Kind, extent: [u64; 3], dtype: DType, name: &str, threads: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    let target = folder.path().join(name);
    let path = pool
        .install(|| write(kind, extent, dtype, &target, false))
        .unwrap();
    unpacked(&path)
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let extent = [150, 70, 45];
    let kinds: [(Box<dyn Kind>, DType); 4] = [
        (Box::new(Porous::new(extent, 5, 20, 0.03)), DType::Uint8),
        (Box::new(Porous::new(extent, 5, 20, 0.03)), DType::Uint16),
        (Box::new(Turbulence::new(5, 64)), DType::Float32),
        (Box::new(Phantom::new(extent, 5, 10.0)), DType::Int16),
    ];
    for (kind, dtype) in kinds {
        let one = make(kind.as_ref(), extent, dtype, "a.raw", 1);
        let three = make(kind.as_ref(), extent, dtype, "a.raw", 3);
        assert_eq!(one.len(), 150 * 70 * 45 * dtype.size());
        assert!(one == three, "{dtype}");
    }
}

#[test]
fn the_committed_volumes_can_be_made_again() {
    let porous = Porous::new([128, 128, 96], 1, 16, 0.03);
    let head = Phantom::new([70, 50, 40], 3, 12.0);
    let cases: [(&dyn Kind, [u64; 3], DType, &str); 4] = [
        (&porous, [128, 128, 96], DType::Uint8, "porous.nrrd"),
        (
            &Turbulence::new(2, 32),
            [48; 3],
            DType::Float32,
            "turbulence.npy",
        ),
        (&head, [70, 50, 40], DType::Int16, "head.nii.gz"),
        (
            &Turbulence::new(4, 96),
            [1, 1, 37],
            DType::Float32,
            "line_1x1x37_float32.raw",
        ),
    ];
    for (kind, extent, dtype, name) in cases {
        let made = make(kind, extent, dtype, name, 2);
        assert!(made == unpacked(&data(name)), "{name} differs");
    }
}

#[test]
fn a_porous_volume_has_air_pores_solids_and_noise() {
    let extent = [160, 160, 40];
    let voxels = make(
        &Porous::new(extent, 9, 20, 0.03),
        extent,
        DType::Uint8,
        "p.raw",
        2,
    );
    let share = |low: u8, high: u8| {
        voxels.iter().filter(|v| (low..=high).contains(v)).count() as f64 / voxels.len() as f64
    };
    assert!((0.2..0.35).contains(&share(0, 0)), "empty {}", share(0, 0));
    assert!(
        (0.15..0.45).contains(&share(1, 50)),
        "pores {}",
        share(1, 50)
    );
    assert!(
        (0.25..0.6).contains(&share(90, 160)),
        "solid {}",
        share(90, 160)
    );
    assert!(share(200, 255) > 0.0, "inclusions");
    assert_eq!(voxels[0], 0);
}

#[test]
fn wrong_requests_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let kind = Turbulence::new(0, 32);
    let at = |name: &str| folder.path().join(name);
    assert!(write(&kind, [8; 3], DType::Uint8, &at("a.raw"), false).is_err());
    assert!(write(&kind, [8, 0, 8], DType::Float32, &at("a.raw"), false).is_err());
    assert!(write(&kind, [8; 3], DType::Float32, &at("a.png"), false).is_err());
    write(&kind, [8; 3], DType::Float32, &at("a.npy"), false).unwrap();
    assert!(write(&kind, [8; 3], DType::Float32, &at("a.npy"), false).is_err());
    write(&kind, [8; 3], DType::Float32, &at("a.npy"), true).unwrap();
}
