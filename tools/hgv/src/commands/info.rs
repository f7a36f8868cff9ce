//! `hgv info`: what a .hgv file says of itself.

use std::fmt::Write as _;

use hgv::decode::{GridLevelInfo, GridModelInfo, Info, LevelInfo};
use hgv::volume::Metadata;
use hgv::{Result, Volume};
use serde::Serialize;

use super::{Context, Outcome};
use crate::args::InfoArgs;
use crate::backend_api::{self, BlockRow};
use crate::input;
use crate::output::{human_bytes, human_extent, human_psnr};

#[derive(Serialize)]
struct Json<'a> {
    path: String,
    order: &'static str,
    #[serde(flatten)]
    info: &'a Info,
    metadata: &'a Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_list: Option<Vec<BlockRow>>,
}

pub(crate) fn run(args: &InfoArgs, context: &Context) -> Result<Outcome> {
    let volume = input::open_hgv(&args.input, context)?;
    let info = volume.info()?;
    let json = Json {
        path: args.input.display().to_string(),
        order: "xyz",
        info: &info,
        metadata: volume.metadata(),
        block_list: block_list(args, &volume)?,
    };
    context.output.result(&json, || table(&json))?;
    Ok(Outcome::Done)
}

fn block_list(args: &InfoArgs, volume: &Volume) -> Result<Option<Vec<BlockRow>>> {
    args.blocks.then(|| backend_api::blocks(volume)).transpose()
}

fn table(json: &Json<'_>) -> String {
    let info = json.info;
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<11} {value}");
    };
    row("file", json.path.clone());
    row("extent", format!("{} (x, y, z)", human_extent(info.extent)));
    row("dtype", info.dtype.to_string());
    row("spacing", spacing(info));
    row("size", size(info));
    row("blocks", info.blocks.to_string());
    row("models", models(info));
    for model in info.grid_models.iter().filter(|m| m.blocks > 0) {
        row("grid", grid_line(model));
    }
    if let Some(n) = info.distinct_values {
        row("ranks", format!("{n} distinct values"));
    }
    row("lods", info.lods.to_string());
    row("levels", info.levels.len().to_string());
    for (index, level) in info.levels.iter().enumerate() {
        let _ = writeln!(text, "  {index}: {}", level_line(level));
    }
    for block in json.block_list.iter().flatten() {
        let _ = writeln!(text, "{}", block_line(block));
    }
    text
}

fn spacing(info: &Info) -> String {
    let [x, y, z] = info.spacing;
    let unit = info.unit.as_deref().unwrap_or("(no unit)");
    format!("{x} x {y} x {z} {unit}")
}

fn size(info: &Info) -> String {
    format!(
        "{} ({:.2}:1, {:.4} bits/voxel)",
        human_bytes(info.file_bytes),
        info.ratio,
        info.bits_per_voxel
    )
}

fn models(info: &Info) -> String {
    let counts: Vec<_> = info
        .models
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    counts.join(", ")
}

/// Order, network and levels of a grid model: vertices of a whole block, or entries of a table.
fn grid_line(model: &GridModelInfo) -> String {
    let order = if model.order == 1 { "linear" } else { "cubic" };
    let network = model.network.as_ref().map_or_else(String::new, |n| {
        let hidden = format!(" {}", n.width).repeat(n.hidden.into());
        format!(", network {}{hidden} 1 where it pays", n.inputs)
    });
    let levels: Vec<_> = model.levels.iter().map(grid_level).collect();
    format!(
        "{order}, {} blocks{network}; levels {}",
        model.blocks,
        levels.join(", ")
    )
}

fn grid_level(level: &GridLevelInfo) -> String {
    let side = (level.vertices as f64).cbrt().round();
    match level.table {
        Some(entries) => format!("{side}^3 hashed to {entries}"),
        None => format!("{side}^3"),
    }
}

fn level_line(level: &LevelInfo) -> String {
    format!(
        "{}, {}, SSIM {}, largest error {}",
        human_bytes(level.bytes),
        human_psnr(level.psnr),
        ssim(&level.ssim),
        level
            .max_abs_error
            .map_or_else(|| "-".into(), |e| format!("{e:.4}"))
    )
}

fn ssim(values: &[Option<f64>]) -> String {
    let words: Vec<_> = values
        .iter()
        .map(|v| v.map_or_else(|| "-".into(), |s| format!("{s:.4}")))
        .collect();
    words.join(" ")
}

fn block_line(block: &BlockRow) -> String {
    let [x, y, z] = block.block;
    let bytes: Vec<_> = block.bytes.iter().map(u64::to_string).collect();
    let range = block.range.map_or_else(String::new, |[low, high]| {
        format!(", values {low} to {high}")
    });
    format!(
        "block {x},{y},{z}: {}, bytes {}{range}",
        block.model,
        bytes.join(" ")
    )
}
