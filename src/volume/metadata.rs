//! What a volume means: spacing, position, orientation, units.

use serde::{Deserialize, Serialize};

/// Which way the world axes point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Space {
    /// Not stated.
    #[default]
    Unknown,
    /// Right, anterior, superior (NIfTI).
    Ras,
    /// Left, posterior, superior (DICOM, ITK).
    Lps,
}

/// Descriptive metadata of a volume. It travels with the file and changes no decoded voxel.
///
/// The world position of the centre of voxel `(x, y, z)` is
/// `origin + x * spacing[0] * direction[0] + y * spacing[1] * direction[1] + z * spacing[2] * direction[2]`.
/// The meaning of a stored value `v` is `slope * v + intercept`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Distance of voxel centres along x, y, z, in `unit`. Positive and finite.
    pub spacing: [f64; 3],
    /// World position of the centre of voxel (0, 0, 0), in `unit`.
    pub origin: [f64; 3],
    /// `direction[a]` is the unit vector of voxel axis `a` in the world.
    pub direction: [[f64; 3]; 3],
    /// Which way the world axes point.
    pub space: Space,
    /// Unit of length: `m`, `mm`, `um`, `nm`, `angstrom`; `None` if not stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Meaning of a stored value: `slope * v + intercept`.
    pub slope: f64,
    /// Meaning of a stored value: `slope * v + intercept`.
    pub intercept: f64,
    /// Unit of the meaning, such as `HU`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_unit: Option<String>,
    /// Free text that came with the volume (title, comment).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            spacing: [1.0; 3],
            origin: [0.0; 3],
            direction: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            space: Space::Unknown,
            unit: None,
            slope: 1.0,
            intercept: 0.0,
            value_unit: None,
            description: None,
        }
    }
}

impl Metadata {
    /// The metadata of level of detail `lod`: voxel `i` of it lies at the centre of voxel
    /// `i * 2^lod` of the full resolution, so only the spacing grows.
    pub fn at_lod(&self, lod: u32) -> Self {
        let scale = f64::from(lod).exp2();
        Self {
            spacing: self.spacing.map(|s| s * scale),
            ..self.clone()
        }
    }

    /// The metadata of a region that starts at voxel `start` of this volume.
    pub fn cropped(&self, start: [u64; 3]) -> Self {
        let mut origin = self.origin;
        for (axis, &first) in start.iter().enumerate() {
            for (o, d) in origin.iter_mut().zip(self.direction[axis]) {
                *o += first as f64 * self.spacing[axis] * d;
            }
        }
        Self {
            origin,
            ..self.clone()
        }
    }
}
