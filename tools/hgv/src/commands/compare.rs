//! `hgv compare`: how far volume B is from volume A.

use std::fmt::Write as _;

use hgv::volume::VoxelSource;
use hgv::{Error, Result};
use serde::Serialize;
use serde_json::Value;

use super::{Context, Outcome};
use crate::args::CompareArgs;
use crate::backend_api;
use crate::input::{self, Input};
use crate::output::human_extent;

#[derive(Serialize)]
struct Json<'a> {
    a: String,
    b: String,
    lod: u32,
    #[serde(flatten)]
    comparison: &'a Value,
}

pub(crate) fn run(args: &CompareArgs, context: &Context) -> Result<Outcome> {
    let scratch = args.scratch.as_deref();
    let a = Input::open(&args.a, &args.raw, None, scratch, context)?;
    let b = Input::open(&args.b, &args.raw, None, scratch, context)?;
    let (reference, measured) = pair(args, &a, &b)?;
    let (left, right) = (reference.extent(), measured.extent());
    if left != right {
        return Err(Error::Input(format!(
            "{} has {} voxels, {} has {}; only equal extents compare",
            args.a.display(),
            human_extent(left),
            args.b.display(),
            human_extent(right)
        )));
    }
    let comparison = backend_api::compare(
        reference.as_ref(),
        measured.as_ref(),
        context.threads,
        &|p| context.progress.update(p),
    )?;
    context.progress.clear();
    let json = Json {
        a: args.a.display().to_string(),
        b: args.b.display().to_string(),
        lod: args.lod,
        comparison: &comparison,
    };
    context.output.result(&json, || table(&json))?;
    Ok(Outcome::Done)
}

/// A volume borrowed from one of the inputs.
type Side<'a> = Box<dyn VoxelSource + 'a>;

/// Applies `--lod` and `--level`: to B if it is a .hgv file (A is then reduced by the filter of
/// B), else to A.
fn pair<'a>(args: &CompareArgs, a: &'a Input, b: &'a Input) -> Result<(Side<'a>, Side<'a>)> {
    match (a, b) {
        (_, Input::Hgv(file)) if args.lod > 0 => {
            let measured = input::view(file, args.lod, args.level)?;
            Ok((
                backend_api::reduce_like(file, a.source()?, args.lod)?,
                measured,
            ))
        }
        (_, Input::Hgv(file)) => Ok((a.source()?, input::view(file, 0, args.level)?)),
        (Input::Hgv(file), Input::File(_)) => {
            Ok((input::view(file, args.lod, args.level)?, b.source()?))
        }
        (Input::File(_), Input::File(_)) if args.lod > 0 || args.level.is_some() => Err(
            Error::argument("--lod and --level need a .hgv file on one side"),
        ),
        (Input::File(_), Input::File(_)) => Ok((a.source()?, b.source()?)),
    }
}

fn table(json: &Json<'_>) -> String {
    const ROWS: [(&str, &str); 7] = [
        ("psnr", "PSNR"),
        ("ssim", "SSIM"),
        ("max_abs_error", "max error"),
        ("max_rel_error", "relative"),
        ("rmse", "RMSE"),
        ("range", "range of A"),
        ("voxels", "voxels"),
    ];
    let mut text = format!("{} against {}\n", json.b, json.a);
    if json.comparison["identical"] == Value::Bool(true) {
        text.push_str("identical\n");
    }
    for (key, name) in ROWS {
        let value = match &json.comparison[key] {
            Value::Number(db) if key == "psnr" => {
                format!("{:.2} dB", db.as_f64().unwrap_or(f64::NAN))
            }
            other => plain(other),
        };
        let _ = writeln!(text, "{name:<11} {value}");
    }
    text
}

/// A JSON value as people read it: `-` where there is none, lists without brackets.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("  "),
        Value::Number(n) if n.is_f64() => {
            let v = n.as_f64().unwrap_or(f64::NAN);
            let rounded = format!("{v:.6}");
            rounded.trim_end_matches('0').trim_end_matches('.').into()
        }
        other => other.to_string(),
    }
}
