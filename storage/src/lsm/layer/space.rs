//! The entries of one space in one layer: open addressing over 64-byte entries, and the sorted view.
//!
//! Relies on `entry` and `ordered`. What must stay true: an entry, once made, keeps its id until
//! the space is reset; a slot holds 32 bits of the hash and an id, so that a wrong candidate
//! costs a key comparison once in four billion; the table is at most two thirds full.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::lsm::layer::entry::{Entry, Found};
use crate::lsm::layer::ordered::{Index, Ordered, Place};
use crate::lsm::ranges::RangeSet;
use crate::lsm::read::Order;

const SLOTS_MIN: usize = 64;

/// What one layer says about the keys of one space.
#[derive(Clone, Debug, Default)]
pub(crate) struct Space {
    /// `hash << 32 | id + 1`, or zero; a power of two of them.
    slots: Vec<u64>,
    entries: Vec<Entry>,
    index: Index,
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

    /// Whether its entries are read in order.
    pub fn is_scanned(&self) -> bool {
        self.index.is_read()
    }

    /// Expects its entries to be read in order.
    pub fn expect_scans(&self) {
        self.index.set_read();
    }

    pub fn bytes(&self) -> usize {
        self.entries.len() * (size_of::<Entry>() + Index::ENTRY_BYTES)
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
        self.index.insert(&self.entries, id);
    }

    /// Forgets every entry in `[lo, hi)` and remembers the range.
    pub fn delete_range(&mut self, lo: &[u8], hi: Option<&[u8]>) {
        if hi.is_some_and(|hi| lo >= hi) {
            return;
        }
        if !self.entries.is_empty() {
            let ordered = self.index.settle(&self.entries);
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

    /// The entries in `[lo, hi)`. The space is kept ready for more of these.
    pub fn cursor(&self, lo: &[u8], hi: Option<&[u8]>) -> Cursor<'_> {
        self.expect_scans();
        self.cursor_once(lo, hi)
    }

    /// The same for a reader that will not come again.
    pub fn cursor_once(&self, lo: &[u8], hi: Option<&[u8]>) -> Cursor<'_> {
        let parts = self.index.parts(&self.entries).map(|ordered| {
            let front = match lo.is_empty() {
                true => ordered.begin(),
                false => ordered.seek(&self.entries, lo),
            };
            let back = hi.map_or(ordered.end(), |hi| ordered.seek(&self.entries, hi));
            let back = back.max(front);
            Part {
                ordered,
                front,
                back,
            }
        });
        Cursor { space: self, parts }
    }

    /// Forgets everything; the memory and the habit of sorting stay.
    pub fn reset(&mut self) {
        self.slots.fill(0);
        self.entries.clear();
        self.ranges.clear();
        self.heap_bytes = 0;
        self.index.clear();
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

/// What is left of one order of the entries.
#[derive(Clone)]
struct Part<'a> {
    ordered: &'a Ordered,
    front: Place,
    back: Place,
}

/// Walks entries from either end. A value of `None` means deleted.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    space: &'a Space,
    /// No entry is in both; the second is mostly empty.
    parts: [Part<'a>; 2],
}

impl<'a> Cursor<'a> {
    /// The next entry in ascending order.
    pub fn next(&mut self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        self.step(Order::Ascending)
    }

    /// The next entry in `order`.
    #[inline]
    pub fn step(&mut self, order: Order) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let space = self.space;
        let [first, second] = &mut self.parts;
        let part = match (first.is_done(), second.is_done()) {
            (true, true) => return None,
            (false, true) => first,
            (true, false) => second,
            (false, false) => {
                let key = |part: &Part<'a>| space.entries[part.head(order) as usize].key();
                match (key(first) < key(second)) == (order == Order::Ascending) {
                    true => first,
                    false => second,
                }
            }
        };
        let entry = &space.entries[part.take(order) as usize];
        let value = match entry.found() {
            Found::Value(value) => Some(value),
            Found::Deleted => None,
            Found::Unknown => unreachable!("the sorted view lists no silent entry"),
        };
        Some((entry.key(), value))
    }

    /// Skips what lies below `key`.
    pub fn skip_below(&mut self, key: &[u8]) {
        for part in &mut self.parts {
            let place = part.ordered.seek(&self.space.entries, key);
            part.front = part.front.max(place);
        }
    }

    /// Skips `key` and what lies above it.
    pub fn skip_from(&mut self, key: &[u8]) {
        for part in &mut self.parts {
            let place = part.ordered.seek(&self.space.entries, key);
            part.back = part.back.min(place);
        }
    }
}

impl Part<'_> {
    fn is_done(&self) -> bool {
        self.front >= self.back
    }

    /// The entry that is next; there must be one.
    fn head(&self, order: Order) -> u32 {
        match order {
            Order::Ascending => self.ordered.id(self.front),
            Order::Descending => self.ordered.id(self.ordered.before(self.back)),
        }
    }

    /// Goes past the entry that is next.
    #[inline]
    fn take(&mut self, order: Order) -> u32 {
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
        self.ordered.id(place)
    }
}
