//! Section LAYR: the layers of every block, in the order in which they are stored and decoded.
//!
//! Record (2 bytes): `lod u8` - in-block level of detail that the prefix up to this layer
//! completes; `quality u8` - quality index of that prefix.

use crate::format::constant::{LAYER_RECORD_LEN, MAX_LAYERS, MAX_LEVELS};
use crate::{Error, Result};

/// One layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layer {
    /// In-block level of detail that is complete after this layer (0 = every voxel).
    pub lod: u8,
    /// Quality index after this layer.
    pub quality: u8,
}

/// The layers of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers {
    list: Vec<Layer>,
    levels: u8,
}

impl Layers {
    /// The usual order for `levels` quality levels: `{2,0} {1,0} {0,0} {0,1} .. {0,levels-1}`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `levels` is not 1..=8.
    pub fn standard(levels: u8) -> Result<Self> {
        let coarse = [2, 1].map(|lod| Layer { lod, quality: 0 });
        let fine = (0..levels).map(|quality| Layer { lod: 0, quality });
        Self::new(coarse.into_iter().chain(fine).collect(), levels)
    }

    /// A checked list.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] naming the broken rule.
    pub fn new(list: Vec<Layer>, levels: u8) -> Result<Self> {
        match fault(&list, levels) {
            None => Ok(Self { list, levels }),
            Some(detail) => Err(Error::argument(format!("layers: {detail}"))),
        }
    }

    /// Reads the section, which lies at absolute offset `at`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a rule is broken.
    pub fn parse(bytes: &[u8], at: u64, count: usize, levels: u8) -> Result<Self> {
        if bytes.len() != count * LAYER_RECORD_LEN {
            let detail = format!("{} bytes for {count} layers", bytes.len());
            return Err(Error::corrupt("section LAYR", at, detail));
        }
        let list: Vec<Layer> = bytes
            .chunks_exact(LAYER_RECORD_LEN)
            .map(|r| Layer {
                lod: r[0],
                quality: r[1],
            })
            .collect();
        match fault(&list, levels) {
            None => Ok(Self { list, levels }),
            Some(detail) => Err(Error::corrupt("section LAYR", at, detail)),
        }
    }

    /// The bytes of the section.
    pub fn encode(&self) -> Vec<u8> {
        self.list.iter().flat_map(|l| [l.lod, l.quality]).collect()
    }

    /// The layers in order.
    pub fn as_slice(&self) -> &[Layer] {
        &self.list
    }

    /// Number of layers, 1..=16.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Number of quality levels, 1..=8.
    pub fn levels(&self) -> u8 {
        self.levels
    }

    /// Layers of the base run: those before the first one that completes level of detail 0.
    pub fn base_count(&self) -> usize {
        self.list.iter().take_while(|l| l.lod > 0).count()
    }

    /// Layers (a prefix) that level of detail `lod` of a block needs at quality `level`.
    ///
    /// Quality 0 needs the shortest prefix that completes `lod`; quality `k > 0` the prefix that
    /// ends with `{0, k}`. Levels past the last one mean the last one.
    pub fn prefix(&self, lod: u8, level: u8) -> usize {
        let level = level.min(self.levels.saturating_sub(1));
        let found = self.list.iter().position(|l| match level {
            0 => l.lod <= lod,
            k => l.lod == 0 && l.quality == k,
        });
        found.map_or(self.list.len(), |i| i + 1)
    }
}

/// The first broken rule, if any.
fn fault(list: &[Layer], levels: u8) -> Option<String> {
    if list.is_empty() || list.len() > MAX_LAYERS || levels == 0 || levels > MAX_LEVELS {
        return Some(format!(
            "{} layers and {levels} levels, 1..=16 and 1..=8 are allowed",
            list.len()
        ));
    }
    let order = |l: &Layer| (l.quality, u8::MAX - l.lod);
    if let Some(i) = list.windows(2).position(|w| order(&w[0]) >= order(&w[1])) {
        return Some(format!(
            "layer {} does not follow layer {i} in (quality up, lod down) order",
            i + 1
        ));
    }
    let whole = |k: u8| list.contains(&Layer { lod: 0, quality: k });
    if let Some(k) = (0..levels).find(|&k| !whole(k)) {
        return Some(format!("no layer completes quality level {k}"));
    }
    let last = list.last().map_or(0, |l| l.quality);
    (last >= levels).then(|| format!("quality {last} is named, the header has {levels} levels"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_follow_the_rule() -> Result<()> {
        let l = Layers::standard(3)?;
        assert_eq!((l.len(), l.base_count()), (5, 2));
        assert_eq!([2, 1, 0].map(|s| l.prefix(s, 0)), [1, 2, 3]);
        assert_eq!([2, 1, 0].map(|s| l.prefix(s, 1)), [4, 4, 4]);
        assert_eq!(l.prefix(5, 0), 1);
        assert_eq!(l.prefix(0, 9), 5);
        assert_eq!(Layers::parse(&l.encode(), 0, 5, 3)?, l);
        Ok(())
    }
}
