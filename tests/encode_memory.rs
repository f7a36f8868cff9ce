//! The heap of an encode, whatever the block model: within `EncodeOptions::memory` for any number
//! of threads. One test, so that nothing else allocates meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod counting;
mod volumes;

use std::sync::atomic::{AtomicIsize, Ordering};

use counting::Counting;
use hgv::encode::{EncodeOptions, Target};
use hgv::volume::{DType, MemoryVolume};
use volumes::{Field, MODELS, encode_file, options};

/// Bytes held now, and the most since it was reset.
static HELD: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

fn note(change: isize) {
    let now = HELD.fetch_add(change, Ordering::Relaxed) + change;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

#[global_allocator]
static ALLOCATOR: Counting = Counting(note);

/// Heap growth while a volume is encoded.
fn peak(source: &MemoryVolume, options: &EncodeOptions) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    encode_file(source, &folder.path().join("v.hgv"), options);
    (PEAK.load(Ordering::Relaxed) - before) as u64
}

/// Noise of many bits: every weight is coded, so buffers of symbols are at their longest.
fn busy(extent: [u64; 3]) -> MemoryVolume {
    let field = Field {
        span: 60_000.0,
        noise: 0.5,
        ..Field::default()
    };
    field.volume(extent, DType::Uint16)
}

/// Blocks of every kind, more of them than fit at once, on more threads than fit.
#[test]
fn an_encode_stays_within_its_budget() {
    for (model, preset) in MODELS {
        for (extent, block, memory, target) in [
            ([64, 64, 48], 32, 32 << 20, Target::Quality(70.0)),
            ([64, 32, 32], 32, 16 << 20, Target::Lossless),
            ([64, 64, 80], 64, 72 << 20, Target::Quality(60.0)),
        ] {
            let source = busy(extent);
            let options = options(|o| {
                (o.block, o.threads, o.memory) = (block, 8, memory);
                (o.model, o.preset, o.target) = (model, preset, target);
            });
            let used = peak(&source, &options);
            let what = format!("{model:?}, blocks of {block}: {used} of {memory} bytes");
            eprintln!("{what}");
            assert!(used <= memory, "{what}");
        }
    }
}
