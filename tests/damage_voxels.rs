//! Damage to files with real voxels: a named error, or the voxels that were encoded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod volumes;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hgv::decode::verify;
use hgv::encode::{ModelChoice, Target};
use hgv::io::MemorySource;
use hgv::reader::{BlockEntry, HgvReader};
use hgv::volume::DType;
use hgv::{Error, Limits, Result, Volume};
use volumes::{Field, encoded, memory, open, read_all};

/// Every one of these flips is also decoded at all levels and verified, whatever the index says.
const DECODED: usize = 211;

/// Twelve blocks, the first ones constant, three quality levels.
fn lossy() -> Vec<u8> {
    let field = Field {
        empty_to_x: 32,
        ..Field::default()
    };
    encoded(&field.volume([70, 40, 36], DType::Uint8), |o| {
        o.target = Target::Quality(56.0);
    })
}

fn lossless() -> Vec<u8> {
    let field = Field {
        span: 40.0,
        ..Field::default()
    };
    encoded(&field.volume([45, 30, 17], DType::Uint16), |o| {
        (o.target, o.levels) = (Target::Lossless, 2);
    })
}

/// Eight blocks of grids, dense and hashed.
fn grids() -> Vec<u8> {
    encoded(&Field::default().volume([40, 36, 34], DType::Uint8), |o| {
        (o.target, o.model) = (Target::Quality(50.0), ModelChoice::Hashgrid);
        o.table_log2 = 12;
    })
}

/// Grids with a residual.
fn lossless_grids() -> Vec<u8> {
    let field = Field {
        span: 40.0,
        ..Field::default()
    };
    encoded(&field.volume([45, 30, 17], DType::Uint16), |o| {
        (o.target, o.levels) = (Target::Lossless, 2);
        o.model = ModelChoice::Hashgrid;
    })
}

/// All that voxels are made of: plan, index entries, payload.
#[derive(PartialEq)]
struct Contents {
    shape: hgv::format::shape::Shape,
    metadata: hgv::volume::Metadata,
    stats: Option<String>,
    blocks: Vec<(BlockEntry, Vec<Vec<u8>>)>,
}

fn contents(bytes: &[u8]) -> Result<Contents> {
    let reader = HgvReader::open(Arc::new(MemorySource::new(bytes)), Limits::default())?;
    let mut blocks = Vec::new();
    for tier in 0..reader.tiers().len() as u8 {
        for entry in reader.blocks(tier)? {
            let entry = entry?;
            let layers = reader.read_layers(&entry, usize::MAX)?;
            blocks.push((entry, layers));
        }
    }
    Ok(Contents {
        shape: reader.shape().clone(),
        metadata: reader.metadata().clone(),
        stats: reader.stats_json().map(str::to_owned),
        blocks,
    })
}

/// A file with all its voxels.
struct Good {
    bytes: Vec<u8>,
    contents: Contents,
    voxels: Vec<Vec<u8>>,
}

impl Good {
    fn new(bytes: Vec<u8>) -> Self {
        let volume = open(memory(&bytes)).unwrap();
        Self {
            contents: contents(&bytes).unwrap(),
            voxels: read_all(&volume).unwrap(),
            bytes,
        }
    }

    fn levels(volume: &Volume) -> impl Iterator<Item = (u32, u32)> {
        let (lods, levels) = (volume.lods(), volume.levels());
        (0..lods).flat_map(move |lod| (0..levels).map(move |level| (lod, level)))
    }

    /// What damaged bytes decode to: each level either fails or is what it was.
    fn hold_voxels(&self, volume: &Volume, what: &str) {
        for ((lod, level), good) in Self::levels(volume).zip(&self.voxels) {
            let region = hgv::volume::Region::whole(volume.lod_extent(lod).unwrap());
            if let Ok(voxels) = volumes::read(volume, lod, level, &region) {
                assert!(voxels == *good, "{what}: wrong voxels at {lod}, {level}");
            }
        }
    }

    /// Whether the damage went unnoticed by a reader of everything.
    fn check(&self, bytes: &[u8], what: &str, decode: bool) -> bool {
        let read = contents(bytes);
        let unnoticed = match &read {
            Ok(read) => {
                assert!(*read == self.contents, "{what} changed what is read");
                true
            }
            Err(e) => {
                assert!(named(e), "{what}: {e}");
                false
            }
        };
        if (decode || unnoticed)
            && let Ok(volume) = open(memory(bytes))
        {
            self.hold_voxels(&volume, what);
        }
        unnoticed
    }
}

/// An error that says what is wrong with the file.
fn named(e: &Error) -> bool {
    matches!(
        e,
        Error::Corrupt { .. }
            | Error::Checksum { .. }
            | Error::Truncated { .. }
            | Error::Unsupported(_)
            | Error::Unfinished(_)
            | Error::LimitExceeded { .. }
    )
}

/// The file-level check finds a problem (or refuses the file).
fn verify_notices(bytes: &[u8]) -> bool {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let report = verify(file.path(), None, 1, &|_| ControlFlow::Continue(()));
    report.map_or_else(|e| named(&e), |r| r.problem_count > 0)
}

fn flip_every_bit(good: &Good) {
    let (next, unnoticed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut bytes = good.bytes.clone();
                loop {
                    let bit = next.fetch_add(1, Ordering::Relaxed);
                    if bit >= bytes.len() * 8 {
                        return;
                    }
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    let what = format!("bit {} of byte {}", bit % 8, bit / 8);
                    let decode = bit % DECODED == 0;
                    let missed = good.check(&bytes, &what, decode);
                    unnoticed.fetch_add(usize::from(missed), Ordering::Relaxed);
                    if decode || missed {
                        assert!(verify_notices(&bytes), "verify misses {what}");
                    }
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            });
        }
    });
    // The uuid and the sums over all pages: nothing that voxels depend on.
    let unnoticed = unnoticed.into_inner();
    assert!(unnoticed <= 8 * 32, "{unnoticed} flips go unnoticed");
}

#[test]
fn no_bit_flip_gives_wrong_voxels() {
    for bytes in [lossy(), lossless(), grids(), lossless_grids()] {
        let good = Good::new(bytes);
        assert!(
            (2_000..9_000).contains(&good.bytes.len()),
            "{} bytes",
            good.bytes.len()
        );
        flip_every_bit(&good);
    }
    let lossy = contents(&lossy()).unwrap();
    let constant = lossy
        .blocks
        .iter()
        .filter(|(_, layers)| layers.is_empty())
        .count();
    assert_eq!((lossy.blocks.len(), constant), (12, 4));
    assert_eq!(
        lossy.shape.layers.len() - lossy.shape.layers.base_count(),
        3
    );
}

#[test]
fn no_truncation_opens() {
    for good in [lossy(), lossless(), grids()] {
        for n in 0..good.len() {
            let error = open(memory(&good[..n])).map(|_| ()).unwrap_err();
            assert!(matches!(error, Error::Truncated { .. }), "{n}: {error}");
            assert!(
                n % 500 != 0 || verify_notices(&good[..n]),
                "verify misses {n}"
            );
        }
    }
}
