//! The sorted view of a layer's entries: blocks of (prefix, entry id), compared by the prefix
//! first, so that most comparisons touch no key; and the entries that came since, in no order.
//!
//! Relies on the entries given to each call being those the ids were taken from. What must stay
//! true: no block is empty, no block is longer than `BLOCK_MAX`, keys ascend over all blocks; what
//! is not sorted is never more than `FRESH_MAX`, so that no reader and no writer ever pays for
//! sorting everything at once.

use std::cell::{Cell, OnceCell};
use std::cmp::Ordering;

use crate::lsm::layer::entry::Entry;

const BLOCK_MAX: usize = 256;
/// Entries that wait to be sorted together. Sorting and placing them takes a fraction of a
/// millisecond, and half as long per entry as placing each when it comes.
const FRESH_MAX: usize = 1024;

/// A place between two entries; equal to [`Ordered::end`] behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    block: usize,
    index: usize,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    prefix: u64,
    id: u32,
}

impl Item {
    fn new(entries: &[Entry], id: u32) -> Item {
        Item {
            prefix: prefix(entries[id as usize].key()),
            id,
        }
    }

    #[inline]
    fn cmp_key(&self, entries: &[Entry], prefix: u64, key: &[u8]) -> Ordering {
        self.prefix
            .cmp(&prefix)
            .then_with(|| entries[self.id as usize].key().cmp(key))
    }
}

/// Ids of entries in the order of their keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ordered {
    blocks: Vec<Vec<Item>>,
}

/// The same with entries that are not sorted yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    sorted: Ordered,
    fresh: Vec<Item>,
    /// The fresh entries in order, made by a reader, gone with the next entry.
    view: OnceCell<Ordered>,
    /// Somebody reads in order: new entries go to their place at once.
    read: Cell<bool>,
}

impl Index {
    /// Memory per entry.
    pub const ENTRY_BYTES: usize = size_of::<Item>();

    /// Lists an entry that is not listed yet.
    #[inline]
    pub fn insert(&mut self, entries: &[Entry], id: u32) {
        if self.read.get() {
            self.settle(entries);
            self.sorted.insert(entries, id);
            return;
        }
        self.view.take();
        self.fresh.push(Item::new(entries, id));
        if self.fresh.len() >= FRESH_MAX {
            self.settle(entries);
        }
    }

    /// Sorts in what is fresh: now all is in one order.
    pub fn settle(&mut self, entries: &[Entry]) -> &mut Ordered {
        if !self.fresh.is_empty() {
            self.view.take();
            sort(&mut self.fresh, entries);
            self.sorted.merge(entries, &self.fresh);
            self.fresh.clear();
        }
        &mut self.sorted
    }

    /// Two orders that together list everything, no entry in both.
    pub fn parts(&self, entries: &[Entry]) -> [&Ordered; 2] {
        let view = self.view.get_or_init(|| {
            let mut fresh = self.fresh.clone();
            sort(&mut fresh, entries);
            let blocks = fresh.chunks(BLOCK_MAX).map(<[Item]>::to_vec);
            Ordered {
                blocks: blocks.collect(),
            }
        });
        [&self.sorted, view]
    }

    /// Expects to be read in order, now and later.
    pub fn set_read(&self) {
        self.read.set(true);
    }

    pub fn is_read(&self) -> bool {
        self.read.get()
    }

    /// Forgets everything but the habit of being read.
    pub fn clear(&mut self) {
        self.sorted.blocks.clear();
        self.fresh.clear();
        self.view.take();
    }
}

fn sort(items: &mut [Item], entries: &[Entry]) {
    items.sort_unstable_by(|a, b| a.cmp_key(entries, b.prefix, entries[b.id as usize].key()));
}

/// The first eight bytes as a number that orders like the bytes.
fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

impl Ordered {
    /// Lists sorted items that are not listed yet.
    fn merge(&mut self, entries: &[Entry], items: &[Item]) {
        let behind = self.blocks.last().and_then(|block| block.last()).copied();
        let behind = behind.is_none_or(|last| {
            let first = items.first().expect("there is something to merge");
            last.cmp_key(entries, first.prefix, entries[first.id as usize].key()) == Ordering::Less
        });
        if behind {
            // Ascending keys, and the first ones: whole blocks.
            self.blocks
                .extend(items.chunks(BLOCK_MAX).map(<[Item]>::to_vec));
            return;
        }
        items
            .iter()
            .for_each(|item| self.insert_item(entries, *item));
    }

    /// The place of the first entry with `key` or a larger one.
    pub fn seek(&self, entries: &[Entry], key: &[u8]) -> Place {
        let prefix = prefix(key);
        let before = |item: &Item| item.cmp_key(entries, prefix, key) == Ordering::Less;
        let block = self
            .blocks
            .partition_point(|b| b.last().is_some_and(&before));
        let index = self
            .blocks
            .get(block)
            .map_or(0, |b| b.partition_point(before));
        Place { block, index }
    }

    pub fn begin(&self) -> Place {
        Place { block: 0, index: 0 }
    }

    pub fn end(&self) -> Place {
        Place {
            block: self.blocks.len(),
            index: 0,
        }
    }

    /// The entry at `place`, which must not be the end.
    #[inline]
    pub fn id(&self, place: Place) -> u32 {
        self.blocks[place.block][place.index].id
    }

    #[inline]
    pub fn after(&self, place: Place) -> Place {
        if place.index + 1 < self.blocks[place.block].len() {
            Place {
                block: place.block,
                index: place.index + 1,
            }
        } else {
            Place {
                block: place.block + 1,
                index: 0,
            }
        }
    }

    /// The place before `place`, which must not be the begin.
    #[inline]
    pub fn before(&self, place: Place) -> Place {
        if place.index > 0 {
            Place {
                block: place.block,
                index: place.index - 1,
            }
        } else {
            let block = place.block - 1;
            Place {
                block,
                index: self.blocks[block].len() - 1,
            }
        }
    }

    /// Lists an entry that is not listed yet.
    pub fn insert(&mut self, entries: &[Entry], id: u32) {
        self.insert_item(entries, Item::new(entries, id));
    }

    fn insert_item(&mut self, entries: &[Entry], item: Item) {
        let mut place = self.seek(entries, entries[item.id as usize].key());
        if place.block == self.blocks.len() {
            // Behind the last entry: ascending inserts fill blocks to the brim.
            match self.blocks.last_mut() {
                Some(last) if last.len() < BLOCK_MAX => last.push(item),
                _ => self.blocks.push(vec![item]),
            }
            return;
        }
        if self.blocks[place.block].len() == BLOCK_MAX {
            let upper = self.blocks[place.block].split_off(BLOCK_MAX / 2);
            self.blocks.insert(place.block + 1, upper);
            if place.index > BLOCK_MAX / 2 {
                place = Place {
                    block: place.block + 1,
                    index: place.index - BLOCK_MAX / 2,
                };
            }
        }
        self.blocks[place.block].insert(place.index, item);
    }

    /// Takes every entry from `from` up to `to` out of the list, naming each.
    pub fn remove(&mut self, from: Place, to: Place, mut removed: impl FnMut(u32)) {
        if from >= to {
            return;
        }
        for block in from.block..=to.block.min(self.blocks.len() - 1) {
            let items = &mut self.blocks[block];
            let start = if block == from.block { from.index } else { 0 };
            let stop = if block == to.block {
                to.index
            } else {
                items.len()
            };
            items.drain(start..stop).for_each(|item| removed(item.id));
        }
        let last = to.block.min(self.blocks.len() - 1);
        let kept: Vec<Vec<Item>> = self
            .blocks
            .drain(from.block..=last)
            .filter(|block| !block.is_empty())
            .collect();
        self.blocks.splice(from.block..from.block, kept);
    }
}
