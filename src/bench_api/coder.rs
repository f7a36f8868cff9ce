//! What entropy coders could do at best, and how much they are asked to.

use super::{MixingBlock, mixing};
use crate::Result;
use crate::codec::rans;
use crate::codec::tables::Distribution;

/// Symbols of one distribution under coder R, without contexts: its serial chain and nothing else.
pub struct CoderLab {
    bytes: Vec<u8>,
    lanes_log2: u32,
    table: Distribution,
    symbols: usize,
}

impl CoderLab {
    /// So many symbols on `2^lanes_log2` states, `lanes_log2 <= 5`.
    ///
    /// # Errors
    /// Never for these numbers.
    pub fn new(lanes_log2: u32, symbols: usize) -> Result<Self> {
        let mut frequencies = [32; 16];
        frequencies[0] = 4096 - 15 * 32;
        let table = Distribution::new(&frequencies)?;
        let mut random = 1u64;
        let mut next = |_| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let slot = (random >> 52) as usize;
            let value = (slot.saturating_sub(4096 - 15 * 32 - 32) / 32) as u8;
            rans::Symbol {
                distribution: 0,
                value,
            }
        };
        let all: Vec<_> = (0..symbols).map(&mut next).collect();
        let tables = std::slice::from_ref(&table);
        let mut bytes = Vec::new();
        rans::encode(&all, &[0], tables, lanes_log2, &[], &mut bytes);
        Ok(Self {
            bytes,
            lanes_log2,
            table,
            symbols,
        })
    }

    /// Decodes them; their sum.
    ///
    /// # Errors
    /// Never.
    pub fn decode(&self) -> Result<u32> {
        let mut decoder = rans::Decoder::new(&self.bytes, self.lanes_log2)?;
        Ok((0..self.symbols).fold(0, |sum: u32, _| sum.wrapping_add(decoder.next(&self.table))))
    }
}

/// Copies `from` over `to`: bytes that went through memory, read and written.
pub fn copied_bytes(from: &[u64], to: &mut [u64]) -> usize {
    let n = from.len().min(to.len());
    to[..n].copy_from_slice(&from[..n]);
    16 * n
}

/// Decisions of coder M for a block.
pub(super) fn decisions(block: &MixingBlock) -> Result<usize> {
    let mut count = Count {
        tables: mixing::tables()?,
        decisions: 0,
    };
    block.run(&mut mixing::Traversal::default(), &mut count)?;
    Ok(count.decisions)
}

struct Count {
    tables: &'static mixing::Tables,
    decisions: usize,
}

impl mixing::Decider for Count {
    const ENCODES: bool = true;

    fn tables(&self) -> &mixing::Tables {
        self.tables
    }

    fn decide<const N: usize>(&mut self, _: [usize; N], _: [usize; 2], bit: bool) -> bool {
        self.decisions += 1;
        bit
    }

    fn even(&mut self, bit: bool) -> bool {
        self.decisions += 1;
        bit
    }
}
