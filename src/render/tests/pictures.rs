//! Whole pictures against what is known of them.

use std::sync::atomic::Ordering;

use super::made::{Made, balls, camera, noise};
use super::oracle::Dense;
use crate::Error;
use crate::backend::cpu::CpuLevel;
use crate::render::{
    Background, Clip, ColourPoint, Image, Light, Material, Mode, OpacityPoint, Orbit,
    RenderOptions, Renderer, Scene, TransferFunction, render,
};
use crate::stream::Bricks;
use crate::stream::schedule::{BlockId, Projection, View};
use crate::volume::DType;

const SIZE: [u32; 2] = [40, 32];

pub(super) fn function(opacity: &[(f32, f32)], colour: &[(f32, [f32; 3])]) -> TransferFunction {
    let opacity = opacity
        .iter()
        .map(|&(value, opacity)| OpacityPoint { value, opacity });
    let colour = colour
        .iter()
        .map(|&(value, rgb)| ColourPoint { value, rgb });
    TransferFunction::new(opacity.collect(), colour.collect()).unwrap()
}

pub(super) fn white(opacity: &[(f32, f32)]) -> TransferFunction {
    function(opacity, &[(0.0, [1.0; 3])])
}

pub(super) fn exact() -> RenderOptions {
    RenderOptions {
        cutoff: 0.0,
        ..RenderOptions::default()
    }
}

pub(super) fn flat(
    made: &Made,
    from: [f32; 3],
    projection: Projection,
    transfer: TransferFunction,
) -> Scene {
    Scene {
        material: Material::FLAT,
        background: Background::Transparent,
        lights: Vec::new(),
        ..Scene::new(camera(made.extent, from, projection), transfer)
    }
}

/// White light in a direction of the camera.
pub(super) fn ahead(direction: [f32; 3]) -> Light {
    Light::Directional {
        direction,
        colour: [1.0; 3],
        follows_camera: true,
    }
}

fn middle(image: &Image) -> [f32; 4] {
    let [w, h] = image.size.map(|n| n as usize);
    image.pixels[h / 2 * w + w / 2]
}

/// Largest difference of any channel.
fn apart(a: &Image, b: &Image) -> f32 {
    let channels = |i: &Image| i.pixels.as_flattened().to_vec();
    let pairs = channels(a).into_iter().zip(channels(b));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn mean_apart(a: &Image, b: &Image) -> f32 {
    let (a, b) = (a.pixels.as_flattened(), b.pixels.as_flattened());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
}

/// Colours may differ in one pixel of 200, where a rounding turns a normal round.
fn almost_everywhere(a: &Image, b: &Image) -> Result<(), [f32; 2]> {
    let pairs = || a.pixels.iter().zip(&b.pixels);
    let opacity = pairs()
        .map(|(a, b)| (a[3] - b[3]).abs())
        .fold(0.0, f32::max);
    let differs = |(a, b): &(&[f32; 4], &[f32; 4])| (0..3).any(|c| (a[c] - b[c]).abs() > 2e-3);
    let part = pairs().filter(differs).count() as f32 / a.pixels.len() as f32;
    let agree = opacity < 1e-3 && part <= 0.005;
    agree.then_some(()).ok_or([opacity, part])
}

#[test]
fn a_slab_lets_through_what_its_depth_says() {
    let made = Made::new([30, 50, 37], 4, false, |_| 7.0);
    let transfer = white(&[(0.0, 0.0), (10.0, 0.1)]);
    let mut scene = flat(
        &made,
        [0.0, 0.0, -90.0],
        Projection::Orthographic(20.0),
        transfer,
    );
    let depths = [
        ([0.0, 0.0, -90.0], 37.0),
        ([90.0, 0.0, 0.0], 30.0),
        ([60.0, 0.0, 80.0], 37.0 / 0.8),
    ];
    for (from, depth) in depths {
        // Depth does not hang on the step, nor on whether bricks or the index say what is there.
        for (step, lod) in [(0.5, None), (0.7, Some(0)), (3.0, Some(1)), (1.3, Some(3))] {
            scene.camera = camera(made.extent, from, Projection::Orthographic(2.0));
            let options = RenderOptions { step, ..exact() };
            let image = render(&made.bricks(|_| lod), &scene, SIZE, &options).unwrap();
            let expected = 1.0 - 0.93f32.powf(depth);
            let [r, _, _, a] = middle(&image);
            assert!(
                (a - expected).abs() < 2e-4,
                "{from:?} {step}: {a} {expected}"
            );
            assert!((r - a).abs() < 1e-6, "white light, not multiplied");
        }
    }
}

#[test]
fn a_ramp_is_integrated() {
    let made = Made::new([64, 8, 8], 4, false, |[x, _, _]| x as f32);
    let transfer = white(&[(0.0, 0.0), (64.0, 0.2)]);
    let scene = flat(
        &made,
        [200.0, 0.0, 0.0],
        Projection::Orthographic(2.0),
        transfer,
    );
    let image = render(&made.bricks(|_| Some(0)), &scene, SIZE, &exact()).unwrap();
    // Half a voxel before the first middle and behind the last one nothing changes.
    let steps = 63 * 100;
    let inner: f64 = (0..steps)
        .map(|i| (1.0 - 0.2 * (f64::from(i) + 0.5) / 100.0 / 64.0).ln() / 100.0)
        .sum();
    let expected = 1.0 - (inner + 0.5 * (1.0 - 0.2 * 63.0 / 64.0f64).ln()).exp();
    let a = f64::from(middle(&image)[3]);
    assert!((a - expected).abs() < 1e-4, "{a} {expected}");
}

/// 40 in the middle of 64^3 voxels, 1 less a voxel away from it.
pub(super) fn ball() -> Made {
    Made::new([64; 3], 4, false, |p| {
        let d = p
            .map(|c| (c as f32 - 31.5).powi(2))
            .iter()
            .sum::<f32>()
            .sqrt();
        (40.0 - d).max(0.0)
    })
}

#[test]
fn a_ball_has_a_round_outline() {
    let made = ball();
    // Radius 20: 40 - 20.
    let transfer = white(&[(0.0, 0.0), (20.0, 0.0), (20.0, 1.0)]);
    let scene = flat(
        &made,
        [50.0, 60.0, 70.0],
        Projection::Orthographic(64.0),
        transfer,
    );
    let image = render(&made.bricks(|_| Some(0)), &scene, [128, 128], &exact()).unwrap();
    for y in 0..128 {
        for x in 0..128 {
            let [dx, dy] = [x, y].map(|c| (c as f32 + 0.5 - 64.0) / 2.0);
            let from_middle = dx.hypot(dy);
            let a = image.pixels[y * 128 + x][3];
            if from_middle < 19.5 {
                assert!(a > 0.99, "{x} {y}: {a}");
            } else if from_middle > 20.2 {
                assert!(a == 0.0, "{x} {y}: {a}");
            }
        }
    }
}

#[test]
fn nothing_known_is_background() {
    let made = Made::new([40; 3], 4, true, |_| 200.0);
    let transfer = white(&[(0.0, 1.0)]);
    let mut scene = flat(
        &made,
        [0.0, 0.0, 90.0],
        Projection::Perspective(0.8),
        transfer,
    );
    let nothing = made.only_bricks(|_| None);
    let image = render(&nothing, &scene, SIZE, &exact()).unwrap();
    assert!(image.pixels.iter().all(|p| *p == [0.0; 4]));
    scene.background = Background::Gradient([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]);
    let image = render(&nothing, &scene, [1, 2], &exact()).unwrap();
    assert_eq!(
        image.pixels,
        [[0.75, 0.0, 0.25, 1.0], [0.25, 0.0, 0.75, 1.0]]
    );
    assert!(render(&nothing, &scene, [0, 2], &exact()).is_err());
}

fn shiny(made: &Made, from: [f32; 3], projection: Projection) -> Scene {
    let transfer = function(
        &[(0.0, 0.0), (20.0, 0.0), (60.0, 0.12), (127.0, 0.5)],
        &[
            (0.0, [0.2, 0.3, 0.9]),
            (70.0, [0.9, 0.8, 0.1]),
            (127.0, [1.0, 0.1, 0.1]),
        ],
    );
    Scene {
        background: Background::Transparent,
        ..Scene::new(camera(made.extent, from, projection), transfer)
    }
}

fn by_hand(made: &Made, scene: &Scene, step: f64) -> Image {
    let view = View::new(&crate::stream::schedule::Camera {
        pixels: SIZE,
        ..scene.camera
    });
    let dense = Dense {
        extent: made.extent,
        value: &made.value,
    };
    let pixels = (0..SIZE[1]).flat_map(|y| (0..SIZE[0]).map(move |x| [x, y]));
    let gather = |at: [u32; 2]| {
        let at = at.map(|c| c as f32 + 0.5);
        dense.gather(scene, &view, at, step).map(|c| c as f32)
    };
    Image {
        size: SIZE,
        pixels: pixels.map(gather).collect(),
    }
}

#[test]
fn blocks_show_what_one_dense_array_shows() {
    // Light along the rays: elsewhere a normal that is turned by a rounding changes the light.
    let flat = Projection::Orthographic(70.0);
    for (value, from, projection, light) in [
        (
            noise as fn([u64; 3]) -> f32,
            [70.0, 33.0, 50.0],
            flat,
            [0.0, 0.0, 1.0],
        ),
        (
            balls,
            [-60.0, 50.0, 41.0],
            Projection::Perspective(0.9),
            [0.5, -0.7, 1.0],
        ),
    ] {
        let mut made = Made::new([70, 45, 51], 4, false, value);
        let mut scene = shiny(&made, from, projection);
        scene.spacing = [0.8, 1.0, 1.1];
        scene.lights = vec![ahead(light)];
        let expected = by_hand(&made, &scene, 0.5 * 0.8);
        let mut renderer = Renderer::new(0);
        for dtype in DType::ALL {
            made.dtype = dtype;
            // Transparent blocks need no bricks.
            let seen = |id| made.range(id)[1] > 20.0;
            for bricks in [
                made.bricks(|_| Some(0)),
                made.bricks(|id| seen(id).then_some(0)),
            ] {
                for level in CpuLevel::available() {
                    let options = RenderOptions { level, ..exact() };
                    let image = renderer.render(&bricks, &scene, SIZE, &options).unwrap();
                    let same = almost_everywhere(&image, &expected);
                    assert!(same.is_ok(), "{dtype:?} {level:?} {from:?}: {same:?}");
                }
            }
        }
    }
}

/// A picture of what is smooth hardly changes with the level of detail.
#[test]
fn coarse_bricks_stand_in_for_missing_ones() {
    fn smooth([x, y, z]: [u64; 3]) -> f32 {
        let wave = |c: u64| (c as f32 * 0.05).sin();
        (40.0 + 30.0 * (wave(x) + wave(y + 20) * wave(z))).max(0.0)
    }
    let made = Made::new([150, 100, 90], 4, true, smooth);
    let scene = shiny(&made, [150.0, 90.0, 120.0], Projection::Perspective(0.8));
    let draw = |bricks: &Bricks| render(bricks, &scene, SIZE, &exact()).unwrap();
    let whole = draw(&made.bricks(|id| (id.tier == 0).then_some(0)));
    let coarse = |id: BlockId| (id.tier == 1).then_some(0);
    let patchy = |id: BlockId| match id.tier {
        0 => (id.block.iter().sum::<u32>() % 3 < 2).then_some((id.block[0] % 3) as u8),
        _ => Some(0),
    };
    for bricks in [
        made.bricks(coarse),
        made.bricks(patchy),
        made.only_bricks(coarse),
        made.only_bricks(patchy),
    ] {
        let image = draw(&bricks);
        let (most, mean) = (apart(&whole, &image), mean_apart(&whole, &image));
        assert!(most < 0.15 && mean < 0.01, "{most} {mean}");
        let opaque = |i: &Image| i.pixels.iter().filter(|p| p[3] > 0.05).count();
        assert!(opaque(&image) + 2 >= opaque(&whole), "holes");
    }
}

#[test]
fn what_a_renderer_keeps_does_not_show() {
    let made = Made::new([70, 45, 51], 4, false, noise);
    let mut scene = shiny(&made, [70.0, 33.0, 50.0], Projection::Perspective(0.9));
    let mut renderer = Renderer::new(1 << 30);
    for step in 0..6u8 {
        let bricks = made.bricks(|id| {
            let turn = id.block.iter().sum::<u32>() as u8 + step;
            (turn % 4 < 3).then_some(turn % 3)
        });
        if step == 4 {
            scene.transfer = white(&[(0.0, 0.3), (60.0, 0.0), (90.0, 0.2)]);
        }
        let kept = renderer.render(&bricks, &scene, SIZE, &exact()).unwrap();
        let fresh = render(&bricks, &scene, SIZE, &exact()).unwrap();
        assert_eq!(kept, fresh);
        let again = renderer.render(&bricks, &scene, SIZE, &exact()).unwrap();
        assert_eq!((again, renderer.stats().made), (kept, 0));
    }
}

#[test]
fn largest_and_mean_values() {
    let made = Made::new([40, 24, 24], 3, false, |[x, y, z]| {
        if [x, y, z] == [17, 12, 12] {
            100.0
        } else {
            x as f32
        }
    });
    let colours = function(&[(0.0, 0.0)], &[(0.0, [0.0; 3]), (100.0, [1.0; 3])]);
    let mut scene = flat(
        &made,
        [200.0, 0.01, 0.01],
        Projection::Orthographic(1.0),
        colours,
    );
    scene.camera.eye[1] += 0.5;
    scene.camera.eye[2] += 0.5;
    let draw = |mode: Mode| {
        let scene = Scene {
            mode,
            ..scene.clone()
        };
        let options = RenderOptions {
            step: 0.125,
            ..exact()
        };
        let image = render(&made.bricks(|_| Some(0)), &scene, [1, 1], &options).unwrap();
        image.pixels[0]
    };
    let [peak, .., alpha] = draw(Mode::Maximum);
    assert!((peak - 1.0).abs() < 0.08 && alpha == 1.0, "{peak}");
    // 0 to 39, and 83 more in a tent of one voxel around the bright one.
    let mean = (19.5 + 83.0 / 40.0) / 100.0;
    let found = draw(Mode::Mean)[0];
    assert!((found - mean).abs() < 0.01, "{found} {mean}");
}

#[test]
fn a_surface_lies_where_its_value_is() {
    let made = ball();
    let grey = function(&[(0.0, 0.0), (40.0, 1.0)], &[(0.0, [1.0; 3])]);
    let mut scene = flat(
        &made,
        [0.0, 0.0, -90.0],
        Projection::Orthographic(64.0),
        grey,
    );
    scene.mode = Mode::Surface(20.0);
    // Lambert's law, lit along the rays.
    scene.camera.up = [0.0, 1.0, 0.0];
    scene.material = Material {
        ambient: 0.0,
        diffuse: 1.0,
        specular: 0.0,
        ..Material::FLAT
    };
    scene.lights = vec![ahead([0.0, 0.0, 1.0])];
    let image = render(&made.bricks(|_| Some(0)), &scene, [64, 64], &exact()).unwrap();
    for y in 0..64 {
        for x in 0..64 {
            let [dx, dy] = [x, y].map(|c: usize| c as f32 + 0.5 - 32.0);
            let d = dx.hypot(dy);
            let [light, .., alpha] = image.pixels[y * 64 + x];
            if d < 18.0 {
                let expected = (1.0 - (d / 20.0).powi(2)).sqrt();
                assert!(
                    (light - expected).abs() < 0.02,
                    "{x} {y}: {light} {expected}"
                );
            }
            assert!(d > 19.5 || alpha == 1.0);
            assert!(d < 20.5 || alpha == 0.0);
        }
    }
}

#[test]
fn clipping_shortens_the_way() {
    let made = Made::new([40; 3], 4, false, |_| 7.0);
    let transfer = white(&[(0.0, 0.0), (10.0, 0.1)]);
    let mut scene = flat(
        &made,
        [0.0, 0.0, -90.0],
        Projection::Orthographic(2.0),
        transfer,
    );
    for (within, planes, depth) in [
        (Some([[10.0; 3], [30.0, 30.0, 25.5]]), vec![], 15.5),
        (None, vec![[0.0, 0.0, 1.0, -12.0]], 28.0),
        (
            None,
            vec![[0.0, 0.0, -2.0, 24.0], [0.0, 0.0, 1.0, -2.0]],
            10.0,
        ),
        (Some([[0.0; 3], [10.0; 3]]), vec![], 0.0),
        (None, vec![[0.0, 1.0, 0.0, -21.5]], 0.0),
    ] {
        scene.clip = Clip { within, planes };
        let image = render(&made.bricks(|_| None), &scene, SIZE, &exact()).unwrap();
        let expected = 1.0 - 0.93f32.powf(depth);
        assert!(
            (middle(&image)[3] - expected).abs() < 2e-4,
            "{:?}",
            scene.clip
        );
    }
}

#[test]
fn an_orbit_shows_all_of_a_volume() {
    let made = Made::new([60, 30, 20], 4, false, |_| 7.0);
    let bricks = made.bricks(|_| None);
    for (size, orthographic) in [([48, 32], false), ([24, 48], true), ([24, 48], false)] {
        for azimuth in [0.0, 77.0, 200.0] {
            for elevation in [-90.0, 0.0, 35.0, 90.0] {
                let orbit = Orbit {
                    azimuth,
                    elevation,
                    distance: 1.0,
                    orthographic,
                };
                let spacing = [1.0, 1.5, 0.5];
                let mut scene = Scene::new(
                    orbit.camera(made.extent, spacing, size),
                    white(&[(0.0, 1.0)]),
                );
                scene.spacing = spacing;
                scene.background = Background::Transparent;
                let image = render(&bricks, &scene, size, &exact()).unwrap();
                let [w, h] = size.map(|n| n as usize);
                let alpha = |x: usize, y: usize| image.pixels[y * w + x][3];
                assert!(alpha(w / 2, h / 2) > 0.99);
                let edge = (0..w).flat_map(|x| [alpha(x, 0), alpha(x, h - 1)]);
                let edges = edge.chain((0..h).flat_map(|y| [alpha(0, y), alpha(w - 1, y)]));
                assert_eq!(
                    edges.fold(0.0, f32::max),
                    0.0,
                    "{size:?} {azimuth} {elevation}"
                );
            }
        }
    }
}

/// Whatever a picture of stretched voxels shows, the scheduler's camera sees, at least as finely.
#[test]
fn a_voxel_camera_sees_the_picture() {
    for projection in [Projection::Perspective(0.6), Projection::Orthographic(60.0)] {
        for (from, spacing) in [
            ([90.0, 10.0, 20.0], [1.0, 2.0, 4.0]),
            ([10.0, -90.0, 40.0], [1.0, 1.0, 5.0]),
            ([50.0, 60.0, 70.0], [2.0; 3]),
        ] {
            let mut scene = Scene::new(camera([60; 3], from, projection), white(&[(0.0, 1.0)]));
            scene.spacing = spacing;
            scene.camera.pixels = [80, 50];
            let (world, voxel) = (View::new(&scene.camera), View::new(&scene.voxel_camera()));
            for [x, y] in [
                [1.0, 1.0],
                [79.0, 1.0],
                [40.0, 25.0],
                [1.0, 49.0],
                [79.0, 49.0],
            ] {
                let (start, along) = world.ray(x, y);
                let at = |t: f32| [0, 1, 2].map(|a| (start[a] + t * along[a]) / spacing[a]);
                let seen = voxel.see(at(100.0), at(100.0)).expect("in the picture");
                let pixels = match projection {
                    Projection::Perspective(angle) => 25.0 / (angle / 2.0).tan() / 100.0,
                    Projection::Orthographic(height) => 50.0 / height,
                };
                let widest = pixels * spacing.iter().copied().fold(0.0, f32::max);
                assert!(seen.scale > 0.9 * widest, "{} {widest}", seen.scale);
            }
        }
    }
}

#[test]
fn pictures_that_nobody_wants_any_more_end() {
    let made = Made::new([40; 3], 4, false, balls);
    let scene = shiny(&made, [-60.0, 50.0, 41.0], Projection::Perspective(0.9));
    let mut renderer = Renderer::new(0);
    let stop = renderer.stop_flag();
    let mut draw = || renderer.render(&made.bricks(|_| Some(0)), &scene, SIZE, &exact());
    stop.store(true, Ordering::Relaxed);
    assert!(matches!(draw(), Err(Error::Cancelled)));
    stop.store(false, Ordering::Relaxed);
    assert!(draw().is_ok());
}
