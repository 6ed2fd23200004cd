//! The checked bytes of a table: a page is verified when it is first touched.
//!
//! Relies on the mapping being immutable. What must stay true: `bytes` answers only from pages
//! whose crc32c held since the file was mapped; a place outside the pages is corruption.

use std::cell::Cell;
use std::path::PathBuf;

use rama_io::Mapping;
use rama_wire::entry::crc32c;

use crate::lsm::error::Corruption;
use crate::lsm::mutant::{Mutant, planted};
use crate::lsm::table::format::{Meta, PAGE_BYTES, corrupt};

#[derive(Debug)]
pub(crate) struct Pages {
    file: PathBuf,
    map: Mapping,
    crcs: Vec<u32>,
    /// One bit per page.
    verified: Vec<Cell<u64>>,
}

impl Pages {
    pub fn new(file: PathBuf, map: Mapping, meta: &Meta) -> Pages {
        let crcs = meta.pages.clone();
        let verified = vec![Cell::new(0); crcs.len().div_ceil(64)];
        Pages {
            file,
            map,
            crcs,
            verified,
        }
    }

    pub fn file_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// Some bytes, verified.
    #[inline]
    pub fn bytes(&self, at: usize, len: usize) -> Result<&[u8], Corruption> {
        let first = at / PAGE_BYTES;
        let last = (at + len.max(1) - 1) / PAGE_BYTES;
        for page in first..=last {
            self.want(page)?;
        }
        Ok(&self.map[at..at + len])
    }

    /// The verified bytes from `at` to the end of its page, at least one.
    #[inline]
    pub fn rest(&self, at: usize) -> Result<&[u8], Corruption> {
        let page = at / PAGE_BYTES;
        self.want(page)?;
        Ok(&self.map[at..(page + 1) * PAGE_BYTES])
    }

    #[inline]
    fn want(&self, page: usize) -> Result<(), Corruption> {
        let word = self.verified.get(page / 64);
        if word.is_some_and(|word| word.get() >> (page % 64) & 1 == 1) {
            return Ok(());
        }
        self.verify(page)
    }

    /// Verifies a page that exists; false when it does not.
    pub fn verify_page(&self, page: usize) -> Result<bool, Corruption> {
        if page >= self.crcs.len() {
            return Ok(false);
        }
        self.verify(page).map(|()| true)
    }

    #[cold]
    fn verify(&self, page: usize) -> Result<(), Corruption> {
        let at = page * PAGE_BYTES;
        let Some(&expected) = self.crcs.get(page) else {
            let pages = format!("a place in one of {} pages", self.crcs.len());
            return Err(self.corrupt(at, pages, "one behind them"));
        };
        // The meta block begins behind the last page, so every page is inside of the map.
        let found = crc32c(&self.map[at..at + PAGE_BYTES]);
        if found != expected && !planted(Mutant::PagesNotVerified) {
            let expected = format!("page with crc32c {expected:08x}");
            return Err(self.corrupt(at, expected, format!("{found:08x}")));
        }
        let word = &self.verified[page / 64];
        word.set(word.get() | 1 << (page % 64));
        Ok(())
    }

    pub fn corrupt(
        &self,
        offset: usize,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Corruption {
        corrupt(&self.file, offset, expected, found)
    }
}
