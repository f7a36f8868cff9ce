//! `hgv verify`: every checksum and rule of a .hgv file.

use hgv::{Error, Result};
use serde::Serialize;

use super::{Context, Outcome};
use crate::args::VerifyArgs;
use crate::backend_api;
use crate::input::{self, Input};
use crate::output;
use hgv::decode::VerifyReport;

#[derive(Serialize)]
struct Json<'a> {
    path: String,
    ok: bool,
    #[serde(flatten)]
    verified: &'a VerifyReport,
}

pub(crate) fn run(args: &VerifyArgs, context: &Context) -> Result<Outcome> {
    let file = input::open_source(&args.input, context)?;
    let original = args
        .against
        .as_deref()
        .map(|path| Input::open(path, &args.raw, None, args.scratch.as_deref(), context))
        .transpose()?;
    let source = original.as_ref().map(Input::source).transpose()?;
    let progress = |p| context.progress.update(p);
    let verified = match backend_api::verify(file, source.as_deref(), context.threads, &progress) {
        Ok(verified) => verified,
        Err(error) if is_finding(&error) => {
            let mut found = VerifyReport::default();
            found.problem_count = 1;
            found.problems.push(error.to_string());
            found
        }
        Err(error) => return Err(error.in_file(args.input.display())),
    };
    context.progress.clear();
    if !verified.problems.is_empty() {
        // Faults of a file that was replaced meanwhile are none of the file that is there now.
        context.remotes.check_unchanged()?;
    }
    report(args, &verified, context)
}

/// Whether an error is what `verify` looks for: a fault of the file, not of the call or system.
fn is_finding(error: &Error) -> bool {
    matches!(
        error,
        Error::Truncated { .. }
            | Error::Corrupt { .. }
            | Error::Checksum { .. }
            | Error::LimitExceeded { .. }
            | Error::Unfinished(_)
            | Error::NotWritten { .. }
    )
}

fn report(args: &VerifyArgs, verified: &VerifyReport, context: &Context) -> Result<Outcome> {
    let json = Json {
        path: args.input.display().to_string(),
        ok: verified.problems.is_empty(),
        verified,
    };
    context.output.result(&json, || {
        let verdict = if json.ok { "ok" } else { "FAILED" };
        format!(
            "{}: {verdict}, {} clusters, {} blocks checked",
            json.path, verified.clusters, verified.blocks
        )
    })?;
    for problem in &verified.problems {
        output::error(&format!("{}: {problem}", json.path));
    }
    Ok(if json.ok {
        Outcome::Done
    } else {
        Outcome::CheckFailed
    })
}
