//! Page keys: compressed Morton codes, and the geometry of pages within a tier.
//!
//! The bits of x, y, z are interleaved from the lowest up, x first; a bit that cannot occur on
//! an axis (because the grid is not that long) takes no place. The code is a bijection between
//! the pages of a grid and the keys that occur, and sorts pages along a Z curve.

use crate::volume::Extent;
use crate::{Error, Result};

/// Bits that an axis of `n` cells needs.
fn bits(n: u64) -> u32 {
    u64::BITS - n.saturating_sub(1).leading_zeros()
}

/// The compressed Morton code of `cell` in a grid of `grid` cells; the caller has checked that
/// the code fits 64 bits ([`Pages::new`]).
pub fn encode(grid: [u64; 3], cell: [u64; 3]) -> u64 {
    let widths = grid.map(bits);
    let (mut key, mut out) = (0, 0);
    for bit in 0..u64::BITS {
        for axis in 0..3 {
            if bit < widths[axis] {
                key |= ((cell[axis] >> bit) & 1) << out;
                out += 1;
            }
        }
    }
    key
}

/// The cell of a key; `None` if no cell of the grid has it.
pub fn decode(grid: [u64; 3], key: u64) -> Option<[u64; 3]> {
    let widths = grid.map(bits);
    let (mut cell, mut rest) = ([0u64; 3], key);
    for bit in 0..u64::BITS {
        for axis in 0..3 {
            if bit < widths[axis] {
                cell[axis] |= (rest & 1) << bit;
                rest >>= 1;
            }
        }
    }
    (rest == 0 && (0..3).all(|a| cell[a] < grid[a])).then_some(cell)
}

/// How the block grid of one tier is cut into pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pages {
    /// Blocks along x, y, z.
    pub blocks: Extent,
    /// log2 of the side of a page in blocks.
    pub page_log2: u32,
}

impl Pages {
    /// Checked geometry.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if page keys would need more than 64 bits.
    pub fn new(blocks: Extent, page_log2: u32) -> Result<Self> {
        let pages = Self { blocks, page_log2 };
        let need: u32 = pages.grid().iter().map(|&n| bits(n)).sum();
        crate::Limits::check("bits of a page key", u64::from(need), 64)?;
        Ok(pages)
    }

    /// Pages along x, y, z.
    pub fn grid(&self) -> [u64; 3] {
        self.blocks
            .map(|n| crate::volume::ceil_shift(n, self.page_log2))
    }

    /// Number of pages; saturates.
    pub fn count(&self) -> u64 {
        self.grid().iter().fold(1u64, |n, &g| n.saturating_mul(g))
    }

    /// Key of the page at page coordinate `page`.
    pub fn key(&self, page: [u64; 3]) -> u64 {
        encode(self.grid(), page)
    }

    /// Page coordinate of a key, if it has one.
    pub fn page(&self, key: u64) -> Option<[u64; 3]> {
        decode(self.grid(), key)
    }

    /// Page and slot of a block: slots count through the page, cut at the border of the grid,
    /// in `[z][y][x]` order.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the grid has no such block.
    pub fn locate(&self, block: [u64; 3]) -> Result<([u64; 3], usize)> {
        if (0..3).any(|a| block[a] >= self.blocks[a]) {
            return Err(Error::argument(format!(
                "block {block:?} lies outside the grid of {:?} blocks",
                self.blocks
            )));
        }
        let page = block.map(|b| b >> self.page_log2);
        let [w, h, _] = self.sides(page);
        let [x, y, z] = [0, 1, 2].map(|a| block[a] - (page[a] << self.page_log2));
        Ok((page, ((z * h + y) * w + x) as usize))
    }

    /// Blocks along x, y, z of a page, cut at the border of the grid.
    pub fn sides(&self, page: [u64; 3]) -> [u64; 3] {
        [0, 1, 2].map(|a| {
            let start = page[a] << self.page_log2;
            (1 << self.page_log2).min(self.blocks[a].saturating_sub(start))
        })
    }

    /// Number of slots of a page, at most 32,768.
    pub fn slots(&self, page: [u64; 3]) -> usize {
        self.sides(page).iter().product::<u64>() as usize
    }

    /// The block in slot `slot` of a page.
    pub fn block(&self, page: [u64; 3], slot: usize) -> [u64; 3] {
        let [w, h, _] = self.sides(page).map(|s| s.max(1));
        let slot = slot as u64;
        let inner = [slot % w, slot / w % h, slot / (w * h)];
        [0, 1, 2].map(|a| (page[a] << self.page_log2) + inner[a])
    }

    /// Every page of the grid in the order of its key.
    pub fn iter(&self) -> impl Iterator<Item = [u64; 3]> + use<> {
        let grid = self.grid();
        let total: u32 = grid.iter().map(|&n| bits(n)).sum();
        let last = u64::MAX.checked_shr(u64::BITS - total).unwrap_or(0);
        (0..=last).filter_map(move |key| decode(grid, key))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_the_ones_of_the_specification() {
        assert_eq!(encode([4, 4, 4], [3, 0, 0]), 0b001_001);
        assert_eq!(encode([4, 4, 4], [0, 3, 1]), 0b010_110);
        // One cell along y: its bit takes no place. Two along z: one bit.
        assert_eq!(encode([4, 1, 2], [2, 0, 1]), 0b110);
        assert_eq!(decode([3, 1, 1], 3), None);
        assert_eq!(decode([1, 1, 1], 1), None);
    }

    #[test]
    fn iterates_every_page_in_key_order() {
        let pages = Pages::new([37, 9, 20], 3).unwrap();
        let all: Vec<_> = pages.iter().collect();
        assert_eq!(all.len() as u64, pages.count());
        assert!(all.windows(2).all(|w| pages.key(w[0]) < pages.key(w[1])));
        assert_eq!(Pages::new([1, 1, 1], 3).unwrap().iter().count(), 1);
    }

    #[test]
    fn refuses_keys_over_64_bits() {
        assert!(Pages::new([1 << 27; 3], 3).is_err());
        let wide = Pages::new([1 << 26, 1 << 24, 1 << 23], 3).unwrap();
        let last = wide.grid().map(|n| n - 1);
        assert_eq!(wide.key(last), u64::MAX);
        assert_eq!(wide.page(u64::MAX), Some(last));
    }

    proptest! {
        #[test]
        fn keys_are_a_bijection(
            grid in [1..=5000u64, 1..=70u64, 1..=(1u64 << 32)], t in [0.0..1.0f64, 0.0..1.0f64, 0.0..1.0f64]
        ) {
            let cell = [0, 1, 2].map(|a| ((grid[a] as f64 * t[a]) as u64).min(grid[a] - 1));
            prop_assert_eq!(decode(grid, encode(grid, cell)), Some(cell));
        }

        /// Growing one axis while the others stay never lowers the key.
        #[test]
        fn keys_are_ordered_along_each_axis(grid in [2..=99u64, 2..=99u64, 2..=99u64], axis in 0..3usize) {
            let mut cell = [0, 1, 2].map(|a| grid[a] / 2);
            cell[axis] = 0;
            let mut last = None;
            while cell[axis] < grid[axis] {
                let key = encode(grid, cell);
                prop_assert!(last < Some(key));
                last = Some(key);
                cell[axis] += 1;
            }
        }

        #[test]
        fn slots_and_blocks_agree(blocks in [1..=40u64, 1..=40u64, 1..=40u64], log2 in 1..=5u32, t in [0.0..1.0f64, 0.0..1.0f64, 0.0..1.0f64]) {
            let pages = Pages::new(blocks, log2).unwrap();
            let block = [0, 1, 2].map(|a| (blocks[a] as f64 * t[a]) as u64);
            let (page, slot) = pages.locate(block).unwrap();
            prop_assert!(slot < pages.slots(page));
            prop_assert_eq!(pages.block(page, slot), block);
        }
    }
}
