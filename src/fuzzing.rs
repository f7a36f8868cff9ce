//! What the fuzz targets call. Each function takes any bytes and must neither panic, nor hang,
//! nor take memory that the bytes do not justify; a broken promise of the library is a panic.
#![expect(
    clippy::panic,
    reason = "a fuzz target reports a broken promise by panicking"
)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::encode::{EncodeOptions, Preset, Target, encode};
use crate::volume::{DType, Extent, MemoryVolume, Metadata, Region, VoxelSource};
use crate::{Error, Limits, Volume};

/// A function under test.
pub type Function = fn(&[u8]);

/// Every function under test, by the name of its fuzz target.
pub const TARGETS: [(&str, Function); 4] = [
    ("open", open),
    ("page", page),
    ("payload", payload),
    ("roundtrip", roundtrip),
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
        _ => Vec::new(),
    }
}

/// Opens the bytes as a file and, if that works, reads everything that is small enough.
pub fn open(data: &[u8]) {
    let file = Scratch::new();
    if std::fs::write(&file.0, data).is_err() {
        return;
    }
    let Ok(volume) = Volume::open_with(&file.0, limits()) else {
        return;
    };
    let _ = volume.info();
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
pub fn page(_data: &[u8]) {}

/// Decodes the bytes as the payload of one block.
pub fn payload(_data: &[u8]) {}

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

/// A small volume and how to encode it.
#[derive(Debug)]
struct Plan {
    extent: Extent,
    dtype: DType,
    target: Target,
    levels: u32,
    preset: Preset,
    /// Repeated over the voxels.
    bytes: Vec<u8>,
}

impl Plan {
    fn new(data: &[u8]) -> Self {
        let at = |i: usize| data.get(i).copied().unwrap_or(0);
        let target = match at(4) % 4 {
            0 => Target::Lossless,
            1 => Target::MaxErrorRel(f64::from(at(5)) / 2048.0 + 1e-3),
            2 => Target::Psnr(20.0 + f64::from(at(5) % 50)),
            _ => Target::Quality(f64::from(at(5)) * (100.0 / 255.0)),
        };
        Self {
            extent: [0, 1, 2].map(|i| u64::from(at(i) % 40) + 1),
            dtype: DType::ALL[usize::from(at(3)) % DType::ALL.len()],
            target,
            levels: u32::from(at(6) % 4) + 1,
            preset: if at(7) % 2 == 0 {
                Preset::Fast
            } else {
                Preset::Balanced
            },
            bytes: data.get(8..).unwrap_or(&[]).to_vec(),
        }
    }

    /// The voxels: the bytes over and over, each time changed a little.
    fn volume(&self) -> Option<MemoryVolume> {
        let n = Region::whole(self.extent).voxels() as usize * self.dtype.size();
        let source = if self.bytes.is_empty() {
            &[0][..]
        } else {
            &self.bytes
        };
        let voxels = source.iter().cycle().take(n).enumerate();
        let bytes = voxels.map(|(i, b)| b.wrapping_add((i / source.len() / 7) as u8));
        let metadata = Metadata::default();
        MemoryVolume::from_bytes(self.extent, self.dtype, bytes.collect(), metadata).ok()
    }

    /// Encodes the volume; `None` if the library refuses it (NaN, an unreachable target).
    fn encode_to(&self, path: &Path) -> Option<MemoryVolume> {
        let volume = self.volume()?;
        let options = EncodeOptions {
            target: self.target,
            levels: self.levels,
            preset: self.preset,
            block: 32,
            threads: 1,
            force: true,
            ..EncodeOptions::default()
        };
        let go_on = |_| ControlFlow::Continue(());
        match encode(&volume, path, &options, &go_on) {
            Ok(_) => Some(volume),
            Err(Error::Input(_) | Error::Target(_) | Error::Unsupported(_)) => None,
            Err(e) => panic!("{self:?} cannot be encoded: {e}"),
        }
    }

    /// Panics if the decoded voxels break what the target promises.
    fn hold(&self, original: &MemoryVolume, decoded: &[u8]) {
        if self.target == Target::Lossless {
            assert!(original.bytes() == decoded, "{self:?} is not lossless");
        }
        let Target::MaxErrorRel(bound) = self.target else {
            return;
        };
        let copy = decoded.to_vec();
        let go_on = |_, _| ControlFlow::Continue(());
        let figures =
            MemoryVolume::from_bytes(self.extent, self.dtype, copy, original.metadata().clone())
                .and_then(|d| crate::quality::compare(original, &d, &Default::default(), &go_on));
        match figures.map(|f| f.max_rel_error) {
            Ok(Some(error)) => assert!(error <= bound, "{self:?}: error {error}"),
            Ok(None) => panic!("{self:?}: a constant volume changed"),
            Err(e) => panic!("{self:?}: {e}"),
        }
    }
}

/// A path of its own for each process and thread; removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let thread = format!("{:?}", std::thread::current().id());
        let digits: String = thread.chars().filter(char::is_ascii_digit).collect();
        let name = format!("hgv-fuzz-{}-{digits}.hgv", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
