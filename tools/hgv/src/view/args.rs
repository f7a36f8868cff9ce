//! The words of `hgv view`.

use std::path::PathBuf;

use clap::Args;

use crate::args::InputArgs;
use crate::render_args::{CapArgs, LookArgs};
use crate::values;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hgv view head.hgv
  hgv view https://example.org/scan.hgv --memory 8GiB
  hgv view head.nrrd --transfer ct-bone --no-open

Shows the volume in a page of the browser: drag turns it, the wheel zooms, the keys are listed under \"?\". A
.hgv file is read as far as pictures need it, also from an address; other volume files are read whole into
memory. Pictures are drawn by this program; only this machine can see them, and only with the address that is
printed. Ctrl-C ends.")]
pub(crate) struct ViewArgs {
    /// Volume to show: a path, or an address of a .hgv file
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) port: u16,
    /// Print the address, but open no browser
    #[arg(long)]
    pub(crate) no_open: bool,
    /// Memory for what is read of a .hgv file: bytes as they are stored, voxels, and bricks to draw from
    #[arg(long, value_name = "BYTES", default_value = "4GiB", value_parser = values::bytes)]
    pub(crate) memory: u64,
    #[command(flatten)]
    pub(crate) look: LookArgs,
    #[command(flatten)]
    pub(crate) caps: CapArgs,
    #[command(flatten)]
    pub(crate) raw: InputArgs,
}
