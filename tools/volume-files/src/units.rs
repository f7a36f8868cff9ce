//! Units of length: the words of the formats and the five words of the metadata.

/// Metres of one unit of the metadata (`m`, `mm`, `um`, `nm`, `angstrom`).
pub(crate) fn metres(unit: &str) -> Option<f64> {
    Some(match unit {
        "m" => 1.0,
        "mm" => 1e-3,
        "um" => 1e-6,
        "nm" => 1e-9,
        "angstrom" => 1e-10,
        _ => return None,
    })
}

/// The metadata's word for a unit as some file spells it, and the factor to it (10 for `cm`).
/// `None` if the word names no length.
pub(crate) fn parse(word: &str) -> Option<(&'static str, f64)> {
    let word = word.trim().trim_matches('"').to_lowercase();
    Some(match word.as_str() {
        "m" | "meter" | "metre" | "meters" | "metres" => ("m", 1.0),
        "cm" | "centimeter" | "centimetre" | "centimeters" | "centimetres" => ("mm", 10.0),
        "mm" | "millimeter" | "millimetre" | "millimeters" | "millimetres" => ("mm", 1.0),
        "um" | "µm" | "μm" | "micron" | "microns" | "micrometer" | "micrometre" | "micrometers"
        | "micrometres" | "\\u00b5m" => ("um", 1.0),
        "nm" | "nanometer" | "nanometre" | "nanometers" | "nanometres" => ("nm", 1.0),
        "a" | "å" | "ang" | "angstrom" | "angstroms" | "ångström" | "\\u00c5" => {
            ("angstrom", 1.0)
        }
        "in" | "inch" | "inches" => ("mm", 25.4),
        _ => return None,
    })
}

/// What to multiply a length in `from` by to have it in `to`. 1 if either is not stated.
pub(crate) fn factor(from: Option<&str>, to: &str) -> f64 {
    match (from.and_then(metres), metres(to)) {
        (Some(a), Some(b)) => tidy_ratio(a / b),
        _ => 1.0,
    }
}

/// Ratios of units are powers of ten: the nearest one.
fn tidy_ratio(ratio: f64) -> f64 {
    10f64.powi(ratio.log10().round() as i32)
}

/// The shortest decimal number that reads back as the same float32: 0.7 where a file that
/// stores single precision holds 0.699999988.
pub(crate) fn tidy(v: f32) -> f64 {
    v.to_string().parse().unwrap_or(f64::from(v))
}

/// [`tidy`] of the float32 nearest to `v`, unless that loses the value.
pub(crate) fn tidy64(v: f64) -> f64 {
    let near = v as f32;
    if near.is_finite() && (near != 0.0 || v == 0.0) {
        tidy(near)
    } else {
        v
    }
}
