//! The streamer: what a view needs comes whole and best first, whatever goes wrong on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bricks;
mod volumes;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bricks::{camera, check, look};
use hgv::encode::{Preset, Target};
use hgv::io::{CountingSource, MemorySource, RangeSource};
use hgv::stream::schedule::{BlockId, Budgets, Caps, View};
use hgv::stream::{DiskCache, StreamEvent, StreamOptions, StreamProgress, Streamer, VolumeContent};
use hgv::volume::{DType, MemoryVolume, Metadata};
use hgv::{Error, Result, Volume};
use volumes::{Field, encoded, memory, open};

const EXTENT: [u64; 3] = [150, 120, 190];
const PATIENCE: Duration = Duration::from_secs(60);

/// 120 blocks of 32^3 and a coarser tier; two quality levels.
fn file(seed: u32) -> &'static [u8] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let make = |noise: f64| {
            let field = Field {
                noise,
                ..Field::default()
            };
            encoded(&field.volume(EXTENT, DType::Uint8), |o| {
                o.target = Target::Quality(70.0);
                o.levels = 2;
                o.preset = Preset::Fast;
            })
        };
        vec![make(0.02), make(0.05)]
    });
    &files[seed as usize]
}

fn options() -> StreamOptions {
    let mut options = StreamOptions::default();
    options.decoders = 2;
    options
}

fn content(source: Arc<dyn RangeSource>) -> Result<Arc<dyn hgv::stream::Streamable>> {
    Ok(Arc::new(VolumeContent::new(open(source)?)))
}

/// A camera in front of the volume so near that the full resolution is wanted of all that it sees.
fn near() -> View {
    camera([75.0, 60.0, -50.0], 2000)
}

fn far() -> View {
    camera([75.0, 60.0, -5000.0], 300)
}

fn settle(streamer: &Streamer) -> StreamProgress {
    streamer.wait_until(PATIENCE, |p| p.settled)
}

#[test]
fn a_view_gets_all_that_it_needs_and_the_voxels_of_the_file() {
    let source = CountingSource::new(memory(file(0)));
    let counted = source.clone();
    let streamer = Streamer::new(move || content(Arc::new(counted.clone())), options()).unwrap();
    assert!(!streamer.progress().settled, "nothing was wanted yet");
    look(&streamer, far());
    let progress = settle(&streamer);
    assert!(progress.settled && progress.first_picture, "{progress:?}");
    let coarse = check(&streamer.bricks().held, file(0));
    assert_eq!(coarse, 0, "nothing fine from far away");
    let before = source.counts().bytes;
    assert!(before < file(0).len() as u64 / 4, "{before}");

    look(&streamer, near());
    let progress = settle(&streamer);
    assert!(progress.settled && progress.error.is_none(), "{progress:?}");
    let fine = check(&streamer.bricks().held, file(0));
    assert!(fine > 50, "{fine} blocks at full quality");
    // What opening read is read again, and gaps between what was wanted first.
    let (read, size) = (source.counts().bytes, file(0).len() as u64);
    assert!(
        read <= size * 11 / 10 + (64 << 10),
        "{read} bytes for a file of {size}"
    );
}

/// Layers without bytes are layers too.
#[test]
fn a_settled_view_is_whole() {
    // A volume that is noisy on one side and nearly flat on the other, lossless.
    let [w, h, d] = [96, 64, 64u64];
    let voxels = (0..w * h * d).map(|i| {
        let x = i % w;
        let noise = if x < 40 {
            i.wrapping_mul(0x9E37_79B9) >> 7 & 15
        } else {
            u64::from(i % 4099 == 0)
        };
        (100 + noise) as u8
    });
    let voxels: Vec<u8> = voxels.collect();
    let volume = MemoryVolume::new([w, h, d], &voxels, Metadata::default()).unwrap();
    let bytes: &'static [u8] = encoded(&volume, |o| {
        o.target = Target::Lossless;
        o.levels = 3;
        o.preset = Preset::Fast;
    })
    .leak();
    let file = open(memory(bytes)).unwrap();
    let payloads = file
        .blocks(0)
        .unwrap()
        .filter(|b| !b.as_ref().unwrap().bytes.iter().all(|n| *n == 0));
    let expected = payloads.count();
    for _ in 0..5 {
        let streamer = Streamer::new(|| content(memory(bytes)), options()).unwrap();
        look(&streamer, camera([48.0, 32.0, -40.0], 4000));
        let progress = settle(&streamer);
        assert!(progress.settled && progress.error.is_none(), "{progress:?}");
        assert_eq!(check(&streamer.bricks().held, bytes), expected);
    }
}

#[test]
fn the_first_picture_comes_first() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let mut options = options();
    options.budgets.fetches = 1;
    options.observer = Some(Arc::new(move |event| {
        if let StreamEvent::Decoded(brick) = event {
            log.lock().unwrap().push(brick.block);
        }
    }));
    let streamer = Streamer::new(|| content(memory(file(0))), options).unwrap();
    look(&streamer, near());
    let first = streamer.wait_until(PATIENCE, |p| p.first_picture);
    assert!(first.first_picture);
    assert!(settle(&streamer).settled);
    let seen = seen.lock().unwrap();
    let last = seen.iter().map(|b| b.tier).max().unwrap();
    // When each block is there for the first time, with however many layers had come by then.
    let at_first = |b: &BlockId| seen.iter().position(|other| other == b);
    let coarse = seen.iter().filter(|b| b.tier == last).map(at_first);
    let coarse = coarse.max().flatten().unwrap();
    let fine = seen.iter().position(|b| b.tier < last).unwrap();
    // Two decoders may finish in another order than they began.
    assert!(
        coarse <= fine + 2,
        "tier {last} is there at {coarse}, finer ones at {fine}"
    );
}

#[test]
fn decoded_voxels_keep_to_their_budget() {
    let most = Arc::new(AtomicU64::new(0));
    let mut options = options();
    options.budgets = Budgets {
        decoded: 1 << 20,
        encoded: 100 << 10,
        ..Budgets::default()
    };
    let streamer = Streamer::new(|| content(memory(file(0))), options).unwrap();
    for z in 0..20 {
        look(&streamer, camera([75.0, 60.0, z as f32 * 8.0], 1500));
        let progress = streamer.wait_until(Duration::from_millis(50), |p| p.settled);
        let held: usize = streamer
            .bricks()
            .held
            .values()
            .map(|b| b.voxels.len())
            .sum();
        most.fetch_max(held as u64, Ordering::Relaxed);
        assert!(progress.status.encoded <= 100 << 10);
    }
    let most = most.load(Ordering::Relaxed);
    assert!(
        (500 << 10..=1 << 20).contains(&most),
        "{most} bytes of voxels"
    );
    check(&streamer.bricks().held, file(0));
}

/// A source whose reads fail or lie as `fault` says: it gets the number of the read.
#[derive(Clone)]
struct Faulty {
    bytes: Arc<Mutex<&'static [u8]>>,
    reads: Arc<AtomicU64>,
    fault: fn(u64, u64, &mut [u8]) -> Result<()>,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

impl Faulty {
    fn new(fault: fn(u64, u64, &mut [u8]) -> Result<()>) -> Self {
        Self {
            bytes: Arc::new(Mutex::new(file(0))),
            reads: Arc::default(),
            fault,
        }
    }
}

impl RangeSource for Faulty {
    fn len(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let bytes = *self.bytes.lock().unwrap();
        MemorySource::new(bytes.to_vec()).read_at(offset, out)?;
        (self.fault)(self.reads.fetch_add(1, Ordering::Relaxed), offset, out)
    }
    fn identity(&self) -> String {
        "a faulty source".into()
    }
}

#[test]
fn reads_that_fail_now_and_then_are_asked_for_again() {
    let faulty = Faulty::new(|read, _, out| {
        match read {
            0 => {}
            _ if read % 5 == 2 => {
                return Err(Error::io("a read", std::io::ErrorKind::TimedOut.into()));
            }
            _ if read % 7 == 3 => out[0] ^= 1,
            _ => {}
        }
        Ok(())
    });
    let source = faulty.clone();
    let streamer = Streamer::new(move || content(Arc::new(source.clone())), options()).unwrap();
    look(&streamer, near());
    let progress = settle(&streamer);
    assert!(progress.settled && progress.error.is_some(), "{progress:?}");
    // What failed three times is left alone until somebody asks for it.
    for _ in 0..20 {
        if check(&streamer.bricks().held, file(0)) > 50 && streamer.progress().error.is_none() {
            return;
        }
        streamer.retry();
        settle(&streamer);
    }
    let best = check(&streamer.bricks().held, file(0));
    assert!(best > 50, "{best} blocks");
}

#[test]
fn a_part_that_stays_damaged_is_named_and_the_rest_is_shown() {
    let faulty = Faulty::new(|_, offset, out| {
        // One byte in the middle of the file.
        let damaged = file(0).len() as u64 / 2;
        if let Some(at) = damaged
            .checked_sub(offset)
            .filter(|a| *a < out.len() as u64)
        {
            out[at as usize] ^= 0x10;
        }
        Ok(())
    });
    let source = faulty.clone();
    let streamer = Streamer::new(move || content(Arc::new(source.clone())), options()).unwrap();
    look(&streamer, near());
    let progress = settle(&streamer);
    let error = progress.error.expect("the damage is told");
    assert!(error.contains("checksum"), "{error}");
    assert!(check(&streamer.bricks().held, file(0)) > 40);
}

#[test]
fn a_replaced_file_is_opened_anew_and_shown() {
    static REPLACED: AtomicBool = AtomicBool::new(false);
    let faulty = Faulty::new(|read, _, _| match REPLACED.load(Ordering::Relaxed) {
        // Sources tell; afterwards a source opened anew reads the new file.
        true if read < 1000 => Err(Error::SourceChanged("the file".into())),
        _ => Ok(()),
    });
    let (source, reads) = (faulty.clone(), Arc::clone(&faulty.reads));
    let first = AtomicBool::new(true);
    let opener = move || {
        if !first.swap(false, Ordering::Relaxed) {
            reads.store(1000, Ordering::Relaxed);
        }
        content(Arc::new(source.clone()))
    };
    let streamer = Streamer::new(opener, options()).unwrap();
    look(&streamer, far());
    assert!(settle(&streamer).settled);
    *faulty.bytes.lock().unwrap() = file(1);
    REPLACED.store(true, Ordering::Relaxed);
    look(&streamer, near());
    let progress = settle(&streamer);
    assert!(progress.settled && progress.reopened == 1, "{progress:?}");
    assert!(check(&streamer.bricks().held, file(1)) > 50);
}

#[test]
fn a_second_session_reads_from_the_disk_cache_and_mends_what_is_damaged_there() {
    let folder = tempfile::tempdir().unwrap();
    let session = || {
        let source = CountingSource::new(memory(file(0)));
        let mut options = options();
        options.cache = Some(Arc::new(DiskCache::open(folder.path(), 1 << 30).unwrap()));
        let counted = source.clone();
        let streamer = Streamer::new(move || content(Arc::new(counted.clone())), options).unwrap();
        look(&streamer, near());
        let progress = settle(&streamer);
        assert!(progress.error.is_none(), "{progress:?}");
        assert!(check(&streamer.bricks().held, file(0)) > 50);
        (progress, source.counts().bytes)
    };
    let (first, read) = session();
    assert!(first.cached == 0 && first.fetched > 100_000 && read > first.fetched);
    let (second, read) = session();
    assert_eq!(second.fetched, 0);
    assert!(read <= 64 << 10, "opening only: {read}");
    // Damage every tenth part.
    let mut parts = Vec::new();
    for version in std::fs::read_dir(folder.path()).unwrap() {
        for part in std::fs::read_dir(version.unwrap().path()).unwrap() {
            parts.extend(std::fs::read_dir(part.unwrap().path()).unwrap());
        }
    }
    for part in parts.iter().step_by(10) {
        let path = part.as_ref().unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    let (third, _) = session();
    assert!(
        third.fetched > 0 && third.fetched < first.fetched / 2,
        "{third:?}"
    );
    assert_eq!(session().0.fetched, 0, "mended");
}

#[test]
fn a_streamer_ends_while_reads_hang() {
    #[derive(Debug)]
    struct Slow(MemorySource);
    impl RangeSource for Slow {
        fn len(&self) -> u64 {
            self.0.len()
        }
        fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
            self.0.read_at(offset, out)
        }
        fn read_at_unless(&self, _: u64, _: &mut [u8], stop: &AtomicBool) -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(Error::Cancelled)
        }
        fn identity(&self) -> String {
            "a slow source".into()
        }
    }
    let streamer = Streamer::new(
        || content(Arc::new(Slow(MemorySource::new(file(0).to_vec())))),
        options(),
    );
    let streamer = streamer.unwrap();
    look(&streamer, near());
    let progress = streamer.wait_until(PATIENCE, |p| p.status.fetches > 0);
    assert!(progress.status.fetches > 0);
    let began = std::time::Instant::now();
    drop(streamer);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_cannot_be_opened_says_why() {
    let missing = || Ok(Arc::new(VolumeContent::new(Volume::open("no such file.hgv")?)) as _);
    let error = Streamer::new(missing, options()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn nothing_beyond_the_caps_is_fetched_or_shown() {
    let all_of = |lod, level| Caps {
        finest_lod: lod,
        highest_level: level,
    };
    // Levels of detail, and layers of the finest tier, that are shown at most.
    let shown = |streamer: &Streamer| {
        let bricks = streamer.bricks();
        check(&bricks.held, file(0));
        let tiers = bricks.catalogue.tiers();
        let lod =
            |b: &hgv::stream::Brick| tiers[usize::from(b.block.tier)].base_lod + u32::from(b.lod);
        let finest = bricks.held.values().map(|b| lod(b)).min();
        let fine = bricks.held.values().filter(|b| b.block.tier == 0);
        let layers = fine.map(|b| b.layers).max();
        (finest.unwrap(), layers.unwrap())
    };
    let mut capped = options();
    capped.caps = all_of(1, 0);
    let streamer = Streamer::new(|| content(memory(file(0))), capped).unwrap();
    look(&streamer, near());
    let few = settle(&streamer).fetched;
    let (finest, coarse_layers) = shown(&streamer);
    assert_eq!(finest, 1);

    streamer.set_caps(all_of(0, 0));
    let progress = settle(&streamer);
    assert!(progress.settled && progress.fetched > few, "{progress:?}");
    let (finest, base_layers) = shown(&streamer);
    assert_eq!(finest, 0);
    assert!(base_layers > coarse_layers);

    streamer.set_caps(Caps::default());
    let all = settle(&streamer).fetched;
    assert!(shown(&streamer).1 > base_layers);

    // What is held is decoded anew from fewer layers, and nothing fetched.
    streamer.set_caps(all_of(1, 0));
    let progress = settle(&streamer);
    assert!(progress.settled, "{progress:?}");
    assert_eq!(shown(&streamer), (1, coarse_layers));
    assert_eq!(progress.fetched, all);
}
