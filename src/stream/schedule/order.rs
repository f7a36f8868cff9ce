//! Missing items, best first, and which of the best lie side by side in the file.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::plan::Rank;
use super::queue::Item;

/// Items that are looked through for neighbours. A view may want a million: most are never asked for
/// before the next view, so only the best are sorted by place.
const FRONT: usize = 4096;

/// By rank; among equals earlier layers first.
type Entry = (Rank, Reverse<Item>);

/// What is missing: of every block its next layer, and the best of all by place.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// None of these is better than anything in front was when it got there.
    rest: BinaryHeap<Entry>,
    front: BinaryHeap<Entry>,
    /// The front by offset; layers of no bytes share theirs with the one behind.
    places: BTreeMap<(u64, Item), u32>,
}

impl Order {
    pub(super) fn new(rest: Vec<Entry>) -> Self {
        Self {
            rest: rest.into(),
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.places.is_empty()
    }

    /// Whether the front should be filled from the rest.
    pub(super) fn is_short(&self) -> bool {
        self.places.len() < FRONT / 2 && !self.rest.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.places.len() >= FRONT
    }

    /// Puts an item behind the front.
    pub(super) fn push(&mut self, rank: Rank, item: Item) {
        self.rest.push((rank, Reverse(item)));
    }

    /// Takes the best item that is not in front.
    pub(super) fn pop_rest(&mut self) -> Option<(Rank, Item)> {
        self.rest.pop().map(|(rank, item)| (rank, item.0))
    }

    /// Puts an item in front.
    pub(super) fn push_front(&mut self, rank: Rank, item: Item, offset: u64, bytes: u32) {
        self.places.insert((offset, item), bytes);
        self.front.push((rank, Reverse(item)));
    }

    /// Takes the best item; whether it is still missing, [`Self::take`] tells.
    pub(super) fn pop_front(&mut self) -> Option<(Rank, Item)> {
        self.front.pop().map(|(rank, item)| (rank, item.0))
    }

    /// Puts back what was popped and not taken.
    pub(super) fn unpop(&mut self, rank: Rank, item: Item) {
        self.front.push((rank, Reverse(item)));
    }

    /// Whether an item of the front is missing.
    pub(super) fn has(&self, item: Item, offset: u64) -> bool {
        self.places.contains_key(&(offset, item))
    }

    /// Takes an item out of the front.
    pub(super) fn take(&mut self, item: Item, offset: u64) {
        self.places.remove(&(offset, item));
    }

    /// The items of the front next to `start..end`, at most `gap` bytes away: behind it, then before it.
    pub(super) fn near(
        &self,
        start: u64,
        end: u64,
        gap: u64,
    ) -> impl Iterator<Item = (Item, u64, u32)> + '_ {
        let least = Item::LEAST;
        let behind = self.places.range((end, least)..).next();
        let behind = behind.filter(|((offset, _), _)| *offset <= end.saturating_add(gap));
        let before = self.places.range(..(start, least)).next_back();
        let before = before.filter(|((offset, _), n)| offset + u64::from(**n) + gap >= start);
        // Layers of no bytes at the very start.
        let inside = self.places.range((start, least)..(end, least)).next();
        let found = [inside, behind, before].into_iter().flatten();
        found.map(|((offset, item), bytes)| (*item, *offset, *bytes))
    }
}
