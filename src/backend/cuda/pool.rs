//! Which memory of a device is free to be used again: `cuMemAlloc` and `cuMemFree` are slow, and the second
//! waits for the whole device.

use std::collections::{BTreeSet, HashMap};

use super::device::Address;

/// Smallest allocation.
const SMALL: usize = 512;
/// Larger ones are multiples of this, the driver's own granularity.
const LARGE: usize = 2 << 20;

/// Keeps account of allocations; knows nothing of the device.
#[derive(Debug)]
pub(super) struct Pool {
    limit: u64,
    /// Bytes of all memory, used and free.
    held: u64,
    used: HashMap<Address, usize>,
    /// Free memory by size.
    free: BTreeSet<(usize, Address)>,
    /// Whether work that was queued before the release may still run, for each address in `free`.
    busy: HashMap<Address, bool>,
}

/// Memory that is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reused {
    pub(super) address: Address,
    /// Whether the device has to finish its work first.
    pub(super) wait: bool,
}

impl Pool {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            held: 0,
            used: HashMap::new(),
            free: BTreeSet::new(),
            busy: HashMap::new(),
        }
    }

    /// What is allocated for `bytes`; `None` if that is over the limit by itself.
    pub(super) fn rounded(&self, bytes: usize) -> Option<usize> {
        let step = if bytes > LARGE / 2 { LARGE } else { SMALL };
        let rounded = bytes.max(1).checked_next_multiple_of(step)?;
        (rounded as u64 <= self.limit).then_some(rounded)
    }

    /// The smallest free memory of at least `rounded` bytes, if it is not much larger.
    pub(super) fn reuse(&mut self, rounded: usize) -> Option<Reused> {
        let &(bytes, address) = self.free.range((rounded, 0)..).next()?;
        if bytes - rounded > rounded / 4 {
            return None;
        }
        self.free.remove(&(bytes, address));
        self.used.insert(address, bytes);
        let wait = self.busy.remove(&address).unwrap_or(true);
        Some(Reused { address, wait })
    }

    /// Free memory that has to go, so that `rounded` bytes more are within the limit; `None` if that
    /// is not enough.
    pub(super) fn make_room(&mut self, rounded: usize) -> Option<Vec<Address>> {
        let over = (self.held + rounded as u64).saturating_sub(self.limit);
        let free: u64 = self.free.iter().map(|(bytes, _)| *bytes as u64).sum();
        if over > free {
            return None;
        }
        let mut gone = Vec::new();
        let aim = self.held - over;
        while self.held > aim {
            gone.extend(self.drop_largest());
        }
        Some(gone)
    }

    /// All free memory; it has to be given back to the device.
    pub(super) fn drain(&mut self) -> Vec<Address> {
        std::iter::from_fn(|| self.drop_largest()).collect()
    }

    /// Enters new memory, in use.
    pub(super) fn add(&mut self, address: Address, rounded: usize) {
        self.held += rounded as u64;
        self.used.insert(address, rounded);
    }

    /// Memory is no longer used.
    pub(super) fn release(&mut self, address: Address) {
        if let Some(bytes) = self.used.remove(&address) {
            self.free.insert((bytes, address));
            self.busy.insert(address, true);
        }
    }

    /// The device has finished all its work.
    pub(super) fn settle(&mut self) {
        self.busy.values_mut().for_each(|busy| *busy = false);
    }

    fn drop_largest(&mut self) -> Option<Address> {
        let (bytes, address) = self.free.pop_last()?;
        self.busy.remove(&address);
        self.held -= bytes as u64;
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn sizes_are_rounded_and_bounded() {
        let pool = Pool::new(10 * MIB as u64);
        assert_eq!(pool.rounded(0), Some(512));
        assert_eq!(pool.rounded(513), Some(1024));
        assert_eq!(pool.rounded(3 * MIB), Some(4 * MIB));
        assert_eq!(pool.rounded(10 * MIB), Some(10 * MIB));
        assert_eq!(pool.rounded(10 * MIB + 1), None);
        assert_eq!(pool.rounded(usize::MAX), None);
    }

    #[test]
    fn released_memory_is_used_again_after_a_wait() {
        let mut pool = Pool::new(100 * MIB as u64);
        pool.add(1, 8 * MIB);
        pool.add(2, 20 * MIB);
        assert_eq!(pool.reuse(8 * MIB), None);
        pool.release(1);
        pool.release(2);
        // Far too large for a small one, which therefore gets memory of its own.
        assert_eq!(pool.reuse(2 * MIB), None);
        let (address, wait) = (1, true);
        assert_eq!(pool.reuse(8 * MIB), Some(Reused { address, wait }));
        pool.settle();
        let (address, wait) = (2, false);
        assert_eq!(pool.reuse(18 * MIB), Some(Reused { address, wait }));
        assert_eq!(pool.reuse(512), None);
    }

    #[test]
    fn free_memory_makes_room_within_the_limit() {
        let mut pool = Pool::new(30 * MIB as u64);
        for address in 1..=3 {
            pool.add(address, 10 * MIB);
        }
        assert_eq!(pool.make_room(2 * MIB), None);
        pool.release(1);
        pool.release(3);
        assert_eq!(pool.make_room(2 * MIB).unwrap(), [3]);
        pool.add(4, 2 * MIB);
        assert_eq!(pool.make_room(22 * MIB), None);
        assert!(pool.make_room(8 * MIB).unwrap().is_empty());
        assert_eq!(pool.make_room(10 * MIB).unwrap(), [1]);
        assert!(pool.drain().is_empty());
        pool.release(2);
        pool.release(2);
        pool.release(77);
        assert_eq!(pool.drain(), [2]);
    }
}
