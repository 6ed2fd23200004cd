//! The filter of a table: answers "not here" for most keys that are not, from one cache line.
//!
//! Relies on `pages`. A split-block filter: a hash picks a block of eight 32-bit words and one bit
//! in each, ten bits per key, about one false positive in a hundred. What must stay true: it never
//! says "not here" of a key that was added (no false negative), so hash and layout are part of the
//! file format.

use crate::lsm::error::Corruption;
use crate::lsm::table::format::Section;
use crate::lsm::table::pages::Pages;

const WORDS: usize = 8;
const BLOCK_BYTES: usize = WORDS * 4;
const BITS_PER_KEY: usize = 10;
/// Odd numbers that spread one hash over eight words.
const SALTS: [u32; WORDS] = [
    0x9e37_79b1,
    0x85eb_ca77,
    0xc2b2_ae3d,
    0x27d4_eb2f,
    0x1656_67b1,
    0xd6e8_feb9,
    0xa076_1d65,
    0xe703_7ed1,
];

#[inline]
fn block_of(hash: u64, block_count: usize) -> usize {
    (((hash >> 32) * block_count as u64) >> 32) as usize
}

#[inline]
fn bit(hash: u64, word: usize) -> u32 {
    1 << ((hash as u32).wrapping_mul(SALTS[word]) >> 27)
}

/// Builds the blocks.
pub(crate) struct FilterBuilder {
    blocks: Vec<[u32; WORDS]>,
}

impl FilterBuilder {
    pub fn new(entry_count: usize) -> FilterBuilder {
        let bits = entry_count * BITS_PER_KEY;
        FilterBuilder {
            blocks: vec![[0; WORDS]; bits.div_ceil(BLOCK_BYTES * 8)],
        }
    }

    pub fn insert(&mut self, hash: u64) {
        let index = block_of(hash, self.blocks.len());
        let block = &mut self.blocks[index];
        for (word, bits) in block.iter_mut().enumerate() {
            *bits |= bit(hash, word);
        }
    }

    pub fn encode(&self, into: &mut Vec<u8>) {
        for word in self.blocks.iter().flatten() {
            into.extend_from_slice(&word.to_le_bytes());
        }
    }
}

/// The filter as it lies in the file.
pub(crate) struct Filter<'a> {
    pages: &'a Pages,
    section: Section,
}

impl<'a> Filter<'a> {
    #[inline]
    pub fn new(pages: &'a Pages, section: Section) -> Filter<'a> {
        Filter { pages, section }
    }

    /// False when the key is certainly not in the table.
    #[inline]
    pub fn may_hold(&self, hash: u64) -> Result<bool, Corruption> {
        let count = self.section.len as usize / BLOCK_BYTES;
        if count == 0 {
            return Ok(false);
        }
        let at = self.section.at as usize + block_of(hash, count) * BLOCK_BYTES;
        let (words, _) = self.pages.bytes(at, BLOCK_BYTES)?.as_chunks::<4>();
        let hit =
            |(word, bytes): (usize, &[u8; 4])| u32::from_le_bytes(*bytes) & bit(hash, word) != 0;
        Ok(words.iter().enumerate().all(hit))
    }
}
