//! One block from layers that the caller has read.

use super::region::{self, Buffers, Place};
use super::volume::Volume;
use crate::format::layer::Layer;
use crate::reader::BlockEntry;
use crate::volume::{BlockGrid, Region};
use crate::{Error, Result};

/// Voxels of one block, see [`Volume::decode_layers`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedBlock {
    /// Level of detail inside the block: 0 is the full resolution of its tier.
    pub lod: u8,
    /// Layers that were used: those of a quality that was begun and is not whole are not.
    pub layers: usize,
    /// Where the voxels lie, in voxels of that level of detail of the tier.
    pub region: Region,
    /// Voxels, `[z][y][x]`, little-endian.
    pub voxels: Vec<u8>,
}

impl Volume {
    /// Decodes a block from its first layers, which [`crate::reader::HgvReader::read_layers`] or others
    /// have read and checked: the best that they give. Reads nothing.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no layer, or the file has no such tier;
    /// [`Error::NotWritten`], [`Error::Corrupt`].
    pub fn decode_layers(&self, entry: &BlockEntry, layers: &[Vec<u8>]) -> Result<DecodedBlock> {
        let shape = self.reader.shape();
        let known = shape.layers.as_slice();
        let (used, lod) = shown_by(&known[..layers.len().min(known.len())])
            .ok_or_else(|| Error::argument(format!("no layers of block {:?}", entry.block)))?;
        let tier = usize::from(entry.tier);
        let found = shape.tiers.get(tier);
        let extent = found
            .ok_or_else(|| Error::argument(format!("no tier {tier}")))?
            .extent;
        let place = Place {
            tier: entry.tier,
            inner: u32::from(lod),
            grid: BlockGrid {
                extent,
                block_log2: u32::from(shape.block_log2),
            },
        };
        let mut buffers = Buffers::default();
        let (region, voxels) =
            region::decode_one(self, place, entry, &layers[..used], &mut buffers)?;
        Ok(DecodedBlock {
            lod,
            layers: used,
            region,
            voxels,
        })
    }
}

/// How many of these layers end with a picture of one quality, and its level of detail.
pub(crate) fn shown_by(layers: &[Layer]) -> Option<(usize, u8)> {
    let last = layers.iter().rposition(|l| l.quality == 0 || l.lod == 0)?;
    Some((last + 1, layers[last].lod))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quality_that_is_not_whole_is_not_shown() {
        let layer = |(lod, quality): (u8, u8)| Layer { lod, quality };
        let list = [(2, 0), (0, 0), (1, 1), (0, 1)].map(layer);
        assert_eq!(shown_by(&list[..0]), None);
        assert_eq!(shown_by(&list[..1]), Some((1, 2)));
        assert_eq!(shown_by(&list[..2]), Some((2, 0)));
        assert_eq!(shown_by(&list[..3]), Some((2, 0)));
        assert_eq!(shown_by(&list), Some((4, 0)));
    }
}
