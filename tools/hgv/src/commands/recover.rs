//! `hgv recover`: every finished cluster of an interrupted or damaged file.

use hgv::Result;
use serde::Serialize;

use super::{Context, Outcome};
use crate::args::RecoverArgs;
use crate::backend_api::{self, Recovered};
use crate::paths;

#[derive(Serialize)]
struct Json {
    output: String,
    complete: bool,
    #[serde(flatten)]
    recovered: Recovered,
}

pub(crate) fn run(args: &RecoverArgs, context: &Context) -> Result<Outcome> {
    paths::check_input(&args.input)?;
    paths::check_hgv_output(&args.output, [args.input.as_path()], context.force)?;
    let recovered = backend_api::recover(&args.input, &args.output, context.force)?;
    let json = Json {
        output: args.output.display().to_string(),
        complete: recovered.missing_blocks == 0,
        recovered,
    };
    context.output.result(&json, || {
        let verdict = if json.complete {
            "nothing is lost".into()
        } else {
            format!("{} blocks are lost", json.recovered.missing_blocks)
        };
        format!(
            "{}: {} clusters, {} blocks brought back; {verdict}",
            json.output, json.recovered.clusters, json.recovered.blocks
        )
    })?;
    Ok(if json.complete {
        Outcome::Done
    } else {
        Outcome::CheckFailed
    })
}
