//! One path of light, backward from the eye.

use super::medium::{Medium, Particle};
use super::random::Random;
use super::scattering::Scatterer;
use crate::render::march::{Look, Ray};
use crate::render::vector::along;

/// Scatterings before chance decides whether a path is worth its while.
const SURE: u32 = 3;

pub(super) struct Tracer<'a> {
    pub(super) medium: &'a Medium<'a>,
    pub(super) look: &'a Look,
    /// Most scatterings.
    pub(super) scatterings: u32,
}

fn times(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[0] * b[0], a[1] * b[1], a[2] * b[2]]
}

impl Tracer<'_> {
    /// Light that one path along a ray finds, and 1 if the ray met nothing, else 0.
    pub(super) fn path(&self, mut ray: Ray, random: &mut Random) -> [f32; 4] {
        let mut light = [0.0; 3];
        let mut part = [1.0; 3];
        for scattering in 0..self.scatterings {
            let span = self.medium.marcher.span(&ray);
            let Some(particle) = self.medium.meet(&ray, span, random) else {
                if scattering == 0 {
                    return [0.0, 0.0, 0.0, 1.0];
                }
                let sky = self.look.environment.light_from(ray.direction);
                let ambient = self.look.material.ambient;
                light = along(light, ambient, times(part, sky));
                break;
            };
            let direction = ray.direction;
            let scatterer = Scatterer::of(self.look, particle.gradient, direction, random);
            let own = self.own_light(&particle, &scatterer, direction, random);
            light = along(light, 1.0, times(part, own));
            let (to_light, sent) = scatterer.follow(particle.colour, direction, random);
            part = times(part, sent);
            let most = part.into_iter().fold(0.0, f32::max);
            if scattering >= SURE && most < 1.0 {
                if random.uniform() >= most {
                    break;
                }
                part = part.map(|c| c / most);
            }
            if most <= 0.0 {
                break;
            }
            ray = self.ray(particle.voxels, to_light);
        }
        [light[0], light[1], light[2], 0.0]
    }

    /// What a particle sends on of the lamps' light, and its own.
    fn own_light(
        &self,
        particle: &Particle,
        scatterer: &Scatterer,
        direction: [f32; 3],
        random: &mut Random,
    ) -> [f32; 3] {
        let spacing = self.medium.marcher.spacing;
        let place = [0, 1, 2].map(|a| (particle.voxels[a] as f32 + 0.5) * spacing[a]);
        let material = &self.look.material;
        let mut sum = particle.colour.map(|c| c * material.emission);
        for lamp in &self.look.lamps {
            let lit = lamp.at(place);
            let sent = scatterer.lit(particle.colour, direction, lit.to_light);
            let sent = times(sent, lit.colour);
            if lit.to_light == [0.0; 3] || !sent.iter().any(|&c| c > 0.0) {
                continue;
            }
            let ray = self.ray(particle.voxels, lit.to_light);
            let [enter, leave] = self.medium.marcher.span(&ray);
            let way = [enter, leave.min(lit.distance.into())];
            let through = self.medium.through(&ray, way, random);
            sum = along(sum, material.diffuse * through, sent);
        }
        sum
    }

    fn ray(&self, from: [f64; 3], direction: [f32; 3]) -> Ray {
        let spacing = self.medium.marcher.spacing;
        Ray {
            from,
            along: [0, 1, 2].map(|a| f64::from(direction[a]) / f64::from(spacing[a])),
            direction,
        }
    }
}
