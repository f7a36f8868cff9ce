//! What a streamer shows, held against the file.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::HashMap;
use std::sync::Arc;

use hgv::stream::schedule::{BlockId, Camera, Projection, View};
use hgv::stream::{Brick, Streamer};
use hgv::volume::Region;

use crate::volumes::{memory, open, read};

/// A wide camera that looks along z.
pub fn camera(eye: [f32; 3], pixels: u32) -> View {
    View::new(&Camera {
        eye,
        forward: [0.0, 0.0, 1.0],
        up: [0.0, 1.0, 0.0],
        projection: Projection::Perspective(2.2),
        pixels: [pixels; 2],
    })
}

/// Wants a view, with everything opaque.
pub fn look(streamer: &Streamer, view: View) {
    streamer.look(view, [0.0; 3], Arc::new(|_| 1.0));
}

/// Every brick equals the region of the file that it stands for; returns blocks of tier 0 at full quality.
pub fn check(bricks: &HashMap<BlockId, Arc<Brick>>, bytes: &[u8]) -> usize {
    let volume = open(memory(bytes)).unwrap();
    let shape = volume.reader().shape();
    let layers = shape.layers.as_slice();
    let mut best = 0;
    for (id, brick) in bricks {
        let lod = u32::from(shape.tiers[usize::from(id.tier)].base_lod) + u32::from(brick.lod);
        let side = 1u64 << (u32::from(shape.block_log2) - u32::from(brick.lod));
        let start = id.block.map(|b| u64::from(b) * side);
        let end = [0, 1, 2].map(|a| start[a] + u64::from(brick.extent[a]));
        let quality = u32::from(layers[usize::from(brick.layers) - 1].quality);
        let expected = read(&volume, lod, quality, &Region::new(start, end).unwrap()).unwrap();
        assert_eq!(
            brick.voxels, expected,
            "{id:?} from {} layers",
            brick.layers
        );
        best += usize::from(id.tier == 0 && usize::from(brick.layers) == layers.len());
    }
    best
}
