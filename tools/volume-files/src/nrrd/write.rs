//! The header of a NRRD file with attached raw little-endian voxels.

use crate::affine;
use crate::text::one_line;
use hgv::volume::{DType, Extent, Metadata, Space};
use std::fmt::Write as _;

/// The header, up to and with the empty line before the voxels.
pub(crate) fn header(extent: Extent, dtype: DType, metadata: &Metadata) -> Vec<u8> {
    let [x, y, z] = extent;
    let mut text = format!("NRRD0005\ntype: {}\ndimension: 3\n", type_word(dtype));
    match space_word(metadata.space) {
        Some(space) => text.push_str(&format!("space: {space}\n")),
        None => text.push_str("space dimension: 3\n"),
    }
    let steps: Vec<String> = (0..3).map(|a| vector(affine::step(metadata, a))).collect();
    let _ = writeln!(text, "sizes: {x} {y} {z}");
    let _ = writeln!(text, "space directions: {}", steps.join(" "));
    text.push_str("kinds: domain domain domain\n");
    if dtype.size() > 1 {
        text.push_str("endian: little\n");
    }
    text.push_str("encoding: raw\n");
    if let Some(unit) = &metadata.unit {
        let unit = one_line(unit).replace('"', "");
        let _ = writeln!(text, "space units: \"{unit}\" \"{unit}\" \"{unit}\"");
    }
    let _ = writeln!(text, "space origin: {}", vector(metadata.origin));
    values(&mut text, metadata);
    text.push('\n');
    text.into_bytes()
}

fn values(text: &mut String, metadata: &Metadata) {
    for (name, value) in [
        ("content", &metadata.description),
        ("sample units", &metadata.value_unit),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "{name}: {}", one_line(value));
        }
    }
    if (metadata.slope, metadata.intercept) != (1.0, 0.0) {
        let _ = writeln!(text, "slope:={}", metadata.slope);
        let _ = writeln!(text, "intercept:={}", metadata.intercept);
    }
}

fn type_word(dtype: DType) -> &'static str {
    match dtype {
        DType::Float32 => "float",
        other => other.name(),
    }
}

fn space_word(space: Space) -> Option<&'static str> {
    match space {
        Space::Ras => Some("right-anterior-superior"),
        Space::Lps => Some("left-posterior-superior"),
        _ => None,
    }
}

fn vector([a, b, c]: [f64; 3]) -> String {
    format!("({a},{b},{c})")
}
