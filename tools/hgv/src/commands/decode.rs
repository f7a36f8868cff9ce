//! `hgv decode`: a .hgv file, or a part of it, into a volume file.

use std::ops::ControlFlow;

use hgv::encode::Progress;
use hgv::volume::{DType, Extent, Region, VoxelSource};
use hgv::{Error, Result, Volume};
use serde::Serialize;

use super::{Context, Outcome, mvoxels_per_second};
use crate::args::DecodeArgs;
use crate::backend_api::VolumeFile;
use crate::input;
use crate::machine;
use crate::output::human_extent;
use crate::paths;
use crate::progress;
use crate::slabs::{self, Plan};

#[derive(Serialize)]
struct Json {
    output: String,
    extent: Extent,
    start: [u64; 3],
    order: &'static str,
    dtype: DType,
    lod: u32,
    level: u32,
    backend: String,
    seconds: f64,
    mvoxels_per_second: f64,
}

pub(crate) fn run(args: &DecodeArgs, context: &Context) -> Result<Outcome> {
    paths::check_input(&args.input)?;
    paths::check_output(&args.output, [args.input.as_path()], context.force)?;
    let volume = input::open_hgv(&args.input, context)?;
    let devices = machine::find(&args.machine, &context.output)?;
    let volume = input::on_devices(volume, devices);
    let view = input::view(&volume, args.lod, args.level)?;
    let region = match &args.region {
        Some(region) => region.within(view.extent())?,
        None => Region::whole(view.extent()),
    };
    write(args, &volume, view.as_ref(), region, context)
        .map_err(|e| e.in_file(args.input.display()))?;
    report(args, &volume, view.dtype(), region, context)?;
    Ok(Outcome::Done)
}

fn write(
    args: &DecodeArgs,
    volume: &Volume,
    view: &dyn VoxelSource,
    region: Region,
    context: &Context,
) -> Result<()> {
    let metadata = view.metadata().cropped(region.start);
    let mut file = VolumeFile::create(
        &args.output,
        region.extent(),
        view.dtype(),
        &metadata,
        context.force,
    )?;
    let plan = Plan {
        region,
        block: volume.block_side(args.lod)?,
        // The other half is the decoder's own.
        budget: args.memory / 2,
        scratch: args
            .scratch
            .as_deref()
            .unwrap_or_else(|| paths::folder_of(&args.output)),
    };
    let total = region.voxels();
    let mut done = |done| check(context, done, total);
    done(0)?;
    slabs::stream(view, &plan, &mut |slices| file.write(slices), &mut done)?;
    context.progress.clear();
    for notice in file.finish()? {
        context.output.note(&notice);
    }
    Ok(())
}

fn check(context: &Context, done: u64, total: u64) -> Result<()> {
    let progress = Progress {
        phase: "decode",
        done,
        total,
    };
    match context.progress.update(progress) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}

fn report(
    args: &DecodeArgs,
    volume: &Volume,
    dtype: DType,
    region: Region,
    context: &Context,
) -> Result<()> {
    let seconds = context.seconds();
    let json = Json {
        output: args.output.display().to_string(),
        extent: region.extent(),
        start: region.start,
        order: "xyz",
        dtype,
        lod: args.lod,
        level: input::last_or(args.level, volume),
        backend: volume.backend(),
        seconds,
        mvoxels_per_second: mvoxels_per_second(region.voxels(), seconds),
    };
    context.output.result(&json, || {
        format!(
            "{}: {} {} (level of detail {}, quality level {}), {} ({:.1} Mvoxel/s), {}",
            json.output,
            human_extent(json.extent),
            json.dtype,
            json.lod,
            json.level,
            progress::seconds(seconds),
            json.mvoxels_per_second,
            json.backend
        )
    })
}
