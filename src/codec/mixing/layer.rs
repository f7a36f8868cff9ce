//! One layer of a block under coder M (specification, "A layer of coder M").

use super::super::bands::BlockShape;
use super::super::layer::{coarsest_units, depths, is_idle, predict, shape_of, skip_layer};
use super::super::state::{Coefficient, CoefficientState};
use super::layout::{COARSEST, DEPTHS, EMPTY, SINGLE_SET};
use super::mixer::{Coder, Decider, Mixer, exp_golomb};
use super::range::{Decoder, Encoder};
use super::scales::Scale;
use super::tables::tables;
use super::walk::Walk;
use crate::{Error, Result};

/// Units of a coarsest difference from which on an Exp-Golomb number follows.
const COARSEST_UNARY: u32 = 15;

/// What coder M keeps between the layers of a block, and its buffers.
#[derive(Debug, Clone, Default)]
pub(crate) struct MixingState {
    mixer: Mixer,
    scales: Vec<Scale>,
    /// Whether the block has begun.
    begun: bool,
}

impl MixingState {
    /// Forgets the block.
    pub(crate) fn reset(&mut self) {
        self.begun = false;
    }

    fn begin(&mut self) -> Result<()> {
        if !self.begun {
            self.mixer.start(tables()?);
            self.begun = true;
        }
        Ok(())
    }
}

/// Decodes a layer that is not empty.
pub(in crate::codec) fn decode<E: Coefficient>(
    state: &mut CoefficientState<E>,
    lod: usize,
    quality: u8,
    bytes: &[u8],
) -> Result<()> {
    let mut mixing = std::mem::take(&mut state.mixing);
    let result = mixing.begin().and_then(|()| {
        let mut coder = Coder {
            tables: tables()?,
            mixer: &mut mixing.mixer,
            bits: Decoder::new(bytes),
        };
        traverse(state, &mut mixing.scales, &mut coder, lod, quality, &[])?;
        coder.bits.finish()
    });
    state.mixing = mixing;
    result
}

/// Encodes a layer that is not idle.
pub(in crate::codec) fn encode<E: Coefficient>(
    state: &mut CoefficientState<E>,
    lod: usize,
    quality: u8,
    target: &[E],
) -> Result<Vec<u8>> {
    let mut mixing = std::mem::take(&mut state.mixing);
    let result = mixing.begin().and_then(|()| {
        let mut coder = Coder {
            tables: tables()?,
            mixer: &mut mixing.mixer,
            bits: Encoder::new(),
        };
        traverse(state, &mut mixing.scales, &mut coder, lod, quality, target)?;
        Ok(coder.bits.finish())
    });
    state.mixing = mixing;
    result
}

/// Runs blocks through a decider, to train tables.
#[derive(Debug, Default)]
pub struct Traversal {
    state: CoefficientState<i16>,
    scales: Vec<Scale>,
}

/// All layers of a block: `targets` are its indices at each quality.
///
/// # Errors
/// As the encoder.
pub fn traverse_block<D: Decider>(
    buffers: &mut Traversal,
    shape: BlockShape,
    steps: &[(usize, u8)],
    targets: &[Vec<i16>],
    decider: &mut D,
) -> Result<()> {
    let Traversal { state, scales } = buffers;
    state.reset(shape);
    for &(lod, quality) in steps {
        let target = &targets[usize::from(quality)];
        if is_idle(state, lod, quality, target)? {
            skip_layer(state, lod, quality)?;
        } else {
            traverse(state, scales, decider, lod, quality, target)?;
        }
    }
    Ok(())
}

fn traverse<E: Coefficient, D: Decider>(
    state: &mut CoefficientState<E>,
    scales: &mut Vec<Scale>,
    decider: &mut D,
    lod: usize,
    quality: u8,
    target: &[E],
) -> Result<()> {
    let shape = shape_of(state)?;
    scales.resize_with(shape.depth, Scale::default);
    if state.coarsest_quality < quality as i8 {
        code_coarsest(state, decider, &shape, quality > 0, target)?;
        state.coarsest_quality = quality as i8;
    }
    let depths = depths(state, lod, quality)?;
    for &depth in &depths {
        // The split one coarser is as it was left by this layer, or by those before.
        if depth + 1 < shape.depth && !depths.contains(&(depth + 1)) {
            load(state, &mut scales[depth + 1], &shape, depth + 1, 1);
            (1..8).for_each(|b| scales[depth + 1].add(b));
        }
        if quality > 0 {
            load(state, &mut scales[depth], &shape, depth, 4);
        } else {
            scales[depth].clear(shape.dims_at(depth + 1));
        }
        for index in 1..8 {
            code_band(
                state,
                scales,
                decider,
                (&shape, depth, index),
                quality > 0,
                target,
            )?;
        }
        state.scales[depth].quality = quality as i8;
    }
    Ok(())
}

/// Takes over the indices of a split, times `factor`.
fn load<E: Coefficient>(
    state: &CoefficientState<E>,
    scale: &mut Scale,
    shape: &BlockShape,
    depth: usize,
    factor: i32,
) {
    scale.clear(shape.dims_at(depth + 1));
    for index in 1..8 {
        let band = shape.band(depth, index);
        if !band.is_empty() && state.scales[depth].nonempty[index] {
            scale.load(shape, &band, &state.indices, factor);
        }
    }
}

/// The coarsest band: differences to the mean of the neighbours at x-1, y-1, z-1, or to four times
/// the index of the quality before.
fn code_coarsest<E: Coefficient, D: Decider>(
    state: &mut CoefficientState<E>,
    decider: &mut D,
    shape: &BlockShape,
    refines: bool,
    target: &[E],
) -> Result<()> {
    let [w, h, d] = shape.coarsest().dims;
    let mut shift = 0;
    if !refines {
        let wanted = if D::ENCODES {
            coarsest_units(shape, target)
        } else {
            0
        };
        shift = decider.raw(wanted, 5);
    }
    for z in 0..d {
        for y in 0..h {
            for x in 0..w {
                let i = (z * shape.dims[1] + y) * shape.dims[0] + x;
                let guess = if refines {
                    4 * i64::from(state.indices[i].into())
                } else {
                    predict(&state.indices, shape, [x, y, z])
                };
                let wanted = if D::ENCODES {
                    i64::from(target[i].into()) - guess
                } else {
                    0
                };
                let difference = code_difference(decider, refines, shift, wanted)?;
                state.indices[i] = E::saturate(guess + difference);
            }
        }
    }
    Ok(())
}

fn code_difference<D: Decider>(
    decider: &mut D,
    refines: bool,
    shift: u32,
    wanted: i64,
) -> Result<i64> {
    let magnitude = wanted.unsigned_abs().min(u64::from(u32::MAX)) as u32;
    let mut units = 0;
    while units < COARSEST_UNARY {
        let slot = COARSEST + usize::from(refines) * 8 + units.min(7) as usize;
        if !decider.decide([slot], [SINGLE_SET; 2], magnitude >> shift > units) {
            break;
        }
        units += 1;
    }
    if units == COARSEST_UNARY {
        let beyond = (magnitude >> shift).wrapping_sub(COARSEST_UNARY);
        units += exp_golomb(decider, beyond, |d, _, bit| d.even(bit))?;
    }
    let low = decider.raw(magnitude & ((1u64 << shift) - 1) as u32, shift);
    let magnitude = (u64::from(units) << shift) + u64::from(low);
    if magnitude > u64::from(u32::MAX) {
        return Err(Error::corrupt(
            "layer",
            0,
            "a magnitude does not fit 32 bits",
        ));
    }
    let negative = magnitude != 0 && decider.even(wanted < 0);
    let magnitude = magnitude as i64;
    Ok(if negative { -magnitude } else { magnitude })
}

fn code_band<E: Coefficient, D: Decider>(
    state: &mut CoefficientState<E>,
    scales: &mut [Scale],
    decider: &mut D,
    (shape, depth, index): (&BlockShape, usize, usize),
    refines: bool,
    target: &[E],
) -> Result<()> {
    let band = shape.band(depth, index);
    if band.is_empty() {
        return Ok(());
    }
    let (fine, coarse) = scales.split_at_mut(depth + 1);
    let scale = &mut fine[depth];
    if !scale.any(index) {
        let slot = EMPTY + depth.min(DEPTHS - 1) * 2 + usize::from(refines);
        let any = D::ENCODES && super::super::layer::any_nonzero(shape, &band, target);
        if !decider.decide([slot], [SINGLE_SET; 2], any) {
            return Ok(());
        }
        state.scales[depth].nonempty[index] = true;
    }
    let mut walk = Walk {
        shape,
        band: &band,
        refines,
        scale: &mut *scale,
        coarser: coarse.first(),
        target,
        indices: &mut state.indices,
    };
    walk.run(decider)?;
    scale.add(index);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::{Coder as Which, decode_layer, encode_layer};
    use proptest::prelude::*;

    const STEPS: [(usize, u8); 4] = [(2, 0), (0, 0), (0, 1), (0, 2)];

    /// Indices at three qualities, each within 4 of four times the one before.
    fn targets<E: Coefficient>(shape: &BlockShape, seed: &[i32], sparse: usize) -> Vec<Vec<E>> {
        let mut last = vec![0i64; shape.voxels()];
        (0..3i64)
            .map(|quality| {
                for (i, k) in last.iter_mut().enumerate() {
                    let s = i64::from(seed[(i / sparse + i) % seed.len()]);
                    let busy = i % sparse == 0;
                    let fresh = if busy { s } else { 0 };
                    *k = match (quality, *k) {
                        (0, _) => fresh,
                        (_, 0) => fresh % 3,
                        (_, before) => i64::from(E::saturate(4 * before + (s % 5)).into()),
                    };
                }
                last.iter().map(|&k| E::saturate(k)).collect()
            })
            .collect()
    }

    fn round_trip<E: Coefficient>(shape: BlockShape, seed: &[i32], sparse: usize) {
        let targets = targets::<E>(&shape, seed, sparse);
        let (mut writer, mut reader) = (CoefficientState::<E>::new(), CoefficientState::<E>::new());
        writer.reset(shape);
        reader.reset(shape);
        for (lod, quality) in STEPS {
            let target = &targets[usize::from(quality)];
            let bytes = encode_layer(&mut writer, Which::M, lod, quality, target).unwrap();
            let mut longer = reader.clone();
            decode_layer(&mut reader, Which::M, lod, quality, &bytes).unwrap();
            assert_eq!(writer.indices(), reader.indices());
            if lod == 0 {
                assert!(reader.indices() == &target[..]);
            }
            if !bytes.is_empty() {
                let more = [&bytes[..], &[0]].concat();
                assert!(decode_layer(&mut longer, Which::M, lod, quality, &more).is_err());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn layers_come_back(
            dims in [1usize..=37, 1usize..=33, 1usize..=20],
            seed in proptest::collection::vec(prop_oneof![-3i32..4, -300i32..300], 1..60),
            sparse in 1usize..40,
        ) {
            let shape = BlockShape { dims, depth: 4 };
            round_trip::<i16>(shape, &seed, sparse);
            round_trip::<i32>(shape, &seed, sparse);
        }

        #[test]
        fn any_bytes_are_layers_or_an_error(
            dims in [1usize..=20, 1usize..=9, 1usize..=12],
            bytes in proptest::collection::vec(any::<u8>(), 1..400),
        ) {
            let mut state = CoefficientState::<i16>::new();
            state.reset(BlockShape { dims, depth: 4 });
            for (i, (lod, quality)) in STEPS.into_iter().enumerate() {
                let part = &bytes[bytes.len() * i / 4..];
                if decode_layer(&mut state, Which::M, lod, quality, part).is_err() {
                    break;
                }
            }
        }
    }

    /// The largest magnitudes of each type.
    #[test]
    fn extremes_come_back() {
        let shape = BlockShape {
            dims: [9, 8, 7],
            depth: 4,
        };
        for k in [i32::from(i16::MAX), i32::MAX, i32::MIN + 1, 9, -10, 11] {
            let target = vec![k; shape.voxels()];
            let (mut writer, mut reader) = (
                CoefficientState::<i32>::new(),
                CoefficientState::<i32>::new(),
            );
            writer.reset(shape);
            reader.reset(shape);
            let bytes = encode_layer(&mut writer, Which::M, 0, 0, &target).unwrap();
            decode_layer(&mut reader, Which::M, 0, 0, &bytes).unwrap();
            assert!(reader.indices() == &target[..], "{k}");
        }
    }
}
