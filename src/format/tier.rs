//! Section TIER: the block grids of the file. Tier 0 is the volume itself; tier `t` is the
//! volume at level of detail `W * t`, `W = block_log2 - 2`, cut into blocks of the same side.
//!
//! Record (40 bytes): `extent 3 x u64 | blocks 3 x u32 | base_lod u8 | reserved 3`.

use crate::format::bytes::Fields;
use crate::format::constant::{MAX_LODS, MAX_TIERS, TIER_BLOCKS, TIER_RECORD_LEN};
use crate::volume::{BlockGrid, Extent, ceil_shift};
use crate::{Error, Result};

const WHAT: &str = "section TIER";

/// One block grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// Level of detail of the volume that is this tier's full resolution.
    pub base_lod: u8,
    /// Extent in voxels of that level of detail, x, y, z.
    pub extent: Extent,
    /// Blocks along x, y, z.
    pub blocks: [u64; 3],
}

/// Wavelet levels inside a block, and so levels of detail between two tiers.
pub fn levels_in_block(block_log2: u8) -> u8 {
    block_log2.saturating_sub(2)
}

/// Tier `index` of a volume.
pub fn tier(extent: Extent, block_log2: u8, index: u8) -> Tier {
    let base_lod = levels_in_block(block_log2).saturating_mul(index);
    let extent = extent.map(|e| ceil_shift(e, u32::from(base_lod)));
    let grid = BlockGrid {
        extent,
        block_log2: u32::from(block_log2),
    };
    Tier {
        base_lod,
        extent,
        blocks: grid.blocks(),
    }
}

/// The tiers that a writer makes: more while the last one has over 64 blocks.
pub fn plan(extent: Extent, block_log2: u8) -> Vec<Tier> {
    let mut out = vec![tier(extent, block_log2, 0)];
    while out.len() < MAX_TIERS && out.last().is_some_and(|t| count(t) > TIER_BLOCKS) {
        out.push(tier(extent, block_log2, out.len() as u8));
    }
    out
}

/// Blocks of a tier; saturates.
pub fn count(tier: &Tier) -> u64 {
    tier.blocks.iter().fold(1u64, |n, &b| n.saturating_mul(b))
}

/// Levels of detail of a file: those that the last tier serves, up to the first one whose
/// longest axis is at most 8 voxels, at most 16.
pub fn lod_count(extent: Extent, block_log2: u8, tiers: usize) -> u8 {
    let last = u32::from(levels_in_block(block_log2)) * tiers as u32;
    let small = |lod: u32| extent.iter().all(|&e| ceil_shift(e, lod) <= 8);
    let stop = (0..=last).find(|&lod| small(lod)).unwrap_or(last);
    (stop + 1).min(MAX_LODS) as u8
}

/// Reads the section, which lies at absolute offset `at`, and checks it against the header.
///
/// # Errors
/// [`Error::Corrupt`] if a record is not the one that extent and block shape call for.
pub fn parse(
    bytes: &[u8],
    at: u64,
    count: u8,
    extent: Extent,
    block_log2: u8,
) -> Result<Vec<Tier>> {
    if bytes.len() != usize::from(count) * TIER_RECORD_LEN {
        let detail = format!("{} bytes for {count} tiers", bytes.len());
        return Err(Error::corrupt(WHAT, at, detail));
    }
    let mut f = Fields::new(WHAT, at, bytes);
    (0..count)
        .map(|index| {
            let got = record(&mut f)?;
            let want = tier(extent, block_log2, index);
            if got == want {
                return Ok(got);
            }
            let detail = format!("tier {index} is {got:?}, extent and block shape need {want:?}");
            Err(Error::corrupt(WHAT, at, detail))
        })
        .collect()
}

fn record(f: &mut Fields<'_>) -> Result<Tier> {
    let extent = [f.u64()?, f.u64()?, f.u64()?];
    let blocks = [f.u32()?, f.u32()?, f.u32()?].map(u64::from);
    let base_lod = f.u8()?;
    f.zeros(3)?;
    Ok(Tier {
        base_lod,
        extent,
        blocks,
    })
}

/// The bytes of the section.
///
/// # Errors
/// [`Error::InvalidArgument`] if an axis has 2^32 blocks or more.
pub fn encode(tiers: &[Tier]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(tiers.len() * TIER_RECORD_LEN);
    for t in tiers {
        for e in t.extent {
            out.extend_from_slice(&e.to_le_bytes());
        }
        for b in t.blocks {
            let b = u32::try_from(b)
                .map_err(|_| Error::argument(format!("{b} blocks along one axis")))?;
            out.extend_from_slice(&b.to_le_bytes());
        }
        out.extend_from_slice(&[t.base_lod, 0, 0, 0]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_and_levels_of_detail() {
        assert_eq!(plan([256; 3], 6).len(), 1);
        let tiers = plan([2048; 3], 6);
        assert_eq!(tiers.len(), 2);
        assert_eq!((tiers[1].base_lod, tiers[1].extent), (4, [128; 3]));
        assert_eq!(tiers[1].blocks, [2; 3]);
        // 256 -> 8 would be level 5, but one tier serves 0..=4.
        assert_eq!(lod_count([256; 3], 6, 1), 5);
        assert_eq!(lod_count([2048; 3], 6, 2), 9);
        assert_eq!(lod_count([1, 1, 9], 5, 1), 2);
        assert_eq!(lod_count([8; 3], 5, 1), 1);
    }
}
