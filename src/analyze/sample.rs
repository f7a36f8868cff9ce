//! Which voxels are looked at: patches of 64^3, one in each part of the volume.

use crate::volume::{Extent, Region};

/// Side of a patch in voxels: level of detail 3 of it has one SSIM window.
pub(super) const SIDE: u64 = 64;

/// At most `most` patches. The volume is cut into equal parts, and each has one patch at a place that is
/// random but always the same: a regular lattice could fall in with that of a crystal.
pub(super) fn regions(extent: Extent, most: u64) -> Vec<Region> {
    let parts = parts(extent, most.max(1));
    let mut out = Vec::new();
    for z in 0..parts[2] {
        for y in 0..parts[1] {
            for x in 0..parts[0] {
                let part = [x, y, z];
                let key = (z * parts[1] + y) * parts[0] + x;
                let axis = |a: usize| place(extent[a], parts[a], part[a], key * 3 + a as u64);
                let spans = [axis(0), axis(1), axis(2)];
                out.push(Region {
                    start: spans.map(|s| s.0),
                    end: spans.map(|s| s.1),
                });
            }
        }
    }
    out
}

/// Parts along each axis: whole patches that fit, fewer along the longest axes if that is too many.
fn parts(extent: Extent, most: u64) -> [u64; 3] {
    let mut parts = extent.map(|e| (e / SIDE).max(1));
    let count = |p: &[u64; 3]| p.iter().fold(1u64, |n, &k| n.saturating_mul(k));
    while count(&parts) > most {
        // Half where they are far too many, one less near the end.
        let far = count(&parts) > most.saturating_mul(64);
        let longest = parts.iter_mut().max();
        if let Some(longest) = longest {
            *longest = if far { *longest / 2 } else { *longest - 1 };
        }
    }
    parts
}

/// First and last-but-one voxel of the patch in part `i` of `n` of an axis.
fn place(length: u64, n: u64, i: u64, key: u64) -> (u64, u64) {
    let (low, high) = (part_start(length, n, i), part_start(length, n, i + 1));
    let side = SIDE.min(length);
    let slack = (high - low).saturating_sub(side);
    let start = (low + random(key) % (slack + 1)).min(length - side);
    (start, start + side)
}

fn part_start(length: u64, n: u64, i: u64) -> u64 {
    (u128::from(length) * u128::from(i) / u128::from(n)) as u64
}

/// One step of splitmix64.
fn random(key: u64) -> u64 {
    let z = key.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_lie_inside_and_are_few_enough() {
        for extent in [
            [64, 64, 64],
            [256, 256, 256],
            [1, 1, 1],
            [5000, 3, 70],
            [1 << 30, 1 << 29, 1 << 28],
            [u64::MAX >> 1, 1, 1],
        ] {
            for most in [1, 7, 64, 200] {
                let all = regions(extent, most);
                assert!(!all.is_empty() && all.len() as u64 <= most, "{extent:?}");
                for r in &all {
                    assert!(r.fits(extent), "{r:?} in {extent:?}");
                    assert_eq!(r.extent(), extent.map(|e| e.min(SIDE)));
                }
            }
        }
        assert_eq!(regions([256, 256, 256], 64).len(), 64);
        let whole = regions([128, 64, 64], 8);
        assert_eq!(whole[1].start, [64, 0, 0]);
    }
}
