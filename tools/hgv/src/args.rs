//! The words of the command line and their help texts.
//!
//! Owns names, defaults and which options exclude each other. What the commands do lives in
//! [`crate::commands`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hgv::backend::BackendChoice;
use hgv::encode::{FirstGuess, ModelChoice, Preset, Target};
use hgv::volume::DType;

use crate::backend_api::{Endian, NumberType};
use crate::render_args::RenderArgs;
use crate::values::{self, RegionArg, Shard, SsimTarget};
#[cfg(feature = "http")]
use crate::view::args::ViewArgs;

/// Compress, read and check very large 3-D volumes.
#[derive(Debug, Parser)]
#[command(name = "hgv", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: Common,
}

const EXAMPLES: &str = "\
Examples:
  hgv encode head.nrrd -o head.hgv --psnr 40
  hgv info head.hgv
  hgv decode head.hgv -o head.nii.gz
  hgv compare head.nrrd head.hgv

Exit status: 0 done; 1 a check failed, or a recovery lost something; 2 usage, input or output;
130 interrupted. The axis order is x,y,z everywhere. `hgv COMMAND --help` shows the options and examples of a command.";

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// Print the result as one JSON object on standard output and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no progress, notes or result lines (errors and --json still appear)
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// Worker threads [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// Replace an output file that exists
    #[arg(long, global = true)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Encode a volume into a .hgv file
    Encode(Box<EncodeArgs>),
    /// Decode a .hgv file, or a part of it, into a volume file
    Decode(DecodeArgs),
    /// Show what a .hgv file says of itself
    Info(InfoArgs),
    /// Check every checksum and rule of a .hgv file
    Verify(VerifyArgs),
    /// Measure how far volume B is from volume A
    Compare(CompareArgs),
    /// Say how hard a volume is to code, and which parameters it needs
    Analyze(AnalyzeArgs),
    /// Draw a picture of a volume
    Render(Box<RenderArgs>),
    /// Bring back every finished cluster of an interrupted or damaged file
    Recover(RecoverArgs),
    /// Put the parts of a sharded encode together
    Merge(MergeArgs),
    /// Serve a folder of .hgv files over HTTP
    #[cfg(feature = "http")]
    Serve(ServeArgs),
    /// Show a volume in the browser, live
    #[cfg(feature = "http")]
    View(Box<ViewArgs>),
    /// List what encodes and decodes can run on
    Devices(DevicesArgs),
}

/// How voxels lie in a raw file whose name does not say it; also a cast of any input.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Raw input (where the name does not say it: name_XxYxZ_dtype.raw)")]
pub(crate) struct InputArgs {
    /// Axis lengths in voxels, x fastest
    #[arg(long, value_name = "X,Y,Z", value_parser = values::shape)]
    pub(crate) shape: Option<[u64; 3]>,
    /// Voxel type: uint8 int8 uint16 int16 float32, or u8 i8 u16 i16 f32; i32 u32 f64 f16 are read
    /// if every value fits one of these
    #[arg(long, value_name = "T", value_parser = values::raw_type)]
    pub(crate) dtype: Option<NumberType>,
    /// Byte order of the raw file [default: le]
    #[arg(long, value_name = "le|be", value_parser = values::endian)]
    pub(crate) endian: Option<Endian>,
    /// Distance of voxel centres along each axis
    #[arg(long, value_name = "X,Y,Z", value_parser = values::spacing)]
    pub(crate) spacing: Option<[f64; 3]>,
    /// Bytes before the first voxel
    #[arg(long, value_name = "BYTES", value_parser = skip)]
    pub(crate) skip: Option<u64>,
}

/// Like a size, but 0 is a meaningful answer here.
fn skip(text: &str) -> Result<u64, String> {
    if text.trim() == "0" {
        return Ok(0);
    }
    values::bytes(text)
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hgv encode head.nrrd -o head.hgv
  hgv encode head.nii.gz -o head.hgv --psnr 42 --levels 4
  hgv encode scan_512x512x300_uint16.raw -o scan.hgv --ratio 30 --preset best
  hgv encode scan.bin --shape 512,512,300 --dtype u16 --spacing 0.4,0.4,0.8 -o scan.hgv --lossless
  hgv encode cells.tif -o part.hgv --region 0:256,0:256,: --bytes 20MiB
  hgv encode big.mrc -o part0.hgv --shard 0/4
  hgv encode head.nrrd -o head.hgv --ssim 0.95,0.97,0.98,0.99 --report head.html

Inputs: NRRD, NIfTI, MRC, TIFF (multi-page or a numbered folder), NPY, raw; .gz and .zst after
.raw .nii .mrc .map .nrrd .npy. Sizes: 20M is 20,000,000 bytes, 20MiB is 20 x 1,048,576.
While writing, the file is OUT.hgv.partial; `hgv recover` reads one that was left behind.")]
pub(crate) struct EncodeArgs {
    /// Volume to encode; - is the standard input
    #[arg(value_name = "INPUT")]
    pub(crate) input: PathBuf,
    /// File to write
    #[arg(short, long, value_name = "OUT.hgv")]
    pub(crate) output: PathBuf,
    /// Write a page with pictures of the volume, the error and each quality level; compares each level
    /// with the source, which takes about as long as `hgv compare`
    #[arg(long, value_name = "OUT.html")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) raw: InputArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) coding: CodingArgs,
}

/// How the encoder works.
#[derive(Debug, Args)]
#[command(next_help_heading = "Encoding")]
pub(crate) struct CodingArgs {
    /// Quality levels stored, 1 to 8; the last one meets the target
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) levels: u32,
    /// Side of a block in voxels: 32, 64 or 128
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = values::block)]
    pub(crate) block: u32,
    /// How much time to spend on fewer bytes
    #[arg(long, value_enum, default_value_t = PresetWord::Balanced)]
    pub(crate) preset: PresetWord,
    /// Block models: dense is wavelets, hashgrid trained feature grids (slower to encode); auto takes
    /// wavelets, and with --preset best the cheaper of the two for each block
    #[arg(long, value_enum, default_value_t = ModelWord::Auto)]
    pub(crate) model: ModelWord,
    /// Largest hash table of a grid level, as a power of two: levels of more vertices are hashed. With
    /// the default all are dense, which takes the fewest bytes
    #[arg(long, value_name = "LOG2", default_value_t = 22, value_parser = clap::value_parser!(u8).range(4..=22))]
    pub(crate) table_log2: u8,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Encode only this box of the input, in voxels, half open; an empty side is the border
    #[arg(long, value_name = "X0:X1,Y0:Y1,Z0:Z1")]
    pub(crate) region: Option<RegionArg>,
    /// Encode only part I of N, counted from 0 (0/4, 1/4, 2/4, 3/4), with the default target or
    /// --quality; `hgv merge` joins the parts
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Heap budget
    #[arg(long, value_name = "BYTES", default_value = "768MiB", value_parser = values::bytes)]
    pub(crate) memory: u64,
    /// Folder for scratch files [default: beside the output]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// Code NaN and infinities as a lossless mask instead of refusing them
    #[arg(long)]
    pub(crate) nan_mask: bool,
    /// Convert the voxels to this type first, rounded and clamped
    #[arg(long, value_name = "T", value_parser = values::dtype)]
    pub(crate) cast: Option<DType>,
    /// Where the search for an SSIM starts: predicted, survey or log2(range / step); for measurements
    #[arg(long, hide = true, default_value = "predicted", value_parser = values::first_guess)]
    pub(crate) first_guess: FirstGuess,
}

/// What the encoded file must meet: at most one of these.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Target, one of (default: --quality 60)")]
#[group(required = false, multiple = false)]
pub(crate) struct TargetArgs {
    /// 0 to 100: one step size for the whole volume, no search
    #[arg(long, value_name = "Q", value_parser = values::quality)]
    pub(crate) quality: Option<f64>,
    /// At least this PSNR in dB, by less than 0.3 dB more where the volume has such an encode
    #[arg(long, value_name = "DB", value_parser = values::positive)]
    pub(crate) psnr: Option<f64>,
    /// At least these SSIM values at levels of detail 0, 1, 2, 3; one of them is met by less than 0.01
    /// more
    #[arg(long, value_name = "S0,S1,S2,S3")]
    pub(crate) ssim: Option<SsimTarget>,
    /// At least this many times smaller than the voxels, by less than 5 %
    #[arg(long, value_name = "R", value_parser = values::positive)]
    pub(crate) ratio: Option<f64>,
    /// At most this many bytes (20000000, 20M, 20MiB)
    #[arg(long, value_name = "N", value_parser = values::bytes)]
    pub(crate) bytes: Option<u64>,
    /// No voxel off by more than this
    #[arg(long, value_name = "E", value_parser = values::positive)]
    pub(crate) max_error: Option<f64>,
    /// No voxel off by more than this share of max - min
    #[arg(long, value_name = "E", value_parser = values::positive)]
    pub(crate) max_error_rel: Option<f64>,
    /// Every voxel comes back bit for bit
    #[arg(long)]
    pub(crate) lossless: bool,
}

impl TargetArgs {
    /// The one target that was named, if any.
    pub(crate) fn target(&self) -> Option<Target> {
        self.quality
            .map(Target::Quality)
            .or(self.psnr.map(Target::Psnr))
            .or(self.ssim.map(|s| Target::Ssim(s.0)))
            .or(self.ratio.map(Target::Ratio))
            .or(self.bytes.map(Target::Bytes))
            .or(self.max_error.map(Target::MaxError))
            .or(self.max_error_rel.map(Target::MaxErrorRel))
            .or(self.lossless.then_some(Target::Lossless))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PresetWord {
    Fast,
    Balanced,
    Best,
}

impl From<PresetWord> for Preset {
    fn from(word: PresetWord) -> Self {
        match word {
            PresetWord::Fast => Self::Fast,
            PresetWord::Balanced => Self::Balanced,
            PresetWord::Best => Self::Best,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelWord {
    Auto,
    Hashgrid,
    Dense,
}

impl ModelWord {
    pub(crate) fn choice(self) -> ModelChoice {
        match self {
            Self::Auto => ModelChoice::Auto,
            Self::Dense => ModelChoice::Dense,
            Self::Hashgrid => ModelChoice::Hashgrid,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendWord {
    Auto,
    Cpu,
    Cuda,
}

impl From<BackendWord> for BackendChoice {
    fn from(word: BackendWord) -> Self {
        match word {
            BackendWord::Auto => Self::Auto,
            BackendWord::Cpu => Self::Cpu,
            BackendWord::Cuda => Self::Cuda,
        }
    }
}

/// What the work is done with.
#[derive(Debug, Clone, Args)]
pub(crate) struct MachineArgs {
    /// Where the work is done: auto takes NVIDIA GPUs if there are any, else the CPU
    #[arg(long, value_enum, env = "HGV_BACKEND", default_value_t = BackendWord::Auto)]
    pub(crate) backend: BackendWord,
    /// Memory to use of each GPU [default: all that is free]
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    pub(crate) gpu_memory: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hgv decode head.hgv -o head.nrrd
  hgv decode head.hgv -o preview.nii.gz --lod 2 --level 0
  hgv decode head.hgv -o crop.npy --region 0:64,100:200,:

The name of the output says its format: .nrrd .nii .nii.gz .mrc .tif .npy .raw. With --lod the
region counts voxels of that level of detail.")]
pub(crate) struct DecodeArgs {
    /// File to decode: a path, or an address (http, https, s3, gs, az)
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// Volume file to write
    #[arg(short, long, value_name = "OUT.{nrrd,nii,nii.gz,mrc,tif,npy,raw}")]
    pub(crate) output: PathBuf,
    /// Level of detail: 0 is the full resolution, each next one halves every axis
    #[arg(long, value_name = "L", default_value_t = 0)]
    pub(crate) lod: u32,
    /// Quality level: 0 is the coarsest [default: the last]. A coarse level of detail at level 0
    /// reads a fraction of the bytes; at later levels it needs all layers up to them
    #[arg(long, value_name = "K")]
    pub(crate) level: Option<u32>,
    /// Decode only this box, half open; an empty side is the border
    #[arg(long, value_name = "X0:X1,Y0:Y1,Z0:Z1")]
    pub(crate) region: Option<RegionArg>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Heap budget
    #[arg(long, value_name = "BYTES", default_value = "768MiB", value_parser = values::bytes)]
    pub(crate) memory: u64,
    /// Folder for scratch files of very wide volumes [default: beside the output]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hgv info head.hgv
  hgv info head.hgv --json
  hgv info head.hgv --blocks
  hgv info https://example.org/head.hgv")]
pub(crate) struct InfoArgs {
    /// File to describe: a path, or an address (http, https, s3, gs, az)
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// List every block too (in JSON: `block_list`)
    #[arg(long)]
    pub(crate) blocks: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hgv verify head.hgv
  hgv verify head.hgv --against head.nrrd

Exit status 1 if a check failed.")]
pub(crate) struct VerifyArgs {
    /// File to check: a path, or an address (http, https, s3, gs, az)
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// Also hold the stored error figures against the volume it was encoded from
    #[arg(long, value_name = "ORIGINAL")]
    pub(crate) against: Option<PathBuf>,
    /// Folder for the scratch file of a compressed input [default: that of the system]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) raw: InputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hgv compare head.nrrd head.hgv
  hgv compare head.nrrd head.hgv --level 0 --json
  hgv compare head.nrrd head.hgv --lod 2

The data range is taken from A. With --lod, the decode of B at that level of detail is compared
with A reduced by the filter of B. --lod and --level belong to B if it is a .hgv file, else to A.
Raw options describe every input whose name does not say how its voxels lie.")]
pub(crate) struct CompareArgs {
    /// Reference: any readable volume or .hgv file; a .hgv file may be an address
    #[arg(value_name = "A")]
    pub(crate) a: PathBuf,
    /// Measured against it: any readable volume or .hgv file; a .hgv file may be an address
    #[arg(value_name = "B")]
    pub(crate) b: PathBuf,
    /// Level of detail
    #[arg(long, value_name = "L", default_value_t = 0)]
    pub(crate) lod: u32,
    /// Quality level [default: the last]
    #[arg(long, value_name = "K")]
    pub(crate) level: Option<u32>,
    /// Folder for the scratch file of a compressed input [default: that of the system]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) raw: InputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hgv analyze head.nrrd
  hgv analyze head.nrrd --ssim 0.95,0.97,0.99,0.995 --json
  hgv analyze head.nrrd --report head.html

Complexity is how much the direction of the gradient changes between neighbouring voxels: 0 in a ramp,
0.5 in noise. It is given for levels of detail 0 to 3. Predictions come from a small network that was
trained on encodes with --preset balanced.")]
pub(crate) struct AnalyzeArgs {
    /// Volume to analyze: any readable volume or .hgv file
    #[arg(value_name = "INPUT")]
    pub(crate) input: PathBuf,
    /// Least SSIM at levels of detail 0, 1, 2, 3 to predict parameters for
    #[arg(
        long,
        value_name = "S0,S1,S2,S3",
        default_value = "0.95,0.97,0.98,0.99"
    )]
    pub(crate) ssim: SsimTarget,
    /// Patches of 64^3 voxels to look at, at most
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) patches: u32,
    /// Write a page with pictures
    #[arg(long, value_name = "OUT.html")]
    pub(crate) report: Option<PathBuf>,
    /// Folder for the scratch file of a compressed input [default: that of the system]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) raw: InputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hgv recover head.hgv.partial -o head.hgv
  hgv recover damaged.hgv -o whole.hgv --force

Exit status 0 if nothing was lost, 1 if blocks are missing from the result.")]
pub(crate) struct RecoverArgs {
    /// Unfinished or damaged file
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// File to write
    #[arg(short, long, value_name = "OUT.hgv")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hgv merge part0.hgv part1.hgv part2.hgv part3.hgv -o whole.hgv
  hgv merge part?.hgv -o whole.hgv --force

The parts come from `hgv encode --shard 0/4` to `--shard 3/4` with the same options.")]
pub(crate) struct MergeArgs {
    /// Parts to join
    #[arg(value_name = "A.hgv B.hgv", required = true, num_args = 1..)]
    pub(crate) inputs: Vec<PathBuf>,
    /// File to write
    #[arg(short, long, value_name = "OUT.hgv")]
    pub(crate) output: PathBuf,
}

#[cfg(feature = "http")]
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hgv serve volumes/
  hgv serve volumes/ --addr 0.0.0.0:8080 --rate 200
  hgv info http://127.0.0.1:8080/head.hgv

Only folders and files whose names end in .hgv are shown, none whose name starts with a dot, and
nothing outside the folder. Folders are pages with pictures; with ?json, or Accept: application/json,
JSON. PATH.hgv?thumbnail is the picture, /metrics has counters for Prometheus. The access log is on
standard error. There is no TLS and no password: put a proxy that has both in front of it before
others can reach it.")]
pub(crate) struct ServeArgs {
    /// Folder, or one .hgv file
    #[arg(value_name = "FOLDER_OR_FILE")]
    pub(crate) path: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) addr: std::net::SocketAddr,
    /// Connections at once; more wait
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,
    /// Requests a second from one address; 0 = any number
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) rate: u32,
    /// Origin whose pages may read: one, or * for all
    #[arg(long, value_name = "ORIGIN", default_value = "*")]
    pub(crate) allow_origin: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hgv devices
  hgv devices --json")]
pub(crate) struct DevicesArgs {
    /// Memory to use of each GPU [default: all that is free]
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    pub(crate) gpu_memory: Option<u64>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definition_is_sound_and_every_help_has_an_example() {
        Cli::command().debug_assert();
        for sub in Cli::command().get_subcommands() {
            let help = sub
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let line = format!("  hgv {} ", sub.get_name());
            assert!(help.contains(&line), "no example in {}", sub.get_name());
        }
    }

    #[test]
    fn targets_exclude_each_other() {
        let parse = |extra: &[&str]| {
            let mut words = vec!["hgv", "encode", "a.nrrd", "-o", "b.hgv"];
            words.extend(extra);
            Cli::try_parse_from(words)
        };
        let target = |extra: &[&str]| match parse(extra).unwrap().command {
            Command::Encode(e) => e.target.target(),
            other => panic!("{other:?}"),
        };
        assert_eq!(target(&[]), None);
        assert_eq!(target(&["--psnr", "40"]), Some(Target::Psnr(40.0)));
        assert_eq!(target(&["--bytes", "2M"]), Some(Target::Bytes(2_000_000)));
        assert_eq!(target(&["--lossless"]), Some(Target::Lossless));
        assert!(parse(&["--psnr", "40", "--lossless"]).is_err());
        assert!(parse(&["--quality", "40", "--ratio", "8"]).is_err());
    }
}
