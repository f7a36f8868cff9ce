//! Path tracing against formulas. Tolerances are at least four standard deviations of the noise.

use std::ops::ControlFlow;

use super::lights::{floor_and_beam, from_above, profile};
use super::made::{Made, balls, noise};
use super::pictures::{ball, flat, function, white};
use crate::render::{
    Background, Environment, Image, Light, Material, Mode, PathOptions, PathProgress, Renderer,
    Scene,
};
use crate::stream::Bricks;
use crate::stream::schedule::Projection;

fn trace(bricks: &Bricks, scene: &Scene, size: [u32; 2], samples: u32) -> Image {
    let options = PathOptions {
        samples,
        scatterings: 1 << 20,
        ..PathOptions::default()
    };
    let go_on = &mut |_: &PathProgress<'_>| ControlFlow::Continue(());
    let image = Renderer::new(0).trace(bricks, scene, size, &options, go_on);
    image.unwrap()
}

fn mean(image: &Image, channel: usize) -> f64 {
    let sum: f64 = image.pixels.iter().map(|p| f64::from(p[channel])).sum();
    sum / image.pixels.len() as f64
}

#[test]
fn a_slab_lets_through_what_its_depth_says() {
    let made = Made::new([30, 50, 37], 4, false, |_| 7.0);
    for (from, depth) in [([0.0, 0.0, -90.0], 37.0), ([60.0, 0.0, 80.0], 37.0 / 0.8)] {
        let transfer = white(&[(0.0, 0.0), (10.0, 0.03)]);
        let mut scene = flat(&made, from, Projection::Orthographic(2.0), transfer);
        scene.environment = Environment::Constant { colour: [0.0; 3] };
        for lod in [None, Some(0), Some(2)] {
            let image = trace(&made.bricks(|_| lod), &scene, [16, 16], 128);
            let expected = 1.0 - (1.0f64 - 0.021).powf(depth);
            let found = mean(&image, 3);
            assert!((found - expected).abs() < 0.012, "{found} {expected}");
        }
    }
}

#[test]
fn a_ball_stops_what_its_chords_say() {
    let made = ball();
    // Radius 20: 40 - 20.
    let opacity = 0.04f32;
    let steps = [(0.0, 0.0), (20.0, 0.0), (20.0, opacity)];
    let mut scene = flat(
        &made,
        [50.0, 60.0, 70.0],
        Projection::Orthographic(44.0),
        white(&steps),
    );
    scene.environment = Environment::Constant { colour: [0.0; 3] };
    let image = trace(&made.bricks(|_| Some(0)), &scene, [44, 44], 64);
    let extinction = -f64::from(1.0 - opacity).ln();
    let steps = 4000;
    let stopped: f64 = (0..steps)
        .map(|i| {
            let b = 20.0 * (f64::from(i) + 0.5) / f64::from(steps);
            let chord = 2.0 * (400.0 - b * b).sqrt();
            (1.0 - (-extinction * chord).exp()) * std::f64::consts::TAU * b * 20.0
                / f64::from(steps)
        })
        .sum();
    let expected = stopped / (44.0 * 44.0);
    let found = mean(&image, 3);
    assert!((found - expected).abs() < 0.008, "{found} {expected}");
}

/// White matter seen from beside it.
fn from_aside(made: &Made) -> Scene {
    let transfer = white(&[(10.0, 0.0), (60.0, 0.12), (127.0, 0.5)]);
    let projection = Projection::Perspective(0.6);
    flat(made, [70.0, 33.0, 50.0], projection, transfer)
}

/// Whatever scatters all light, in light that is the same from everywhere, cannot be seen.
#[test]
fn white_is_white_in_white_light() {
    for (value, anisotropy) in [(noise as fn([u64; 3]) -> f32, 0.6), (balls, 0.0)] {
        let made = Made::new([40, 33, 37], 4, false, value);
        let mut scene = from_aside(&made);
        scene.background = Background::Colour([1.0; 3]);
        scene.spacing = [0.8, 1.0, 1.3];
        scene.material = Material {
            ambient: 1.0,
            anisotropy,
            surface: 0.05,
            ..Material::FLAT
        };
        let image = trace(&made.bricks(|_| Some(0)), &scene, [24, 20], 8);
        for pixel in &image.pixels {
            assert!(pixel.iter().all(|c| (c - 1.0).abs() < 1e-5), "{pixel:?}");
        }
        // A mirror of facets loses some light between them and makes none.
        scene.material.specular = 0.5;
        scene.material.roughness = Some(0.5);
        let image = trace(&made.bricks(|_| Some(0)), &scene, [24, 20], 8);
        let found = mean(&image, 0);
        assert!(found < 1.0 && found > 0.8, "{found}");
    }
}

#[test]
fn a_beam_throws_its_shadow_where_light_says() {
    let made = floor_and_beam();
    let beam = 0.08;
    let mut scene = from_above(beam);
    scene.environment = Environment::Constant { colour: [0.0; 3] };
    // All that is scattered is scattered once.
    scene.transfer = function(
        &[
            (20.0, 0.0),
            (20.0, 1.0 - (-beam).exp()),
            (50.0, 1.0 - (-beam).exp()),
            (50.0, 1.0),
        ],
        &[(0.0, [0.02; 3])],
    );
    let image = trace(&made.bricks(|_| Some(0)), &scene, [48, 4], 400);
    for (x, &light) in profile(&image).iter().enumerate().take(46).skip(17) {
        let way = (8.0 - (2.0 * x as f32 + 1.0 - 64.0).abs()).max(0.0) * 2.0f32.sqrt();
        let expected = (-beam * way).exp();
        assert!((light - expected).abs() < 0.08, "{x}: {light} {expected}");
    }
}

/// Light that is scattered once, through a thin slab with the lamp behind the eye.
#[test]
fn single_scattering_is_an_integral() {
    let made = Made::new([24; 3], 4, false, |_| 7.0);
    let (grey, extinction) = (0.01f32, 0.03f32);
    let transfer = function(&[(0.0, 1.0 - (-extinction).exp())], &[(0.0, [0.099_9; 3])]);
    // 0.0999 of sRGB is 0.01 of the light: what is scattered twice does not count.
    let mut scene = flat(
        &made,
        [0.0, 0.0, -90.0],
        Projection::Orthographic(1.0),
        transfer,
    );
    scene.environment = Environment::Constant { colour: [0.0; 3] };
    scene.material.diffuse = 1.0;
    let g = 0.4f32;
    scene.material.anisotropy = g;
    scene.lights = vec![Light::Directional {
        direction: [0.0, 0.0, 1.0],
        colour: [1000.0; 3],
        follows_camera: true,
    }];
    let image = trace(&made.bricks(|_| Some(0)), &scene, [16, 16], 64);
    // In and out by the same way: half of what twice the depth stops, turned round.
    let turned = (1.0 - g * g) / (4.0 * (1.0 + g * g + 2.0 * g).powf(1.5));
    let depth = extinction * 24.0;
    let expected = 1000.0 * grey * turned * 0.5 * (1.0 - (-2.0 * depth).exp());
    let found = mean(&image, 0) as f32;
    assert!((found / expected - 1.0).abs() < 0.05, "{found} {expected}");
}

#[test]
fn pictures_hang_on_the_seed_alone() {
    let made = Made::new([40, 33, 37], 4, false, balls);
    let mut scene = from_aside(&made);
    scene.lights = vec![Light::default()];
    scene.material = Material::default();
    let bricks = made.bricks(|_| Some(0));
    let draw = |threads: usize, seed: u64, stop: u32| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let options = PathOptions {
            samples: 4,
            seed,
            ..PathOptions::default()
        };
        let mut progress = |p: &PathProgress<'_>| {
            if p.samples == stop {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let pool = pool.build().unwrap();
        let image = pool
            .install(|| Renderer::new(0).trace(&bricks, &scene, [40, 30], &options, &mut progress));
        image.unwrap()
    };
    let image = draw(1, 5, 9);
    assert_eq!(image, draw(3, 5, 9));
    assert_ne!(image, draw(3, 6, 9));
    assert_ne!(image, draw(3, 5, 2));
    scene.mode = Mode::Maximum;
    let go_on = &mut |_: &PathProgress<'_>| ControlFlow::Continue(());
    let options = PathOptions::default();
    let error = Renderer::new(0).trace(&bricks, &scene, [4, 4], &options, go_on);
    assert!(error.unwrap_err().to_string().contains("medium"));
}
