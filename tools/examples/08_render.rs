//! Draws a picture of a file and says how long pictures take: `08_render FILE.hgv [OUT.ppm [SIDE]]`.

#![allow(clippy::print_stdout)]

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hgv::render::{Orbit, RenderOptions, Renderer, Scene, ToneMapping, TransferFunction};
use hgv::stream::schedule::View;
use hgv::stream::{StreamOptions, Streamer, VolumeContent};
use hgv::{Error, Result, Volume};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = || Error::InvalidArgument("08_render FILE.hgv [OUT.ppm [SIDE]]".into());
    let path = args.next().ok_or_else(usage)?;
    let out = args.next();
    let side = args.next().map_or(Ok(512), |n| n.parse());
    let side: u32 = side.map_err(|_| usage())?;

    let volume = Volume::open(&path)?;
    let extent = volume.extent();
    let content = Arc::new(VolumeContent::new(volume));
    let streamer = Streamer::new(move || Ok(content.clone()), StreamOptions::default())?;
    let camera = |azimuth| {
        let orbit = Orbit {
            azimuth,
            ..Orbit::default()
        };
        orbit.camera(extent, [1.0; 3], [side, side])
    };

    // A coarse look first: which values are there?
    let tiny = Orbit::default().camera(extent, [1.0; 3], [32, 32]);
    streamer.look(View::new(&tiny), [0.0; 3], Arc::new(|_: [f32; 2]| 1.0));
    streamer.wait_until(Duration::from_secs(60), |p| p.settled);
    let values: Vec<f32> = streamer
        .bricks()
        .held
        .values()
        .flat_map(|b| b.values())
        .collect();
    let mut scene = Scene::new(camera(30.0), TransferFunction::from_values(&values));

    streamer.look(View::new(&scene.camera), [0.0; 3], scene.opacity());
    let start = Instant::now();
    let progress = streamer.wait_until(Duration::from_secs(600), |p| p.settled);
    println!("{} bricks after {:.2?}", progress.bricks, start.elapsed());

    let bricks = streamer.bricks();
    let mut renderer = Renderer::new(1 << 30);
    for step in [0.5, 1.0] {
        let mut options = RenderOptions::default();
        options.step = step;
        for turn in 0..4u8 {
            scene.camera = camera(30.0 + 5.0 * f32::from(turn));
            let start = Instant::now();
            let image = renderer.render(&bricks, &scene, [side, side], &options)?;
            println!(
                "step {step}: {:.1?} {:?}",
                start.elapsed(),
                renderer.stats()
            );
            if let (Some(out), 0) = (&out, turn) {
                let mut file = std::fs::File::create(out).map_err(|e| Error::io(out, e))?;
                let head = format!("P6 {side} {side} 255\n");
                let pixels = image.to_rgb8(1.0, ToneMapping::default());
                file.write_all(head.as_bytes())
                    .and_then(|()| file.write_all(&pixels))
                    .map_err(|e| Error::io(out, e))?;
            }
        }
    }
    Ok(())
}
