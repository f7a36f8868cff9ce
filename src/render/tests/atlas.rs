//! Values are continuous over the faces of blocks, whatever the levels of detail around.

use proptest::prelude::*;

use super::made::{Made, noise};
use crate::render::BrickAtlas;
use crate::render::atlas::{Sight, Stage};
use crate::stream::schedule::BlockId;

fn value(stage: &Stage, place: [f64; 3]) -> Option<f32> {
    let unit = f64::from(1u32 << stage.tree.unit_log2);
    let leaf = stage.tree.leaf(place.map(|p| (p / unit) as u32));
    let shown = &stage.shown[leaf.slot()?];
    let (grid, _) = shown.values.as_ref()?;
    let scale = f64::from(1u32 << shown.lod);
    let u = [0, 1, 2].map(|a| (1.0 + (place[a] - shown.first[a]) / scale) as f32);
    Some(grid.sample(u))
}

/// Level of detail of a block's brick, or none, from a seed.
fn pick(seed: u64, id: BlockId) -> Option<u8> {
    let [x, y, z] = id.block.map(u64::from);
    let turn = (seed ^ x << 3 ^ y << 7 ^ z << 11 ^ u64::from(id.tier) << 15)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        >> 33;
    let of_tier = [7, 3][usize::from(id.tier)];
    (turn & 3 > 0).then_some((turn / 4 % of_tier) as u8 % 3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn both_sides_of_a_face_agree(
        seed in any::<u64>(),
        extent in [20u64..90, 20u64..70, 20u64..70],
        points in proptest::collection::vec(([0.0f64..1.0, 0.0..1.0, 0.0..1.0], 0usize..3, 0u32..8), 400),
    ) {
        let made = Made::new(extent, 4, true, noise);
        let bricks = made.only_bricks(|id| pick(seed, id));
        let sight = Sight { view: None, bound: &|_: [f32; 2]| 1.0, bound_name: 1 };
        let stage = BrickAtlas::new(0).stage(&bricks, sight);
        let mut compared = 0;
        for (at, axis, block) in points {
            let mut place = [0, 1, 2].map(|a| at[a] * (extent[a] - 1) as f64);
            place[axis] = f64::from(16 * (block + 1));
            if place[axis] > (extent[axis] - 1) as f64 {
                continue;
            }
            let mut below = place;
            below[axis] -= 1e-6;
            if let (Some(a), Some(b)) = (value(&stage, below), value(&stage, place)) {
                compared += 1;
                prop_assert!((a - b).abs() < 0.01, "{place:?}, axis {axis}: {a} {b}");
            }
        }
        prop_assert!(compared > 0 || extent.iter().all(|&e| e < 34));
    }
}
