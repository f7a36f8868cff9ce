//! The weights of a hash table: flags of groups of 32 entries, then entries.

use super::super::symbols::SymbolCoder;
use super::contexts;
use crate::Result;

const GROUP: usize = 32;

/// Codes all entries; `parents` is the activity around each. Signs go to the end of the layer.
pub(super) fn code<C: SymbolCoder>(
    coder: &mut C,
    parents: &[u16],
    weights: &mut [i32],
    sign: &mut impl FnMut(usize),
) -> Result<()> {
    coder.restart();
    let groups = parents.chunks(GROUP).zip(weights.chunks(GROUP));
    let active: Vec<bool> = groups
        .map(|(parents, weights)| {
            let count = parents.iter().filter(|&&p| p > 0).count() as u32;
            let any = C::ENCODES && weights.iter().any(|&w| w != 0);
            coder.band_symbol(contexts::hash_flag(count), u32::from(any)) != 0
        })
        .collect();
    coder.restart();
    let groups = parents.chunks(GROUP).zip(weights.chunks_mut(GROUP));
    for (i, (parents, weights)) in groups.enumerate().filter(|&(i, _)| active[i]) {
        for (j, (&p, w)) in parents.iter().zip(weights).enumerate() {
            let context = contexts::hash_magnitude(u32::from(p));
            let magnitude = coder.magnitude(context, 0, w.unsigned_abs())?;
            if magnitude > 0 {
                sign(i * GROUP + j);
                if !C::ENCODES {
                    *w = magnitude.min(i32::MAX as u32) as i32;
                }
            }
        }
    }
    Ok(())
}
