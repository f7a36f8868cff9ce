//! `hgv merge`: the parts of a sharded encode in one file.

use hgv::Result;
use hgv::encode::EncodeOptions;
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
    /// Clusters of the volume that no part holds.
    missing_clusters: u64,
}

pub(crate) fn run(args: &MergeArgs, context: &Context) -> Result<Outcome> {
    for input in &args.inputs {
        paths::check_input(input)?;
    }
    let inputs = args.inputs.iter().map(|p| p.as_path());
    paths::check_hgv_output(&args.output, inputs, context.force)?;
    let mut options = EncodeOptions::default();
    options.threads = context.threads;
    options.force = context.force;
    let progress = |p| context.progress.update(p);
    let report = backend_api::merge(&args.inputs, &args.output, &options, &progress)?;
    context.progress.clear();
    let json = Json {
        output: args.output.display().to_string(),
        parts: args.inputs.len(),
        file_bytes: report.written.file_len,
        missing_clusters: report.missing_pages,
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
