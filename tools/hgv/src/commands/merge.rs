//! `hgv merge`: the parts of a sharded encode in one file.

use std::path::Path;

use hgv::{Error, Result};
use serde::Serialize;

use super::{Context, Outcome};
use crate::args::MergeArgs;
use crate::backend_api;
use crate::output::human_bytes;
use crate::paths;

#[derive(Serialize)]
struct Json {
    output: String,
    parts: usize,
    file_bytes: u64,
}

pub(crate) fn run(args: &MergeArgs, context: &Context) -> Result<Outcome> {
    for input in &args.inputs {
        paths::check_input(input)?;
    }
    let inputs = args.inputs.iter().map(|p| p.as_path());
    paths::check_output(&args.output, inputs, context.force)?;
    backend_api::merge(&args.inputs, &args.output, context.force)?;
    let json = Json {
        output: args.output.display().to_string(),
        parts: args.inputs.len(),
        file_bytes: file_bytes(&args.output)?,
    };
    context.output.result(&json, || {
        format!(
            "{}: {} from {} parts",
            json.output,
            human_bytes(json.file_bytes),
            json.parts
        )
    })?;
    Ok(Outcome::Done)
}

fn file_bytes(path: &Path) -> Result<u64> {
    path.metadata()
        .map(|m| m.len())
        .map_err(|e| Error::io(path.display().to_string(), e))
}
