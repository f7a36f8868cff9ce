//! SSIM at four levels of detail: the paper's composite target.

use std::path::Path;
use std::sync::Arc;

use super::super::Progress;
use super::super::job::Job;
use super::fit::{Bracket, Figures, minus};
use super::guess::COST;
use super::patch::Patches;
use super::search::{Found, Goal, Look, Made};
use super::spectrum::{DEPTHS, Spectrum};
use crate::backend::cuda::CudaBackend;
use crate::quality::{CompareOptions, compare, compare_on};
use crate::volume::VoxelSource;
use crate::{Result, Volume};

/// What the smallest margin may be, and how much of that a search aims for at most.
const TOLERANCE: f64 = 0.01;
const AIM: f64 = 0.003;
/// The same as a share of what the target leaves to 1, where that is little.
const AIM_SHARE: f64 = 0.08;
/// The same where what it knows is doubtful: the middle of what is allowed.
const DOUBTED: f64 = 0.005;
const DOUBTED_SHARE: f64 = 0.25;
/// A sample of this many patches counts as much as the first guess.
const TRUST: f64 = 3.0;
/// A first encode may leave less than this share of what was allowed; beyond, a second one is
/// worth its time.
const WASTE: f64 = 0.4;

/// SSIM at each level of detail; `None` where the volume is too small for one.
type Ssim = [Option<f64>; DEPTHS];

/// A target of SSIM.
pub(super) struct Similar<'a> {
    wanted: [f64; DEPTHS],
    spectrum: &'a Spectrum,
    /// Levels of detail that have windows.
    exists: [bool; DEPTHS],
    patches: Option<Patches>,
}

/// log2(step) by the spectrum alone.
pub(super) fn guess(job: &Job<'_>, spectrum: &Spectrum, wanted: [f64; DEPTHS]) -> f64 {
    let goal = Similar::new(job, spectrum, wanted);
    Bracket::new(job.limits(), false).solve(|x| goal.reached(&goal.modelled(x)))
}

impl<'a> Similar<'a> {
    pub(super) fn new(job: &Job<'_>, spectrum: &'a Spectrum, wanted: [f64; DEPTHS]) -> Self {
        let shortest = job.source.extent().into_iter().min().unwrap_or(0);
        Self {
            wanted,
            spectrum,
            exists: std::array::from_fn(|lod| shortest >> lod >= 7),
            patches: None,
        }
    }

    /// How much 1 - SSIM may be.
    fn allowed(&self, lod: usize) -> f64 {
        1.0 - self.wanted[lod]
    }

    /// Margins of the levels that exist.
    fn margins(&self, ssim: &Ssim) -> impl Iterator<Item = (f64, f64)> {
        let pairs = ssim.iter().zip(self.wanted);
        pairs.filter_map(|(s, w)| s.map(|s| (s - w, 1.0 - w)))
    }
}

fn figures(ssim: &Ssim) -> Figures {
    ssim.map(|s| s.map_or(0.0, |s| logarithm(1.0 - s)))
}

fn modelled(spectrum: &Spectrum, x: f64) -> Figures {
    spectrum.outcome(x).dissimilarity().map(logarithm)
}

fn logarithm(dissimilarity: f64) -> f64 {
    dissimilarity.max(1e-9).ln()
}

/// SSIM of a file against a part of the source, or all of it.
pub(super) fn ssim_of(job: &Job<'_>, source: &dyn VoxelSource, path: &Path) -> Result<Ssim> {
    let mut volume = Volume::open(path)?.with_threads(job.options.threads)?;
    if let Some(device) = &job.options.device {
        let cuda = CudaBackend::new(Arc::clone(device), job.cpu);
        volume = volume.with_backend(Arc::new(cuda));
    }
    let view = volume.view(0, volume.levels() - 1)?;
    let options = CompareOptions::default()
        .with_threads(job.options.threads)
        .with_range(job.scan.min, job.scan.max);
    let report = |done, total| {
        (job.progress)(Progress {
            phase: "verify",
            done,
            total,
        })
    };
    let found = match &job.options.device {
        Some(device) => compare_on(device, source, &view, &options, &report)?,
        None => compare(source, &view, &options, &report)?,
    };
    Ok(found.ssim)
}

impl Goal for Similar<'_> {
    fn modelled(&self, x: f64) -> Figures {
        modelled(self.spectrum, x)
    }

    fn sample(&mut self, job: &Job<'_>, path: &Path, x: f64) -> Result<Option<Look>> {
        let first = self.patches.is_none();
        if first {
            self.patches = Patches::of(job)?;
        }
        let Some(patches) = &self.patches else {
            return Ok(None);
        };
        let found = patches.ssim(job, path, x)?;
        let mut correction = minus(&figures(&found), &modelled(&patches.spectrum, x));
        for (c, s) in correction.iter_mut().zip(found) {
            // Too small for windows: nothing was learned.
            *c = if s.is_some() { *c + patches.faces } else { 0.0 };
        }
        let surveyed = if first { COST * patches.share } else { 0.0 };
        Ok(Some(Look {
            x,
            correction,
            trust: patches.count() / (patches.count() + TRUST),
            cost: patches.share + surveyed,
            next: patches.share,
        }))
    }

    fn measure(&mut self, job: &Job<'_>, made: &Made<'_>) -> Result<Found> {
        let ssim = ssim_of(job, job.source, made.path)?;
        let margin = self
            .margins(&ssim)
            .fold(f64::INFINITY, |m, (s, _)| m.min(s));
        let spare = self
            .margins(&ssim)
            .fold(1.0, |m: f64, (s, room)| m.min(s / room.max(1e-9)));
        Ok(Found {
            figures: figures(&ssim),
            margin,
            within: margin.is_infinite() || (0.0..=TOLERANCE).contains(&margin),
            wasteful: margin.is_finite() && spare > WASTE,
        })
    }

    fn reached(&self, figures: &Figures) -> bool {
        (0..DEPTHS).filter(|&lod| self.exists[lod]).all(|lod| {
            let allowed = self.allowed(lod);
            figures[lod].exp() <= allowed - AIM.min(AIM_SHARE * allowed)
        })
    }

    fn room(&self) -> Figures {
        std::array::from_fn(|lod| {
            let allowed = self.allowed(lod);
            let aim = AIM.min(AIM_SHARE * allowed);
            let least = DOUBTED.min(DOUBTED_SHARE * allowed);
            ((allowed - aim) / (allowed - least).max(1e-9))
                .ln()
                .max(0.0)
        })
    }

    fn coarse_meets(&self) -> bool {
        false
    }
}
