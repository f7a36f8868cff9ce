//! Transfer functions for common kinds of volumes, from the range of their values alone.

use serde::{Deserialize, Serialize};

use super::{ColourPoint, OpacityPoint, Points, TransferFunction, usable};

/// A kind of volume, and of what is to be seen in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Preset {
    /// Bones of a CT scan: the upper part of the range, ivory.
    CtBone,
    /// Skin and muscle of a CT scan, half transparent, and bones in them.
    CtSoftTissue,
    /// Magnetic resonance: tissue as soft grey, the brightest warm.
    Mri,
    /// Electron microscopy: dark is matter.
    Em,
    /// Micro-CT of small things: dense is bright, air is clear.
    MicroCt,
}

/// Rows of a preset: part of the range, opacity, colour.
type Rows = &'static [(f32, f32, [f32; 3])];

const CT_BONE: Rows = &[
    (0.00, 0.0, [0.55, 0.25, 0.18]),
    (0.28, 0.0, [0.62, 0.35, 0.25]),
    (0.36, 0.10, [0.85, 0.68, 0.50]),
    (0.50, 0.60, [0.96, 0.91, 0.80]),
    (1.00, 0.95, [1.00, 0.99, 0.95]),
];
const CT_SOFT_TISSUE: Rows = &[
    (0.00, 0.0, [0.80, 0.45, 0.35]),
    (0.12, 0.0, [0.85, 0.55, 0.42]),
    (0.20, 0.12, [0.90, 0.62, 0.50]),
    (0.28, 0.20, [0.82, 0.40, 0.32]),
    (0.40, 0.55, [0.95, 0.85, 0.70]),
    (1.00, 0.95, [1.00, 1.00, 0.96]),
];
const MRI: Rows = &[
    (0.00, 0.0, [0.05, 0.05, 0.10]),
    (0.10, 0.0, [0.20, 0.18, 0.22]),
    (0.25, 0.06, [0.60, 0.52, 0.50]),
    (0.55, 0.30, [0.88, 0.80, 0.74]),
    (1.00, 0.85, [1.00, 0.92, 0.78]),
];
const EM: Rows = &[
    (0.00, 0.90, [0.10, 0.16, 0.28]),
    (0.25, 0.55, [0.25, 0.45, 0.60]),
    (0.45, 0.06, [0.70, 0.80, 0.80]),
    (0.60, 0.0, [0.90, 0.92, 0.90]),
    (1.00, 0.0, [1.00, 1.00, 1.00]),
];
const MICRO_CT: Rows = &[
    (0.00, 0.0, [0.35, 0.22, 0.12]),
    (0.10, 0.0, [0.55, 0.36, 0.20]),
    (0.22, 0.15, [0.80, 0.58, 0.34]),
    (0.50, 0.60, [0.95, 0.84, 0.62]),
    (1.00, 0.95, [1.00, 0.98, 0.92]),
];

impl Preset {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::CtBone,
        Self::CtSoftTissue,
        Self::Mri,
        Self::Em,
        Self::MicroCt,
    ];

    /// Its name, as on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CtBone => "ct-bone",
            Self::CtSoftTissue => "ct-soft-tissue",
            Self::Mri => "mri",
            Self::Em => "em",
            Self::MicroCt => "micro-ct",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// The transfer function for volumes whose values lie within `range`.
    pub fn transfer(self, range: [f32; 2]) -> TransferFunction {
        let rows = match self {
            Self::CtBone => CT_BONE,
            Self::CtSoftTissue => CT_SOFT_TISSUE,
            Self::Mri => MRI,
            Self::Em => EM,
            Self::MicroCt => MICRO_CT,
        };
        let [lo, hi] = usable(range);
        let value = |part: f32| lo + part * (hi - lo);
        TransferFunction {
            points: Points {
                opacity: rows
                    .iter()
                    .map(|&(part, opacity, _)| OpacityPoint {
                        value: value(part),
                        opacity,
                    })
                    .collect(),
                colour: rows
                    .iter()
                    .map(|&(part, _, rgb)| ColourPoint {
                        value: value(part),
                        rgb,
                    })
                    .collect(),
                gradient: Vec::new(),
            },
        }
    }
}
