//! `hgv view`: a volume in a page of the browser, until Ctrl-C.

use hgv::Result;
use serde::Serialize;

use super::{Context, Outcome};
use crate::view;
use crate::view::args::ViewArgs;

#[derive(Serialize)]
struct Json {
    path: String,
    /// The page; whoever knows it can see the volume.
    url: String,
}

pub(crate) fn run(args: &ViewArgs, context: &Context) -> Result<Outcome> {
    view::run(args, context, |address| {
        let json = Json {
            path: args.input.display().to_string(),
            url: address.into(),
        };
        context.output.result(&json, || {
            format!("{} is at {} (Ctrl-C ends)", json.path, json.url)
        })?;
        if !args.no_open
            && let Err(error) = open::that_detached(address)
        {
            context.output.note(&format!(
                "no browser could be opened ({error}); open the address in one"
            ));
        }
        Ok(())
    })?;
    Ok(Outcome::Done)
}
