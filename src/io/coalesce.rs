//! Merging of byte ranges: fewer requests for a few bytes more.

/// Largest gap that is ever read in vain.
const MAX_GAP: u64 = 256 << 10;
/// Merging stops at this length, so that one read never takes much memory.
const MAX_LENGTH: u64 = 16 << 20;

/// A range to read and the wanted ranges inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// Absolute offset.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// Places in the list that was merged.
    pub members: Vec<usize>,
}

/// The gap rule: at most 256 KiB and at most a quarter of the wanted bytes.
pub fn gap(wanted: &[(u64, u64)]) -> u64 {
    let bytes = wanted.iter().fold(0u64, |n, r| n.saturating_add(r.1));
    MAX_GAP.min(bytes / 4)
}

/// Merges ranges `(offset, length)` whose gaps are at most `gap`; empty ones are left out.
/// The result is sorted by offset.
pub fn merge(wanted: &[(u64, u64)], gap: u64) -> Vec<Merged> {
    let mut order: Vec<usize> = (0..wanted.len()).filter(|&i| wanted[i].1 > 0).collect();
    order.sort_by_key(|&i| wanted[i]);
    let mut out: Vec<Merged> = Vec::new();
    for i in order {
        let (offset, length) = wanted[i];
        let end = offset.saturating_add(length);
        match out.last_mut() {
            Some(last) if joins(last, offset, end, gap) => {
                last.length = last.length.max(end - last.offset);
                last.members.push(i);
            }
            _ => out.push(Merged {
                offset,
                length,
                members: vec![i],
            }),
        }
    }
    out
}

fn joins(last: &Merged, offset: u64, end: u64, gap: u64) -> bool {
    let last_end = last.offset.saturating_add(last.length);
    // What overlaps is read once, however long it is.
    offset < last_end || (offset - last_end <= gap && end - last.offset <= MAX_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn merges_by_gap_only() {
        let wanted = [(100, 10), (0, 10), (15, 5), (500, 0), (111, 1)];
        let spans = |gap| -> Vec<(u64, u64)> {
            merge(&wanted, gap)
                .iter()
                .map(|m| (m.offset, m.length))
                .collect()
        };
        assert_eq!(spans(0), [(0, 10), (15, 5), (100, 10), (111, 1)]);
        assert_eq!(spans(5), [(0, 20), (100, 12)]);
        assert_eq!(gap(&[(0, 400), (9, 400)]), 200);
        assert_eq!(gap(&[(0, 1 << 40)]), 256 << 10);
    }

    proptest! {
        #[test]
        fn every_wanted_byte_is_read(wanted in prop::collection::vec((0..1000u64, 0..50u64), 0..40), gap in 0..60u64) {
            let merged = merge(&wanted, gap);
            let mut seen = 0;
            for m in &merged {
                for &i in &m.members {
                    let (offset, length) = wanted[i];
                    prop_assert!(offset >= m.offset && offset + length <= m.offset + m.length);
                    seen += 1;
                }
            }
            prop_assert_eq!(seen, wanted.iter().filter(|r| r.1 > 0).count());
            prop_assert!(merged.windows(2).all(|w| w[0].offset + w[0].length + gap < w[1].offset));
        }
    }
}
