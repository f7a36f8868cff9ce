//! Pictures as light, and as bytes for screens.

use serde::{Deserialize, Serialize};

/// How light becomes what a screen can show.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub enum ToneMapping {
    /// Light over 1 is cut off.
    #[default]
    Cut,
    /// `x / (1 + x)`, so that nothing is cut off.
    Reinhard,
    /// A curve like that of film: contrast in the middle, soft ends (Narkowicz' fit of ACES).
    Filmic,
}

impl ToneMapping {
    /// What the screen shows for a channel of light, 0..=1, still linear.
    pub fn map(self, light: f32) -> f32 {
        let x = light.max(0.0);
        let shown = match self {
            Self::Cut => x,
            Self::Reinhard => x / (1.0 + x),
            Self::Filmic => x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14),
        };
        shown.min(1.0)
    }
}

/// A picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Width and height in pixels.
    pub size: [u32; 2],
    /// Red, green, blue as light, times opacity, and opacity 0..=1; rows from the top, `[y][x]`.
    pub pixels: Vec<[f32; 4]>,
}

/// A channel of light, 0..=1, as an sRGB picture stores it.
fn to_srgb8(light: f32) -> u8 {
    let x = light.clamp(0.0, 1.0);
    let stored = if x <= 0.003_130_8 {
        12.92 * x
    } else {
        1.055 * x.powf(1.0 / 2.4) - 0.055
    };
    (stored * 255.0 + 0.5) as u8
}

impl Image {
    /// Red, green, blue of every pixel, 8 bits sRGB, over black where it is not opaque; `[y][x]`.
    pub fn to_rgb8(&self, exposure: f32, tone: ToneMapping) -> Vec<u8> {
        let channels = self.pixels.iter().flat_map(|p| [p[0], p[1], p[2]]);
        channels.map(|c| to_srgb8(tone.map(c * exposure))).collect()
    }

    /// The same with opacity, red, green and blue not multiplied by it, as PNG wants it.
    pub fn to_rgba8(&self, exposure: f32, tone: ToneMapping) -> Vec<u8> {
        let pixels = self.pixels.iter().flat_map(|&[r, g, b, a]| {
            let whole = if a > 0.0 { exposure / a } else { 0.0 };
            let [r, g, b] = [r, g, b].map(|c| to_srgb8(tone.map(c * whole)));
            [r, g, b, (a.clamp(0.0, 1.0) * 255.0 + 0.5) as u8]
        });
        pixels.collect()
    }
}
