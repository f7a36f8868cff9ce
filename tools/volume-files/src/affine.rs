//! World transforms: columns of a matrix to and from spacing and direction.

use hgv::volume::{Metadata, Space};

/// Sets spacing and direction of `axis` from the world step of one voxel. False if the step is
/// zero or not finite; nothing is changed then.
pub(crate) fn set_axis(metadata: &mut Metadata, axis: usize, step: [f64; 3]) -> bool {
    let length = norm(step);
    if !(length.is_finite() && length > 0.0) {
        return false;
    }
    metadata.spacing[axis] = length;
    metadata.direction[axis] = step.map(|s| clean(s / length));
    true
}

/// World step of one voxel along `axis`.
pub(crate) fn step(metadata: &Metadata, axis: usize) -> [f64; 3] {
    metadata.direction[axis].map(|d| clean(d * metadata.spacing[axis]))
}

/// Length of a vector.
pub(crate) fn norm(v: [f64; 3]) -> f64 {
    // A vector along an axis keeps its exact length.
    let mut nonzero = v.iter().filter(|x| **x != 0.0);
    match (nonzero.next(), nonzero.next()) {
        (Some(x), None) => x.abs(),
        _ => v.iter().map(|x| x * x).sum::<f64>().sqrt(),
    }
}

/// No negative zeros.
fn clean(v: f64) -> f64 {
    if v == 0.0 { 0.0 } else { v }
}

/// The same positions with world axes that point to `Ras`; an unknown space stays as it is.
pub(crate) fn to_ras(metadata: &Metadata) -> Metadata {
    let mut out = metadata.clone();
    if metadata.space == Space::Lps {
        flip_xy(&mut out);
        out.space = Space::Ras;
    }
    out
}

/// Turns the first two world axes round.
pub(crate) fn flip_xy(metadata: &mut Metadata) {
    flip(metadata, 0);
    flip(metadata, 1);
}

/// Turns one world axis round.
pub(crate) fn flip(metadata: &mut Metadata, world: usize) {
    metadata.origin[world] = clean(-metadata.origin[world]);
    for direction in &mut metadata.direction {
        direction[world] = clean(-direction[world]);
    }
}

/// Whether the voxel axes are the world axes.
pub(crate) fn is_identity(metadata: &Metadata) -> bool {
    metadata.direction == Metadata::default().direction
}

/// Lengths in `unit` instead of the metadata's own; unchanged if that is not stated.
pub(crate) fn in_unit(metadata: &Metadata, unit: &str) -> Metadata {
    let factor = crate::units::factor(metadata.unit.as_deref(), unit);
    let mut out = metadata.clone();
    if factor != 1.0 {
        out.spacing = out.spacing.map(|s| scale(s, factor));
        out.origin = out.origin.map(|o| scale(o, factor));
    }
    if out.unit.is_some() {
        out.unit = Some(unit.to_owned());
    }
    out
}

/// Division by a power of ten is exact more often than multiplication by its inverse.
fn scale(v: f64, factor: f64) -> f64 {
    if factor < 1.0 {
        v / (1.0 / factor).round()
    } else {
        v * factor
    }
}
