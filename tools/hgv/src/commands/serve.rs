//! `hgv serve`: a folder of .hgv files over HTTP, until Ctrl-C.

use hgv::Result;
use serde::Serialize;

use super::{Context, Outcome};
use crate::args::ServeArgs;
use crate::serve::{self, Config};

#[derive(Serialize)]
struct Json {
    path: String,
    /// Where it listens; the port is the one that was found if 0 was asked for.
    url: String,
}

pub(crate) fn run(args: &ServeArgs, context: &Context) -> Result<Outcome> {
    let config = Config {
        path: &args.path,
        address: args.addr,
        connections: args.max_connections,
        rate: args.rate,
        origin: &args.allow_origin,
        log: !context.output.is_quiet(),
    };
    serve::run(&config, |address| {
        let json = Json {
            path: args.path.display().to_string(),
            url: format!("http://{address}/"),
        };
        context.output.result(&json, || {
            format!("{} is at {} (Ctrl-C ends)", json.path, json.url)
        })
    })?;
    Ok(Outcome::Done)
}
