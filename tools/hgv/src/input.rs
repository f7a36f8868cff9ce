//! Inputs of any kind: a .hgv file or a volume file.

use std::path::Path;
use std::sync::Arc;

use hgv::backend::cpu::CpuBackend;
use hgv::backend::cuda::{CudaBackend, Device};
use hgv::io::{FileSource, RangeSource};
use hgv::volume::{DType, VoxelSource};
use hgv::{Error, Limits, Result, Volume};

use crate::args::InputArgs;
use crate::backend_api::{self, OpenVolume};
use crate::commands::Context;
use crate::paths;

/// An open input.
pub(crate) enum Input {
    /// A .hgv file.
    Hgv(Box<Volume>),
    /// Any other volume file.
    File(OpenVolume),
}

impl Input {
    /// Opens `path`; an address, or a name that ends in .hgv (or .hgv.partial), is a .hgv file.
    pub(crate) fn open(
        path: &Path,
        raw: &InputArgs,
        cast: Option<DType>,
        scratch: Option<&Path>,
        context: &Context,
    ) -> Result<Self> {
        paths::check_input(path)?;
        if paths::url(path).is_some() || paths::is_hgv(path) {
            if cast.is_some() {
                return Err(Error::argument("--cast does not apply to a .hgv input"));
            }
            return Ok(Self::Hgv(Box::new(open_hgv(path, context)?)));
        }
        let opened = backend_api::open_volume(path, raw, cast, scratch)?;
        if opened.spooled {
            let folder = scratch.map_or_else(std::env::temp_dir, Path::to_path_buf);
            context.output.remark(&format!(
                "the voxels were unpacked to a scratch file in {}; it is deleted at the end",
                folder.display()
            ));
        }
        for notice in &opened.notices {
            context.output.note(notice);
        }
        Ok(Self::File(opened))
    }

    /// Its full resolution at its best level.
    pub(crate) fn source(&self) -> Result<Box<dyn VoxelSource + '_>> {
        match self {
            Self::Hgv(volume) => view(volume, 0, None),
            Self::File(file) => Ok(Box::new(Borrowed(file.source.as_ref()))),
        }
    }
}

/// Opens a .hgv file with the threads of the command line.
pub(crate) fn open_hgv(path: &Path, context: &Context) -> Result<Volume> {
    let volume = Volume::from_source(open_source(path, context)?, Limits::default());
    volume
        .map_err(|e| e.in_file(path.display()))?
        .with_threads(context.threads)
}

/// The bytes of a .hgv file, on this machine or on a server.
pub(crate) fn open_source(path: &Path, context: &Context) -> Result<Arc<dyn RangeSource>> {
    paths::check_input(path)?;
    match paths::url(path) {
        Some(url) => context.remotes.open(url),
        None => Ok(Arc::new(FileSource::open(path)?)),
    }
}

/// Decodes on devices, which share every region, or on the CPU where there is none.
pub(crate) fn on_devices(volume: Volume, devices: Vec<Arc<dyn Device>>) -> Volume {
    let mut devices = devices.into_iter();
    match devices.next() {
        Some(first) => {
            let one = CudaBackend::new(first, CpuBackend::new());
            volume.with_backend(Arc::new(devices.fold(one, CudaBackend::with_device)))
        }
        None => volume,
    }
}

/// A level of detail and quality level of `volume`; `None` is the last quality level.
///
/// # Errors
/// [`Error::InvalidArgument`] that says which levels there are.
pub(crate) fn view(
    volume: &Volume,
    lod: u32,
    level: Option<u32>,
) -> Result<Box<dyn VoxelSource + '_>> {
    check_level("--lod", "levels of detail", lod, volume.lods())?;
    let level = last_or(level, volume);
    check_level("--level", "quality levels", level, volume.levels())?;
    Ok(Box::new(volume.view(lod, level)?))
}

/// The quality level that was asked for, else the last one.
pub(crate) fn last_or(level: Option<u32>, volume: &Volume) -> u32 {
    level.unwrap_or_else(|| volume.levels().saturating_sub(1))
}

/// Refuses a level that a file does not have.
///
/// # Errors
/// [`Error::InvalidArgument`] that says which levels there are.
pub(crate) fn check_level(option: &str, what: &str, asked: u32, count: u32) -> Result<()> {
    if asked < count {
        return Ok(());
    }
    let choice = match count {
        1 => "only 0".into(),
        _ => format!("{count} {what}, 0 to {}", count.saturating_sub(1)),
    };
    Err(Error::argument(format!(
        "{option} {asked}: the file has {choice}"
    )))
}

/// A borrowed source, so that both kinds of input have one type.
struct Borrowed<'a>(&'a dyn VoxelSource);

impl VoxelSource for Borrowed<'_> {
    fn extent(&self) -> hgv::volume::Extent {
        self.0.extent()
    }

    fn dtype(&self) -> DType {
        self.0.dtype()
    }

    fn metadata(&self) -> &hgv::volume::Metadata {
        self.0.metadata()
    }

    fn read(&self, region: &hgv::volume::Region, out: &mut [u8]) -> Result<()> {
        self.0.read(region, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hgv_files_are_known_by_name() {
        for name in ["a.hgv", "dir/A.HGV", "a.hgv.partial"] {
            assert!(paths::is_hgv(Path::new(name)), "{name}");
        }
        for name in ["a.nrrd", "hgv", "a.hgv.gz"] {
            assert!(!paths::is_hgv(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn wrong_levels_name_the_choice() {
        assert!(check_level("--lod", "levels of detail", 2, 3).is_ok());
        let error = check_level("--lod", "levels of detail", 3, 3).map_err(|e| e.to_string());
        assert_eq!(
            error,
            Err("--lod 3: the file has 3 levels of detail, 0 to 2".into())
        );
    }
}
