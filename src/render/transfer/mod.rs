//! Transfer functions: which opacity and colour a value has.

mod preset;
mod table;

use serde::{Deserialize, Serialize};

use crate::stream::schedule::OpacityBound;
use crate::{Error, Result};

pub use preset::Preset;
pub(super) use table::{STEPS, Table};

/// A value and its opacity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OpacityPoint {
    /// Value of a voxel.
    pub value: f32,
    /// Part of the light that one voxel of this value stops, 0..=1.
    pub opacity: f32,
}

/// A value and its colour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ColourPoint {
    /// Value of a voxel.
    pub value: f32,
    /// Red, green, blue, 0..=1, as in sRGB pictures.
    pub rgb: [f32; 3],
}

/// A gradient and what it does to the opacity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradientPoint {
    /// By how much values change for a unit of length (a voxel, where the spacing is 1), 0 or more.
    pub gradient: f32,
    /// Factor of the extinction, 0..=1.
    pub factor: f32,
}

/// Opacity and colour of values, both linear between points and constant outside of them. Colours are mixed
/// as light, not as sRGB numbers. The gradient may lower the opacity: of a function of two arguments this has
/// the products of one of the value and one of the gradient.
///
/// As JSON: `{"opacity": [{"value": 0, "opacity": 0}, ...], "colour": [{"value": 0, "rgb": [1, 1, 1]}, ...],
/// "gradient": [{"gradient": 0, "factor": 0}, ...]}`, the last of which may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Points", into = "Points")]
pub struct TransferFunction {
    points: Points,
}

/// Most points of a kind: far more than anybody draws, and no work to check.
const MAX_POINTS: usize = 65536;

/// The points as they are stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Points {
    opacity: Vec<OpacityPoint>,
    colour: Vec<ColourPoint>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gradient: Vec<GradientPoint>,
}

impl TryFrom<Points> for TransferFunction {
    type Error = Error;
    fn try_from(points: Points) -> Result<Self> {
        Self::new(points.opacity, points.colour)?.with_gradient(points.gradient)
    }
}

impl From<TransferFunction> for Points {
    fn from(function: TransferFunction) -> Self {
        function.points
    }
}

impl TransferFunction {
    /// From points in the order of their values. Two points of one value make a step there.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no point of a kind, or more than 65536, if values fall or are
    /// not finite, or if an opacity or a colour is not within 0..=1.
    pub fn new(opacity: Vec<OpacityPoint>, colour: Vec<ColourPoint>) -> Result<Self> {
        check_values("opacity", opacity.iter().map(|p| p.value))?;
        check_values("colour", colour.iter().map(|p| p.value))?;
        let parts = opacity.iter().map(|p| ("opacity", p.opacity));
        let channels = colour
            .iter()
            .flat_map(|p| p.rgb)
            .map(|c| ("part of a colour", c));
        for (what, part) in parts.chain(channels) {
            if !(0.0..=1.0).contains(&part) {
                return Err(Error::argument(format!(
                    "a transfer function has {part} as {what}; it must be within 0..=1"
                )));
            }
        }
        Ok(Self {
            points: Points {
                opacity,
                colour,
                gradient: Vec::new(),
            },
        })
    }

    /// The same with a factor of the extinction by the gradient, from points in the order of their gradients;
    /// without points gradients do not matter.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are more than 65536 points, if gradients fall, are below 0 or not
    /// finite, or if a factor is not within 0..=1.
    pub fn with_gradient(self, gradient: Vec<GradientPoint>) -> Result<Self> {
        if !gradient.is_empty() {
            check_values("gradient", gradient.iter().map(|p| p.gradient))?;
        }
        for point in &gradient {
            if !(0.0..=1.0).contains(&point.factor) || point.gradient < 0.0 {
                return Err(Error::argument(format!(
                    "a transfer function has the factor {} at the gradient {}; factors must be within 0..=1 and gradients 0 or more",
                    point.factor, point.gradient
                )));
            }
        }
        Ok(Self {
            points: Points {
                gradient,
                ..self.points
            },
        })
    }

    /// Grey from black at `range[0]` to white at `range[1]`, transparent at `range[0]` and of opacity
    /// `most` at `range[1]`, both linear. Numbers that make no sense are replaced by near ones that do.
    pub fn ramp(range: [f32; 2], most: f32) -> Self {
        let [lo, hi] = usable(range);
        let opacity = |value, opacity| OpacityPoint { value, opacity };
        let colour = |value, grey| ColourPoint {
            value,
            rgb: [grey; 3],
        };
        let most = if most.is_finite() {
            most.clamp(0.0, 1.0)
        } else {
            1.0
        };
        Self {
            points: Points {
                opacity: vec![opacity(lo, 0.0), opacity(hi, most)],
                colour: vec![colour(lo, 0.0), colour(hi, 1.0)],
                gradient: Vec::new(),
            },
        }
    }

    /// Points of the opacity.
    pub fn opacity_points(&self) -> &[OpacityPoint] {
        &self.points.opacity
    }

    /// Points of the colour.
    pub fn colour_points(&self) -> &[ColourPoint] {
        &self.points.colour
    }

    /// Points of the factor by the gradient.
    pub fn gradient_points(&self) -> &[GradientPoint] {
        &self.points.gradient
    }

    /// Factor of the extinction where values change by `gradient` for a unit of length, 0..=1.
    pub fn gradient_factor(&self, gradient: f32) -> f32 {
        if self.points.gradient.is_empty() {
            return 1.0;
        }
        between(
            &self.points.gradient,
            |p| p.gradient,
            gradient,
            |a, b, t| a.factor + t * (b.factor - a.factor),
        )
    }

    /// Opacity of a voxel of `value`, 0..=1; 0 for NaN.
    pub fn opacity(&self, value: f32) -> f32 {
        if value.is_nan() {
            return 0.0;
        }
        between(
            &self.points.opacity,
            |p| p.value,
            value,
            |a, b, t| a.opacity + t * (b.opacity - a.opacity),
        )
    }

    /// Colour of `value` as light, red, green, blue, 0..=1; that of the lowest point for NaN.
    pub fn colour(&self, value: f32) -> [f32; 3] {
        between(
            &self.points.colour,
            |p| p.value,
            value,
            |a, b, t| {
                let (a, b) = (a.rgb.map(from_srgb), b.rgb.map(from_srgb));
                [0, 1, 2].map(|c| a[c] + t * (b[c] - a[c]))
            },
        )
    }

    /// Smallest and largest value of any point: nothing changes outside of them.
    pub fn span(&self) -> [f32; 2] {
        let opacity = self.points.opacity.iter().map(|p| p.value);
        let colour = self.points.colour.iter().map(|p| p.value);
        opacity
            .chain(colour)
            .fold([f32::INFINITY, f32::NEG_INFINITY], |[lo, hi], v| {
                [lo.min(v), hi.max(v)]
            })
    }
}

impl OpacityBound for TransferFunction {
    /// The bound is met. 0 for an empty range; 1 if the range is not a number.
    fn most_opacity(&self, [lo, hi]: [f32; 2]) -> f32 {
        if lo.is_nan() || hi.is_nan() {
            return 1.0;
        }
        if lo > hi {
            return 0.0;
        }
        let points = &self.points.opacity;
        let first = points.partition_point(|p| p.value < lo);
        let inside = points[first..].iter().take_while(|p| p.value <= hi);
        inside.fold(self.opacity(lo).max(self.opacity(hi)), |most, p| {
            most.max(p.opacity)
        })
    }
}

/// A finite range that is not empty, near `range`.
pub(super) fn usable([lo, hi]: [f32; 2]) -> [f32; 2] {
    let lo = if lo.is_finite() { lo } else { 0.0 };
    let least = lo.abs().max(1.0) * 1e-5;
    if hi.is_finite() && hi - lo >= least {
        [lo, hi]
    } else {
        [lo, lo + least]
    }
}

fn check_values(what: &str, values: impl ExactSizeIterator<Item = f32>) -> Result<()> {
    if values.len() == 0 || values.len() > MAX_POINTS {
        return Err(Error::argument(format!(
            "a transfer function has {} points of {what}; 1 to {MAX_POINTS} are needed",
            values.len()
        )));
    }
    let mut last = f32::NEG_INFINITY;
    for value in values {
        if !value.is_finite() || value < last {
            return Err(Error::argument(format!(
                "a transfer function has the value {value} behind {last} among its points of {what}; values must be finite and may not fall"
            )));
        }
        last = value;
    }
    Ok(())
}

/// What `mix` makes of the points around `value`. There is at least one point.
fn between<P, R>(
    points: &[P],
    of: impl Fn(&P) -> f32,
    value: f32,
    mix: impl Fn(&P, &P, f32) -> R,
) -> R {
    let behind = points.partition_point(|p| of(p) <= value);
    let (a, b) = (
        &points[behind.saturating_sub(1)],
        &points[behind.min(points.len() - 1)],
    );
    let width = of(b) - of(a);
    let t = if width > 0.0 {
        ((value - of(a)) / width).clamp(0.0, 1.0)
    } else {
        0.0
    };
    mix(a, b, t)
}

/// A channel of an sRGB picture as light, both 0..=1.
pub(super) fn from_srgb(channel: f32) -> f32 {
    if channel <= 0.04045 {
        channel / 12.92
    } else {
        ((channel + 0.055) / 1.055).powf(2.4)
    }
}
