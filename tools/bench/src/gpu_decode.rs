//! Decode from memory to memory on a CUDA device, with what every kernel took, beside the CPU.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hgv::backend::cpu::CpuBackend;
use hgv::backend::cuda::{CudaBackend, Device, Profiled};
use hgv::io::MemorySource;
use hgv::volume::Region;
use hgv::{Error, Limits, Result, Volume};

/// What was measured of a file.
#[derive(Debug, Clone)]
pub struct DecodeSpeed {
    /// Voxels of the volume.
    pub voxels: u64,
    /// Bytes of all voxels.
    pub voxel_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Seconds of each run on the device, after one that is not counted.
    pub device: Vec<f64>,
    /// Seconds of one run on the CPU, all threads.
    pub cpu: f64,
    /// Whether both gave the same bytes.
    pub same: bool,
    /// Runs and milliseconds in all of each kernel, in one run more, by name.
    pub kernels: BTreeMap<&'static str, (u32, f64)>,
}

/// Decodes the whole file at `path` at full resolution and quality, from its bytes in memory to voxels in
/// memory: `runs` times on the device, once on the CPU.
///
/// # Errors
/// What is wrong with the file or the device.
pub fn decode_speed(path: &Path, device: &Arc<dyn Device>, runs: usize) -> Result<DecodeSpeed> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path.display().to_string(), e))?;
    let file_bytes = bytes.len() as u64;
    let source = Arc::new(MemorySource::new(bytes));
    let limits = Limits {
        max_output: u64::MAX,
        ..Limits::default()
    };
    let open = || Volume::from_source(source.clone(), limits);
    let on = |device| Arc::new(CudaBackend::new(device, CpuBackend::new()));
    let on_device = open()?.with_backend(on(Arc::clone(device)));
    let whole = Region::whole(on_device.extent());
    let voxel_bytes = whole.voxels() * on_device.dtype().size() as u64;
    let mut voxels = vec![0u8; voxel_bytes as usize];
    // The first run allocates memory and loads kernels.
    run(&on_device, &whole, &mut voxels)?;
    let times = (0..runs).map(|_| run(&on_device, &whole, &mut voxels));
    let times = times.collect::<Result<Vec<f64>>>()?;
    drop(on_device);
    let profiled = Arc::new(Profiled::new(Arc::clone(device)));
    let measured = open()?.with_backend(on(profiled.clone()));
    run(&measured, &whole, &mut voxels)?;
    let mut kernels = BTreeMap::new();
    for time in profiled.take()? {
        let all: &mut (u32, f64) = kernels.entry(time.kernel).or_default();
        *all = (all.0 + 1, all.1 + time.milliseconds);
    }
    let mut expected = vec![0u8; voxel_bytes as usize];
    let on_cpu = open()?;
    let cpu = run(&on_cpu, &whole, &mut expected)?;
    Ok(DecodeSpeed {
        voxels: whole.voxels(),
        voxel_bytes,
        file_bytes,
        device: times,
        cpu,
        same: voxels == expected,
        kernels,
    })
}

/// Seconds of reading everything.
fn run(volume: &Volume, whole: &Region, voxels: &mut [u8]) -> Result<f64> {
    let start = Instant::now();
    volume.read_region_bytes(0, volume.levels() - 1, whole, voxels)?;
    Ok(start.elapsed().as_secs_f64())
}

/// Bytes that a kernel must move for a voxel at least, with voxels of `size` bytes and
/// working values of `width`: what it reads and what it writes, once. All splits together take 8/7 of the
/// finest one. `None` for kernels whose floor is no matter of bytes.
pub fn least_bytes(kernel: &str, size: f64, width: f64) -> Option<f64> {
    match kernel {
        "hgv_lift_z_narrow" | "hgv_lift_z_wide" => Some(2.0 * width * 8.0 / 7.0),
        "hgv_lift_xy_narrow" | "hgv_lift_xy_wide" => Some(width * 8.0 / 7.0 + width / 7.0 + size),
        "hgv_filter_narrow" | "hgv_filter_wide" => Some(width + size),
        "hgv_place" => Some(8.0 + size),
        "hgv_constant" => Some(size),
        // Indices once; coded bytes beside them are few.
        "hgv_rans_layers" | "hgv_mixing_layers" | "hgv_rans_encode" | "hgv_mixing_encode" => {
            Some(width)
        }
        // Of an encode: floats in, floats or indices out.
        "hgv_encode_aims" | "hgv_encode_transform" | "hgv_encode_reversible" => Some(8.0),
        "hgv_encode_quantise" => Some(4.0 + width),
        _ => None,
    }
}
