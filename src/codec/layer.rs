//! One layer of a block: which bands it brings to which quality, and the order of their symbols
//! (specification, "Layer").

use super::band::BandWalk;
use super::bands::{Band, BlockShape};
use super::contexts;
use super::mixing;
use super::state::{Coefficient, CoefficientState};
use super::symbols::{Counter, Player, Recorder, SymbolCoder};
use super::tables::TableSet;
use crate::model::Coder;
use crate::{Error, Result};

/// Decodes the layer that brings the bands of in-block level of detail `lod` and coarser to
/// `quality`. An empty layer leaves every coefficient that it would bring as it is.
///
/// # Errors
/// [`Error::Corrupt`] if the bytes break a rule.
pub fn decode_layer<E: Coefficient>(
    state: &mut CoefficientState<E>,
    coder: Coder,
    lod: usize,
    quality: u8,
    bytes: &[u8],
) -> Result<()> {
    if bytes.is_empty() {
        return skip_layer(state, lod, quality);
    }
    if coder == Coder::M {
        return mixing::decode(state, lod, quality, bytes);
    }
    let mut player = Player::new(bytes, TableSet::Wavelet)?;
    let signs = traverse(state, &mut player, lod, quality, &[])?;
    let indices = &mut state.indices;
    let finished = player.finish(signs.len(), |i| {
        let k = &mut indices[signs[i] as usize];
        *k = E::saturate(-i64::from((*k).into()));
    });
    state.signs = signs;
    finished
}

/// Encodes the same layer: `target` holds the coefficient indices at `quality`, `[z][y][x]`,
/// bands nested. Brings `state` to them. A layer that changes nothing is empty.
///
/// # Errors
/// [`Error::Corrupt`] if a refined index is more than 4 away from four times the one before.
pub fn encode_layer<E: Coefficient>(
    state: &mut CoefficientState<E>,
    coder: Coder,
    lod: usize,
    quality: u8,
    target: &[E],
) -> Result<Vec<u8>> {
    if is_idle(state, lod, quality, target)? {
        skip_layer(state, lod, quality)?;
        return Ok(Vec::new());
    }
    if coder == Coder::M {
        return mixing::encode(state, lod, quality, target);
    }
    let mut recorder = Recorder::new(TableSet::Wavelet)?;
    let signs = traverse(state, &mut recorder, lod, quality, target)?;
    let negative = apply_signs(state, signs, target);
    Ok(recorder.finish(&negative))
}

/// Runs the same traversal for its statistics only.
///
/// # Errors
/// As [`encode_layer`].
#[doc(hidden)]
pub fn count_layer<E: Coefficient>(
    state: &mut CoefficientState<E>,
    lod: usize,
    quality: u8,
    target: &[E],
) -> Result<Counter> {
    let mut counter = Counter::default();
    let signs = traverse(state, &mut counter, lod, quality, target)?;
    apply_signs(state, signs, target);
    Ok(counter)
}

fn apply_signs<E: Coefficient>(
    state: &mut CoefficientState<E>,
    signs: Vec<u32>,
    target: &[E],
) -> Vec<bool> {
    let negative: Vec<bool> = signs
        .iter()
        .map(|&i| target[i as usize].into() < 0)
        .collect();
    for (&i, _) in signs.iter().zip(&negative).filter(|(_, n)| **n) {
        state.indices[i as usize] = target[i as usize];
    }
    state.signs = signs;
    negative
}

pub(super) fn shape_of<E>(state: &CoefficientState<E>) -> Result<BlockShape> {
    state
        .shape
        .ok_or_else(|| Error::argument("the coefficient state has no block yet"))
}

/// Splits that the layer works on, coarse to fine, after checking that it may come now.
pub(super) fn depths<E>(
    state: &CoefficientState<E>,
    lod: usize,
    quality: u8,
) -> Result<Vec<usize>> {
    let shape = shape_of(state)?;
    let wanted = quality as i8;
    let mut depths = Vec::new();
    for depth in (lod..shape.depth).rev() {
        let reached = state.scales[depth].quality;
        if reached == wanted - 1 {
            depths.push(depth);
        } else if reached != wanted {
            return Err(Error::corrupt(
                "layer table",
                0,
                format!("quality {wanted} of split {depth} follows {reached}"),
            ));
        }
    }
    Ok(depths)
}

/// Whether the layer would change nothing: all that it adds is zero.
pub(super) fn is_idle<E: Coefficient>(
    state: &CoefficientState<E>,
    lod: usize,
    quality: u8,
    target: &[E],
) -> Result<bool> {
    let shape = shape_of(state)?;
    let mut places = brought(state, &shape, lod, quality)?
        .into_iter()
        .flat_map(|band| rows(&shape, &band))
        .flatten();
    let kept = |i: usize| E::saturate(4 * i64::from(state.indices[i].into()));
    Ok(places.all(|i| target[i] == if quality > 0 { kept(i) } else { E::default() }))
}

/// The bands that a layer brings to its quality.
fn brought<E>(
    state: &CoefficientState<E>,
    shape: &BlockShape,
    lod: usize,
    quality: u8,
) -> Result<Vec<Band>> {
    let coarsest = (state.coarsest_quality < quality as i8).then(|| shape.coarsest());
    let bands = depths(state, lod, quality)?
        .into_iter()
        .flat_map(|d| (1..8).map(move |b| shape.band(d, b)));
    Ok(coarsest.into_iter().chain(bands).collect())
}

pub(super) fn any_nonzero<E: Coefficient>(shape: &BlockShape, band: &Band, target: &[E]) -> bool {
    rows(shape, band).any(|row| target[row].iter().any(|&k| k.into() != 0))
}

/// Index ranges of the rows of a band in the block's box.
pub(crate) fn rows(
    shape: &BlockShape,
    band: &Band,
) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
    let (shape, band) = (*shape, *band);
    let [w, h, d] = band.dims;
    (0..d).flat_map(move |z| {
        (0..h).map(move |y| {
            let start = shape.place(&band, [0, y, z]);
            start..start + w
        })
    })
}

/// An empty layer: what was zero stays zero, what was not becomes four times itself.
pub(super) fn skip_layer<E: Coefficient>(
    state: &mut CoefficientState<E>,
    lod: usize,
    quality: u8,
) -> Result<()> {
    let shape = shape_of(state)?;
    if quality > 0 {
        for band in brought(state, &shape, lod, quality)? {
            for k in rows(&shape, &band).flatten() {
                state.indices[k] = E::saturate(4 * i64::from(state.indices[k].into()));
            }
            if band.index > 0 {
                quadruple(&mut state.scales[band.depth].magnitudes[band.index]);
            }
        }
    }
    for depth in depths(state, lod, quality)? {
        state.scales[depth].quality = quality as i8;
    }
    state.coarsest_quality = quality as i8;
    Ok(())
}

/// What the magnitudes of a band are worth at the next quality.
fn quadruple(magnitudes: &mut [u8]) {
    magnitudes.iter_mut().for_each(|m| *m = m.saturating_mul(4));
}

fn traverse<E: Coefficient, C: SymbolCoder>(
    state: &mut CoefficientState<E>,
    coder: &mut C,
    lod: usize,
    quality: u8,
    target: &[E],
) -> Result<Vec<u32>> {
    let shape = shape_of(state)?;
    let depths = depths(state, lod, quality)?;
    let mut signs = std::mem::take(&mut state.signs);
    signs.clear();
    if state.coarsest_quality < quality as i8 {
        code_coarsest(state, coder, &shape, quality, target)?;
        state.coarsest_quality = quality as i8;
    }
    for depth in depths {
        state.scales[depth].clear_cousins();
        for index in 1..8 {
            let band = shape.band(depth, index);
            if !band.is_empty() {
                code_band(state, coder, &shape, &band, quality > 0, target, &mut signs)?;
            }
        }
        state.scales[depth].quality = quality as i8;
    }
    Ok(signs)
}

/// The coarsest band: each index is predicted by the mean of its neighbours at x-1, y-1, z-1, or
/// refined from the one of the quality before. Signs are raw and immediate.
fn code_coarsest<E: Coefficient, C: SymbolCoder>(
    state: &mut CoefficientState<E>,
    coder: &mut C,
    shape: &BlockShape,
    quality: u8,
    target: &[E],
) -> Result<()> {
    let band = shape.coarsest();
    let [nx, ny, _] = shape.dims;
    let context = contexts::coarsest(quality > 0);
    coder.begin_band(contexts::variant(2));
    coder.restart();
    let shift = if quality == 0 {
        coarsest_shift(coder, shape, target)?
    } else {
        0
    };
    for z in 0..band.dims[2] {
        for y in 0..band.dims[1] {
            for x in 0..band.dims[0] {
                let i = (z * ny + y) * nx + x;
                let guess = if quality > 0 {
                    4 * i64::from(state.indices[i].into())
                } else {
                    predict(&state.indices, shape, [x, y, z])
                };
                let wanted = if C::ENCODES {
                    i64::from(target[i].into()) - guess
                } else {
                    0
                };
                let magnitude = coder.magnitude(context, shift, wanted.unsigned_abs() as u32)?;
                let negative = magnitude != 0 && coder.raw(u32::from(wanted < 0), 1)? == 1;
                let delta = if negative {
                    -i64::from(magnitude)
                } else {
                    i64::from(magnitude)
                };
                state.indices[i] = E::saturate(guess + delta);
            }
        }
    }
    coder.end_band();
    Ok(())
}

/// Mean, rounded towards minus infinity, of the neighbours before on each axis; 0 without any.
pub(super) fn predict<E: Coefficient>(indices: &[E], shape: &BlockShape, at: [usize; 3]) -> i64 {
    let strides = [1, shape.dims[0], shape.dims[0] * shape.dims[1]];
    let i = at[0] + at[1] * strides[1] + at[2] * strides[2];
    let (mut sum, mut count) = (0i64, 0i64);
    for a in 0..3 {
        if at[a] > 0 {
            sum += i64::from(indices[i - strides[a]].into());
            count += 1;
        }
    }
    if count == 0 { 0 } else { sum.div_euclid(count) }
}

/// Low bits of the coarsest band's differences that are sent raw: 5 raw bits.
fn coarsest_shift<E: Coefficient, C: SymbolCoder>(
    coder: &mut C,
    shape: &BlockShape,
    target: &[E],
) -> Result<u32> {
    let wanted = if C::ENCODES {
        coarsest_units(shape, target)
    } else {
        0
    };
    coder.raw(wanted, 5)
}

/// The best number of raw low bits: half of the mean difference.
pub(super) fn coarsest_units<E: Coefficient>(shape: &BlockShape, target: &[E]) -> u32 {
    let band = shape.coarsest();
    let mut sum = 0u64;
    for z in 0..band.dims[2] {
        for y in 0..band.dims[1] {
            for x in 0..band.dims[0] {
                let i = (z * shape.dims[1] + y) * shape.dims[0] + x;
                sum += (i64::from(target[i].into()) - predict(target, shape, [x, y, z]))
                    .unsigned_abs();
            }
        }
    }
    let mean = sum / band.len().max(1) as u64;
    (mean / 2).checked_ilog2().unwrap_or(0).min(31)
}

fn code_band<E: Coefficient, C: SymbolCoder>(
    state: &mut CoefficientState<E>,
    coder: &mut C,
    shape: &BlockShape,
    band: &Band,
    refines: bool,
    target: &[E],
    signs: &mut Vec<u32>,
) -> Result<()> {
    let index = band.index;
    if !state.scales[band.depth].nonempty[index] {
        let any = C::ENCODES && any_nonzero(shape, band, target);
        if coder.symbol(contexts::band_empty(band.depth, refines), u32::from(any)) == 0 {
            return Ok(());
        }
        state.scales[band.depth].nonempty[index] = true;
    } else if refines {
        quadruple(&mut state.scales[band.depth].magnitudes[index]);
    }
    let parent_cells = state.load_parents(band.depth, index);
    coder.begin_band(contexts::variant(band.depth));
    let mut scale = std::mem::take(&mut state.scales[band.depth]);
    let parents = if parent_cells.len == 0 {
        &[][..]
    } else {
        &state.parents[..]
    };
    let mut walk = BandWalk {
        shape,
        band,
        refines,
        scale: &mut scale,
        parents,
        parent_cells,
        target,
    };
    walk.code_flags(coder, &mut state.active);
    let result = walk.code_coefficients(coder, &state.active, &mut state.indices, signs);
    walk.add_to_cousins();
    state.scales[band.depth] = scale;
    coder.end_band();
    result
}
