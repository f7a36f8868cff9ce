//! Pictures of a session at any moment, from its log.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use hgv::render::{RenderOptions, Renderer, Scene, ToneMapping, TransferFunction};
use hgv::stream::schedule::{BlockId, Camera};
use hgv::stream::{Brick, Bricks, Streamable};
use hgv::{Error, Result};

use super::session::{Change, Log, Moment};
use super::ssim::{luminance, ssim};

/// Bytes of bricks that the renderer keeps.
const ATLAS: u64 = 2 << 30;

/// Distance of samples in voxels: twice the usual one, for all pictures alike, so that many can be drawn.
const STEP: f32 = 1.0;

/// Bricks of a volume by block and layers, decoded when they are asked for.
#[derive(Debug)]
pub struct Shelf {
    /// The volume, past any link.
    content: Arc<dyn Streamable>,
    bricks: Mutex<HashMap<(BlockId, u8), Arc<Brick>>>,
}

impl Shelf {
    /// Of `content`, whose bytes are near.
    pub fn new(content: Arc<dyn Streamable>) -> Self {
        Self {
            content,
            bricks: Mutex::default(),
        }
    }

    /// A block of `log` decoded from its first `layers` layers.
    fn brick(&self, log: &Log, block: BlockId, layers: u8) -> Result<Arc<Brick>> {
        let bricks = self.bricks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(brick) = bricks.get(&(block, layers)) {
            return Ok(Arc::clone(brick));
        }
        drop(bricks);
        let facts = log.content.catalogue().block(block);
        let facts = facts.ok_or_else(|| Error::argument(format!("{block:?} is not known")))?;
        let mut bytes = Vec::new();
        for layer in facts.layers.iter().take(usize::from(layers)) {
            let mut read = vec![0; layer.bytes as usize];
            self.content.source().read_at(layer.offset, &mut read)?;
            bytes.push(Arc::new(read));
        }
        let brick = Arc::new(log.content.decode(block, &bytes)?);
        let mut bricks = self.bricks.lock().unwrap_or_else(PoisonError::into_inner);
        bricks.insert((block, layers), Arc::clone(&brick));
        Ok(brick)
    }
}

/// What the camera sees at the end of a flight.
#[derive(Debug)]
pub struct Finish {
    scene: Scene,
    pixels: [u32; 2],
}

impl Finish {
    /// What `camera` sees.
    pub fn new(camera: Camera, transfer: &TransferFunction) -> Self {
        Self {
            pixels: camera.pixels,
            scene: Scene::new(camera, transfer.clone()),
        }
    }

    /// 8-bit red, green, blue, `[y][x]`.
    ///
    /// # Errors
    /// As [`Renderer::render`].
    pub fn picture(&self, renderer: &mut Renderer, bricks: &Bricks) -> Result<Vec<u8>> {
        let mut options = RenderOptions::default();
        options.step = STEP;
        let image = renderer.render(bricks, &self.scene, self.pixels, &options)?;
        Ok(image.to_rgb8(1.0, ToneMapping::Cut))
    }
}

/// A session that can be seen at any moment, held against the true picture.
pub struct Replay<'a> {
    log: &'a Log,
    shelf: &'a Shelf,
    finish: &'a Finish,
    /// Luminance of the true picture.
    truth: &'a [f64],
    renderer: Renderer,
    /// When the picture changes, and the number of changes in the log until then.
    moments: Vec<(Moment, usize)>,
    seen: HashMap<usize, f64>,
}

impl<'a> Replay<'a> {
    /// Of a session, as if decoding took no time.
    pub fn new(log: &'a Log, shelf: &'a Shelf, finish: &'a Finish, truth: &'a [f64]) -> Self {
        let mut moments: Vec<(Moment, usize)> = Vec::new();
        for (i, (moment, change)) in (1..).zip(&log.changes) {
            if !matches!(change, Change::Arrived(..)) {
                continue;
            }
            // What comes with one answer comes at once.
            match moments.last_mut() {
                Some(last) if last.0 == *moment => last.1 = i,
                _ => moments.push((*moment, i)),
            }
        }
        Self {
            log,
            shelf,
            finish,
            truth,
            renderer: Renderer::new(ATLAS),
            moments,
            seen: HashMap::new(),
        }
    }

    /// Moments at which the picture changes.
    pub fn moments(&self) -> &[(Moment, usize)] {
        &self.moments
    }

    /// Layers of each block that are there, from the first on, after some changes.
    fn layers(&self, changes: usize) -> HashMap<BlockId, u8> {
        let mut here: HashMap<BlockId, BTreeSet<u8>> = HashMap::new();
        for (_, change) in &self.log.changes[..changes] {
            if let Change::Arrived(block, layer) = change {
                here.entry(*block).or_default().insert(*layer);
            }
        }
        let whole = |layers: &BTreeSet<u8>| (0..).take_while(|l| layers.contains(l)).count() as u8;
        let counted = here.into_iter().map(|(block, l)| (block, whole(&l)));
        counted.filter(|(_, layers)| *layers > 0).collect()
    }

    /// When all that is in the picture after the changes of a moment was decoded in the session.
    pub fn decoded(&self, moment: usize) -> Option<Moment> {
        let changes = self.moments.get(moment)?.1;
        let mut missing = self.layers(changes);
        let mut last = self.moments[moment].0;
        for (when, change) in &self.log.changes {
            if let Change::Decoded(block, layers) = change
                && missing.get(block).is_some_and(|want| layers >= want)
            {
                missing.remove(block);
                last = if when.time > last.time { *when } else { last };
            }
        }
        missing.is_empty().then_some(last)
    }

    /// The picture at the end of the flight as it was after the changes of a moment, 8-bit red, green, blue.
    ///
    /// # Errors
    /// What decoding and rendering say.
    pub fn picture(&mut self, moment: usize) -> Result<Vec<u8>> {
        let changes = self.moments.get(moment).map_or(0, |m| m.1);
        let mut held = HashMap::new();
        for (block, layers) in self.layers(changes) {
            held.insert(block, self.shelf.brick(self.log, block, layers)?);
        }
        let bricks = Bricks {
            catalogue: self.log.content.catalogue(),
            held: Arc::new(held),
        };
        self.finish.picture(&mut self.renderer, &bricks)
    }

    /// SSIM of that picture to the true one.
    ///
    /// # Errors
    /// As [`Self::picture`].
    pub fn similarity(&mut self, moment: usize) -> Result<f64> {
        if let Some(known) = self.seen.get(&moment) {
            return Ok(*known);
        }
        let picture = luminance(&self.picture(moment)?);
        let found = ssim(&picture, self.truth, self.finish.pixels[0] as usize);
        self.seen.insert(moment, found);
        Ok(found)
    }

    /// The first of the moments `from..=to` at which the picture is as similar as `want`, if the last is;
    /// by bisection, as it grows nearly always.
    ///
    /// # Errors
    /// As [`Self::picture`].
    pub fn reaches(&mut self, want: f64, from: usize, to: usize) -> Result<Option<usize>> {
        if self.moments.is_empty() || self.similarity(to)? < want {
            return Ok(None);
        }
        let (mut low, mut high) = (from, to);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.similarity(middle)? >= want {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(Some(high))
    }
}
