//! The words of `hgv render`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use hgv::render::{Mode, Orbit, Preset, Sampling, ToneMapping};

use crate::args::{InputArgs, MachineArgs};
use crate::values::{self, RegionArg};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hgv render head.hgv -o head.png
  hgv render head.hgv -o head.png --size 1920x1080 --orbit 60,10 --transfer ct-bone
  hgv render https://example.org/scan.hgv -o scan.png --time 5
  hgv render head.hgv -o turn.png --turntable 36
  hgv render head.hgv -o compare.png --against head.nrrd
  hgv render head.nrrd -o max.png --mode maximum
  hgv render head.hgv -o lit.png --shadows --ambient-occlusion
  hgv render head.hgv -o still.exr --path-trace --samples 256 --scene light.json
  hgv render head.hgv -o film.png --keyframes film.json

A .hgv file is read as far as the picture needs it, also from an address; other volume files are read whole
into memory. Without --transfer, opacity and colour follow from the histogram of the values. With --against
the picture shows the original on the left, the file in the middle, and ten times the difference on the
right; the result has the SSIM of the two pictures.")]
pub(crate) struct RenderArgs {
    /// Volume to show: a path, or an address of a .hgv file (http, https)
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// Picture to write; with --turntable and --keyframes OUT-000.png and so on. OpenEXR has linear light,
    /// whatever exposure and tone
    #[arg(short, long, value_name = "OUT.png|OUT.exr")]
    pub(crate) output: PathBuf,
    /// Width and height of the picture in pixels
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = size)]
    pub(crate) size: [u32; 2],
    /// Seconds after which the picture is drawn from what is there by then [default: until all is there]
    #[arg(long, value_name = "SECONDS", value_parser = values::positive)]
    pub(crate) time: Option<f64>,
    /// Memory for voxels of a .hgv file; where the view needs more, coarser levels of detail are shown
    #[arg(long, value_name = "BYTES", default_value = "2GiB", value_parser = values::bytes)]
    pub(crate) memory: u64,
    /// Draw this volume too, beside it, with the same camera and light
    #[arg(long, value_name = "ORIGINAL", conflicts_with = "turntable")]
    pub(crate) against: Option<PathBuf>,
    /// Pictures of one turn around the z axis
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10000))]
    pub(crate) turntable: Option<u32>,
    #[command(flatten)]
    pub(crate) camera: CameraArgs,
    #[command(flatten)]
    pub(crate) look: LookArgs,
    #[command(flatten)]
    pub(crate) caps: CapArgs,
    /// On a GPU: exact draws what the CPU draws, fast rounds places between voxels to 1/256
    #[arg(long, value_name = "exact|fast", default_value = "exact")]
    pub(crate) sampling: SamplingArg,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) raw: InputArgs,
    #[command(flatten)]
    pub(crate) light: LightArgs,
}

/// Light, scenes and films.
#[derive(Debug, Args)]
#[command(next_help_heading = "Light, scenes and films")]
pub(crate) struct LightArgs {
    /// Lights are dimmed by what they come through
    #[arg(long)]
    pub(crate) shadows: bool,
    /// Light from all sides is dimmed by what is near, at most by this part, 0 to 1 [default: 1]
    #[arg(long, value_name = "STRENGTH", num_args = 0..=1, default_missing_value = "1", value_parser = part)]
    pub(crate) ambient_occlusion: Option<f32>,
    /// Lights, material, environment, background, clipping, mode and transfer function; what the file has
    /// goes before --transfer, --mode, --region and --background
    #[arg(long, value_name = "FILE.json")]
    pub(crate) scene: Option<PathBuf>,
    /// Follow the paths of light: soft shadows, light between parts of the volume, and noise that goes with
    /// the number of samples
    #[arg(long)]
    pub(crate) path_trace: bool,
    /// Paths of each pixel
    #[arg(long, value_name = "N", default_value_t = 64, requires = "path_trace", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) samples: u32,
    /// Seconds after which no more paths are followed
    #[arg(long, value_name = "SECONDS", requires = "path_trace", value_parser = values::positive)]
    pub(crate) time_budget: Option<f64>,
    /// Chooses the random numbers of paths: equal seeds, equal pictures
    #[arg(long, value_name = "N", default_value_t = 0, requires = "path_trace")]
    pub(crate) seed: u64,
    /// A film: {"frames": N, "keys": [{"time": T, "orbit": [AZIMUTH, ELEVATION, DISTANCE]} or
    /// {"time": T, "eye": [X, Y, Z], "look_at": [X, Y, Z]}, ...]}; keys may have a "transfer" too
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["turntable", "orbit", "eye", "against", "orthographic"])]
    pub(crate) keyframes: Option<PathBuf>,
    /// Write the picture again and again while more of the volume is read, or more paths are followed
    #[arg(long, conflicts_with_all = ["against", "turntable", "keyframes"])]
    pub(crate) progressive: bool,
}

/// Parses a part of a whole.
fn part(text: &str) -> Result<f32, String> {
    let part = text.parse().ok().filter(|p| (0.0..=1.0).contains(p));
    part.ok_or_else(|| "expected a number from 0 to 1".into())
}

/// How much of a file is fetched and shown at most.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Bounds of what is read (of .hgv files)")]
pub(crate) struct CapArgs {
    /// Finest level of detail that is fetched and shown; 0 is the full resolution. From level 1 on, blocks
    /// are shown as their coarse layers have them, which belong to the lowest quality level
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) lod: u32,
    /// Highest quality level that is fetched and shown [default: the last]
    #[arg(long, value_name = "N")]
    pub(crate) level: Option<u32>,
}

/// Where the camera is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Camera (without any of these all of the volume is in the picture)")]
pub(crate) struct CameraArgs {
    /// Degrees around the z axis and over the x-y plane, and a factor of the distance
    #[arg(long, value_name = "AZIMUTH,ELEVATION[,DISTANCE]", value_parser = orbit, allow_hyphen_values = true)]
    pub(crate) orbit: Option<Orbit>,
    /// Where the camera is, in voxels of the full resolution
    #[arg(long, value_name = "X,Y,Z", value_parser = values::point, allow_hyphen_values = true, conflicts_with_all = ["orbit", "turntable"])]
    pub(crate) eye: Option<[f32; 3]>,
    /// Where it looks [default: the middle of the volume]
    #[arg(long, value_name = "X,Y,Z", value_parser = values::point, allow_hyphen_values = true, requires = "eye")]
    pub(crate) look_at: Option<[f32; 3]>,
    /// What is up in the picture
    #[arg(long, value_name = "X,Y,Z", value_parser = values::point, allow_hyphen_values = true, requires = "eye", default_value = "0,0,1")]
    pub(crate) up: [f32; 3],
    /// Depth leaves sizes as they are
    #[arg(long, conflicts_with = "eye")]
    pub(crate) orthographic: bool,
}

/// How values look.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Look")]
pub(crate) struct LookArgs {
    /// Opacity and colour of values: ct-bone, ct-soft-tissue, mri, em, micro-ct, or a JSON file with
    /// {"opacity": [{"value": V, "opacity": 0..1}, ...], "colour": [{"value": V, "rgb": [R, G, B]}, ...]}
    #[arg(long, value_name = "PRESET|FILE.json")]
    pub(crate) transfer: Option<TransferArg>,
    /// What a ray makes of values: medium, maximum, mean or surface:VALUE
    #[arg(long, value_name = "MODE", default_value = "medium", value_parser = mode, allow_hyphen_values = true)]
    pub(crate) mode: Mode,
    /// Show this box only, in voxels of the full resolution
    #[arg(long, value_name = "X0:X1,Y0:Y1,Z0:Z1")]
    pub(crate) region: Option<RegionArg>,
    /// What is behind the volume
    #[arg(long, value_name = "black|white|clear", default_value = "black")]
    pub(crate) background: BackgroundArg,
    /// How light over white is shown
    #[arg(long, value_name = "cut|reinhard|filmic", default_value = "cut")]
    pub(crate) tone: ToneArg,
    /// Factor of all light
    #[arg(long, value_name = "F", default_value_t = 1.0, value_parser = values::positive)]
    pub(crate) exposure: f64,
    /// Distance of samples along a ray in voxels
    #[arg(long, value_name = "VOXELS", default_value_t = 0.5, value_parser = values::positive)]
    pub(crate) step: f64,
}

/// How values between voxels are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SamplingArg {
    Exact,
    Fast,
}

impl From<SamplingArg> for Sampling {
    fn from(sampling: SamplingArg) -> Self {
        match sampling {
            SamplingArg::Exact => Self::Exact,
            SamplingArg::Fast => Self::Fast,
        }
    }
}

/// What is behind the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackgroundArg {
    Black,
    White,
    Clear,
}

/// How light over white is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ToneArg {
    Cut,
    Reinhard,
    Filmic,
}

impl From<ToneArg> for ToneMapping {
    fn from(tone: ToneArg) -> Self {
        match tone {
            ToneArg::Cut => Self::Cut,
            ToneArg::Reinhard => Self::Reinhard,
            ToneArg::Filmic => Self::Filmic,
        }
    }
}

/// A preset, or a file with a transfer function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TransferArg {
    Preset(Preset),
    File(PathBuf),
}

impl FromStr for TransferArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(preset) = Preset::parse(text) {
            return Ok(Self::Preset(preset));
        }
        if text.to_ascii_lowercase().ends_with(".json") {
            return Ok(Self::File(text.into()));
        }
        let names = Preset::ALL.map(Preset::name).join(", ");
        Err(format!("expected {names}, or the name of a .json file"))
    }
}

/// Parses `WxH`.
fn size(text: &str) -> Result<[u32; 2], String> {
    const MAX: u32 = 16384;
    let pair = text
        .split_once('x')
        .and_then(|(w, h)| Some([w.parse().ok()?, h.parse().ok()?]));
    pair.filter(|[w, h]| (1..=MAX).contains(w) && (1..=MAX).contains(h))
        .ok_or_else(|| {
            format!("expected WIDTHxHEIGHT in pixels, 1 to {MAX} each, such as 1280x720")
        })
}

fn orbit(text: &str) -> Result<Orbit, String> {
    let expected =
        || "expected AZIMUTH,ELEVATION or AZIMUTH,ELEVATION,DISTANCE, such as 30,20,1.2".to_owned();
    let numbers: Option<Vec<f32>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    let (azimuth, elevation, distance) = match numbers.as_deref() {
        Some(&[a, e]) => (a, e, 1.0),
        Some(&[a, e, d]) => (a, e, d),
        _ => return Err(expected()),
    };
    let fits = azimuth.is_finite()
        && (-90.0..=90.0).contains(&elevation)
        && (0.01..=1000.0).contains(&distance);
    let orbit = Orbit {
        azimuth,
        elevation,
        distance,
        ..Orbit::default()
    };
    fits.then_some(orbit)
        .ok_or_else(|| "elevations are -90 to 90 degrees, distances 0.01 to 1000".into())
}

fn mode(text: &str) -> Result<Mode, String> {
    let value = text.strip_prefix("surface:").map(str::parse);
    match (text, value) {
        ("medium", _) => Ok(Mode::Medium),
        ("maximum", _) => Ok(Mode::Maximum),
        ("mean", _) => Ok(Mode::Mean),
        (_, Some(Ok(value))) if f32::is_finite(value) => Ok(Mode::Surface(value)),
        _ => Err("expected medium, maximum, mean or surface:VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_of_cameras_and_modes() {
        assert_eq!(size("640x480"), Ok([640, 480]));
        for bad in ["", "640", "0x1", "1x99999", "axb", "-1x2"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(orbit("30,-20, 1.5").unwrap().distance, 1.5);
        for bad in ["1", "1,2,3,4", "1,91", "nan,0", "0,0,0"] {
            assert!(orbit(bad).is_err(), "{bad}");
        }
        assert_eq!(mode("surface:-3.5"), Ok(Mode::Surface(-3.5)));
        for bad in ["surface", "surface:", "surface:nan", "max"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
        assert_eq!("mri".parse(), Ok(TransferArg::Preset(Preset::Mri)));
        assert!("mir".parse::<TransferArg>().is_err());
    }
}
