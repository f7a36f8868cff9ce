//! The page with pictures that `--report` writes: one HTML file that needs nothing else.
//!
//! Owns what is on the page. Reads slices of the source and of the decoded file, never all of them in memory.

mod chart;
mod page;
pub(crate) mod picture;

use std::io::Write as _;
use std::path::Path;

use hgv::analyze::{Analysis, ComplexityMap, complexity_map};
use hgv::encode::EncodeReport;
use hgv::predict::{Expected, Prediction};
use hgv::volume::VoxelSource;
use hgv::{Error, Result, Volume};
use serde_json::Value;

use crate::output::{human_bytes, human_extent, human_psnr};
use crate::paths;
use chart::{Axis, Chart, Mark, Series};
use picture::{AXES, Colours, PLANES, Plane};

/// Boxes of a complexity map along a side, at most.
const MAP_SIDE: u32 = 96;
/// Exponents of predicted curves: halves from 1 to 10.
const CURVE: std::ops::RangeInclusive<u32> = 2..=20;

/// A volume and what was found out about it before an encode.
pub(crate) struct Subject<'a> {
    /// Name of the input.
    pub(crate) name: String,
    pub(crate) source: &'a dyn VoxelSource,
    pub(crate) analysis: &'a Analysis,
    pub(crate) prediction: &'a Prediction,
    /// What was asked for and set, in words: rows of the table of parameters.
    pub(crate) parameters: Vec<[String; 2]>,
}

/// A file that was made of it.
pub(crate) struct Encoded<'a> {
    /// Name of the file.
    pub(crate) name: String,
    pub(crate) volume: &'a Volume,
    pub(crate) report: &'a EncodeReport,
    /// `compare` of each quality level.
    pub(crate) levels: Vec<Value>,
}

/// The page, as text.
///
/// # Errors
/// Whatever reading the slices returns.
pub(crate) fn build(subject: &Subject<'_>, encoded: Option<&Encoded<'_>>) -> Result<String> {
    let mut sections = page::section("Slices and complexity", &complexity(subject)?);
    if let Some(encoded) = encoded {
        sections += &page::section("Error", &errors(subject, encoded)?);
        sections += &page::section("Rate and distortion", &measured(subject, encoded)?);
    } else {
        sections += &page::section("Predicted", &page::row(&curves(subject, None)));
    }
    sections += &page::section("Values", &values(subject));
    sections += &page::section("Parameters", &parameters(subject));
    let lead = lead(subject, encoded);
    Ok(page::document(&subject.name, &lead, &sections))
}

/// Writes a page or picture beside its place and gives it its name when it is whole.
///
/// # Errors
/// [`Error::Io`], [`Error::Exists`].
pub(crate) fn write(path: &Path, bytes: &[u8], force: bool) -> Result<()> {
    let failed = |e| Error::io(path.display().to_string(), e);
    let mut file = temporary(paths::folder_of(path)).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.flush().map_err(failed)?;
    if force {
        file.persist(path).map_err(|e| failed(e.error))?;
        return Ok(());
    }
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::Exists {
            path: path.to_path_buf(),
            hint: "use --force to replace it",
        }),
        Err(e) => Err(failed(e.error)),
    }
}

/// A file without a place yet, with the permissions of any new file.
fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.prefix(".hgv-report-").tempfile_in(folder)
}

fn lead(subject: &Subject<'_>, encoded: Option<&Encoded<'_>>) -> String {
    let a = subject.analysis;
    let volume = format!(
        "{} {}, values {} to {}",
        human_extent(a.extent),
        a.dtype,
        a.min,
        a.max
    );
    let file = encoded.map_or_else(String::new, |e| {
        let size = human_bytes(e.report.file_bytes);
        let psnr = human_psnr(e.report.psnr);
        format!(
            "; {}: {size}, {:.2}:1, {:.4} bits per voxel, {psnr}",
            e.name, e.report.ratio, e.report.bits_per_voxel
        )
    });
    page::escape(&format!("{volume}{file}"))
}

/// Middle of the volume across each axis.
fn middle(subject: &Subject<'_>, axis: usize) -> u64 {
    subject.analysis.extent[axis] / 2
}

/// Width over height of a slice in the units of the volume, kept between 1/4 and 4.
fn aspect(subject: &Subject<'_>, axis: usize) -> f64 {
    let spacing = subject.source.metadata().spacing;
    let [a, b] = PLANES[axis].map(|a| subject.analysis.extent[a] as f64 * spacing[a].abs());
    let aspect = a / b;
    if aspect.is_finite() {
        aspect.clamp(0.25, 4.0)
    } else {
        1.0
    }
}

/// `x-y at z = 64`.
fn place(subject: &Subject<'_>, axis: usize) -> String {
    let [a, b] = PLANES[axis].map(|a| AXES[a]);
    format!("{a}-{b} at {} = {}", AXES[axis], middle(subject, axis))
}

/// Values between which grey runs: all but half a percent of the voxels at each end.
fn window(analysis: &Analysis) -> (f64, f64) {
    let all: u64 = analysis.histogram.iter().sum();
    let step = (analysis.max - analysis.min) / analysis.histogram.len().max(1) as f64;
    let beyond = |bins: &mut dyn Iterator<Item = &u64>| {
        let mut sum = 0;
        bins.take_while(|&&n| {
            sum += n;
            200 * sum <= all
        })
        .count() as f64
    };
    let low = analysis.min + beyond(&mut analysis.histogram.iter()) * step;
    let high = analysis.max - beyond(&mut analysis.histogram.iter().rev()) * step;
    if low < high {
        (low, high)
    } else {
        (analysis.min, analysis.max)
    }
}

fn grey(subject: &Subject<'_>, axis: usize, plane: &Plane, what: &str) -> Result<String> {
    let (low, high) = window(subject.analysis);
    let uri = picture::data_uri(plane, low, high, Colours::Grey)?;
    let caption = format!(
        "{what}, {}. {}",
        place(subject, axis),
        page::scale(&Colours::Grey.gradient(), &short(low), &short(high))
    );
    Ok(page::picture(&uri, aspect(subject, axis), what, &caption))
}

fn complexity(subject: &Subject<'_>) -> Result<String> {
    let a = subject.analysis;
    let (mut slices, mut maps) = (String::new(), String::new());
    let planes: Vec<ComplexityMap> = (0..3)
        .map(|axis| {
            let at = middle(subject, axis);
            complexity_map(subject.source, axis, at, MAP_SIDE, (a.min, a.max))
        })
        .collect::<Result<_>>()?;
    for axis in [2, 1, 0] {
        let plane = picture::slice(subject.source, axis, middle(subject, axis))?;
        slices += &grey(subject, axis, &plane, "Original")?;
        let map = Plane {
            values: planes[axis].values.clone(),
            size: planes[axis].size,
        };
        // Noise is at one half; more is rare.
        let uri = picture::data_uri(&map, 0.0, 0.6, Colours::Heat)?;
        let caption = format!(
            "Complexity in boxes of 16\u{b3} voxels, {}. {}",
            place(subject, axis),
            page::scale(&Colours::Heat.gradient(), "0", "0.6")
        );
        maps += &page::picture(&uri, aspect(subject, axis), "Complexity", &caption);
    }
    let note = "<p>Complexity: how much the direction of the gradient changes between neighbouring voxels, weighted \
                by its length. 0: a ramp or nothing; 0.5: noise.</p>\n";
    Ok(page::row(&slices) + &page::row(&maps) + note)
}

fn errors(subject: &Subject<'_>, encoded: &Encoded<'_>) -> Result<String> {
    let decoded = encoded
        .volume
        .view(0, encoded.volume.levels().saturating_sub(1))?;
    let mut out = String::new();
    for axis in [2, 1, 0] {
        let at = middle(subject, axis);
        let original = picture::slice(subject.source, axis, at)?;
        let coded = picture::slice(&decoded, axis, at)?;
        let mut row = grey(subject, axis, &original, "Original")?;
        row += &grey(subject, axis, &coded, "Decoded")?;
        row += &difference(subject, axis, &original, &coded)?;
        out += &page::row(&row);
    }
    Ok(out)
}

/// Decoded less original, on a scale of what all but half a percent stay within.
fn difference(subject: &Subject<'_>, axis: usize, a: &Plane, b: &Plane) -> Result<String> {
    let values: Vec<f32> = a.values.iter().zip(&b.values).map(|(a, b)| b - a).collect();
    let mut sizes: Vec<f32> = values
        .iter()
        .map(|v| v.abs())
        .filter(|v| v.is_finite())
        .collect();
    sizes.sort_by(f32::total_cmp);
    let most = sizes.get(sizes.len() * 199 / 200).copied().unwrap_or(0.0);
    let most = if most > 0.0 { f64::from(most) } else { 1.0 };
    let plane = Plane {
        values,
        size: a.size,
    };
    let uri = picture::data_uri(&plane, -most, most, Colours::Signed)?;
    let caption = format!(
        "Decoded less original, {}. {}",
        place(subject, axis),
        page::scale(&Colours::Signed.gradient(), &short(-most), &short(most))
    );
    Ok(page::picture(
        &uri,
        aspect(subject, axis),
        "Difference",
        &caption,
    ))
}

/// A number with four digits that matter.
fn short(value: f64) -> String {
    let digits = (3.0 - value.abs().max(1e-9).log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').into()
    } else {
        text
    }
}

/// Table and charts of the quality levels.
fn measured(subject: &Subject<'_>, encoded: &Encoded<'_>) -> Result<String> {
    let info = encoded.volume.info()?;
    let voxels: f64 = info.extent.iter().map(|&e| e as f64).product();
    let rows: Vec<Vec<String>> = info
        .levels
        .iter()
        .zip(&encoded.levels)
        .enumerate()
        .map(|(i, (level, found))| {
            let mut row = vec![
                i.to_string(),
                human_bytes(level.bytes),
                format!("{:.4}", level.bytes as f64 * 8.0 / voxels),
                found["psnr"]
                    .as_f64()
                    .map_or_else(|| "-".into(), |p| format!("{p:.2}")),
                found["max_abs_error"]
                    .as_f64()
                    .map_or_else(|| "-".into(), short),
            ];
            row.extend(ssim_of(found).map(|s| s.map_or_else(|| "-".into(), |s| format!("{s:.4}"))));
            row
        })
        .collect();
    let head = [
        "level",
        "bytes",
        "bits per voxel",
        "PSNR dB",
        "largest error",
        "SSIM",
        "LOD 1",
        "LOD 2",
        "LOD 3",
    ];
    let bits = info
        .levels
        .iter()
        .map(|l| (l.bytes as f64 * 8.0 / voxels).max(1e-9).log10());
    let points: Vec<_> = bits.zip(&encoded.levels).collect();
    Ok(page::table(&head, &rows) + &page::row(&curves(subject, Some(&points))))
}

fn ssim_of(comparison: &Value) -> [Option<f64>; 4] {
    std::array::from_fn(|lod| comparison["ssim"][lod].as_f64())
}

/// Predicted curves of PSNR and SSIM over bits, and the measured points (log10 of bits, comparison).
fn curves(subject: &Subject<'_>, points: Option<&[(f64, &Value)]>) -> String {
    let expected: Vec<Expected> = CURVE
        .map(|e| subject.prediction.at(f64::from(e) / 2.0))
        .collect();
    let bits = |e: &Expected| e.bits_per_voxel.log10();
    let measured = points.unwrap_or_default();
    let line = |name: String, class, value: &dyn Fn(&Expected) -> f64| Series {
        name,
        class,
        mark: Mark::Line,
        points: expected.iter().map(|e| [bits(e), value(e)]).collect(),
    };
    let dots = |name: &str, class, value: &dyn Fn(&Value) -> f64| Series {
        name: name.into(),
        class,
        mark: Mark::Dots,
        points: measured.iter().map(|(b, v)| [*b, value(v)]).collect(),
    };
    let number = |v: &Value| v.as_f64().unwrap_or(f64::NAN);
    let mut psnr = vec![line("predicted".into(), 0, &|e| e.psnr)];
    let mut ssim: Vec<_> = (0..4)
        .map(|lod| {
            line(format!("SSIM at LOD {lod}, predicted"), lod, &|e| {
                e.ssim[lod].map_or(f64::NAN, decades)
            })
        })
        .collect();
    if points.is_some() {
        psnr.push(dots("quality levels, measured", 4, &|v| number(&v["psnr"])));
        ssim.extend((0..4).map(|lod| {
            let name = if lod == 0 {
                "quality levels, measured"
            } else {
                ""
            };
            dots(name, lod, &|v| {
                v["ssim"][lod].as_f64().map_or(f64::NAN, decades)
            })
        }));
    }
    let psnr = chart("PSNR over bits per voxel", psnr, |v| {
        Axis::linear("PSNR dB", v)
    });
    let ssim = chart("SSIM over bits per voxel", ssim, |v| {
        Axis::towards_one("SSIM", v)
    });
    figure(&psnr.svg()) + &figure(&ssim.svg())
}

/// `-log10(1 - SSIM)`.
fn decades(ssim: f64) -> f64 {
    -(1.0 - ssim).max(1e-6).log10()
}

fn chart(title: &str, series: Vec<Series>, y: impl Fn(std::vec::IntoIter<f64>) -> Axis) -> Chart {
    let all = || series.iter().flat_map(|s| &s.points);
    let heights = all().map(|p| p[1]).filter(|v| v.is_finite());
    Chart {
        title: title.into(),
        x: Axis::logarithmic("bits per voxel", all().map(|p| p[0])),
        y: y(heights.collect::<Vec<_>>().into_iter()),
        series,
    }
}

fn figure(svg: &str) -> String {
    format!("<figure class=\"chart\">{svg}</figure>\n")
}

fn values(subject: &Subject<'_>) -> String {
    let a = subject.analysis;
    let f = &a.features;
    let list = |v: &[f64; 4]| v.map(|x| format!("{x:.4}")).join("  ");
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("complexity at LOD 0, 1, 2, 3", list(&f.complexity)),
        row(
            "voxels without a gradient",
            format!("{:.1} %", 100.0 * f.flat),
        ),
        row("standard deviation / range", format!("{:.4}", f.std)),
        row(
            "RMS of the gradient / range, per voxel",
            format!("{:.4}", f.gradient),
        ),
        row("detail / range at LOD 0, 1, 2, 3", list(&f.detail)),
        row(
            "share of energy at high frequencies",
            format!("{:.4}", f.high_frequency),
        ),
        row("noise / range", format!("{:.5}", f.noise)),
        row("bits of the data", format!("{:.1}", f.depth)),
        row(
            "looked at",
            format!("{} patches of up to 64\u{b3} voxels", a.patches),
        ),
    ];
    let histogram = chart::histogram(&a.histogram, a.min, a.max);
    page::row(&(figure(&histogram) + &page::table(&[], &rows)))
}

fn parameters(subject: &Subject<'_>) -> String {
    let rows: Vec<_> = subject.parameters.iter().map(|p| p.to_vec()).collect();
    page::table(&[], &rows)
}
