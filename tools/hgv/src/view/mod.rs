//! `hgv view`: a volume in a page of the browser, drawn by this program.
//!
//! A thread draws ([`painter`]) what the open window wants ([`desk`]); its connection ([`socket`]) brings the
//! wishes and takes the frames. When and how finely is drawn, [`pace`] says. The server ([`server`]) gives the
//! page to those whom the [`guard`] lets in.

pub(crate) mod args;
mod desk;
mod guard;
mod pace;
mod painter;
mod protocol;
mod scene;
mod server;
mod socket;
mod stats;

use std::collections::BTreeMap;
use std::sync::Arc;

use hgv::render::{Preset, RenderOptions, Renderer, ToneMapping, TransferFunction};
use hgv::{Error, Result};

use crate::commands::Context;
use crate::interrupt;
use crate::render_args::BackgroundArg;
use crate::subject::{Subject, range_of, transfer_from};
use args::ViewArgs;
use desk::Desk;
use guard::Guard;
use painter::{Fixed, Painter};
use protocol::{Hello, Lighting, Look, Tell};

/// Bins of a histogram.
const BINS: usize = 256;

/// All that connections need.
pub(crate) struct Viewer {
    subject: Arc<Subject>,
    desk: Arc<Desk>,
    guard: Guard,
    hello: Hello,
}

impl Viewer {
    /// The first message to a window.
    fn hello_json(&self) -> String {
        Tell::Hello(&self.hello).to_json()
    }
}

/// Shows a volume until an interrupt. `listening` is told the address once windows can be opened.
///
/// # Errors
/// What the volume or the system says.
pub(crate) fn run(
    args: &ViewArgs,
    context: &Context,
    listening: impl FnOnce(&str) -> Result<()>,
) -> Result<()> {
    let subject = Subject::open(&args.input, &args.raw, &args.caps, args.memory, context)?;
    let hello = hello(args, &subject, context)?;
    context.progress.clear();
    let renderer = Renderer::new(args.memory / 2);
    let desk = Arc::new(Desk::new(hello.look.clone(), renderer.stop_flag()));
    let subject = Arc::new(subject);
    let fixed = Fixed {
        step: args.look.step as f32,
        exposure: args.look.exposure as f32,
        tone: ToneMapping::from(args.look.tone),
    };
    let painter = Painter::new(Arc::clone(&subject), Arc::clone(&desk), renderer, fixed);
    let thread = std::thread::Builder::new()
        .name("hgv-paint".into())
        .spawn(move || painter.run())
        .map_err(|e| Error::io("a thread that draws", e))?;
    let served = serve(args.port, subject, &desk, hello, listening);
    desk.end();
    // One that panicked has said so already.
    let _ = thread.join();
    served
}

fn serve(
    port: u16,
    subject: Arc<Subject>,
    desk: &Arc<Desk>,
    hello: Hello,
    listening: impl FnOnce(&str) -> Result<()>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("hgv-view")
        .enable_all()
        .build()
        .map_err(|e| Error::io("threads of the server", e))?;
    interrupt::cooperate();
    let result = runtime.block_on(async {
        let (listener, port) = server::bind(port).await?;
        let viewer = Arc::new(Viewer {
            subject,
            desk: Arc::clone(desk),
            guard: Guard::new(port)?,
            hello,
        });
        listening(&viewer.guard.address())?;
        server::serve(listener, viewer).await;
        Ok(())
    });
    runtime.shutdown_background();
    result
}

fn hello(args: &ViewArgs, subject: &Subject, context: &Context) -> Result<Hello> {
    let look = &args.look;
    let values = subject.some_values(context)?;
    let range = match range_of(&values) {
        [lo, hi] if lo < hi => [lo, hi],
        [lo, _] if lo.is_finite() => [lo, lo + lo.abs().max(1.0) * 1e-3],
        _ => [0.0, 1.0],
    };
    let whole = [[0; 3], subject.extent];
    let clip = match &look.region {
        Some(region) => {
            let region = region.within(subject.extent)?;
            [region.start, region.end]
        }
        None => whole,
    };
    let mut presets: BTreeMap<String, TransferFunction> = Preset::ALL
        .iter()
        .map(|p| (p.name().to_owned(), p.transfer(range)))
        .collect();
    let automatic = TransferFunction::from_values(&values);
    presets.insert("automatic".into(), automatic);
    presets.insert("grey".into(), TransferFunction::ramp(range, 0.5));
    Ok(Hello {
        name: name(args),
        extent: subject.extent,
        spacing: subject.spacing,
        lods: subject.lods,
        levels: subject.levels,
        range,
        histogram: histogram(&values, range),
        field: scene::FIELD,
        look: Look {
            transfer: transfer_from(&values, look)?,
            mode: look.mode,
            lighting: Lighting::default(),
            clip: clip.map(|corner| corner.map(|c| c as f32)),
            background: match look.background {
                BackgroundArg::White => [1.0; 3],
                BackgroundArg::Black | BackgroundArg::Clear => [0.0; 3],
            },
            lod: args.caps.lod,
            level: args.caps.level.unwrap_or(subject.levels - 1),
        },
        presets,
        backend: format!("CPU, {:?}", RenderOptions::default().level).to_uppercase(),
    })
}

/// The last part of a path or an address.
fn name(args: &ViewArgs) -> String {
    let text = args.input.to_string_lossy();
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let last = path
        .trim_end_matches(['/', '\\'])
        .rsplit(['/', '\\'])
        .next();
    last.unwrap_or_default().into()
}

/// How many values lie in each of equal parts of a range.
fn histogram(values: &[f32], [lo, hi]: [f32; 2]) -> Vec<u32> {
    let mut counts = vec![0u32; BINS];
    let scale = BINS as f32 / (hi - lo);
    for v in values.iter().filter(|v| v.is_finite()) {
        let bin = (((v - lo) * scale) as usize).min(BINS - 1);
        counts[bin] = counts[bin].saturating_add(1);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted() {
        let counts = histogram(&[0.0, 0.1, 255.9, 256.0, f32::NAN], [0.0, 256.0]);
        assert_eq!((counts[0], counts[255]), (2, 2));
        assert_eq!(counts.iter().sum::<u32>(), 4);
    }
}
