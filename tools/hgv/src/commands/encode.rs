//! `hgv encode`: a volume file into a .hgv file.

use hgv::Result;
use hgv::encode::{EncodeOptions, EncodeReport};
use hgv::volume::{Extent, Region, VoxelSource};
use serde::Serialize;

use super::{Context, Outcome, mvoxels_per_second};
use crate::args::EncodeArgs;
use crate::backend_api;
use crate::crop::CroppedSource;
use crate::input::Input;
use crate::output::{human_bytes, human_extent, human_psnr};
use crate::paths;
use crate::progress;

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
    let options = options(args, context)?;
    paths::check_input(&args.input)?;
    paths::check_hgv_output(&args.output, [args.input.as_path()], context.force)?;
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

/// The options of the library, with everything refused that this build lacks.
fn options(args: &EncodeArgs, context: &Context) -> Result<EncodeOptions> {
    let coding = &args.coding;
    coding.backend.check()?;
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
    options.force = context.force;
    Ok(options)
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
    context.progress.clear();
    let seconds = context.seconds();
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
