//! Encode from memory on a CUDA device, with what every kernel took, beside the CPU.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hgv::backend::cuda::{Device, Profiled};
use hgv::encode::{EncodeOptions, EncodeReport, encode};
use hgv::volume::{DType, Extent, MemoryVolume, Metadata};
use hgv::{Error, Result};

/// An encode that was measured.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Seconds from voxels in memory to a finished file.
    pub seconds: f64,
    /// What came out.
    pub report: EncodeReport,
}

/// What was measured of a volume.
#[derive(Debug, Clone)]
pub struct EncodeSpeed {
    /// Runs on the device, after one that is not counted.
    pub device: Vec<Encoded>,
    /// One run on the CPU, all threads, if it was asked for.
    pub cpu: Option<Encoded>,
    /// Runs and milliseconds in all of each kernel, in one run more, by name.
    pub kernels: BTreeMap<&'static str, (u32, f64)>,
    /// Whether two runs on the device gave the same bytes.
    pub same: bool,
}

/// Encodes a volume to `file`: `runs` times on the device, and once on the CPU if wanted.
///
/// # Errors
/// What is wrong with the volume, the file or the device.
pub fn encode_speed(
    source: &MemoryVolume,
    options: &EncodeOptions,
    device: &Arc<dyn Device>,
    (runs, with_cpu): (usize, bool),
    file: &Path,
) -> Result<EncodeSpeed> {
    let options = options.clone().with_force(true);
    let on_device = options.clone().with_device(Some(Arc::clone(device)));
    // The first run allocates memory and loads kernels.
    run(source, &on_device, file)?;
    let first = read(file)?;
    let measured = (0..runs).map(|_| run(source, &on_device, file));
    let measured = measured.collect::<Result<Vec<_>>>()?;
    let same = read(file)? == first;
    let profiled = Arc::new(Profiled::new(Arc::clone(device)));
    run(
        source,
        &options.clone().with_device(Some(profiled.clone())),
        file,
    )?;
    let mut kernels = BTreeMap::new();
    for time in profiled.take()? {
        let all: &mut (u32, f64) = kernels.entry(time.kernel).or_default();
        *all = (all.0 + 1, all.1 + time.milliseconds);
    }
    let cpu = with_cpu.then(|| run(source, &options, file)).transpose()?;
    Ok(EncodeSpeed {
        device: measured,
        cpu,
        kernels,
        same,
    })
}

fn run(source: &MemoryVolume, options: &EncodeOptions, file: &Path) -> Result<Encoded> {
    let start = Instant::now();
    let report = encode(source, file, options, &|_| ControlFlow::Continue(()))?;
    Ok(Encoded {
        seconds: start.elapsed().as_secs_f64(),
        report,
    })
}

/// Loads `name_XxYxZ_dtype.raw`, as `hgv-generate` writes it.
///
/// # Errors
/// [`Error::Io`], [`Error::Input`] if name and size do not fit.
pub fn load_raw(path: &Path) -> Result<MemoryVolume> {
    let (extent, dtype) = named(path).ok_or_else(|| {
        Error::Input(format!(
            "{}: not named name_XxYxZ_dtype.raw",
            path.display()
        ))
    })?;
    MemoryVolume::from_bytes(extent, dtype, read(path)?, Metadata::default())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(path.display().to_string(), e))
}

fn named(path: &Path) -> Option<(Extent, DType)> {
    let stem = path.file_stem()?.to_str()?;
    let (rest, dtype) = stem.rsplit_once('_')?;
    let sizes = rest.rsplit_once('_')?.1.split('x');
    let sizes: Vec<u64> = sizes.map(|s| s.parse().ok()).collect::<Option<_>>()?;
    Some((sizes.try_into().ok()?, DType::parse(dtype)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_extent_and_type() {
        let parsed = named(Path::new("a/rock_of_5_64x32x16_uint8.raw"));
        assert_eq!(parsed, Some(([64, 32, 16], DType::Uint8)));
        for bad in ["rock.raw", "rock_64x32_uint8.raw", "rock_1x2x3_word.raw"] {
            assert_eq!(named(Path::new(bad)), None, "{bad}");
        }
    }
}
