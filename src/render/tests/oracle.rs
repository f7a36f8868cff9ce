//! Ray marching through a dense array, one sample after the other, in double precision and with the transfer
//! function itself. Written apart from the renderer: what both agree on is what the module says.

use crate::render::{Light, Material, Scene};
use crate::stream::schedule::View;

type V = [f64; 3];

fn dot(a: V, b: V) -> f64 {
    (0..3).map(|i| a[i] * b[i]).sum()
}

fn unit(v: V) -> V {
    let length = dot(v, v).sqrt();
    v.map(|c| c / length)
}

pub(in crate::render) struct Dense<'a> {
    pub(in crate::render) extent: [u64; 3],
    pub(in crate::render) value: &'a dyn Fn([u64; 3]) -> f32,
}

impl Dense<'_> {
    fn at(&self, place: [i64; 3]) -> f64 {
        let inside = [0, 1, 2].map(|a| place[a].clamp(0, self.extent[a] as i64 - 1) as u64);
        f64::from((self.value)(inside))
    }

    /// Trilinear mixture of what `of` says of the voxels around a place.
    fn mixed(&self, place: V, of: impl Fn([i64; 3]) -> f64) -> f64 {
        let place = [0, 1, 2].map(|a| place[a].clamp(0.0, (self.extent[a] - 1) as f64));
        let low = place.map(f64::floor);
        let mut sum = 0.0;
        for corner in 0..8 {
            let bits = [corner & 1, corner >> 1 & 1, corner >> 2];
            let weight: f64 = (0..3)
                .map(|a| {
                    let t = place[a] - low[a];
                    if bits[a] == 1 { t } else { 1.0 - t }
                })
                .product();
            sum += weight * of([0, 1, 2].map(|a| low[a] as i64 + bits[a]));
        }
        sum
    }

    pub(in crate::render) fn value(&self, place: V) -> f64 {
        self.mixed(place, |at| self.at(at))
    }

    pub(in crate::render) fn gradient(&self, place: V, spacing: V) -> V {
        [0, 1, 2].map(|a| {
            self.mixed(place, |at| {
                let (mut low, mut high) = (at, at);
                low[a] -= 1;
                high[a] += 1;
                (self.at(high) - self.at(low)) / (2.0 * spacing[a])
            })
        })
    }

    /// Light and opacity that the ray through a point of the picture gathers.
    pub(in crate::render) fn gather(
        &self,
        scene: &Scene,
        view: &View,
        at: [f32; 2],
        step: f64,
    ) -> [f64; 4] {
        let (from, direction) = view.ray(at[0], at[1]);
        let spacing = scene.spacing.map(f64::from);
        let direction = direction.map(f64::from);
        let along = [0, 1, 2].map(|a| direction[a] / spacing[a]);
        let from = [0, 1, 2].map(|a| f64::from(from[a]) / spacing[a] - 0.5);
        let (mut enter, mut leave) = (0.0f64, f64::INFINITY);
        for a in 0..3 {
            let to = [-0.5, self.extent[a] as f64 - 0.5].map(|b| (b - from[a]) / along[a]);
            enter = enter.max(to[0].min(to[1]));
            leave = leave.min(to[0].max(to[1]));
        }
        let mut out = [0.0; 4];
        let mut t = enter;
        while t < leave - 1e-6 * step {
            let length = step.min(leave - t);
            let place = [0, 1, 2].map(|a| from[a] + (t + length / 2.0) * along[a]);
            let value = self.value(place);
            let alpha = 1.0 - (1.0 - f64::from(scene.transfer.opacity(value as f32))).powf(length);
            let colour = scene.transfer.colour(value as f32).map(f64::from);
            let lit = shade(
                scene,
                view,
                colour,
                self.gradient(place, spacing),
                direction,
            );
            let weight = alpha * (1.0 - out[3]);
            for c in 0..3 {
                out[c] += weight * lit[c];
            }
            out[3] += weight;
            t += length;
        }
        out
    }
}

fn shade(scene: &Scene, view: &View, colour: V, gradient: V, direction: V) -> V {
    let Material {
        ambient,
        diffuse,
        specular,
        shininess,
        surface,
        ..
    } = scene.material;
    let [right, up, forward] = view.axes();
    let [
        Light::Directional {
            direction: d,
            colour: light,
            follows_camera,
        },
    ] = scene.lights[..]
    else {
        return [f64::NAN; 3];
    };
    let to_light = unit([0, 1, 2].map(|a| {
        let towards = if follows_camera {
            d[0] * right[a] + d[1] * up[a] + d[2] * forward[a]
        } else {
            d[a]
        };
        -f64::from(towards)
    }));
    let [lo, hi] = scene.transfer.span();
    let size = dot(gradient, gradient).sqrt();
    let half = f64::from(surface) * f64::from(hi - lo);
    let part = if size > 0.0 {
        size / (size + half)
    } else {
        0.0
    };
    let mut normal = if size > 0.0 { unit(gradient) } else { [0.0; 3] };
    if dot(normal, direction) > 0.0 {
        normal = normal.map(|c| -c);
    }
    let facing = dot(normal, to_light).max(0.0);
    let middle = unit([0, 1, 2].map(|a| to_light[a] - direction[a]));
    let glint = dot(normal, middle).max(0.0).powf(shininess.into());
    let shine = if facing > 0.0 {
        f64::from(specular) * part * glint
    } else {
        0.0
    };
    let scattered = f64::from(diffuse) * (1.0 + part * (facing - 1.0));
    let light = light.map(f64::from);
    [0, 1, 2].map(|c| colour[c] * (f64::from(ambient) + scattered * light[c]) + shine * light[c])
}
