//! The entries of one space in one layer: open addressing over 64-byte entries, and the sorted view.
//!
//! Relies on `entry` and `ordered`. What must stay true: an entry, once made, keeps its id until
//! the space is reset; a slot holds 32 bits of the hash and an id, so that a wrong candidate
//! costs a key comparison once in four billion; the table is at most two thirds full.

use std::cell::OnceCell;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::lsm::layer::entry::{Entry, Found};
use crate::lsm::layer::ordered::{Ordered, Place};
use crate::lsm::ranges::RangeSet;
use crate::lsm::read::Order;

const SLOTS_MIN: usize = 64;

/// What one layer says about the keys of one space.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    /// `hash << 32 | id + 1`, or zero; a power of two of them.
    slots: Vec<u64>,
    entries: Vec<Entry>,
    ordered: OnceCell<Ordered>,
    ranges: RangeSet,
    heap_bytes: usize,
}

/// The hash of a key within a space. Its order is never observed, so a fixed seed does no harm
/// to determinism and none is drawn.
#[inline]
fn hash(key: &[u8]) -> u32 {
    let mut hasher = FixedState::with_seed(0x5ca1_ab1e_0ddb_a115).build_hasher();
    hasher.write(key);
    let hash = hasher.finish();
    (hash ^ (hash >> 32)) as u32
}

impl Space {
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.entries.iter().all(Entry::is_absent)
    }

    pub fn is_sorted(&self) -> bool {
        self.ordered.get().is_some()
    }

    pub fn bytes(&self) -> usize {
        self.entries.len() * size_of::<Entry>()
            + self.slots.len() * size_of::<u64>()
            + self.heap_bytes
            + self.ranges.bytes()
    }

    pub fn ranges(&self) -> &RangeSet {
        &self.ranges
    }

    #[inline]
    pub fn get(&self, key: &[u8]) -> Found<'_> {
        if let Some(id) = self.find(hash(key), key) {
            let found = self.entries[id as usize].found();
            if found != Found::Unknown {
                return found;
            }
        }
        self.beneath(key)
    }

    /// What the range deletes say about a key that has no entry.
    #[inline]
    pub fn beneath(&self, key: &[u8]) -> Found<'_> {
        if self.ranges.covering(key).is_some() {
            Found::Deleted
        } else {
            Found::Unknown
        }
    }

    #[inline]
    fn find(&self, hash: u32, key: &[u8]) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == hash {
                let id = slot as u32 - 1;
                if self.entries[id as usize].key() == key {
                    return Some(id);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// The entry of a key, made when there is none; a new entry says nothing.
    #[inline]
    pub fn entry(&mut self, key: &[u8]) -> u32 {
        let hash = hash(key);
        match self.find(hash, key) {
            Some(id) => id,
            None => self.insert(hash, key),
        }
    }

    #[inline]
    pub fn found(&self, id: u32) -> Found<'_> {
        self.entries[id as usize].found()
    }

    #[cold]
    fn insert(&mut self, hash: u32, key: &[u8]) -> u32 {
        if (self.entries.len() + 1) * 3 > self.slots.len() * 2 {
            self.grow();
        }
        let id = self.entries.len() as u32;
        assert!(
            id < u32::MAX - 1,
            "a memtable is flushed long before it has 2^32 entries"
        );
        let entry = Entry::absent(key);
        self.heap_bytes += entry.heap_bytes();
        self.entries.push(entry);
        place(&mut self.slots, hash, id);
        id
    }

    fn grow(&mut self) {
        let len = (self.slots.len() * 2).max(SLOTS_MIN);
        let old = std::mem::replace(&mut self.slots, vec![0; len]);
        for slot in old.into_iter().filter(|slot| *slot != 0) {
            place(&mut self.slots, (slot >> 32) as u32, slot as u32 - 1);
        }
    }

    #[inline]
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let id = self.entry(key);
        self.put_at(id, value);
    }

    #[inline]
    pub fn put_at(&mut self, id: u32, value: &[u8]) {
        let entry = &mut self.entries[id as usize];
        let fresh = entry.is_absent();
        let before = entry.value_heap_bytes();
        entry.put(value);
        self.heap_bytes = self.heap_bytes + entry.value_heap_bytes() - before;
        if fresh {
            self.list(id);
        }
    }

    #[inline]
    pub fn delete(&mut self, key: &[u8]) {
        let id = self.entry(key);
        self.delete_at(id);
    }

    #[inline]
    pub fn delete_at(&mut self, id: u32) {
        let entry = &mut self.entries[id as usize];
        let fresh = entry.is_absent();
        self.heap_bytes -= entry.value_heap_bytes();
        entry.delete();
        if fresh {
            self.list(id);
        }
    }

    #[inline]
    fn list(&mut self, id: u32) {
        if let Some(ordered) = self.ordered.get_mut() {
            ordered.insert(&self.entries, id);
        }
    }

    /// Forgets every entry in `[lo, hi)` and remembers the range.
    pub fn delete_range(&mut self, lo: &[u8], hi: Option<&[u8]>) {
        if hi.is_some_and(|hi| lo >= hi) {
            return;
        }
        if !self.entries.is_empty() {
            self.sort();
            let ordered = self.ordered.get_mut().expect("sorted in the line above");
            let from = ordered.seek(&self.entries, lo);
            let to = hi.map_or(ordered.end(), |hi| ordered.seek(&self.entries, hi));
            let (entries, heap_bytes) = (&mut self.entries, &mut self.heap_bytes);
            ordered.remove(from, to, |id| {
                let entry = &mut entries[id as usize];
                *heap_bytes -= entry.value_heap_bytes();
                entry.forget();
            });
        }
        self.ranges.add(lo, hi);
    }

    /// Builds the sorted view if there is none.
    pub fn sort(&self) -> &Ordered {
        self.ordered.get_or_init(|| Ordered::build(&self.entries))
    }

    /// Sorts piece by piece, for a frozen layer: `step` of at most `step_len` entries each time it
    /// is called with the last answer, until the answer is `None`.
    pub fn sort_step(&self, unfinished: Option<Sorting>, step_len: usize) -> Option<Sorting> {
        if self.is_sorted() {
            return None;
        }
        let mut sorting = unfinished.unwrap_or_default();
        let stop = (sorting.done + step_len).min(self.entries.len());
        for id in sorting.done..stop {
            if !self.entries[id].is_absent() {
                sorting.ordered.insert(&self.entries, id as u32);
            }
        }
        sorting.done = stop;
        if stop < self.entries.len() {
            return Some(sorting);
        }
        // A scan between two steps may have built it meanwhile; both are the same.
        self.ordered.get_or_init(|| sorting.ordered);
        None
    }

    /// The entries in `[lo, hi)`.
    pub fn cursor(&self, lo: &[u8], hi: Option<&[u8]>) -> Cursor<'_> {
        let ordered = self.sort();
        let front = ordered.seek(&self.entries, lo);
        let back = hi.map_or(ordered.end(), |hi| ordered.seek(&self.entries, hi));
        let front = if lo.is_empty() {
            ordered.begin()
        } else {
            front
        };
        Cursor {
            space: self,
            ordered,
            front,
            back: back.max(front),
        }
    }

    /// Forgets everything; the memory and the habit of sorting stay.
    pub fn reset(&mut self) {
        self.slots.fill(0);
        self.entries.clear();
        self.ranges.clear();
        self.heap_bytes = 0;
        if let Some(ordered) = self.ordered.get_mut() {
            *ordered = Ordered::default();
        }
    }
}

#[inline]
fn place(slots: &mut [u64], hash: u32, id: u32) {
    let mask = slots.len() - 1;
    let mut at = hash as usize & mask;
    while slots[at] != 0 {
        at = (at + 1) & mask;
    }
    slots[at] = u64::from(hash) << 32 | u64::from(id + 1);
}

/// A sort in progress.
#[derive(Debug, Default)]
pub(crate) struct Sorting {
    ordered: Ordered,
    done: usize,
}

/// Walks entries from either end. A value of `None` means deleted.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    space: &'a Space,
    ordered: &'a Ordered,
    front: Place,
    back: Place,
}

impl<'a> Cursor<'a> {
    /// The next entry in ascending order.
    pub fn next(&mut self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        self.step(Order::Ascending)
    }

    /// The next entry in `order`.
    #[inline]
    pub fn step(&mut self, order: Order) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        if self.front >= self.back {
            return None;
        }
        let place = match order {
            Order::Ascending => {
                let place = self.front;
                self.front = self.ordered.after(place);
                place
            }
            Order::Descending => {
                self.back = self.ordered.before(self.back);
                self.back
            }
        };
        let entry = &self.space.entries[self.ordered.id(place) as usize];
        let value = match entry.found() {
            Found::Value(value) => Some(value),
            Found::Deleted => None,
            Found::Unknown => unreachable!("the sorted view lists no silent entry"),
        };
        Some((entry.key(), value))
    }

    /// Skips what lies below `key`.
    pub fn skip_below(&mut self, key: &[u8]) {
        self.front = self.front.max(self.ordered.seek(&self.space.entries, key));
    }

    /// Skips `key` and what lies above it.
    pub fn skip_from(&mut self, key: &[u8]) {
        self.back = self.back.min(self.ordered.seek(&self.space.entries, key));
    }
}
