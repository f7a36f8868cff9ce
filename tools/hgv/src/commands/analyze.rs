//! `hgv analyze`: how hard a volume is to code, and which parameters it needs.

use std::fmt::Write as _;

use hgv::Result;
use hgv::analyze::{Analysis, AnalyzeOptions};
use hgv::predict::{Expected, Prediction, quality_of};
use serde::Serialize;

use super::{Context, Outcome};
use crate::args::AnalyzeArgs;
use crate::backend_api;
use crate::input::Input;
use crate::output::human_extent;
use crate::paths;
use crate::report::{self, Subject};

#[derive(Serialize)]
struct Json<'a> {
    input: String,
    order: &'static str,
    #[serde(flatten)]
    analysis: &'a Analysis,
    target: Target,
    predicted: Predicted,
    /// Expected at exponents from 0 to 12 in halves.
    curve: Vec<Expected>,
}

#[derive(Serialize)]
struct Target {
    ssim: [f64; 4],
}

/// Parameters for the target, and what to expect of them.
#[derive(Serialize)]
struct Predicted {
    /// For `--quality`.
    quality: f64,
    /// Step of the quantiser, in the unit of the voxels.
    step: f64,
    ratio: f64,
    #[serde(flatten)]
    expected: Expected,
}

impl Predicted {
    fn new(analysis: &Analysis, prediction: &Prediction, ssim: [f64; 4]) -> Self {
        let expected = prediction.at(prediction.exponent_for_ssim(ssim));
        Self {
            quality: quality_of(expected.exponent),
            step: (analysis.max - analysis.min) * (-expected.exponent).exp2(),
            ratio: 8.0 * analysis.dtype.size() as f64 / expected.bits_per_voxel,
            expected,
        }
    }
}

pub(crate) fn run(args: &AnalyzeArgs, context: &Context) -> Result<Outcome> {
    paths::check_input(&args.input)?;
    if let Some(page) = &args.report {
        paths::check_page_output(page, [args.input.as_path()], context.force)?;
    }
    let scratch = args.scratch.as_deref();
    let input = Input::open(&args.input, &args.raw, None, scratch, context)?;
    let source = input.source()?;
    let options = AnalyzeOptions::default()
        .with_threads(context.threads)
        .with_patches(args.patches);
    let (analysis, prediction) =
        backend_api::analyze(source.as_ref(), options, &|p| context.progress.update(p))?;
    context.progress.clear();
    let json = Json {
        input: args.input.display().to_string(),
        order: "xyz",
        analysis: &analysis,
        target: Target { ssim: args.ssim.0 },
        predicted: Predicted::new(&analysis, &prediction, args.ssim.0),
        curve: (0..=24)
            .map(|i| prediction.at(f64::from(i) / 2.0))
            .collect(),
    };
    if let Some(page) = &args.report {
        let subject = Subject {
            name: json.input.clone(),
            source: source.as_ref(),
            analysis: &analysis,
            prediction: &prediction,
            parameters: rows(&json)
                .map(|(name, value)| [name.to_owned(), value])
                .to_vec(),
        };
        report::write(
            page,
            report::build(&subject, None)?.as_bytes(),
            context.force,
        )?;
    }
    context.output.result(&json, || table(&json))?;
    Ok(Outcome::Done)
}

fn table(json: &Json<'_>) -> String {
    let a = json.analysis;
    let f = &a.features;
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<15} {value}");
    };
    row(
        "volume",
        format!("{}: {} {}", json.input, human_extent(a.extent), a.dtype),
    );
    row("values", format!("{} to {}", a.min, a.max));
    row(
        "complexity",
        list(&f.complexity, "at LOD 0 to 3; 0 smooth, 0.5 noise"),
    );
    row(
        "flat",
        format!("{:.1} % of the voxels have no gradient", 100.0 * f.flat),
    );
    row("deviation", format!("{:.4} of the range", f.std));
    row(
        "gradient",
        format!("{:.4} of the range per voxel, RMS", f.gradient),
    );
    row("detail", list(&f.detail, "of the range at LOD 0 to 3, RMS"));
    row("noise", format!("{:.5} of the range", f.noise));
    row(
        "looked at",
        format!("{} patches, {} voxels", a.patches, a.sampled_voxels),
    );
    for (name, value) in rows(json) {
        row(name, value);
    }
    text
}

fn list(values: &[f64; 4], unit: &str) -> String {
    format!("{} {unit}", values.map(|v| format!("{v:.4}")).join("  "))
}

/// The prediction in words.
fn rows(json: &Json<'_>) -> [(&'static str, String); 6] {
    let p = &json.predicted;
    let ssim: Vec<_> = p
        .expected
        .ssim
        .iter()
        .map(|s| s.map_or_else(|| "-".into(), |s| format!("{s:.4}")))
        .collect();
    [
        (
            "target",
            format!(
                "SSIM {}",
                json.target.ssim.map(|s| s.to_string()).join("  ")
            ),
        ),
        (
            "quality",
            format!("{:.1} (--quality, preset balanced)", p.quality),
        ),
        (
            "step",
            format!("{:.4} (range / 2^{:.2})", p.step, p.expected.exponent),
        ),
        (
            "expected size",
            format!(
                "{:.1}:1, {:.4} bits/voxel",
                p.ratio, p.expected.bits_per_voxel
            ),
        ),
        ("expected PSNR", format!("{:.1} dB", p.expected.psnr)),
        ("expected SSIM", ssim.join("  ")),
    ]
}
