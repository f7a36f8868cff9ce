//! `hgv-generate`: large realistic test volumes from a seed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use hgv::volume::DType;
use hgv::{Error, Result};
use hgv_bench::generate::{Kind, Phantom, Porous, Turbulence, write};

/// Makes realistic volumes of any size, streamed to disk. The same arguments give the same
/// bytes on every machine, whatever the number of threads.
#[derive(Parser)]
#[command(after_help = "Examples:
  hgv-generate porous --size 512,512,512 -o rock.raw
  hgv-generate porous --size 4096,4096,256 --dtype uint16 -o big/rock.raw
  hgv-generate turbulence --size 256,256,256 -o flow.npy")]
struct Args {
    /// What to make.
    kind: Word,
    /// Voxels along x,y,z.
    #[arg(long, value_delimiter = ',', num_args = 1)]
    size: Vec<u64>,
    /// uint8 or uint16 (porous), float32 (turbulence), int16 (phantom).
    #[arg(long, value_parser = dtype)]
    dtype: Option<DType>,
    /// Same seed, same volume.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Width of a typical pore, or of the largest eddies, in voxels [default: 24; turbulence: 96].
    #[arg(long)]
    feature: Option<u32>,
    /// Noise in percent of full scale (porous) or Hounsfield units (phantom) [default: 3; 12].
    #[arg(long)]
    noise: Option<f32>,
    /// Worker threads; 0 = all cores.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Replace an existing file.
    #[arg(long)]
    force: bool,
    /// Say nothing.
    #[arg(long)]
    quiet: bool,
    /// Ends in .raw (gets the size into its name), .npy, .nrrd, .nii or .nii.gz.
    #[arg(short, long)]
    output: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Word {
    /// Porous rock in micro-CT: pores, minerals, noise, rings, an empty border.
    Porous,
    /// Vorticity of a turbulent flow.
    Turbulence,
    /// A head in clinical CT, in Hounsfield units.
    Phantom,
}

fn dtype(word: &str) -> Result<DType, String> {
    DType::parse(word).ok_or_else(|| "no such voxel type".into())
}

fn run(args: &Args) -> Result<()> {
    let extent: [u64; 3] = args.size.as_slice().try_into().map_err(|_| {
        Error::argument("--size needs three numbers, such as --size 256,256,128 (x,y,z)")
    })?;
    let kind: Box<dyn Kind> = match args.kind {
        Word::Porous => {
            let noise = args.noise.unwrap_or(3.0) / 100.0;
            Box::new(Porous::new(
                extent,
                args.seed,
                args.feature.unwrap_or(24),
                noise,
            ))
        }
        Word::Turbulence => Box::new(Turbulence::new(args.seed, args.feature.unwrap_or(96))),
        Word::Phantom => Box::new(Phantom::new(extent, args.seed, args.noise.unwrap_or(12.0))),
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads)
        .build_global()
        .map_err(|e| Error::io("starting worker threads", std::io::Error::other(e)))?;
    let dtype = args.dtype.unwrap_or(kind.dtypes()[0]);
    let start = Instant::now();
    let path = write(kind.as_ref(), extent, dtype, &args.output, args.force)?;
    if !args.quiet {
        let voxels = extent.iter().product::<u64>() as f64 / 1e6;
        let seconds = start.elapsed().as_secs_f64();
        eprintln!(
            "{}: {voxels:.1} Mvoxel in {seconds:.1} s ({:.1} Mvoxel/s)",
            path.display(),
            voxels / seconds
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("hgv-generate: {e}");
            ExitCode::from(2)
        }
    }
}
