//! `hgv encode`: a volume file into a .hgv file.

use std::path::Path;

use hgv::analyze::AnalyzeOptions;
use hgv::encode::{EncodeOptions, EncodeReport, Target};
use hgv::volume::{Extent, Region, VoxelSource};
use hgv::{Error, Result};
use serde::Serialize;

use super::{Context, Outcome, mvoxels_per_second};
use crate::args::EncodeArgs;
use crate::backend_api;
use crate::crop::CroppedSource;
use crate::input::{self, Input};
use crate::machine;
use crate::output::{human_bytes, human_extent, human_psnr};
use crate::paths;
use crate::progress;
use crate::report::{self, Encoded, Subject};

#[derive(Serialize)]
struct Json<'a> {
    output: String,
    extent: Extent,
    order: &'static str,
    #[serde(flatten)]
    report: &'a EncodeReport,
    seconds: f64,
    mvoxels_per_second: f64,
}

pub(crate) fn run(args: &EncodeArgs, context: &Context) -> Result<Outcome> {
    let mut options = options(args, context);
    paths::check_input(&args.input)?;
    paths::check_hgv_output(&args.output, [args.input.as_path()], context.force)?;
    if let Some(report) = &args.report {
        refuse_report(args, report, context)?;
    }
    options.device = machine::find(&args.coding.machine, &context.output)?
        .into_iter()
        .next();
    let scratch = args
        .coding
        .scratch
        .as_deref()
        .unwrap_or_else(|| paths::folder_of(&args.output));
    let cast = args.coding.cast;
    let input = Input::open(&args.input, &args.raw, cast, Some(scratch), context)?;
    let whole = input.source()?;
    match &args.coding.region {
        None => encode(whole.as_ref(), args, &options, context),
        Some(region) => {
            let region = region.within(whole.extent())?;
            let crop = CroppedSource::new(whole.as_ref(), region)?;
            encode(&crop, args, &options, context)
        }
    }
}

/// The options of the library, without a machine.
fn options(args: &EncodeArgs, context: &Context) -> EncodeOptions {
    let coding = &args.coding;
    let mut options = EncodeOptions::default();
    if let Some(target) = args.target.target() {
        options.target = target;
    }
    options.model = coding.model.choice();
    options.table_log2 = coding.table_log2;
    options.levels = coding.levels;
    options.block = coding.block;
    options.preset = coding.preset.into();
    options.threads = context.threads;
    options.seed = coding.seed;
    options.memory = coding.memory;
    options.scratch.clone_from(&coding.scratch);
    options.shard = coding.shard.map(|s| (s.index, s.count));
    options.nan_mask = coding.nan_mask;
    options.first_guess = coding.first_guess;
    options.force = context.force;
    options
}

/// Checks the place of the page before any work.
fn refuse_report(args: &EncodeArgs, page: &Path, context: &Context) -> Result<()> {
    if args.coding.shard.is_some() {
        return Err(Error::argument(
            "--report shows a whole volume, not a --shard of it",
        ));
    }
    let others = [args.input.as_path(), args.output.as_path()];
    paths::check_page_output(page, others, context.force)
}

/// The page of `--report`.
fn page(
    source: &dyn VoxelSource,
    args: &EncodeArgs,
    options: &EncodeOptions,
    encoded: &EncodeReport,
    context: &Context,
) -> Result<String> {
    let (analysis, prediction) = backend_api::analyze(
        source,
        AnalyzeOptions::default().with_threads(context.threads),
        &|p| context.progress.update(p),
    )?;
    let volume = input::open_hgv(&args.output, context)?;
    let levels = (0..volume.levels())
        .map(|level| {
            let view = volume.view(0, level)?;
            backend_api::compare(source, &view, context.threads, &|p| {
                context.progress.update(p)
            })
        })
        .collect::<Result<_>>()?;
    let subject = Subject {
        name: args.input.display().to_string(),
        source,
        analysis: &analysis,
        prediction: &prediction,
        parameters: parameters(options, encoded),
    };
    let encoded = Encoded {
        name: args.output.display().to_string(),
        volume: &volume,
        report: encoded,
        levels,
    };
    report::build(&subject, Some(&encoded))
}

fn parameters(options: &EncodeOptions, encoded: &EncodeReport) -> Vec<[String; 2]> {
    let row = |name: &str, value: String| [name.to_owned(), value];
    vec![
        row("target", target_words(options.target)),
        row("preset", format!("{:?}", options.preset).to_lowercase()),
        row("model", format!("{:?}", options.model).to_lowercase()),
        row("block", format!("{} voxels", options.block)),
        row("quality levels", options.levels.to_string()),
        row("encode passes", encoded.passes.to_string()),
        row("backend", encoded.backend.clone()),
    ]
}

fn target_words(target: Target) -> String {
    match target {
        Target::Quality(q) => format!("quality {q}"),
        Target::Psnr(db) => format!("PSNR of {db} dB"),
        Target::Ssim(s) => format!("SSIM of {}", s.map(|v| v.to_string()).join(", ")),
        Target::Ratio(r) => format!("{r}:1"),
        Target::Bytes(n) => human_bytes(n),
        Target::MaxError(e) => format!("no error over {e}"),
        Target::MaxErrorRel(e) => format!("no error over {e} of the range"),
        Target::Lossless => "lossless".into(),
        other => format!("{other:?}"),
    }
}

fn encode(
    source: &dyn VoxelSource,
    args: &EncodeArgs,
    options: &EncodeOptions,
    context: &Context,
) -> Result<Outcome> {
    let report = backend_api::encode(source, &args.output, options, &|p| {
        context.progress.update(p)
    })?;
    let seconds = context.seconds();
    if let Some(path) = &args.report {
        let page = page(source, args, options, &report, context)?;
        report::write(path, page.as_bytes(), context.force)?;
    }
    context.progress.clear();
    let speed = mvoxels_per_second(Region::whole(source.extent()).voxels(), seconds);
    let json = Json {
        output: args.output.display().to_string(),
        extent: source.extent(),
        order: "xyz",
        report: &report,
        seconds,
        mvoxels_per_second: speed,
    };
    context.output.result(&json, || {
        format!(
            "{}: {} {}, {}, {:.2}:1 ({:.4} bits/voxel), {}, {} ({speed:.1} Mvoxel/s, {}), {}",
            json.output,
            human_extent(json.extent),
            source.dtype(),
            human_bytes(report.file_bytes),
            report.ratio,
            report.bits_per_voxel,
            human_psnr(report.psnr),
            progress::seconds(seconds),
            cost(&report),
            report.backend
        )
    })?;
    Ok(Outcome::Done)
}

/// `1 pass`, or what a search cost: `2.13 passes`.
fn cost(report: &EncodeReport) -> String {
    if report.cost == 1.0 {
        "1 pass".into()
    } else {
        format!("{:.2} passes", report.cost)
    }
}
