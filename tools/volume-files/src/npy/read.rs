//! Parser of NPY headers (NEP 1, versions 1 to 3).

use crate::element::{Endian, NumberType};
use crate::failure::bad;
use crate::format::Format;
use crate::input::Input;
use crate::layout::{Layout, Start, three_axes};
use hgv::Result;
use std::path::Path;

/// Longest dictionary in bytes.
const HEADER: u32 = 1 << 20;

/// Parses the header at the front of `input`.
///
/// # Errors
/// Anything that is not the NPY header of one array of numbers.
pub(crate) fn parse(input: &mut Input) -> Result<Layout> {
    let path = input.path().to_owned();
    let text = dictionary(input)?;
    let broken = |what: &str| bad(&path, format!("the NPY header has no valid \"{what}\""));
    let (number, endian) = descr(&path, value(&text, "descr").ok_or_else(|| broken("descr"))?)?;
    let fortran = match value(&text, "fortran_order").map(|v| word(v, "TrueFalse")) {
        Some("True") => true,
        Some("False") => false,
        _ => return Err(broken("fortran_order")),
    };
    let mut sizes = value(&text, "shape")
        .and_then(shape)
        .ok_or_else(|| broken("shape"))?;
    if !fortran {
        sizes.reverse();
    }
    let mut layout = Layout::new(Format::Npy, three_axes(&path, &sizes)?, number);
    layout.endian = endian;
    layout.start = Start {
        offset: input.position(),
        ..Start::default()
    };
    Ok(layout)
}

fn dictionary(input: &mut Input) -> Result<String> {
    let path = input.path().to_owned();
    let head = input.take(8, "NPY header")?;
    if !head.starts_with(b"\x93NUMPY") {
        return Err(bad(
            &path,
            "this is not an NPY file: it does not start with NUMPY",
        ));
    }
    let length = match head[6] {
        1 => {
            let n = input.take(2, "NPY header")?;
            u32::from(u16::from_le_bytes([n[0], n[1]]))
        }
        2 | 3 => {
            let n = input.take(4, "NPY header")?;
            u32::from_le_bytes([n[0], n[1], n[2], n[3]])
        }
        version => {
            return Err(bad(
                &path,
                format!("NPY version {version} is not read; save with version 1, 2 or 3"),
            ));
        }
    };
    if length > HEADER {
        return Err(bad(
            &path,
            format!("the NPY header claims {length} bytes; {HEADER} are the most"),
        ));
    }
    let text = input.take(length as usize, "NPY header")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The text after `'key':`.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let at = [format!("'{key}'"), format!("\"{key}\"")]
        .iter()
        .find_map(|k| text.find(k.as_str()).map(|i| i + k.len()))?;
    Some(text[at..].trim_start().strip_prefix(':')?.trim_start())
}

/// The leading letters of `text` that occur in `letters`.
fn word<'a>(text: &'a str, letters: &str) -> &'a str {
    let end = text.find(|c| !letters.contains(c)).unwrap_or(text.len());
    &text[..end]
}

fn descr(path: &Path, text: &str) -> Result<(NumberType, Endian)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let code = quote
        .and_then(|q| text[1..].split_once(q))
        .map(|(code, _)| code)
        .ok_or_else(|| {
            bad(
                path,
                "the NPY array has named fields; save one field as its own array",
            )
        })?;
    let endian = if code.starts_with('>') {
        Endian::Big
    } else {
        Endian::Little
    };
    let number = match code.trim_start_matches(['<', '>', '|', '=']) {
        "u1" | "b1" | "?" => NumberType::U8,
        "i1" => NumberType::I8,
        "u2" => NumberType::U16,
        "i2" => NumberType::I16,
        "u4" => NumberType::U32,
        "i4" => NumberType::I32,
        "u8" => NumberType::U64,
        "i8" => NumberType::I64,
        "f2" => NumberType::F16,
        "f4" => NumberType::F32,
        "f8" => NumberType::F64,
        _ => {
            let code: String = code.chars().take(20).collect();
            return Err(bad(
                path,
                format!("NPY type \"{code}\" is not a voxel type; save as integers or floats"),
            ));
        }
    };
    Ok((number, endian))
}

fn shape(text: &str) -> Option<Vec<u64>> {
    let (inner, _) = text.strip_prefix('(')?.split_once(')')?;
    inner
        .split(',')
        .map(str::trim)
        .filter(|w| !w.is_empty())
        .map(|w| w.trim_end_matches('L').parse().ok())
        .collect()
}
