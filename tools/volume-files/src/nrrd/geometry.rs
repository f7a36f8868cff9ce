//! Axes, spacing and orientation in a NRRD header.

use super::read::Fields;
use crate::affine::{flip, set_axis};
use crate::layout::too_many_axes;
use crate::text::finite;
use crate::units;
use hgv::Result;
use hgv::volume::{Extent, Metadata, Space};

/// One axis of the array.
struct Axis {
    size: u64,
    /// World step of one voxel; `None` if the axis is not in the world.
    step: Option<[f64; 3]>,
    spacing: Option<f64>,
    unit: Option<String>,
    kind: String,
}

/// Extent and metadata out of the axes; notices for what could not be kept.
pub(super) fn read(fields: &Fields, sizes: &[u64]) -> Result<(Extent, Metadata, Vec<String>)> {
    let axes = pick(fields, axes(fields, sizes)?, sizes)?;
    let mut notices = Vec::new();
    let mut metadata = Metadata::default();
    let mut extent = [1; 3];
    for (a, axis) in axes.iter().enumerate() {
        extent[a] = axis.size;
        let mut along = [0.0; 3];
        along[a] = axis.spacing.unwrap_or(1.0);
        if !axis.step.is_some_and(|s| set_axis(&mut metadata, a, s)) {
            set_axis(&mut metadata, a, along);
        }
    }
    if let Some(origin) = fields.get("space origin") {
        metadata.origin = vectors(origin)
            .first()
            .copied()
            .flatten()
            .ok_or_else(|| fields.bad(format!("space origin \"{origin}\" is not a vector")))?;
    }
    world(fields, &mut metadata);
    unit(fields, &axes, &mut metadata, &mut notices);
    Ok((extent, metadata, notices))
}

fn axes(fields: &Fields, sizes: &[u64]) -> Result<Vec<Axis>> {
    let steps = fields.get("space directions").map(vectors);
    if let Some(steps) = &steps
        && steps.len() != sizes.len()
    {
        return Err(fields.bad(format!(
            "{} sizes, but {} space directions are given",
            sizes.len(),
            steps.len()
        )));
    }
    let words = |name: &str| -> Vec<String> {
        let words = fields.get(name).map(quoted_words);
        words.unwrap_or_default()
    };
    let (spacings, units, kinds) = (words("spacings"), words("units"), words("kinds"));
    Ok(sizes
        .iter()
        .enumerate()
        .map(|(i, &size)| Axis {
            size,
            step: steps.as_ref().and_then(|s| s[i]),
            spacing: spacings.get(i).and_then(|w| finite(w)),
            unit: units.get(i).cloned(),
            kind: kinds.get(i).map(|k| k.to_lowercase()).unwrap_or_default(),
        })
        .collect())
}

/// Drops axes of length 1 down to three (those outside the world first), fills up to three.
fn pick(fields: &Fields, mut axes: Vec<Axis>, sizes: &[u64]) -> Result<Vec<Axis>> {
    while axes.len() > 3 {
        let single = |a: &Axis| a.size == 1;
        let drop = axes
            .iter()
            .rposition(|a| single(a) && a.step.is_none())
            .or_else(|| axes.iter().rposition(single));
        match drop {
            Some(i) => axes.remove(i),
            None => return Err(too_many_axes(&fields.path, sizes)),
        };
    }
    if axes.len() < 2 {
        return Err(fields.bad("the array has one axis; a volume needs three"));
    }
    if axes.len() == 2 {
        axes.push(Axis {
            size: 1,
            step: None,
            spacing: None,
            unit: None,
            kind: String::new(),
        });
    }
    if let Some(a) = axes.iter().find(|a| a.size > 1 && !scalar(&a.kind)) {
        return Err(fields.bad(format!(
            "an axis of {} holds \"{}\", not voxels; extract one scalar volume",
            a.size, a.kind
        )));
    }
    Ok(axes)
}

/// Whether neighbours along an axis of this kind are voxels.
fn scalar(kind: &str) -> bool {
    matches!(
        kind,
        "" | "domain" | "space" | "time" | "none" | "???" | "scalar" | "list" | "stub"
    )
}

fn world(fields: &Fields, metadata: &mut Metadata) {
    let space = fields.get("space").unwrap_or_default().to_lowercase();
    let space = space.trim_end_matches("-time");
    match space {
        "right-anterior-superior" | "ras" | "rast" => metadata.space = Space::Ras,
        "left-posterior-superior" | "lps" | "lpst" => metadata.space = Space::Lps,
        "left-anterior-superior" | "las" | "last" => {
            flip(metadata, 0);
            metadata.space = Space::Ras;
        }
        _ => {}
    }
}

fn unit(fields: &Fields, axes: &[Axis], metadata: &mut Metadata, notices: &mut Vec<String>) {
    let space: Vec<String> = fields
        .get("space units")
        .map(quoted_words)
        .unwrap_or_default();
    let each: Vec<Option<String>> = (0..3)
        .map(|a| space.get(a).cloned().or_else(|| axes[a].unit.clone()))
        .collect();
    let Some(word) = each.iter().flatten().find(|w| stated(w)) else {
        return;
    };
    if each.iter().flatten().any(|w| stated(w) && w != word) {
        notices.push("the axes have different units; the unit is not kept".to_owned());
        return;
    }
    match units::parse(word) {
        Some((unit, factor)) => {
            metadata.spacing = metadata.spacing.map(|s| s * factor);
            metadata.origin = metadata.origin.map(|o| o * factor);
            metadata.unit = Some(unit.to_owned());
        }
        None => notices.push(format!("\"{word}\" is no unit of length; it is not kept")),
    }
}

fn stated(word: &str) -> bool {
    !word.is_empty() && word != "???"
}

/// Words, of which some may be in quotes.
fn quoted_words(text: &str) -> Vec<String> {
    if !text.contains('"') {
        return text.split_whitespace().map(str::to_owned).collect();
    }
    text.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Vectors `(a,b,c)` and words `none`. Two components are filled up, a fourth (time) is dropped.
fn vectors(text: &str) -> Vec<Option<[f64; 3]>> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('(') {
            let (vector, after) = inner.split_once(')').unwrap_or((inner, ""));
            out.push(vector_of(vector));
            rest = after.trim_start();
        } else {
            out.push(None);
            rest = rest
                .split_once(char::is_whitespace)
                .map_or("", |(_, after)| after)
                .trim_start();
        }
    }
    out
}

fn vector_of(text: &str) -> Option<[f64; 3]> {
    let mut vector = [0.0; 3];
    let numbers: Option<Vec<f64>> = text.split(',').map(finite).collect();
    let numbers = numbers?;
    for (slot, n) in vector.iter_mut().zip(numbers) {
        *slot = n;
    }
    Some(vector)
}
