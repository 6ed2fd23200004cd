//! The hash index of a table: from a key's hash to the places that may hold it.
//!
//! Relies on `pages`. What must stay true: the hash function and the slot layout are part of the
//! file format; there is always an empty slot, and a damaged index without one still ends.

use rama_wire::SpaceId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::lsm::error::Corruption;
use crate::lsm::table::format::{Section, UNIT_BYTES};
use crate::lsm::table::pages::Pages;

const SLOT_BYTES: usize = 4;

/// The hash of a key as tables use it.
#[inline]
pub(crate) fn hash_key(space: SpaceId, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, u64::from(space.0))
}

#[inline]
fn home(hash: u64, slot_count: usize) -> usize {
    (((hash >> 32) * slot_count as u64) >> 32) as usize
}

#[inline]
fn tag(hash: u64) -> u32 {
    hash as u32 & 0xff
}

/// Builds the slots, three quarters full.
pub(crate) struct SlotsBuilder {
    slots: Vec<u32>,
}

impl SlotsBuilder {
    pub fn new(entry_count: usize) -> SlotsBuilder {
        SlotsBuilder {
            slots: vec![0; entry_count + entry_count / 3 + 1],
        }
    }

    pub fn insert(&mut self, hash: u64, at: usize) {
        let mut index = home(hash, self.slots.len());
        while self.slots[index] != 0 {
            index += 1;
            if index == self.slots.len() {
                index = 0;
            }
        }
        self.slots[index] = tag(hash) << 24 | (at / UNIT_BYTES) as u32;
    }

    pub fn encode(&self, into: &mut Vec<u8>) {
        into.reserve(self.slots.len() * SLOT_BYTES);
        self.slots
            .iter()
            .for_each(|slot| into.extend_from_slice(&slot.to_le_bytes()));
    }
}

/// The candidates of one hash.
pub(crate) struct Slots<'a> {
    pages: &'a Pages,
    section: Section,
    /// Where the next slot lies in the section.
    at: usize,
    /// The verified slots from there on, up to the end of a page.
    rest: &'a [u8],
    seen: usize,
    tag: u32,
}

impl<'a> Slots<'a> {
    #[inline]
    pub fn new(pages: &'a Pages, section: Section, hash: u64) -> Slots<'a> {
        let at = home(hash, section.len as usize / SLOT_BYTES) * SLOT_BYTES;
        let (rest, tag) = (&[][..], tag(hash));
        Slots {
            pages,
            section,
            at,
            rest,
            seen: 0,
            tag,
        }
    }

    /// The next place that may hold the key.
    #[inline]
    pub fn next(&mut self) -> Result<Option<usize>, Corruption> {
        let end = self.section.len as usize;
        while self.seen < end {
            if self.at + SLOT_BYTES > end {
                self.at = 0;
                self.rest = &[];
            }
            let Some((slot, rest)) = self.rest.split_first_chunk() else {
                self.rest = self.pages.rest(self.section.at as usize + self.at)?;
                continue;
            };
            let slot = u32::from_le_bytes(*slot);
            if slot == 0 {
                return Ok(None);
            }
            self.rest = rest;
            self.at += SLOT_BYTES;
            self.seen += SLOT_BYTES;
            if slot >> 24 == self.tag {
                return Ok(Some((slot & 0xff_ffff) as usize * UNIT_BYTES));
            }
        }
        Ok(None)
    }
}
