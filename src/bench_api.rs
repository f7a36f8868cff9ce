//! Internals for the project's own benchmarks and table training. Not part of the public API: it
//! may change in any release.

mod coder;
mod device;
mod train;

use crate::Result;
pub use crate::backend::cpu::{CpuBackend, CpuLevel, Scratch};
use crate::backend::{Backend, BlockJob, LayerStep, ValueRange};
use crate::codec::bands::BlockShape;
pub use crate::codec::contexts::{COUNT as CONTEXTS, alphabet, generalise};
use crate::codec::grid::count_grid_layer;
pub use crate::codec::grid::{
    COUNT as GRID_CONTEXTS, alphabet as grid_alphabet, generalise as grid_generalise,
};
use crate::codec::{CoefficientState, Quantiser, count_layer, count_residual};
use crate::encode::plan::{ModelUse, WaveletWanted, coder, lambda, layer_steps, wavelet_models};
use crate::encode::{
    BlockPlan, CurveSample, CurveShape, Effort, EncodeScratch, EncodedBlock, FilterSample,
    GridChoice, GridPlan, GridWanted, LevelError, ModelChoice, PlainSize, Preset, Task,
    encode_block, encode_plain_block, fitted_weights, forward, grid_models, quantise,
};
use crate::model::{
    BlockModel, Coder, Filters, GridModel, Precision, Residual, ValueMap, WaveletModel,
};
use crate::volume::DType;

pub use crate::codec::mixing;
pub use crate::codec::symbols::Counter;
pub use coder::{CoderLab, copied_bytes};
pub use device::{JointLab, LabTraining};
pub use train::{LabLevel, LabModel, TrainLab, fit_network, multiply_add_rounds, train_to_the_end};

/// Encodes blocks of one volume without a container.
pub struct BlockLab {
    model: WaveletModel,
    wide: WaveletModel,
    steps: Vec<LayerStep>,
    preset: Preset,
    depth: usize,
    choice: GridChoice,
    grids: Vec<GridModel>,
    lambda: f64,
}

/// A value curve, or none.
#[derive(Debug, Clone)]
pub struct LabCurve(Option<CurveShape>);

impl LabCurve {
    /// Segments that rise by these shares of the range; their sum is 1.
    pub fn of_rises(rises: [f64; 16]) -> Self {
        Self(Some(CurveShape { rises, gain: 1.0 }))
    }

    /// Whether there is one.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// The curve that saves most at about `step` on `blocks` (extent and values), which are `share`
    /// of a volume whose integers lie in `q_min..=q_max`.
    ///
    /// # Errors
    /// As the encoder.
    pub fn choose(
        blocks: Vec<([usize; 3], Vec<f32>)>,
        share: f64,
        (q_min, q_max): (i32, i32),
        preset: Preset,
        step: f64,
    ) -> Result<Self> {
        let depth = 4;
        let sample = CurveSample {
            blocks: (blocks.into_iter())
                .map(|(dims, values)| (BlockShape { dims, depth }, values))
                .collect(),
            share,
            q_min,
            q_max,
            range: &|lo, hi| Ok(ValueRange { lo, hi }),
        };
        Ok(Self(sample.choose(preset, step)?.shape))
    }
}

/// The indices of a block.
pub struct MixingBlock {
    shape: BlockShape,
    steps: Vec<(usize, u8)>,
    targets: Vec<Vec<i16>>,
}

impl MixingBlock {
    /// How many indices of the last quality are not zero.
    pub fn nonzero(&self) -> usize {
        let last = self.targets.last();
        last.map_or(0, |t| t.iter().filter(|k| **k != 0).count())
    }

    /// Runs all decisions of the block past a decider.
    ///
    /// # Errors
    /// As the encoder.
    pub fn run<D: mixing::Decider>(
        &self,
        buffers: &mut mixing::Traversal,
        decider: &mut D,
    ) -> Result<()> {
        mixing::traverse_block(buffers, self.shape, &self.steps, &self.targets, decider)
    }
}

/// A coded block.
pub struct LabPayload {
    /// Its extent.
    pub shape: BlockShape,
    /// Its value range.
    pub range: ValueRange,
    /// Its layers.
    pub layers: Vec<Vec<u8>>,
    /// Its model.
    pub model: BlockModel,
}

/// What a block was coded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabKind {
    /// One value.
    Constant,
    /// Wavelets.
    Wavelet,
    /// A feature grid with a network.
    Grid,
}

impl LabKind {
    fn of(block: &EncodedBlock) -> Self {
        match block {
            EncodedBlock::Constant(_) => Self::Constant,
            EncodedBlock::Payload { model, .. } => match model {
                ModelUse::Wavelet { .. } | ModelUse::Reversible { .. } => Self::Wavelet,
                ModelUse::Grid(_) => Self::Grid,
            },
        }
    }
}

/// Bytes and errors of one block.
pub struct LabBlock {
    /// What it was coded as.
    pub kind: LabKind,
    /// Bytes of each layer; empty for a constant block.
    pub layers: Vec<usize>,
    /// Error of each quality level.
    pub errors: Vec<LevelError>,
}

fn layer_bytes(block: &EncodedBlock) -> Vec<usize> {
    match block {
        EncodedBlock::Constant(_) => Vec::new(),
        EncodedBlock::Payload { layers, .. } => layers.iter().map(Vec::len).collect(),
    }
}

impl BlockLab {
    /// For a volume whose integers lie in `q_min..=q_max`; `step` in units of `q`.
    pub fn new(
        q_min: i32,
        q_max: i32,
        step: f64,
        levels: u8,
        block_log2: u32,
        preset: Preset,
        lossless: bool,
    ) -> Self {
        let wanted = WaveletWanted {
            reversible: false,
            levels,
            residual: if lossless {
                Residual::Step(1)
            } else {
                Residual::None
            },
            coder: coder(preset),
            curve: None,
            filter: None,
        };
        let (model, wide) = wavelet_models(q_min, q_max, step, wanted);
        Self {
            model,
            wide,
            steps: layer_steps(levels),
            preset,
            depth: block_log2 as usize - 2,
            choice: GridChoice::Never,
            grids: grid_models(
                (q_min, q_max),
                step,
                GridWanted {
                    levels,
                    residual: wanted.residual,
                    block_log2,
                    table_log2: 22,
                },
            ),
            lambda: lambda(step),
        }
    }

    /// The same along a curve, for the range and step that it was made with.
    pub fn with_curve(mut self, choice: &LabCurve, (q_min, q_max): (i32, i32), step: f64) -> Self {
        let wanted = WaveletWanted {
            reversible: self.model.reversible,
            levels: self.model.qualities,
            residual: self.model.residual,
            coder: self.model.coder,
            curve: choice.0.as_ref(),
            filter: None,
        };
        (self.model, self.wide) = wavelet_models(q_min, q_max, step, wanted);
        self
    }

    /// The same with a reversible transform, for the range that it was made with.
    pub fn with_reversible(mut self, (q_min, q_max): (i32, i32)) -> Self {
        let wanted = WaveletWanted {
            reversible: true,
            levels: self.model.qualities,
            residual: self.model.residual,
            coder: self.model.coder,
            curve: None,
            filter: None,
        };
        (self.model, self.wide) = wavelet_models(q_min, q_max, 1.0, wanted);
        self
    }

    /// The same with filters.
    pub fn with_filters(mut self, filters: Filters) -> Self {
        (self.model.filters, self.wide.filters) = (Some(filters), Some(filters));
        self
    }

    /// The same with the filters that save enough on `blocks` (extent and values), which are `share`
    /// of a volume, if there are any; and how many of the taps of the last quality are in use.
    ///
    /// # Errors
    /// As the encoder.
    pub fn with_fitted_filters(
        mut self,
        blocks: &[([usize; 3], Vec<f32>)],
        share: f64,
    ) -> Result<(Self, usize)> {
        let depth = self.depth;
        let blocks: Vec<_> = (blocks.iter())
            .map(|(dims, values)| (BlockShape { dims: *dims, depth }, values.clone()))
            .collect();
        let plan = BlockPlan {
            grid: GridPlan::NONE,
            ..self.plan()
        };
        let sample = FilterSample {
            plan,
            blocks: &blocks,
        };
        let Some(shape) = sample.choose(share)?.shape else {
            return Ok((self, 0));
        };
        let fit = |model: &WaveletModel| {
            let room = model.has_room_for_filters();
            room.then(|| shape.filters(model))
        };
        let narrow = fit(&self.model);
        self.wide.filters = fit(&self.wide).filter(|_| shape.twin || self.model == self.wide);
        self.model.filters = narrow;
        let taps = narrow.map_or(0, |f| f.of(self.model.qualities - 1).taps());
        Ok((self, taps))
    }

    /// The same with coder M, whatever the preset.
    pub fn with_mixing(mut self) -> Self {
        self.model.coder = Coder::M;
        self.wide.coder = Coder::M;
        self
    }

    /// The same with these block models.
    pub fn with_model(self, model: ModelChoice) -> Self {
        let choice = match model {
            ModelChoice::Dense => GridChoice::Never,
            ModelChoice::Hashgrid => GridChoice::Always,
            ModelChoice::Auto => GridChoice::Cheaper,
        };
        Self { choice, ..self }
    }

    /// The same with hash tables of at most `2^table_log2` entries in grid levels.
    pub fn with_table_log2(mut self, table_log2: u8) -> Self {
        for level in self.grids.iter_mut().flat_map(|g| &mut g.levels) {
            level.table_log2 = table_log2;
        }
        self
    }

    /// Symbols of the weights of a block under every grid model, by context.
    ///
    /// # Errors
    /// As the encoder.
    pub fn grid_statistics(&self, dims: [usize; 3], values: &[f32]) -> Result<Vec<Counter>> {
        let (plan, shape) = (
            self.plan(),
            BlockShape {
                dims,
                depth: self.depth,
            },
        );
        let mut all = Vec::new();
        for (model, mut weights) in fitted_weights(&plan, shape, values)? {
            for layer in 0..self.steps.len() {
                all.push(count_grid_layer(model, layer, &mut weights)?);
            }
        }
        Ok(all)
    }

    /// The same with another layer table.
    pub fn with_steps(self, steps: Vec<LayerStep>) -> Self {
        Self { steps, ..self }
    }

    /// The layer table.
    pub fn steps(&self) -> &[LayerStep] {
        &self.steps
    }

    /// Encodes a block of values in units of `q`, `[z][y][x]`.
    ///
    /// # Errors
    /// As the encoder.
    pub fn encode(&self, dims: [usize; 3], values: &[f32]) -> Result<LabBlock> {
        let plan = self.plan();
        let shape = BlockShape {
            dims,
            depth: self.depth,
        };
        let (block, errors) =
            encode_block(&plan, shape, values, &[], &mut EncodeScratch::default())?;
        Ok(LabBlock {
            kind: LabKind::of(&block),
            layers: layer_bytes(&block),
            errors,
        })
    }

    /// Encodes a block by the plain method: features and a network trained for squared error alone
    /// and rounded to 8 bits. `spacings`: exponents of the coarsest and the finest level.
    ///
    /// # Errors
    /// As the encoder.
    pub fn encode_plain(
        &self,
        dims: [usize; 3],
        values: &[f32],
        spacings: (u8, u8),
        table_log2: u8,
        steps: usize,
    ) -> Result<LabBlock> {
        let shape = BlockShape {
            dims,
            depth: self.depth,
        };
        let size = PlainSize {
            spacings,
            table_log2,
            steps,
        };
        let (block, errors) = encode_plain_block(&self.plan(), shape, values, size)?;
        Ok(LabBlock {
            kind: LabKind::of(&block),
            layers: layer_bytes(&block),
            errors,
        })
    }

    /// Coefficient indices of a block at every quality, `[z][y][x]`, bands nested.
    fn targets(
        &self,
        dims: [usize; 3],
        values: &[f32],
    ) -> Result<(WaveletModel, ValueRange, Vec<Vec<i32>>)> {
        let shape = BlockShape {
            dims,
            depth: self.depth,
        };
        let model = if self.model.precision == Precision::I16 {
            &self.model
        } else {
            &self.wide
        };
        let (min, max) = values
            .iter()
            .fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        let range = ValueRange {
            lo: min.floor() as i32,
            hi: max.ceil() as i32,
        };
        let scale = f32::from(model.frac_bits).exp2();
        let mut c: Vec<f32> = values
            .iter()
            .map(|&v| (v - range.centre() as f32) * scale)
            .collect();
        forward(&mut c, &mut Vec::new(), &shape);
        let mut targets = vec![Vec::<i32>::new(); usize::from(model.qualities)];
        for (quality, target) in (0..model.qualities).zip(&mut targets) {
            quantise(
                &c,
                &shape,
                &Quantiser::new(model, quality),
                self.preset,
                target,
            );
        }
        if let Some(effort) = Effort::of_preset(self.preset).filter(|_| !model.reversible) {
            let task = Task {
                coefficients: &c,
                shape,
                model,
                cpu: CpuBackend::new(),
            };
            task.run(effort, &mut targets)?;
        }
        Ok((*model, range, targets))
    }

    /// Coefficient indices of a block at every quality, to train coder M.
    ///
    /// # Errors
    /// As the encoder.
    pub fn indices(&self, dims: [usize; 3], values: &[f32]) -> Result<MixingBlock> {
        let narrow = |k: &i32| (*k).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        let targets = self.targets(dims, values)?.2;
        Ok(MixingBlock {
            shape: BlockShape {
                dims,
                depth: self.depth,
            },
            steps: (self.steps.iter())
                .map(|s| (usize::from(s.lod), s.quality))
                .collect(),
            targets: targets
                .iter()
                .map(|t| t.iter().map(narrow).collect())
                .collect(),
        })
    }

    /// How many symbols of coder R, or decisions of coder M, the indices of a block are, as if there
    /// were no curve.
    ///
    /// # Errors
    /// As the encoder.
    pub fn symbols(&self, dims: [usize; 3], values: &[f32]) -> Result<usize> {
        if self.model.coder == Coder::M {
            return coder::decisions(&self.indices(dims, values)?);
        }
        let lists = self.statistics(dims, values)?;
        let bands = lists.iter().flat_map(|counter| &counter.bands);
        Ok(bands.map(Vec::len).sum())
    }

    /// Symbols of a block, by context, one list a band.
    ///
    /// # Errors
    /// As the encoder.
    pub fn statistics(&self, dims: [usize; 3], values: &[f32]) -> Result<Vec<Counter>> {
        let shape = BlockShape {
            dims,
            depth: self.depth,
        };
        let (model, range, targets) = self.targets(dims, values)?;
        let mut state = CoefficientState::new();
        state.reset(shape);
        let mut all = Vec::new();
        for step in &self.steps {
            all.push(count_layer(
                &mut state,
                usize::from(step.lod),
                step.quality,
                &targets[usize::from(step.quality)],
            )?);
        }
        if model.residual.is_some() {
            let decoded = self.decoded(&model, shape, range, &targets);
            let residual: Vec<i32> = values
                .iter()
                .zip(&decoded)
                .map(|(&v, &q)| v as i32 - q)
                .collect();
            all.push(count_residual(dims, &decoded, &residual)?);
        }
        Ok(all)
    }

    /// Layers of a block and its value range; `None` for a constant one.
    ///
    /// # Errors
    /// As the encoder.
    pub fn payload(&self, dims: [usize; 3], values: &[f32]) -> Result<Option<LabPayload>> {
        let plan = self.plan();
        let shape = BlockShape {
            dims,
            depth: self.depth,
        };
        let (block, _) = encode_block(&plan, shape, values, &[], &mut EncodeScratch::default())?;
        Ok(match block {
            EncodedBlock::Constant(_) => None,
            EncodedBlock::Payload {
                model,
                range,
                layers,
            } => Some(LabPayload {
                shape,
                range,
                layers,
                model: match model {
                    ModelUse::Wavelet { wide: true } => BlockModel::Wavelet(self.wide),
                    ModelUse::Wavelet { .. } | ModelUse::Reversible { .. } => {
                        BlockModel::Wavelet(self.model)
                    }
                    ModelUse::Grid(i) => BlockModel::Grid(self.grids[i].clone()),
                },
            }),
        })
    }

    /// Decodes a payload.
    ///
    /// # Errors
    /// As the decoder.
    pub fn decode(
        &self,
        cpu: CpuBackend,
        payload: &LabPayload,
        scratch: &mut Scratch,
        out: &mut Vec<i32>,
    ) -> Result<()> {
        let job = BlockJob {
            model: &payload.model,
            shape: payload.shape,
            range: payload.range,
            steps: &self.steps,
            layers: &payload.layers,
            exponent: 0,
            lod: 0,
        };
        cpu.decode_block(&job, scratch, out)
    }

    fn plan(&self) -> BlockPlan<'_> {
        BlockPlan {
            model: self.model,
            wide: self.wide,
            steps: &self.steps,
            preset: self.preset,
            search: Effort::of_preset(self.preset),
            cpu: CpuBackend::new(),
            range: &|lo, hi| Ok(ValueRange { lo, hi }),
            want_coarsest: false,
            allow_constant: true,
            grid: GridPlan {
                choice: self.choice,
                models: &self.grids,
                lambda: self.lambda,
                seed: 0,
                trained: None,
            },
            map: ValueMap {
                dtype: DType::Float32,
                exponent: 0,
            },
            ranks: None,
            reversible: None,
            found: &[],
        }
    }

    fn decoded(
        &self,
        model: &WaveletModel,
        shape: BlockShape,
        range: ValueRange,
        targets: &[Vec<i32>],
    ) -> Vec<i32> {
        let mut out = Vec::new();
        if let Some(last) = targets.last() {
            let block = crate::backend::cpu::Reconstruction {
                shape,
                range,
                lod: 0,
                indices: &mut last.clone(),
                scratch: &mut Vec::new(),
                is_zero: &|_| false,
            };
            CpuBackend::new().reconstruct(model, model.qualities - 1, block, &mut out);
        }
        out
    }
}
