//! One layer of a block: which bands it brings to which quality, and the order of their symbols
//! (specification, "Layer").

use super::bands::{Band, BlockShape};
use super::contexts::{self, Around, PASSES, pass_of};
use super::state::{Coefficient, CoefficientState, Padded, Scale};
use super::symbols::{Counter, Player, Recorder, SymbolCoder};
use crate::{Error, Result};

/// Decodes the layer that brings the bands of in-block level of detail `lod` and coarser to
/// `quality`. An empty layer leaves every coefficient that it would bring as it is.
///
/// # Errors
/// [`Error::Corrupt`] if the bytes break a rule.
pub fn decode_layer<E: Coefficient>(
    state: &mut CoefficientState<E>,
    lod: usize,
    quality: u8,
    bytes: &[u8],
) -> Result<()> {
    if bytes.is_empty() {
        return skip_layer(state, lod, quality);
    }
    let mut player = Player::new(bytes)?;
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
    lod: usize,
    quality: u8,
    target: &[E],
) -> Result<Vec<u8>> {
    if is_idle(state, lod, quality, target)? {
        skip_layer(state, lod, quality)?;
        return Ok(Vec::new());
    }
    let mut recorder = Recorder::new()?;
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

fn shape_of<E>(state: &CoefficientState<E>) -> Result<BlockShape> {
    state
        .shape
        .ok_or_else(|| Error::argument("the coefficient state has no block yet"))
}

/// Splits that the layer works on, coarse to fine, after checking that it may come now.
fn depths<E>(state: &CoefficientState<E>, lod: usize, quality: u8) -> Result<Vec<usize>> {
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
fn is_idle<E: Coefficient>(
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

fn any_nonzero<E: Coefficient>(shape: &BlockShape, band: &Band, target: &[E]) -> bool {
    rows(shape, band).any(|row| target[row].iter().any(|&k| k.into() != 0))
}

/// Index ranges of the rows of a band in the block's box.
pub(crate) fn rows(
    shape: &BlockShape,
    band: &Band,
) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
    let ([nx, ny, _], [ox, oy, oz], [w, h, d]) = (shape.dims, band.origin, band.dims);
    (0..d).flat_map(move |z| {
        (0..h).map(move |y| {
            let start = ((z + oz) * ny + y + oy) * nx + ox;
            start..start + w
        })
    })
}

/// An empty layer: what was zero stays zero, what was not becomes four times itself.
fn skip_layer<E: Coefficient>(
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
        coarsest_shift(coder, state, shape, &band, target)?
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
fn predict<E: Coefficient>(indices: &[E], shape: &BlockShape, at: [usize; 3]) -> i64 {
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
    state: &CoefficientState<E>,
    shape: &BlockShape,
    band: &Band,
    target: &[E],
) -> Result<u32> {
    let mut shift = 0;
    if C::ENCODES {
        let _ = state;
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
        shift = (mean / 2).checked_ilog2().unwrap_or(0).min(31);
    }
    coder.raw(shift, 5)
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

/// Everything that the symbols of one band look at.
struct BandWalk<'a, E> {
    shape: &'a BlockShape,
    band: &'a Band,
    refines: bool,
    scale: &'a mut Scale,
    /// Parent activity; empty if there is no parent.
    parents: &'a [u16],
    parent_cells: Padded,
    target: &'a [E],
}

impl<E: Coefficient> BandWalk<'_, E> {
    /// Index in the block's box of coefficient `x, y, z` of the band.
    #[inline(always)]
    fn place(&self, x: usize, y: usize, z: usize) -> usize {
        let ([nx, ny, _], [ox, oy, oz]) = (self.shape.dims, self.band.origin);
        ((z + oz) * ny + y + oy) * nx + x + ox
    }

    /// Codes which 4^3 groups are active, by parity of the group; lists the active ones in raster
    /// order.
    fn code_flags<C: SymbolCoder>(&mut self, coder: &mut C, active: &mut Vec<[u16; 3]>) {
        let groups = self.band.dims.map(|n| n.div_ceil(4));
        for pass in 0..PASSES {
            coder.restart();
            each(groups, |[x, y, z]| {
                let at = self.scale.groups.at(x, y, z);
                if pass_of(x, y, z) != pass || self.scale.flags[self.band.index][at] != 0 {
                    return;
                }
                let context = self.flag_context(pass, [x, y, z], at);
                let any = C::ENCODES && self.group_has_any([x, y, z]);
                self.scale.flags[self.band.index][at] =
                    coder.band_symbol(context, u32::from(any)).min(1) as u8;
            });
        }
        active.clear();
        each(groups, |[x, y, z]| {
            if self.scale.flags[self.band.index][self.scale.groups.at(x, y, z)] != 0 {
                active.push([x as u16, y as u16, z as u16]);
            }
        });
    }

    fn flag_context(&self, pass: usize, [x, y, z]: [usize; 3], at: usize) -> usize {
        let (sy, sz) = (self.scale.groups.stride_y, self.scale.groups.stride_z);
        let flags = &self.scale.flags[self.band.index];
        let neighbours = [at - 1, at + 1, at - sy, at + sy, at - sz, at + sz]
            .iter()
            .map(|&j| u32::from(flags[j]))
            .sum();
        let mut parents = 0;
        if !self.parents.is_empty() {
            for (dx, dy, dz) in CORNERS {
                let (px, py, pz) = (2 * x + dx, 2 * y + dy, 2 * z + dz);
                parents += u32::from(self.parents[self.parent_cells.at(px, py, pz)]);
            }
            parents = parents.div_ceil(8);
        }
        let cousins = u32::from(self.scale.cousin_flags[at]);
        contexts::group_flag(
            self.band.depth,
            self.refines,
            pass,
            parents,
            neighbours,
            cousins,
        )
    }

    fn group_has_any(&self, [gx, gy, gz]: [usize; 3]) -> bool {
        let [w, h, d] = self.band.dims;
        (4 * gz..d.min(4 * gz + 4)).any(|z| {
            (4 * gy..h.min(4 * gy + 4)).any(|y| {
                let row = &self.target[self.place(4 * gx, y, z)..];
                match row.first_chunk::<4>() {
                    Some(four) if 4 * gx + 4 <= w => *four != [E::default(); 4],
                    _ => row[..4.min(w - 4 * gx)].iter().any(|&k| k.into() != 0),
                }
            })
        })
    }

    fn code_coefficients<C: SymbolCoder>(
        &mut self,
        coder: &mut C,
        active: &[[u16; 3]],
        indices: &mut [E],
        signs: &mut Vec<u32>,
    ) -> Result<()> {
        let mut magnitudes = std::mem::take(&mut self.scale.magnitudes[self.band.index]);
        let cells = &mut magnitudes[..];
        coder.restart();
        let mut result = self.code_pass::<C, 0>(coder, active, cells, indices, signs);
        coder.restart();
        result = result.and_then(|()| self.code_pass::<C, 1>(coder, active, cells, indices, signs));
        coder.restart();
        result = result.and_then(|()| self.code_pass::<C, 2>(coder, active, cells, indices, signs));
        self.scale.magnitudes[self.band.index] = magnitudes;
        result
    }

    /// Where the places of a pass lie, relative to the first coefficient of their group.
    fn spots<const PASS: usize>(&self) -> [Spot; 32] {
        let (cells, parents, [nx, ny, _]) = (self.scale.cells, self.parent_cells, self.shape.dims);
        let mut spots = [Spot::default(); 32];
        for (spot, &(x, y, z)) in spots.iter_mut().zip(PASS_PLACES[PASS]) {
            let at = [x, y, z].map(usize::from);
            let [x, y, z] = at;
            let (sy, sz) = (cells.stride_y, cells.stride_z);
            *spot = Spot {
                at,
                cell: z * sz + y * sy + x,
                place: (z * ny + y) * nx + x,
                parent: z / 2 * parents.stride_z + y / 2 * parents.stride_y + x / 2,
                plane: if x & 1 == 0 {
                    [sy, sz]
                } else if y & 1 == 0 {
                    [1, sz]
                } else {
                    [1, sy]
                },
            };
        }
        spots
    }

    /// One parity pass over the active groups, in raster order of groups and inside them.
    /// `magnitudes` are the cells of the band.
    #[inline(always)]
    fn code_pass<C: SymbolCoder, const PASS: usize>(
        &mut self,
        coder: &mut C,
        active: &[[u16; 3]],
        magnitudes: &mut [u8],
        indices: &mut [E],
        signs: &mut Vec<u32>,
    ) -> Result<()> {
        let [w, h, d] = self.band.dims;
        let spots = self.spots::<PASS>();
        let table = contexts::coefficients(self.band.index, self.band.depth, PASS, self.refines);
        for group in active {
            let [gx, gy, gz] = group.map(|g| 4 * usize::from(g));
            let whole = gx + 4 <= w && gy + 4 <= h && gz + 4 <= d;
            let first = (
                self.scale.cells.at(gx, gy, gz),
                self.place(gx, gy, gz),
                self.parent_cells.at(gx / 2, gy / 2, gz / 2),
            );
            for spot in &spots[..PASS_PLACES[PASS].len()] {
                let [x, y, z] = spot.at;
                if whole || (gx + x < w && gy + y < h && gz + z < d) {
                    let cell = first.0 + spot.cell;
                    let around =
                        self.around::<PASS>(magnitudes, cell, first.2 + spot.parent, spot.plane);
                    let place = first.1 + spot.place;
                    magnitudes[cell] = self.code_coefficient::<C, PASS>(
                        coder, table, &around, place, indices, signs,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Codes the coefficient at `place`; returns its magnitude as its neighbours will see it.
    #[inline(always)]
    fn code_coefficient<C: SymbolCoder, const PASS: usize>(
        &self,
        coder: &mut C,
        table: usize,
        around: &Around,
        place: usize,
        indices: &mut [E],
        signs: &mut Vec<u32>,
    ) -> Result<u8> {
        let blind = PASS == 0 && !self.refines;
        let before: i32 = if self.refines {
            indices[place].into()
        } else {
            0
        };
        let wanted: i32 = if C::ENCODES {
            self.target[place].into()
        } else {
            0
        };
        let magnitude = if before == 0 {
            let magnitude = coder.magnitude(
                around.coefficient(table, blind),
                around.shift(blind),
                wanted.unsigned_abs(),
            )?;
            if magnitude == 0 {
                return Ok(0);
            }
            signs.push(place as u32);
            indices[place] = E::saturate(i64::from(magnitude));
            magnitude
        } else {
            self.refine::<C>(
                coder,
                around.refinement(before.unsigned_abs(), PASS),
                before,
                wanted,
                &mut indices[place],
            )?
        };
        Ok(magnitude.min(255) as u8)
    }

    /// Four times the magnitude before, and -4..=4.
    fn refine<C: SymbolCoder>(
        &self,
        coder: &mut C,
        context: usize,
        before: i32,
        wanted: i32,
        index: &mut E,
    ) -> Result<u32> {
        let base = 4 * i64::from(before).abs();
        let sign = i64::from(before.signum());
        let delta = i64::from(wanted) * sign - base;
        if C::ENCODES && !(-4..=4).contains(&delta) {
            return Err(Error::corrupt(
                "layer",
                0,
                format!("refinement by {delta}, -4..=4 is allowed"),
            ));
        }
        let symbol = coder.band_symbol(context, (delta + 4) as u32);
        let magnitude = (base + i64::from(symbol) - 4).max(0);
        *index = E::saturate(sign * magnitude);
        Ok(magnitude.min(i64::from(u32::MAX)) as u32)
    }

    /// What is known around a cell. `plane` = strides of the plane in which the diagonals of a
    /// place with exactly one even coordinate lie.
    #[inline(always)]
    fn around<const PASS: usize>(
        &self,
        m: &[u8],
        cell: usize,
        parent: usize,
        [a, b]: [usize; 2],
    ) -> Around {
        let (sy, sz) = (self.scale.cells.stride_y, self.scale.cells.stride_z);
        let neighbours = match (PASS, self.refines) {
            (0, false) => 0,
            (1, refines) => {
                let edges = sum_at(m, [cell - a - b, cell - a + b, cell + a - b, cell + a + b]);
                if refines {
                    2 * edges + sum_at(m, faces(cell, sy, sz))
                } else {
                    3 * edges
                }
            }
            _ => 2 * sum_at(m, faces(cell, sy, sz)),
        };
        let cousins = (u32::from(self.scale.cousins[cell]) * COUSIN_WEIGHT[self.band.index]) >> 4;
        let parent = if self.parents.is_empty() {
            0
        } else {
            u32::from(self.parents[parent])
        };
        Around {
            neighbours,
            parent,
            cousins,
        }
    }

    fn add_to_cousins(&mut self) {
        let index = self.band.index;
        for (sum, &m) in self
            .scale
            .cousins
            .iter_mut()
            .zip(&self.scale.magnitudes[index])
        {
            *sum += u16::from(m);
        }
        for (sum, &f) in self
            .scale
            .cousin_flags
            .iter_mut()
            .zip(&self.scale.flags[index])
        {
            *sum += f;
        }
    }
}

/// A place of a group, relative to the group's first coefficient.
#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    /// x, y, z in the group.
    at: [usize; 3],
    /// Offset in the padded cells of the band, in the block's box, in the padded parent band.
    cell: usize,
    place: usize,
    parent: usize,
    /// Strides of the axes other than the first even one.
    plane: [usize; 2],
}

#[inline(always)]
fn faces(cell: usize, sy: usize, sz: usize) -> [usize; 6] {
    [
        cell - 1,
        cell + 1,
        cell - sy,
        cell + sy,
        cell - sz,
        cell + sz,
    ]
}

#[inline(always)]
fn sum_at<const N: usize>(m: &[u8], at: [usize; N]) -> u32 {
    at.iter().fold(0, |sum, &i| sum + u32::from(m[i]))
}

/// `128 / (bands before)`: turns a sum over the cousins into eight times their mean.
const COUSIN_WEIGHT: [u32; 8] = [0, 0, 128, 64, 43, 32, 26, 21];

const CORNERS: [(usize, usize, usize); 8] = [
    (0, 0, 0),
    (1, 0, 0),
    (0, 1, 0),
    (1, 1, 0),
    (0, 0, 1),
    (1, 0, 1),
    (0, 1, 1),
    (1, 1, 1),
];

/// Calls `f` for every x, y, z of a box in raster order.
fn each([w, h, d]: [usize; 3], mut f: impl FnMut([usize; 3])) {
    for z in 0..d {
        for y in 0..h {
            for x in 0..w {
                f([x, y, z]);
            }
        }
    }
}

/// Places of each pass inside a 4^3 group, raster order.
static PASS_PLACES: [&[(u8, u8, u8)]; PASSES] =
    [&places::<8>(0), &places::<24>(1), &places::<32>(2)];

const fn places<const N: usize>(pass: usize) -> [(u8, u8, u8); N] {
    let (mut out, mut n, mut i) = ([(0, 0, 0); N], 0, 0);
    while i < 64 {
        let (x, y, z) = (i & 3, i >> 2 & 3, i >> 4);
        if pass_of(x, y, z) == pass {
            out[n] = (x as u8, y as u8, z as u8);
            n += 1;
        }
        i += 1;
    }
    out
}
