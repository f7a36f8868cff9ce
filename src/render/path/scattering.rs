//! Where light goes that a particle or a surface scatters.

use super::random::Random;
use crate::render::march::Look;
use crate::render::scatter::{Facets, mirrored, phase, phase_cosine};
use crate::render::vector::{along, dot, unit};

/// What scatters light.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scatterer {
    /// To all sides, turned by an angle of some mean cosine.
    Medium { anisotropy: f32 },
    /// To the side of a normal that faces the eye.
    Surface {
        normal: [f32; 3],
        /// Part that is mirrored where light comes along the normal.
        specular: f32,
        facets: Facets,
    },
}

impl Scatterer {
    /// What is met of what has a gradient, by chance, seen in a direction.
    pub(super) fn of(
        look: &Look,
        gradient: [f32; 3],
        direction: [f32; 3],
        random: &mut Random,
    ) -> Self {
        let m = &look.material;
        let (normal, surface) = look.normal(gradient, direction);
        if random.uniform() >= surface {
            return Self::Medium {
                anisotropy: m.anisotropy,
            };
        }
        // A highlight of Blinn and Phong is about as wide as one of facets of this roughness, and as bright
        // as one of a mirror that is so much darker.
        let (roughness, specular) = match m.roughness {
            Some(roughness) => (roughness, m.specular),
            None => (
                (2.0 / (m.shininess + 2.0)).sqrt().sqrt(),
                m.specular * 8.0 / (m.shininess + 8.0),
            ),
        };
        Self::Surface {
            normal,
            specular,
            facets: Facets::new(roughness),
        }
    }

    fn mirrored(specular: f32, cos: f32) -> f32 {
        if specular > 0.0 {
            mirrored(specular, cos)
        } else {
            0.0
        }
    }

    /// What it sends on in a direction's reverse of the light of a lamp that lights a white, matt surface
    /// facing it to 1.
    pub(super) fn lit(
        &self,
        colour: [f32; 3],
        direction: [f32; 3],
        to_light: [f32; 3],
    ) -> [f32; 3] {
        match *self {
            Self::Medium { anisotropy } => {
                let part = std::f32::consts::PI * phase(anisotropy, dot(to_light, direction));
                colour.map(|c| c * part)
            }
            Self::Surface {
                normal,
                specular,
                facets,
            } => {
                let facing = dot(normal, to_light);
                let eye = -dot(normal, direction);
                if facing <= 0.0 || eye <= 0.0 {
                    return [0.0; 3];
                }
                let mirror = Self::mirrored(specular, eye);
                let half = unit(along(to_light, -1.0, direction));
                let shine = mirror * facets.highlight(dot(normal, half), facing, eye);
                colour.map(|c| c * (1.0 - mirror) * facing + shine)
            }
        }
    }

    /// A direction from which light comes that it sends on, and what part it sends on.
    pub(super) fn follow(
        &self,
        colour: [f32; 3],
        direction: [f32; 3],
        random: &mut Random,
    ) -> ([f32; 3], [f32; 3]) {
        match *self {
            Self::Medium { anisotropy } => {
                let cos = phase_cosine(anisotropy, random.uniform());
                (around(direction, cos, random.uniform()), colour)
            }
            Self::Surface {
                normal,
                specular,
                facets,
            } => {
                let eye = -dot(normal, direction);
                if random.uniform() < Self::mirrored(specular, eye) {
                    return reflect(facets, normal, direction, random);
                }
                // As many as the cosine says.
                let cos = random.uniform().sqrt();
                (around(normal, cos, random.uniform()), colour)
            }
        }
    }
}

/// A direction from which a mirror of facets sends light to the eye, and what part it sends.
fn reflect(
    facets: Facets,
    normal: [f32; 3],
    direction: [f32; 3],
    random: &mut Random,
) -> ([f32; 3], [f32; 3]) {
    // Facets that the eye sees are those that a hemisphere stretched by their roughness shows (Dupuy and
    // Benyoub, 2023).
    let [x, y] = square_to(normal);
    let alpha = facets.alpha;
    let eye = [
        -dot(direction, x),
        -dot(direction, y),
        -dot(direction, normal),
    ];
    let stretched = unit([alpha * eye[0], alpha * eye[1], eye[2]]);
    let angle = std::f32::consts::TAU * random.uniform();
    let z = (1.0 - random.uniform()) * (1.0 + stretched[2]) - stretched[2];
    let sin = (1.0 - z * z).max(0.0).sqrt();
    let cap = [sin * angle.cos(), sin * angle.sin(), z];
    let half = along(cap, 1.0, stretched);
    let half = unit([alpha * half[0], alpha * half[1], half[2].max(0.0)]);
    let half = along(along(normal.map(|c| c * half[2]), half[0], x), half[1], y);
    let to_light = along(direction, -2.0 * dot(direction, half), half);
    let facing = dot(to_light, normal);
    if facing <= 0.0 {
        return (normal, [0.0; 3]);
    }
    (unit(to_light), [facets.seen(facing); 3])
}

/// Two directions square to one and to each other.
fn square_to([x, y, z]: [f32; 3]) -> [[f32; 3]; 2] {
    // Duff and others, 2017.
    let sign = 1.0f32.copysign(z);
    let a = -1.0 / (sign + z);
    let b = x * y * a;
    [
        [1.0 + sign * x * x * a, sign * b, -sign * x],
        [b, sign + y * y * a, -y],
    ]
}

/// A direction at an angle of some cosine to an axis.
fn around(axis: [f32; 3], cos: f32, turn: f32) -> [f32; 3] {
    let [x, y] = square_to(axis);
    let sin = (1.0 - cos * cos).max(0.0).sqrt();
    let (b, a) = (std::f32::consts::TAU * turn).sin_cos();
    unit(along(along(axis.map(|c| c * cos), sin * a, x), sin * b, y))
}
