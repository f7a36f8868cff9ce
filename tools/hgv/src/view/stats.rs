//! Figures of a window: what was read, what is shown, how well.

use std::collections::HashSet;

use hgv::stream::schedule::{BlockId, Catalogue};
use hgv::stream::{Brick, Bricks};

use super::desk::Took;
use super::protocol::Stats;
use crate::subject::{Content, Subject};

/// Measures, and keeps what takes time while nothing changes.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Revision of the bricks, and their error.
    error: Option<(u64, f32)>,
}

impl Meter {
    /// Where things stand.
    pub(crate) fn stats(&mut self, subject: &Subject, took: Took) -> Stats {
        let drawn = Stats {
            shown: took.bricks,
            milliseconds: took.seconds * 1e3,
            size: took.size,
            ..Stats::default()
        };
        match &subject.content {
            Content::Whole(bricks) => Stats {
                bricks: bricks.held.len(),
                settled: true,
                ..drawn
            },
            Content::Streamed(streamer) => {
                let progress = streamer.progress();
                let known = self.error.filter(|(of, _)| *of == progress.picture);
                let (_, error) =
                    known.unwrap_or_else(|| (progress.picture, shown_error(&streamer.bricks())));
                self.error = Some((progress.picture, error));
                Stats {
                    fetched: progress.fetched,
                    requests: progress.requests,
                    bricks: progress.bricks,
                    missing: progress.status.missing,
                    settled: progress.settled,
                    fault: progress.error,
                    error,
                    ..drawn
                }
            }
        }
    }
}

/// Root of the mean squared error of what is shown, by the errors that the index has: of every place that of the
/// finest brick.
fn shown_error(bricks: &Bricks) -> f32 {
    let tiers = bricks.catalogue.tiers();
    // Blocks over which a finer one is held: it is shown in their place.
    let covered: HashSet<BlockId> = bricks
        .held
        .keys()
        .filter_map(|id| {
            let tier = usize::from(id.tier);
            let bits = tiers
                .get(tier + 1)?
                .base_lod
                .checked_sub(tiers[tier].base_lod)?;
            let block = id.block.map(|b| b >> bits);
            Some(BlockId {
                tier: id.tier + 1,
                block,
            })
        })
        .collect();
    let (mut squares, mut voxels) = (0.0, 0.0);
    for (id, brick) in bricks.held.iter().filter(|(id, _)| !covered.contains(id)) {
        let weight = voxels_of(brick, bricks.catalogue.as_ref());
        let facts = bricks.catalogue.block(*id);
        let last = usize::from(brick.layers).checked_sub(1);
        let layer = facts.and_then(|f| f.layers.get(last?).copied());
        squares += weight * layer.map_or(0.0, |l| f64::from(l.error).powi(2));
        voxels += weight;
    }
    if voxels > 0.0 {
        (squares / voxels).sqrt() as f32
    } else {
        0.0
    }
}

/// Voxels of the full resolution that a brick stands for.
fn voxels_of(brick: &Brick, catalogue: &dyn Catalogue) -> f64 {
    let tier = catalogue.tiers().get(usize::from(brick.block.tier));
    let lod = tier.map_or(0, |t| t.base_lod) + u32::from(brick.lod);
    let own: f64 = brick.extent.iter().map(|&n| f64::from(n)).product();
    own * f64::from(3 * lod).exp2()
}
