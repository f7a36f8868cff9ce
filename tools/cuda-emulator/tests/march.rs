//! Pictures drawn on a device are those of the CPU.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use hgv::Error;
use hgv::backend::cuda::Device;
use hgv::render::{
    AmbientOcclusion, Background, Clip, ColourPoint, Environment, GradientPoint, Image, Light,
    Material, Mode, OpacityPoint, PathOptions, PathProgress, RenderOptions, Renderer, Sampling,
    Scene, ToneMapping, TransferFunction, render,
};
use hgv::stream::schedule::{
    BlockFacts, BlockId, Camera, Catalogue, PageId, Projection, TierFacts,
};
use hgv::stream::{Brick, Bricks};
use hgv::volume::DType;
use hgv_cuda_emulator::{Emulator, Order, for_each_device};

const EXTENT: [u64; 3] = [42, 37, 40];
const BLOCK_LOG2: u32 = 4;
const SIZE: [u32; 2] = [48, 32];
/// Only the power of a highlight is rounded in another way.
const MOST: f32 = 1e-5;

/// An index that is known whole.
struct Index {
    tiers: Vec<TierFacts>,
    facts: HashMap<BlockId, Arc<BlockFacts>>,
}

impl Catalogue for Index {
    fn extent(&self) -> [u64; 3] {
        EXTENT
    }
    fn block_log2(&self) -> u32 {
        BLOCK_LOG2
    }
    fn tiers(&self) -> &[TierFacts] {
        &self.tiers
    }
    fn block(&self, id: BlockId) -> Option<Arc<BlockFacts>> {
        self.facts.get(&id).cloned()
    }
    fn page_of(&self, _: BlockId) -> (PageId, u64, u32) {
        (PageId(0), 0, 0)
    }
}

/// A wave and a little noise, 0..=127.
fn value([x, y, z]: [u64; 3]) -> f32 {
    let [u, v, w] = [x, y, z].map(|c| c as f32);
    let noise = (x * 73 + y * 179 + z * 283) % 23;
    let wave = (0.21 * u + 0.1 * w).sin() + (0.17 * v).cos() + (0.23 * w - 0.1 * v).sin();
    (55.0 + 18.0 * wave + noise as f32 * 0.7)
        .clamp(0.0, 127.0)
        .floor()
}

fn push(dtype: DType, value: f32, out: &mut Vec<u8>) {
    match dtype {
        DType::Uint8 => out.push(value as u8),
        DType::Int8 => out.push((value - 64.0) as i8 as u8),
        DType::Uint16 => out.extend((value as u16).to_le_bytes()),
        DType::Int16 => out.extend((value as i16 - 64).to_le_bytes()),
        _ => out.extend(value.to_le_bytes()),
    }
}

fn brick(block: BlockId, base: u32, lod: u8, dtype: DType) -> Brick {
    let low = block.block.map(|c| u64::from(c) << BLOCK_LOG2);
    let extent = [0, 1, 2].map(|a| {
        let left = EXTENT[a].div_ceil(1 << base) - low[a];
        left.min(1 << BLOCK_LOG2).div_ceil(1 << lod)
    });
    let mut voxels = Vec::new();
    for z in 0..extent[2] {
        for y in 0..extent[1] {
            for x in 0..extent[0] {
                let place = [x, y, z].map(|c| c << lod);
                let place = [0, 1, 2].map(|a| (place[a] + low[a]) << base);
                push(dtype, value(place), &mut voxels);
            }
        }
    }
    Brick {
        block,
        lod,
        layers: 1,
        extent: extent.map(|e| e as u32),
        dtype,
        voxels,
    }
}

/// Blocks of two tiers, those of the finer one at several levels of detail, some not there at all.
fn mixed_bricks(dtype: DType) -> Bricks {
    bricks(dtype, |id| {
        let [x, y, z] = id.block;
        match (id.tier, (x + 2 * y + 3 * z) % 5) {
            (0, 3) => None,
            (0, turn) => Some((turn % 3) as u8),
            _ => Some(0),
        }
    })
}

fn bricks(dtype: DType, lod: impl Fn(BlockId) -> Option<u8>) -> Bricks {
    let tiers: Vec<TierFacts> = [0, 2]
        .map(|base_lod| TierFacts {
            base_lod,
            blocks: EXTENT.map(|e| e.div_ceil(1 << (base_lod + BLOCK_LOG2)) as u32),
        })
        .into();
    let (mut facts, mut held) = (HashMap::new(), HashMap::new());
    for (tier, known) in tiers.iter().enumerate() {
        let [nx, ny, nz] = known.blocks;
        for i in 0..nx * ny * nz {
            let block = [i % nx, i / nx % ny, i / nx / ny];
            let tier = tier as u8;
            let id = BlockId { tier, block };
            let Some(lod) = lod(id) else { continue };
            let whole = brick(id, known.base_lod, 0, dtype).values();
            let ends = [f32::INFINITY, f32::NEG_INFINITY];
            let range = whole.iter().fold(ends, |[a, b], v| [a.min(*v), b.max(*v)]);
            let layers = Vec::new();
            facts.insert(id, Arc::new(BlockFacts { range, layers }));
            held.insert(id, Arc::new(brick(id, known.base_lod, lod, dtype)));
        }
    }
    Bricks {
        catalogue: Arc::new(Index { tiers, facts }),
        held: Arc::new(held),
    }
}

/// A function whose values begin `shift` lower.
fn transfer(shift: f32) -> TransferFunction {
    let opacity = [(0.0, 0.0), (50.0, 0.0), (80.0, 0.1), (127.0, 0.6)];
    let colour = [
        (0.0, [0.2, 0.3, 0.9]),
        (70.0, [0.9, 0.8, 0.1]),
        (127.0, [1.0, 0.1, 0.1]),
    ];
    let opacity = opacity.map(|(value, opacity)| OpacityPoint {
        value: value - shift,
        opacity,
    });
    let colour = colour.map(|(value, rgb)| ColourPoint {
        value: value - shift,
        rgb,
    });
    TransferFunction::new(opacity.into(), colour.into()).unwrap()
}

fn scene(from: [f32; 3], projection: Projection) -> Scene {
    let middle = EXTENT.map(|e| e as f32 / 2.0);
    let camera = Camera {
        eye: [0, 1, 2].map(|a| middle[a] + from[a]),
        forward: from.map(|c| -c),
        up: [0.1, 1.0, 0.2],
        projection,
        pixels: SIZE,
    };
    Scene::new(camera, transfer(0.0))
}

/// One of each kind of scene.
fn scenes() -> Vec<(&'static str, Scene)> {
    let near = scene([40.0, 25.0, -50.0], Projection::Perspective(0.8));
    let far = scene([-70.0, 33.0, 50.0], Projection::Orthographic(60.0));
    vec![
        (
            "inside, stretched",
            Scene {
                spacing: [0.8, 1.0, 1.3],
                background: Background::Transparent,
                ..scene([3.0, 5.0, -2.0], Projection::Perspective(1.2))
            },
        ),
        (
            "along an axis",
            Scene {
                material: Material::FLAT,
                background: Background::Gradient([1.0, 0.2, 0.0], [0.0, 0.5, 1.0]),
                ..scene([0.0, 0.0, 90.0], Projection::Orthographic(30.0))
            },
        ),
        (
            "clipped",
            Scene {
                clip: Clip {
                    within: Some([[5.0, 3.0, 8.0], [33.0, 36.0, 30.0]]),
                    planes: vec![[0.3, 1.0, -0.2, -8.0], [-1.0, 0.0, 0.0, 30.0]],
                },
                background: Background::Colour([0.2, 0.3, 0.1]),
                ..far.clone()
            },
        ),
        (
            "maximum",
            Scene {
                mode: Mode::Maximum,
                ..near.clone()
            },
        ),
        (
            "mean",
            Scene {
                mode: Mode::Mean,
                background: Background::Transparent,
                ..far.clone()
            },
        ),
        (
            "surface",
            Scene {
                mode: Mode::Surface(71.0),
                ..near.clone()
            },
        ),
        (
            "coloured light",
            Scene {
                lights: vec![Light::Directional {
                    direction: [-0.3, 0.8, 0.5],
                    colour: [1.7, 0.6, 0.1],
                    follows_camera: false,
                }],
                environment: Environment::Constant {
                    colour: [0.1, 0.4, 2.0],
                },
                material: Material {
                    specular: 0.7,
                    shininess: 9.0,
                    ..Material::default()
                },
                ..near.clone()
            },
        ),
        ("medium", near),
        ("from far", far),
    ]
}

fn mean_apart(a: &Image, b: &Image) -> f32 {
    let (a, b) = (a.pixels.as_flattened(), b.pixels.as_flattened());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
}

/// Largest difference of any channel.
fn apart(a: &Image, b: &Image) -> f32 {
    assert_eq!((a.size, a.pixels.len()), (b.size, b.pixels.len()));
    let pairs = a.pixels.as_flattened().iter().zip(b.pixels.as_flattened());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Whether there is something to see.
fn is_seen(image: &Image) -> bool {
    let differs = |p: &&[f32; 4]| **p != image.pixels[0];
    image.pixels.iter().filter(differs).count() > 100
}

fn on_device(device: &Arc<dyn Device>) -> Renderer {
    let renderer = Renderer::new(1 << 30);
    renderer.with_device(device, 64 << 20).unwrap()
}

fn fast() -> RenderOptions {
    let mut options = RenderOptions::default();
    options.sampling = Sampling::Fast;
    options
}

/// All scenes as the CPU draws them.
fn drawn_by_cpu(bricks: &Bricks) -> Vec<Image> {
    let draw = |(_, scene): &(_, Scene)| render(bricks, scene, SIZE, &RenderOptions::default());
    scenes().iter().map(|s| draw(s).unwrap()).collect()
}

#[test]
fn textures_show_nearly_the_same() {
    let bricks = mixed_bricks(DType::Float32);
    let expected = drawn_by_cpu(&bricks);
    for_each_device(|device| {
        let mut renderer = on_device(device);
        for ((name, scene), expected) in scenes().iter().zip(&expected) {
            let image = renderer.render(&bricks, scene, SIZE, &fast()).unwrap();
            let apart = mean_apart(&image, expected);
            assert!(apart <= 2.0 / 255.0, "{name}, {}: {apart}", device.name());
            assert!(apart > 0.0, "{name} is drawn in the other way");
        }
        renderer
            .render(&bricks, &scenes()[0].1, SIZE, &fast())
            .unwrap();
        assert_eq!(renderer.stats().uploaded, 0);
    });
}

#[test]
fn every_kind_of_scene_is_that_of_the_cpu() {
    let bricks = mixed_bricks(DType::Float32);
    let expected = drawn_by_cpu(&bricks);
    for_each_device(|device| {
        let mut renderer = on_device(device);
        for ((name, scene), expected) in scenes().iter().zip(&expected) {
            let options = RenderOptions::default();
            let image = renderer.render(&bricks, scene, SIZE, &options).unwrap();
            let apart = apart(&image, expected);
            assert!(apart <= MOST, "{name}, {}: {apart}", device.name());
            assert!(is_seen(&image), "{name}");
        }
    });
}

/// Scenes that the kernels do not draw, and what they lack.
fn others() -> Vec<(&'static str, Scene)> {
    let usual = scene([40.0, 25.0, -50.0], Projection::Perspective(0.8));
    let with = |change: &dyn Fn(&mut Scene)| {
        let mut scene = usual.clone();
        change(&mut scene);
        scene
    };
    let points = |factor: f32| {
        let gradient = 3.0 * factor;
        GradientPoint { gradient, factor }
    };
    let sky = Environment::Gradient {
        top: [1.0; 3],
        bottom: [0.1; 3],
        up: [0.0, 1.0, 0.0],
    };
    let lamp = Light::Point {
        position: [60.0, 60.0, -40.0],
        colour: [1.0; 3],
        range: 50.0,
        follows_camera: false,
    };
    let lights = "other lights than one directional light";
    vec![
        ("shadows", with(&|s| s.shadows = true)),
        (
            "ambient occlusion",
            with(&|s| s.ambient_occlusion = Some(AmbientOcclusion::default())),
        ),
        (
            "roughness of surfaces",
            with(&|s| s.material.roughness = Some(0.4)),
        ),
        (
            "anisotropic scattering",
            with(&|s| s.material.anisotropy = 0.5),
        ),
        ("emission", with(&|s| s.material.emission = 0.3)),
        (
            "opacity by the gradient",
            with(&|s| {
                let points = vec![points(0.0), points(1.0)];
                s.transfer = s.transfer.clone().with_gradient(points).unwrap();
            }),
        ),
        (
            "an environment that is not of one colour",
            with(&|s| s.environment = sky),
        ),
        (lights, with(&|s| s.lights.push(Light::default()))),
        (lights, with(&|s| s.lights = vec![lamp])),
        (lights, with(&|s| s.lights.clear())),
    ]
}

#[test]
fn what_kernels_lack_the_cpu_draws() {
    let Some(emulator) = Emulator::new(Order::Forward) else {
        eprintln!("SKIPPED: no C++20 compiler");
        return;
    };
    let device: Arc<dyn Device> = Arc::new(emulator);
    let bricks = mixed_bricks(DType::Uint8);
    let options = RenderOptions::default();
    let size = [24, 16];
    let mut renderer = on_device(&device);
    let usual = &scenes()[0].1;
    let on_gpu = format!("cuda ({})", device.name());
    for (name, scene) in others() {
        renderer.render(&bricks, usual, size, &options).unwrap();
        assert_eq!(renderer.device_lacks(usual), None);
        assert!(renderer.stats().on_device && renderer.backend() == on_gpu);
        assert_eq!(renderer.device_lacks(&scene), Some(name));
        let image = renderer.render(&bricks, &scene, size, &options).unwrap();
        assert!(!renderer.stats().on_device, "{name}");
        assert!(renderer.backend().starts_with("cpu"), "{name}");
        let expected = render(&bricks, &scene, size, &options).unwrap();
        assert_eq!(image, expected, "{name}");
        // Where light does not matter, what it is like does not either.
        let flat = Scene {
            mode: Mode::Maximum,
            ..scene
        };
        assert_eq!(renderer.device_lacks(&flat), None, "{name}");
        let image = renderer.render(&bricks, &flat, size, &options).unwrap();
        let expected = render(&bricks, &flat, size, &options).unwrap();
        assert!(apart(&image, &expected) <= MOST, "{name}");
    }
    let mut paths = PathOptions::default();
    paths.samples = 1;
    let mut go_on = |_: &PathProgress<'_>| ControlFlow::Continue(());
    renderer
        .trace(&bricks, usual, size, &paths, &mut go_on)
        .unwrap();
    assert!(renderer.backend().starts_with("cpu"));
    let shaded = &others()[0].1;
    assert_eq!(Renderer::new(0).device_lacks(shaded), None);
}

#[test]
fn every_type_of_voxel_is_that_of_the_cpu() {
    let size = [31, 17];
    let options = RenderOptions::default();
    for_each_device(|device| {
        let mut renderer = on_device(device);
        for dtype in DType::ALL {
            let shift = if matches!(dtype, DType::Int8 | DType::Int16) {
                64.0
            } else {
                0.0
            };
            let scene = Scene {
                transfer: transfer(shift),
                ..scene([40.0, 25.0, -50.0], Projection::Perspective(0.7))
            };
            let bricks = mixed_bricks(dtype);
            let image = renderer.render(&bricks, &scene, size, &options).unwrap();
            let expected = render(&bricks, &scene, size, &options).unwrap();
            let apart = apart(&image, &expected);
            assert!(apart <= MOST, "{dtype}, {}: {apart}", device.name());
            assert!(is_seen(&image), "{dtype}");
            let image = renderer.render(&bricks, &scene, size, &fast()).unwrap();
            let apart = mean_apart(&image, &expected);
            assert!(apart <= 2.0 / 255.0, "{dtype}, textures: {apart}");
        }
    });
}

#[test]
fn voxels_that_are_no_numbers_are_passed_by() {
    let mut bricks = mixed_bricks(DType::Float32);
    let mut held = (*bricks.held).clone();
    for brick in held.values_mut() {
        let mut holed = (**brick).clone();
        for voxel in holed.voxels.as_chunks_mut::<4>().0.iter_mut().step_by(37) {
            *voxel = f32::NAN.to_le_bytes();
        }
        *brick = Arc::new(holed);
    }
    bricks.held = Arc::new(held);
    let options = RenderOptions::default();
    for_each_device(|device| {
        let mut renderer = on_device(device);
        for mode in [Mode::Medium, Mode::Maximum, Mode::Surface(60.0)] {
            let scene = Scene {
                mode,
                ..scene([40.0, 25.0, -50.0], Projection::Perspective(0.7))
            };
            let image = renderer.render(&bricks, &scene, SIZE, &options).unwrap();
            let expected = render(&bricks, &scene, SIZE, &options).unwrap();
            let apart = apart(&image, &expected);
            assert!(apart <= MOST, "{mode:?}, {}: {apart}", device.name());
        }
    });
}

#[test]
fn only_what_is_new_is_copied() {
    let bricks = mixed_bricks(DType::Uint16);
    let options = RenderOptions::default();
    for_each_device(|device| {
        let mut renderer = on_device(device);
        let mut scene = scene([40.0, 25.0, -50.0], Projection::Orthographic(90.0));
        let first = renderer.render(&bricks, &scene, SIZE, &options).unwrap();
        let copied = renderer.stats().uploaded;
        assert!(copied > 0 && copied <= renderer.stats().device_bytes);
        let again = renderer.render(&bricks, &scene, SIZE, &options).unwrap();
        assert_eq!((renderer.stats().uploaded, &again), (0, &first));
        // Other opacities: other cells are skipped, and the bricks stay.
        scene.transfer = TransferFunction::ramp([40.0, 127.0], 0.3);
        let image = renderer.render(&bricks, &scene, SIZE, &options).unwrap();
        assert_eq!(renderer.stats().uploaded, 0);
        assert_ne!(image, first);
        let expected = render(&bricks, &scene, SIZE, &options).unwrap();
        assert!(apart(&image, &expected) <= MOST);
        // Other bricks of the same blocks: their neighbours change with them.
        let finer = bricks_with_one_finer(&bricks);
        let image = renderer.render(&finer, &scene, SIZE, &options).unwrap();
        let some = renderer.stats().uploaded;
        let larger = 2 * (19u64.pow(3) - 11u64.pow(3));
        assert!(
            some > larger && some < copied + larger,
            "{some} of {copied}"
        );
        let expected = render(&finer, &scene, SIZE, &options).unwrap();
        assert!(apart(&image, &expected) <= MOST);
    });
}

#[test]
fn bytes_are_those_of_the_picture() {
    let bricks = mixed_bricks(DType::Uint8);
    let options = RenderOptions::default();
    let scene = Scene {
        background: Background::Gradient([0.0, 0.002, 3.0], [0.1, 0.5, 1.0]),
        ..scene([40.0, 25.0, -50.0], Projection::Perspective(0.8))
    };
    for_each_device(|device| {
        let mut on_cpu = Renderer::new(0);
        let mut renderer = on_device(device);
        for tone in [ToneMapping::Cut, ToneMapping::Reinhard, ToneMapping::Filmic] {
            let bytes = |r: &mut Renderer| {
                r.render_rgb8(&bricks, &scene, [31, 17], &options, (1.3, tone))
                    .unwrap()
            };
            let (found, expected) = (bytes(&mut renderer), bytes(&mut on_cpu));
            assert_eq!(found.len(), expected.len());
            let off = found
                .iter()
                .zip(&expected)
                .map(|(a, b)| a.abs_diff(*b))
                .max();
            assert!(off <= Some(1), "{tone:?}, {}: {off:?}", device.name());
        }
    });
}

/// The same with a block at the corner at the full resolution.
fn bricks_with_one_finer(bricks: &Bricks) -> Bricks {
    let id = BlockId {
        tier: 0,
        block: [1, 0, 0],
    };
    let mut held = (*bricks.held).clone();
    assert!(held[&id].lod > 0);
    held.insert(id, Arc::new(brick(id, 0, 0, DType::Uint16)));
    Bricks {
        held: Arc::new(held),
        ..bricks.clone()
    }
}

#[test]
fn memory_is_bounded() {
    // Bytes of a whole brick, and as they are counted in a texture.
    bounded(RenderOptions::default(), 28_672);
    bounded(fast(), 128 * 24 * 19);
}

/// Draws with memory for two fifths of all bricks.
fn bounded(options: RenderOptions, brick: u64) {
    let Some(emulator) = Emulator::new(Order::Forward) else {
        eprintln!("SKIPPED: no C++20 compiler");
        return;
    };
    let emulator = Arc::new(emulator);
    let device: Arc<dyn Device> = emulator.clone();
    let bricks = bricks(DType::Float32, |id| (id.tier == 0).then_some(0));
    let look = |x: f32, height: f32| {
        let mut scene = scene([0.0, 0.0, -80.0], Projection::Orthographic(height));
        scene.camera.eye[0] = x;
        scene
    };
    let fixed = u64::from(SIZE[0] * SIZE[1]) * 16 + (80 << 10);
    let memory = fixed + 27 * brick * 2 / 5;
    let renderer = Renderer::new(1 << 30);
    let mut renderer = renderer.with_device(&device, memory).unwrap();
    for x in [2.0, 20.0, 40.0, 20.0] {
        let scene = look(x, 8.0);
        let image = renderer.render(&bricks, &scene, SIZE, &options).unwrap();
        let expected = render(&bricks, &scene, SIZE, &options).unwrap();
        assert!(mean_apart(&image, &expected) <= 2.0 / 255.0, "{x}");
        assert!(is_seen(&image), "{x}");
        assert!(emulator.used() <= memory, "{} of {memory}", emulator.used());
    }
    assert!(renderer.stats().uploaded > 0, "an old brick had to go");
    let too_much = renderer.render(&bricks, &look(20.0, 60.0), SIZE, &options);
    assert!(
        matches!(too_much, Err(Error::DeviceMemory(_))),
        "{too_much:?}"
    );
    let image = renderer.render(&bricks, &look(2.0, 8.0), SIZE, &options);
    assert!(image.is_ok(), "what fits is still drawn");
    let large = renderer.render(&bricks, &look(2.0, 8.0), [4096, 4096], &options);
    assert!(matches!(large, Err(Error::DeviceMemory(_))));
    drop(renderer);
    assert_eq!(emulator.used(), 0);
}
