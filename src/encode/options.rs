//! What an encode is asked for.

use std::path::PathBuf;
use std::sync::Arc;

use crate::backend::cuda::Device;
use crate::volume::DType;

/// The quality that the encoded file must have.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// Open loop, 0..=100: one step size for the whole volume, no search. Integers of few values
    /// come back exactly at the upper end.
    Quality(f64),
    /// At least this PSNR in dB over the whole volume, by at most 0.3 dB more. Integers for which no
    /// step is fine enough come back exactly.
    Psnr(f64),
    /// At least these SSIM values at levels of detail 0, 1, 2, 3 (mean-downsampled decode), one of them
    /// by at most 0.01 more. Integers as with [`Target::Psnr`].
    Ssim([f64; 4]),
    /// At most `extent x dtype bytes / ratio` bytes, by at most 5 % less.
    Ratio(f64),
    /// At most this many bytes, by at most 5 % less.
    Bytes(u64),
    /// No voxel is off by more than this: a residual keeps the bound, in one encode.
    MaxError(f64),
    /// No voxel is off by more than this share of `max - min`.
    MaxErrorRel(f64),
    /// Every voxel comes back bit for bit, float32 with what is not finite.
    Lossless,
}

impl Target {
    /// Whether a residual or a reversible transform keeps it, whatever the model under that.
    pub(super) fn binds_every_voxel(self) -> bool {
        matches!(
            self,
            Self::Lossless | Self::MaxError(_) | Self::MaxErrorRel(_)
        )
    }
}

/// How much time the encoder may spend on the rate-distortion curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Preset {
    /// No search of any kind.
    Fast,
    /// One round of rate-distortion optimised quantisation, and what clamping forgives; a value curve for
    /// a volume of few materials.
    #[default]
    Balanced,
    /// The fewest bytes: more rounds, wavelets under entropy coder M, which decodes several times
    /// slower, and other models for blocks where they are cheaper.
    Best,
}

impl Preset {
    /// What coding a voxel without the search of the preset costs, relative to coding it, roughly. Only
    /// [`Preset::Fast`] has no search.
    pub(super) fn rough_cost(self) -> f64 {
        match self {
            Self::Fast => 1.0,
            Self::Balanced => 0.1,
            Self::Best => 0.03,
        }
    }

    /// The same for [`crate::analyze`].
    pub(super) fn analysis_cost(self) -> f64 {
        match self {
            Self::Fast => 0.5,
            Self::Balanced | Self::Best => 0.1,
        }
    }
}

/// Where the search for [`Target::Ssim`] starts. It ends at the same quality; only its cost differs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum FirstGuess {
    /// Where the trained network of [`crate::predict`] expects the target to be met.
    #[default]
    Predicted,
    /// Where a formula does, from the coefficients of a part of the volume.
    Survey,
    /// At a step of range / 2^this, for measurements.
    Exponent(f64),
}

/// Which block models the encoder may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ModelChoice {
    /// Wavelets; with [`Preset::Best`] the cheapest for each block at the slope of the volume.
    #[default]
    Auto,
    /// One dense grid level stored as wavelet coefficients.
    Dense,
    /// The paper's own: a pyramid of feature grids, dense or hashed, and a small network.
    Hashgrid,
}

/// Everything that decides what an encode writes.
///
/// ```
/// use hgv::encode::{EncodeOptions, Preset, Target};
/// let options = EncodeOptions::default().with_target(Target::Ratio(30.0)).with_preset(Preset::Fast);
/// assert_eq!(options.levels, 3);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EncodeOptions {
    /// Quality target. Default `Quality(60.0)`.
    pub target: Target,
    /// Quality levels stored, 1..=8; the last one meets the target. Default 3.
    pub levels: u32,
    /// Side of a block in voxels: 32, 64 or 128. Default 64.
    pub block: u32,
    /// Effort. Default balanced.
    pub preset: Preset,
    /// Block models. Default auto.
    pub model: ModelChoice,
    /// Largest hash table of a grid level is `2^table_log2` entries, 4..=22; levels of more vertices
    /// are hashed. Default 22: no level of a block is.
    pub table_log2: u8,
    /// Worker threads; 0 = all cores. Never changes the bytes written.
    pub threads: usize,
    /// Seed of everything random. Default 0.
    pub seed: u64,
    /// Heap budget in bytes. Default 768 MiB.
    pub memory: u64,
    /// Where finished blocks wait when the budget is full; `None` = beside the output.
    pub scratch: Option<PathBuf>,
    /// Encode only part `i` of `n` of the clusters (`i < n`); merge the parts afterwards.
    pub shard: Option<(u32, u32)>,
    /// Code NaN and infinities of a float volume as a lossless mask instead of refusing them.
    pub nan_mask: bool,
    /// Replace an existing output and an old `.partial`.
    pub force: bool,
    /// Where the search for an SSIM starts.
    pub first_guess: FirstGuess,
    /// A device that works on whole batches of blocks beside the CPU; `None` = the CPU alone. Its limits say
    /// how much of its memory batches may take. Files are as good, but not the same bytes.
    pub device: Option<Arc<dyn Device>>,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            target: Target::Quality(60.0),
            levels: 3,
            block: 64,
            preset: Preset::default(),
            model: ModelChoice::default(),
            table_log2: 22,
            threads: 0,
            seed: 0,
            memory: 768 << 20,
            scratch: None,
            shard: None,
            nan_mask: false,
            force: false,
            first_guess: FirstGuess::default(),
            device: None,
        }
    }
}

impl EncodeOptions {
    /// Whether voxels of a type may end up as ranks, so that it is worth knowing which values they have.
    pub(super) fn may_have_ranks(&self, dtype: DType) -> bool {
        let open_loop = matches!(self.target, Target::Quality(_)) && !dtype.is_float();
        (self.target.binds_every_voxel() || open_loop) && self.model != ModelChoice::Hashgrid
    }

    /// Aims for this quality.
    #[must_use]
    pub fn with_target(self, target: Target) -> Self {
        Self { target, ..self }
    }

    /// Stores this many quality levels, 1..=8.
    #[must_use]
    pub fn with_levels(self, levels: u32) -> Self {
        Self { levels, ..self }
    }

    /// Cuts blocks of this side: 32, 64 or 128 voxels.
    #[must_use]
    pub fn with_block(self, block: u32) -> Self {
        Self { block, ..self }
    }

    /// Spends this much effort.
    #[must_use]
    pub fn with_preset(self, preset: Preset) -> Self {
        Self { preset, ..self }
    }

    /// Uses these block models.
    #[must_use]
    pub fn with_model(self, model: ModelChoice) -> Self {
        Self { model, ..self }
    }

    /// Hashes the grid levels of more vertices than `2^table_log2`.
    #[must_use]
    pub fn with_table_log2(self, table_log2: u8) -> Self {
        Self { table_log2, ..self }
    }

    /// Works on this many threads; 0 = all cores.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Keeps the heap under this many bytes.
    #[must_use]
    pub fn with_memory(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    /// Encodes only part `index` of `count` of the clusters.
    #[must_use]
    pub fn with_shard(self, index: u32, count: u32) -> Self {
        Self {
            shard: Some((index, count)),
            ..self
        }
    }

    /// Codes NaN and infinities as a mask, or refuses them.
    #[must_use]
    pub fn with_nan_mask(self, nan_mask: bool) -> Self {
        Self { nan_mask, ..self }
    }

    /// Starts the search for an SSIM here.
    #[must_use]
    pub fn with_first_guess(self, first_guess: FirstGuess) -> Self {
        Self {
            first_guess,
            ..self
        }
    }

    /// Works on a device too, or on the CPU alone.
    #[must_use]
    pub fn with_device(self, device: Option<Arc<dyn Device>>) -> Self {
        Self { device, ..self }
    }

    /// Replaces an existing output, or refuses to.
    #[must_use]
    pub fn with_force(self, force: bool) -> Self {
        Self { force, ..self }
    }
}

/// What an encode wrote.
#[derive(Debug, Clone, serde::Serialize)]
#[non_exhaustive]
pub struct EncodeReport {
    /// Size of the file.
    pub file_bytes: u64,
    /// Extent x dtype bytes / file bytes.
    pub ratio: f64,
    /// File bits per voxel.
    pub bits_per_voxel: f64,
    /// PSNR in dB of the last level, measured on the decoder's own output; `None` if identical.
    pub psnr: Option<f64>,
    /// Largest absolute error of the last level.
    pub max_abs_error: f64,
    /// Encodes of the whole volume that the target took.
    pub passes: u32,
    /// What the file cost in encodes of the whole volume: `passes`, and every voxel that was looked at
    /// before them, over the voxels of the volume. A voxel of a sample counts as one each time it is coded with
    /// all that the preset does, and as a tenth where it is only transformed, or coded without the search for
    /// better indices ([`Preset::Fast`] has none: one). Samples are taken for the survey and the analysis
    /// that a search starts from (analyzed voxels count as a half with [`Preset::Fast`], else as a tenth), for
    /// the choice of curve and filters, and in the search itself. Reading is not counted, nor is decoding a
    /// file to measure its SSIM.
    pub cost: f64,
    /// Backend that did the work, such as `cpu (avx2)`.
    pub backend: String,
}
