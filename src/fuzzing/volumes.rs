//! Small volumes made from bytes, and how to encode them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::encode::{EncodeOptions, ModelChoice, Preset, Target, encode};
use crate::volume::{DType, Extent, MemoryVolume, Metadata, Region, VoxelSource};

/// A small volume and how to encode it.
#[derive(Debug)]
pub(super) struct Plan {
    extent: Extent,
    dtype: DType,
    target: Target,
    levels: u32,
    preset: Preset,
    nan_mask: bool,
    /// Repeated over the voxels.
    bytes: Vec<u8>,
}

impl Plan {
    pub(super) fn new(data: &[u8]) -> Self {
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
            preset: match at(7) & 5 {
                0 => Preset::Fast,
                4 => Preset::Best,
                _ => Preset::Balanced,
            },
            nan_mask: at(7) & 2 != 0,
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

    /// Whether the library may refuse this volume with this error.
    fn may_refuse(&self, volume: &MemoryVolume, error: &Error) -> bool {
        let float = self.dtype.is_float();
        match error {
            Error::Unsupported(_) => self.target == Target::Lossless && float,
            Error::Input(_) => float && !self.nan_mask && !all_finite(volume.bytes()),
            Error::Target(_) => matches!(self.target, Target::Psnr(_) | Target::MaxErrorRel(_)),
            _ => false,
        }
    }

    /// Encodes the volume; `None` if the library refuses it for a good reason.
    pub(super) fn encode_to(&self, path: &Path) -> Option<MemoryVolume> {
        let volume = self.volume()?;
        let options = EncodeOptions {
            target: self.target,
            levels: self.levels,
            preset: self.preset,
            // Training grids takes longer than a fuzzer may wait.
            model: ModelChoice::Dense,
            block: 32,
            threads: 1,
            nan_mask: self.nan_mask,
            force: true,
            ..EncodeOptions::default()
        };
        let go_on = |_| ControlFlow::Continue(());
        match encode(&volume, path, &options, &go_on) {
            Ok(_) => Some(volume),
            Err(e) if self.may_refuse(&volume, &e) => None,
            Err(e) => panic!("{self:?} cannot be encoded: {e}"),
        }
    }

    /// Panics if the decoded voxels break what the target promises.
    pub(super) fn hold(&self, original: &MemoryVolume, decoded: &[u8]) {
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
        let figures = figures.unwrap_or_else(|e| panic!("{self:?}: {e}"));
        assert_eq!(
            figures.nonfinite_mismatches, 0,
            "{self:?}: the mask changed"
        );
        match figures.max_rel_error {
            Some(error) => assert!(error <= bound, "{self:?}: error {error}"),
            None => panic!("{self:?}: a constant volume changed"),
        }
    }
}

fn all_finite(floats: &[u8]) -> bool {
    let values = floats.as_chunks::<4>().0.iter();
    values.map(|b| f32::from_le_bytes(*b)).all(f32::is_finite)
}

/// A path of its own for each process and thread; removed when dropped.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
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
