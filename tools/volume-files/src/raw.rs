//! Voxels without a header: the shape comes from the name (`name_XxYxZ_dtype.raw`, as the Open
//! SciVis collection writes it) or from the caller.

use crate::element::NumberType;
use crate::failure::bad;
use crate::format::{Format, Name};
use crate::input::Input;
use crate::layout::{Layout, Skip, Start};
use crate::open::OpenOptions;
use hgv::Result;
use hgv::volume::Extent;

/// What the name or the caller says about the voxels; the caller wins.
///
/// # Errors
/// A shape or a type that nobody states, a size that does not fit the file.
pub(crate) fn describe(input: &Input, options: &OpenOptions) -> Result<Layout> {
    let path = input.path();
    let name = Name::of(path)?;
    let (named_shape, named_type) = from_name(&name);
    let missing = |what: &str| {
        bad(
            path,
            format!(
                "raw voxels need {what}; name the file name_XxYxZ_dtype.raw or give --shape X,Y,Z --dtype T"
            ),
        )
    };
    let extent = options
        .shape
        .or(named_shape)
        .ok_or_else(|| missing("a shape"))?;
    let number = options
        .dtype
        .or(named_type)
        .ok_or_else(|| missing("a type"))?;
    let mut layout = Layout::new(Format::Raw, extent, number);
    layout.endian = options.endian.unwrap_or_default();
    layout.start = Start {
        skip: Skip::Bytes(options.skip.unwrap_or(0)),
        ..Start::default()
    };
    Ok(layout)
}

fn from_name(name: &Name) -> (Option<Extent>, Option<NumberType>) {
    let stem = name.plain.rsplit_once('.').map_or(&*name.plain, |(s, _)| s);
    let mut shape = None;
    let mut number = (name.suffix == "float").then_some(NumberType::F32);
    for part in stem.split('_') {
        if let Some(found) = shape_of(part) {
            shape = Some(found);
        } else if let Some(found) = NumberType::parse(part) {
            number = Some(found);
        }
    }
    (shape, number)
}

fn shape_of(part: &str) -> Option<Extent> {
    let mut numbers = part.split('x').map(|n| n.parse::<u64>().ok());
    let shape = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(shape)
}
