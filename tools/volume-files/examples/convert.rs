//! Converts a volume file: `convert IN OUT`. The formats follow from the files.

use hgv_volume_files::{OpenOptions, VolumeWriter, open_volume};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let [input, output] = &names[..] else {
        return Err("usage: convert IN OUT".into());
    };
    let opened = open_volume(Path::new(input), &OpenOptions::default())?;
    let source = opened.source.as_ref();
    let mut writer = VolumeWriter::create(
        Path::new(output),
        source.extent(),
        source.dtype(),
        source.metadata(),
        true,
    )?;
    writer.write_source(source)?;
    let written = writer.finish()?;
    for notice in opened.notices.iter().chain(&written.notices) {
        eprintln!("{notice}");
    }
    Ok(())
}
