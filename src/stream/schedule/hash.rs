//! Maps by block: a view looks up tens of thousands of blocks, and nobody chooses them to collide.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::BlockId;

/// A map from blocks.
pub(super) type BlockMap<V> = HashMap<BlockId, V, BuildHasherDefault<Mixer>>;

/// A multiplication and a rotation for each number of a key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        // Maps look at the lowest and the highest bits.
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        let mixed = self.0.rotate_left(23) ^ n;
        self.0 = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
