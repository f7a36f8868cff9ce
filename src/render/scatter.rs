//! How light changes its direction: phase functions of media and highlights of surfaces.

use std::f32::consts::PI;

/// Part of the light, for a unit of solid angle, that a medium scatters by an angle of cosine `cos` (1 = goes
/// on as it went): the phase function of Henyey and Greenstein. `g`, the mean cosine, lies within -1..1.
pub(super) fn phase(g: f32, cos: f32) -> f32 {
    let base = 1.0 + g * g - 2.0 * g * cos;
    (1.0 - g * g) / (4.0 * PI * base * base.sqrt())
}

/// A cosine that is distributed as the phase function says, from a random number within 0..1.
pub(super) fn phase_cosine(g: f32, u: f32) -> f32 {
    if g.abs() < 1e-3 {
        return 1.0 - 2.0 * u;
    }
    let s = (1.0 - g * g) / (1.0 - g + 2.0 * g * u);
    ((1.0 + g * g - s * s) / (2.0 * g)).clamp(-1.0, 1.0)
}

/// The part of the light that a surface mirrors, by the cosine of the angle to its normal: Schlick's fit.
/// `facing` is that part at a right angle.
pub(super) fn mirrored(facing: f32, cos: f32) -> f32 {
    facing + (1.0 - facing) * (1.0 - cos.clamp(0.0, 1.0)).powi(5)
}

/// Microfacets of Trowbridge and Reitz (GGX). `alpha` is the square of the roughness.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facets {
    pub(super) alpha: f32,
}

impl Facets {
    pub(super) fn new(roughness: f32) -> Self {
        // Smoother than this a highlight of a light without size is lost between pixels.
        let roughness = roughness.max(0.03);
        Self {
            alpha: roughness * roughness,
        }
    }

    /// Facets for a unit of solid angle whose normals have this cosine to that of the surface.
    pub(super) fn density(self, cos: f32) -> f32 {
        let square = self.alpha * self.alpha;
        let base = cos * cos * (square - 1.0) + 1.0;
        square / (PI * base * base)
    }

    /// The part of the facets that is seen from a direction: Smith's masking.
    pub(super) fn seen(self, cos: f32) -> f32 {
        let square = self.alpha * self.alpha;
        2.0 * cos / (cos + (square + (1.0 - square) * cos * cos).sqrt())
    }

    /// What a white mirror of facets sends to the eye of the light of a lamp that lights a white, matt
    /// surface facing it to 1. The cosines are those of the half vector, the light and the eye to the normal.
    pub(super) fn highlight(self, half: f32, light: f32, eye: f32) -> f32 {
        let both = self.seen(light) * self.seen(eye);
        PI * self.density(half) * both / (4.0 * eye.max(1e-3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phase_functions_scatter_all_light_and_turn_it_as_g_says() {
        for g in [-0.9f32, -0.3, 0.0, 0.5, 0.85] {
            let steps = 200_000;
            let (mut all, mut mean) = (0.0f64, 0.0f64);
            for i in 0..steps {
                let cos = -1.0 + 2.0 * (i as f32 + 0.5) / steps as f32;
                let part = f64::from(phase(g, cos)) * 4.0 * std::f64::consts::PI / steps as f64;
                all += part;
                mean += part * f64::from(cos);
            }
            assert!((all - 1.0).abs() < 1e-3, "{g}: {all}");
            assert!((mean - f64::from(g)).abs() < 1e-3, "{g}: {mean}");
            let drawn = (0..steps).map(|i| phase_cosine(g, (i as f32 + 0.5) / steps as f32));
            let drawn = drawn.map(f64::from).sum::<f64>() / steps as f64;
            assert!((drawn - f64::from(g)).abs() < 1e-3, "{g}: {drawn}");
        }
    }

    /// Areas of all facets, as seen from above, add up to that of the surface.
    #[test]
    fn facets_cover_their_surface() {
        for roughness in [0.15f32, 0.5, 1.0] {
            let facets = Facets::new(roughness);
            let steps = 400_000;
            let area: f64 = (0..steps)
                .map(|i| {
                    let cos = (i as f64 + 0.5) / steps as f64;
                    f64::from(facets.density(cos as f32)) * cos * std::f64::consts::TAU
                        / steps as f64
                })
                .sum();
            assert!((area - 1.0).abs() < 2e-3, "{roughness}: {area}");
        }
    }
}
