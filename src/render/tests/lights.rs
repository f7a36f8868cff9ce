//! Lights, shadows and what gradients do, against formulas.

use super::made::{Made, camera};
use super::pictures::{ahead, ball, exact, flat, function, white};
use crate::render::{
    AmbientOcclusion, Clip, Environment, GradientPoint, Image, Light, Material, Mode, Scene, render,
};
use crate::stream::schedule::{Camera, Projection};

/// A floor below 8 and a beam along y over it: `x` in 24..32, `z` in 40..48.
pub(super) fn floor_and_beam() -> Made {
    Made::new([96, 24, 64], 4, false, |[x, _, z]| match (x, z) {
        (_, 0..8) => 100.0,
        (24..32, 40..48) => 40.0,
        _ => 0.0,
    })
}

/// The floor from straight above, a pixel for a voxel, x to the right; floor opaque, beam of an extinction.
pub(super) fn from_above(beam: f32) -> Scene {
    let opacity = 1.0 - (-beam).exp();
    let steps = [(20.0, 0.0), (20.0, opacity), (50.0, opacity), (50.0, 1.0)];
    let camera = Camera {
        eye: [48.0, 12.0, 150.0],
        forward: [0.0, 0.0, -1.0],
        up: [0.0, 1.0, 0.0],
        projection: Projection::Orthographic(8.0),
        pixels: [96, 8],
    };
    Scene {
        material: Material {
            ambient: 0.0,
            diffuse: 1.0,
            specular: 0.0,
            ..Material::default()
        },
        // Slanting in x: what is higher throws its shadow to larger x.
        lights: vec![Light::Directional {
            direction: [1.0, 0.0, -1.0],
            colour: [1.0; 3],
            follows_camera: false,
        }],
        shadows: true,
        ..Scene::new(camera, white(&steps))
    }
}

/// Light of the floor by x, over that where nothing is in the way; the mean over all rows.
pub(super) fn profile(image: &Image) -> Vec<f32> {
    let [width, height] = image.size.map(|n| n as usize);
    let column = |x: usize| {
        let rows = (0..height).map(|y| image.pixels[y * width + x][0]);
        rows.sum::<f32>() / height as f32
    };
    // Left of the beam there is no shadow; far from the wall of the volume.
    let left = width / 16..width * 5 / 24;
    let open = left.clone().map(column).sum::<f32>() / left.len() as f32;
    (0..width).map(|x| column(x) / open).collect()
}

#[test]
fn a_beam_throws_its_shadow_where_light_says() {
    let made = floor_and_beam();
    let bricks = made.bricks(|_| Some(0));
    // Light that reaches x has crossed the beam between 40 - 8 and 48 - 8 over the floor.
    let image = render(&bricks, &from_above(12.0), [96, 8], &exact()).unwrap();
    let opaque = profile(&image);
    for (x, &light) in opaque.iter().enumerate().skip(34) {
        let from_edge = (x as f32 + 0.5 - 64.0).abs() - 8.0;
        if from_edge < -1.0 {
            assert!(light < 0.02, "{x}: {light}");
        } else if from_edge > 1.0 && x < 94 {
            assert!((light - 1.0).abs() < 0.02, "{x}: {light}");
        }
    }
    let beam = 0.08;
    let image = render(&bricks, &from_above(beam), [96, 8], &exact()).unwrap();
    let mut errors = Vec::new();
    for (x, &light) in profile(&image).iter().enumerate().take(94).skip(34) {
        let way = (8.0 - (x as f32 + 0.5 - 64.0).abs()).max(0.0) * 2.0f32.sqrt();
        let expected = (-beam * way).exp();
        errors.push((light - expected).abs());
        // A shadow's step may count for the beam or not.
        assert!(
            errors[errors.len() - 1] < beam + 0.01,
            "{x}: {light} {expected}"
        );
    }
    let mean = errors.iter().sum::<f32>() / errors.len() as f32;
    assert!(mean < 0.02, "{mean}: {errors:?}");
}

#[test]
fn lamps_fall_with_the_square_of_their_distance() {
    let made = Made::new(
        [48, 48, 24],
        4,
        false,
        |[_, _, z]| if z < 8 { 100.0 } else { 0.0 },
    );
    let grey = function(&[(0.0, 0.0), (100.0, 1.0)], &[(0.0, [1.0; 3])]);
    let mut scene = flat(
        &made,
        [0.0, 0.0, 90.0],
        Projection::Orthographic(48.0),
        grey,
    );
    scene.mode = Mode::Surface(50.0);
    scene.material = Material {
        ambient: 0.0,
        diffuse: 1.0,
        ..Material::FLAT
    };
    scene.camera.up = [0.0, 1.0, 0.0];
    let (height, range) = (12.0f32, 15.0f32);
    let positions = [
        [24.0, 24.0, 8.0 + height],
        [0.0, 0.0, -(102.0 - 8.0 - height)],
    ];
    // The eye is 90 over the middle, at 102; behind it is up.
    for (position, follows_camera) in [(positions[0], false), (positions[1].map(f32::abs), true)] {
        scene.lights = vec![Light::Point {
            position,
            colour: [1.0, 0.5, 0.0],
            range,
            follows_camera,
        }];
        let image = render(&made.bricks(|_| Some(0)), &scene, [48, 48], &exact()).unwrap();
        for (i, [r, g, b, _]) in image.pixels.iter().enumerate() {
            let [x, y] = [i % 48, i / 48].map(|c| c as f32 + 0.5 - 24.0);
            let square = x * x + y * y + height * height;
            let expected = range * range / square * height / square.sqrt();
            assert!(
                (r - expected).abs() < 0.02 * expected,
                "{x} {y}: {r} {expected}"
            );
            assert!((g - 0.5 * r).abs() < 1e-5 && *b == 0.0);
        }
    }
}

#[test]
fn skies_light_what_faces_them() {
    let made = ball();
    let grey = function(&[(0.0, 0.0), (40.0, 1.0)], &[(0.0, [1.0; 3])]);
    let mut scene = flat(
        &made,
        [0.0, -90.0, 0.0],
        Projection::Orthographic(64.0),
        grey,
    );
    scene.camera.up = [0.0, 0.0, 1.0];
    scene.mode = Mode::Surface(20.0);
    scene.environment = Environment::Gradient {
        top: [1.0, 1.0, 0.0],
        bottom: [0.0, 1.0, 0.0],
        up: [0.0, 0.0, 2.0],
    };
    let image = render(&made.bricks(|_| Some(0)), &scene, [64, 64], &exact()).unwrap();
    for (row, rise) in [(14, 17.5f32), (32, -0.5), (49, -17.5)] {
        let [r, g, b, _] = image.pixels[row * 64 + 32];
        // The mean of the height over a half space, by cosines, is two thirds of its normal's.
        let expected = 0.5 + rise / 20.0 / 3.0;
        assert!((r - expected).abs() < 0.02, "{row}: {r} {expected}");
        assert!((g - 1.0).abs() < 1e-5 && b == 0.0);
    }
}

#[test]
fn corners_are_darker_than_open_floors() {
    // A floor, and a wall at x < 8.
    let made = Made::new([96, 24, 64], 4, false, |[x, _, z]| {
        if z < 8 || x < 8 { 100.0 } else { 0.0 }
    });
    let mut scene = from_above(1.0);
    scene.lights.clear();
    scene.material.ambient = 1.0;
    let bricks = made.bricks(|_| Some(0));
    let draw = |scene: &Scene| {
        let image = render(&bricks, scene, [96, 8], &exact()).unwrap();
        (0..96)
            .map(|x| image.pixels[4 * 96 + x][0])
            .collect::<Vec<f32>>()
    };
    let plain = draw(&scene);
    scene.ambient_occlusion = Some(AmbientOcclusion {
        strength: 1.0,
        radius: 16.0,
    });
    let near = draw(&scene);
    assert!((near[40] / plain[40] - 1.0).abs() < 0.03, "{}", near[40]);
    // In a corner a wall hides half of the half space.
    assert!(near[9] < 0.75 * plain[9] && near[9] > 0.3, "{}", near[9]);
    for x in 10..30 {
        assert!(near[x] <= near[x + 1] + 0.01, "no steps: {near:?}");
        assert!(near[x + 1] - near[x] < 0.1, "no jumps: {near:?}");
    }
    scene.ambient_occlusion = Some(AmbientOcclusion {
        strength: 0.5,
        radius: 16.0,
    });
    let half = draw(&scene);
    let between = 0.5 * (plain[9] + near[9]);
    assert!((half[9] - between).abs() < 1e-3, "{} {between}", half[9]);
}

#[test]
fn gradients_make_what_is_even_clear() {
    let made = Made::new([64, 16, 16], 4, false, |[x, _, _]| x as f32);
    let points =
        [(0.0, 0.0), (2.0, 1.0)].map(|(gradient, factor)| GradientPoint { gradient, factor });
    let transfer = white(&[(0.0, 0.1)]).with_gradient(points.to_vec()).unwrap();
    let mut scene = flat(
        &made,
        [200.0, 0.0, 0.0],
        Projection::Orthographic(2.0),
        transfer,
    );
    scene.clip = Clip {
        within: Some([[10.0, 0.0, 0.0], [50.0, 16.0, 16.0]]),
        planes: Vec::new(),
    };
    let image = render(&made.bricks(|_| Some(0)), &scene, [8, 8], &exact()).unwrap();
    // Values rise by 1 for a voxel: half of the extinction.
    let expected = 1.0 - 0.9f32.powf(0.5 * 40.0);
    let alpha = image.pixels[36][3];
    assert!((alpha - expected).abs() < 1e-3, "{alpha} {expected}");
}

#[test]
fn glowing_and_turning_forward() {
    let made = Made::new([30; 3], 4, false, |_| 7.0);
    let from = [0.0, 0.0, -90.0];
    let transfer = white(&[(0.0, 0.05)]);
    let mut scene = flat(&made, from, Projection::Orthographic(2.0), transfer);
    scene.camera = camera(made.extent, from, Projection::Orthographic(2.0));
    scene.material.ambient = 0.0;
    scene.material.emission = 3.0;
    let bricks = made.bricks(|_| None);
    let light = |scene: &Scene| {
        let image = render(&bricks, scene, [8, 8], &exact()).unwrap();
        let [r, _, _, a] = image.pixels[36];
        r / a
    };
    assert!((light(&scene) - 3.0).abs() < 1e-4);
    // Light from behind goes on to the eye, light from the eye does not turn.
    scene.material.emission = 0.0;
    scene.material.diffuse = 1.0;
    let g = 0.5f32;
    scene.material.anisotropy = g;
    for (direction, cos) in [(-1.0, 1.0f32), (1.0, -1.0)] {
        scene.lights = vec![ahead([0.0, 0.0, direction])];
        let expected = (1.0 - g * g) / (1.0 + g * g - 2.0 * g * cos).powf(1.5);
        let found = light(&scene);
        assert!(
            (found - expected).abs() < 1e-3 * expected,
            "{found} {expected}"
        );
    }
}

#[test]
fn lights_that_make_no_sense_are_refused() {
    let made = Made::new([8; 3], 3, false, |_| 7.0);
    let transfer = white(&[(0.0, 0.05)]);
    let scene = flat(
        &made,
        [0.0, 0.0, -90.0],
        Projection::Orthographic(2.0),
        transfer,
    );
    let bricks = made.bricks(|_| None);
    let point = |range| Light::Point {
        position: [0.0; 3],
        colour: [1.0; 3],
        range,
        follows_camera: false,
    };
    type Change = fn(&mut Scene, [Light; 2]);
    let changes: [(&str, Change); 5] = [
        ("range", |s, l| s.lights = vec![l[0]]),
        ("at most", |s, l| s.lights = vec![l[1]; 9]),
        ("anisotropy", |s, _| s.material.anisotropy = 1.0),
        ("strengths", |s, _| {
            s.ambient_occlusion = Some(AmbientOcclusion {
                strength: 2.0,
                radius: 1.0,
            });
        }),
        ("environment", |s, _| {
            s.environment = Environment::Constant {
                colour: [f32::NAN; 3],
            };
        }),
    ];
    for (part, change) in changes {
        let mut bad = scene.clone();
        change(&mut bad, [point(0.0), point(1.0)]);
        let error = render(&bricks, &bad, [8, 8], &exact()).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}
