//! One immutable sorted file: mapped, checked, searched.
//!
//! Relies on `Env::map` and on the file never changing after its name appeared. What must stay
//! true: no byte is interpreted before the checksum of its page (or of the meta block) held; any
//! length or place read from the file is bounds-checked, so a wrong one is `Corrupt`, not a panic.
//!
//! `storage/FORMAT.md` draws the layout; `format` holds its constants.

mod builder;
mod cursor;
mod filter;
mod format;
mod hash;
mod pages;

pub(crate) use builder::Builder;
pub(crate) use cursor::Cursor;
pub(crate) use format::SpaceMeta;
pub(crate) use hash::hash_key;

use std::path::{Path, PathBuf};

use rama_io::{Env, Mapping};

use crate::lsm::error::{Corruption, Error};
use crate::lsm::layer::Found;
use crate::lsm::store::Identity;

use filter::Filter;
use format::{DELETED, Meta, Superblock, Trailer};
use hash::Slots;
use pages::Pages;

/// A sorted file in use.
#[derive(Debug)]
pub(crate) struct Table {
    pub id: u64,
    pages: Pages,
    meta: Meta,
}

/// One entry as it lies in the file.
struct Entry<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
    next: usize,
}

/// The file of a table.
pub(crate) fn table_path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:012}.table"))
}

impl Table {
    /// Maps a table and checks everything but its pages, which are checked when first touched.
    ///
    /// # Errors
    /// `Corrupt`, `Foreign` or `Io`.
    pub async fn open<E: Env>(
        env: &E,
        dir: &Path,
        id: u64,
        identity: Identity,
    ) -> Result<Table, Error> {
        let path = table_path(dir, id);
        let map = env.map(&path).await.map_err(Error::io("map", &path))?;
        Superblock::check(&path, &map, identity, id)?;
        Ok(Table::from_map(path, id, map)?)
    }

    /// Checks a file whose owner is known.
    fn from_map(path: PathBuf, id: u64, map: Mapping) -> Result<Table, Corruption> {
        let meta = Trailer::read(&path, &map)?.meta(&path, &map)?;
        let table = Table {
            id,
            pages: Pages::new(path, map, &meta),
            meta,
        };
        table.check()?;
        Ok(table)
    }

    /// A table of whoever's, by its bytes: its id, its owner and itself.
    pub fn whose(path: &Path, bytes: Vec<u8>) -> Result<(u64, Identity, Table), Corruption> {
        let (identity, id) = Superblock::read(path, &bytes)?;
        let table = Table::from_map(path.to_owned(), id, Mapping::new(bytes))?;
        Ok((id, identity, table))
    }

    /// The spaces it has entries or range deletes of, ascending.
    pub fn spaces(&self) -> &[SpaceMeta] {
        &self.meta.spaces
    }

    pub fn file_bytes(&self) -> u64 {
        self.pages.file_bytes()
    }

    /// Checks what lookups rely on for termination and bounds.
    fn check(&self) -> Result<(), Corruption> {
        let meta = &self.meta;
        let paged = meta.pages.len() as u64 * format::PAGE_BYTES as u64;
        let sections = [meta.hash, meta.filter];
        let aligned = meta.hash.at.is_multiple_of(format::UNIT_BYTES as u64);
        let in_bounds = aligned
            && sections
                .iter()
                .all(|s| s.at.checked_add(s.len).is_some_and(|e| e <= paged));
        let ordered = meta
            .spaces
            .is_sorted_by(|a, b| a.space < b.space && a.end <= b.begin);
        let groups = meta.spaces.iter().all(|space| {
            space.begin <= space.end
                && space.end <= paged
                && space.groups.is_sorted_by(|a, b| a.at < b.at)
                && space
                    .groups
                    .first()
                    .is_none_or(|group| u64::from(group.at) == space.begin)
                && space
                    .groups
                    .last()
                    .is_none_or(|group| u64::from(group.at) < space.end)
                && (space.begin == space.end) == space.groups.is_empty()
        });
        if in_bounds && ordered && groups {
            return Ok(());
        }
        Err(self
            .pages
            .corrupt(0, "a meta block whose places are inside the file", "others"))
    }

    /// Looks a key up by its [`hash_key`]. `filtered`: ask the filter first, which pays when an
    /// older run may hold the key as well.
    pub fn get(
        &self,
        space: &SpaceMeta,
        key: &[u8],
        hash: u64,
        filtered: bool,
    ) -> Result<Found<'_>, Error> {
        if filtered && !Filter::new(&self.pages, self.meta.filter).may_hold(hash)? {
            return Ok(Found::Unknown);
        }
        let mut slots = Slots::new(&self.pages, self.meta.hash, hash);
        while let Some(at) = slots.next()? {
            if (at as u64) < space.begin || at as u64 >= space.end {
                continue;
            }
            let entry = self.entry(space, at)?;
            if entry.key == key {
                return Ok(entry.value.map_or(Found::Deleted, Found::Value));
            }
        }
        Ok(Found::Unknown)
    }

    #[inline]
    fn entry(&self, space: &SpaceMeta, at: usize) -> Result<Entry<'_>, Error> {
        const HEAD: usize = format::ENTRY_HEAD_BYTES;
        let mut bytes = self.pages.rest(at)?;
        if bytes.len() < HEAD {
            bytes = self.pages.bytes(at, HEAD)?;
        }
        let key_len = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        let raw = u32::from_le_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]);
        let value_len = if raw == DELETED { 0 } else { raw as usize };
        let len = HEAD + key_len + value_len;
        if bytes.len() < len {
            bytes = self.pages.bytes(at, len)?;
        }
        let (key, value) = (&bytes[HEAD..HEAD + key_len], &bytes[HEAD + key_len..len]);
        let next = (at + len).next_multiple_of(format::UNIT_BYTES);
        if next as u64 > space.end {
            let wrong = self
                .pages
                .corrupt(at, "an entry inside its space", "one behind it");
            return Err(wrong.into());
        }
        let value = (raw != DELETED).then_some(value);
        Ok(Entry { key, value, next })
    }

    /// The place of the first entry of `space` with `key` or a larger one.
    fn seek(&self, space: &SpaceMeta, key: &[u8]) -> Result<usize, Error> {
        if key <= &space.first_key[..] {
            return Ok(space.begin as usize);
        }
        if key > &space.last_key[..] {
            return Ok(space.end as usize);
        }
        // Between first and last key, so it shares their common prefix.
        let prefix = format::prefix(&key[space.skip as usize..]);
        let (mut low, mut high) = (0, space.groups.len());
        while low < high {
            let middle = (low + high) / 2;
            let group = &space.groups[middle];
            let ordering = group.prefix.cmp(&prefix);
            let upto = match ordering.is_eq() {
                true => self.entry(space, group.at as usize)?.key <= key,
                false => ordering.is_lt(),
            };
            if upto {
                low = middle + 1
            } else {
                high = middle
            }
        }
        let mut at = space.groups[low.saturating_sub(1)].at as usize;
        while (at as u64) < space.end {
            let entry = self.entry(space, at)?;
            if entry.key >= key {
                break;
            }
            at = entry.next;
        }
        Ok(at)
    }

    /// Verifies one page after the other; false when there is no page `index`.
    pub fn verify_page(&self, index: usize) -> Result<bool, Corruption> {
        self.pages.verify_page(index)
    }
}
