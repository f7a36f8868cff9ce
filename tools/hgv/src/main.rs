//! The `hgv` command: compress, read and check very large 3-D volumes.
//!
//! Parses the command line, runs one command and turns its outcome into an exit status:
//! 0 done, 1 a check failed or a recovery lost something, 2 usage, input or output, 130 interrupted.

mod args;
mod backend_api;
mod commands;
mod crop;
mod exr_file;
mod input;
mod interrupt;
mod machine;
mod output;
mod paths;
mod polled;
mod progress;
mod remote;
mod render_args;
mod render_scene;
mod report;
mod scene_files;
#[cfg(feature = "http")]
mod serve;
mod slabs;
mod subject;
mod values;
#[cfg(feature = "http")]
mod view;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::Cli;
use commands::{Context, Outcome};

const CHECK_FAILED: u8 = 1;
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    interrupt::listen();
    let result =
        Context::new(&cli.common).and_then(|context| commands::run(&cli.command, &context));
    ExitCode::from(match result {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::CheckFailed) => CHECK_FAILED,
        Err(hgv::Error::Cancelled) => {
            interrupt::report();
            interrupt::EXIT_STATUS
        }
        Err(error) => {
            output::error(&error.to_string());
            FAILED
        }
    })
}

/// Prints help and version as they are, everything else as one line.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader of the help that went away is no error.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::error("no command; see `hgv --help`");
        }
        _ => output::error(&usage_line(&error.render().to_string())),
    }
    ExitCode::from(FAILED)
}

/// The message of a usage error without the usage text below it.
fn usage_line(rendered: &str) -> String {
    let message = rendered.strip_prefix("error: ").unwrap_or(rendered);
    let end = ["\nUsage:", "\nFor more information"]
        .iter()
        .filter_map(|mark| message.find(mark))
        .min()
        .unwrap_or(message.len());
    let parts: Vec<_> = message[..end]
        .split("\n\n")
        .map(output::one_line)
        .filter(|p| !p.is_empty())
        .collect();
    format!("{}; see --help", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_errors_are_one_line() {
        let rendered = "error: unexpected argument '--foo' found\n\n  tip: a similar argument \
                        exists: '--force'\n\nUsage: hgv info <IN>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            usage_line(rendered),
            "unexpected argument '--foo' found; tip: a similar argument exists: '--force'; see --help"
        );
    }
}
