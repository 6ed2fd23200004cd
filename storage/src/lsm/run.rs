//! A sorted run: tables that do not overlap, read as one.
//!
//! Relies on `table`. What must stay true: per space, the tables of a run hold ascending, disjoint
//! key ranges; the range deletes of all its tables hide older runs only, and everywhere in the
//! space, not just where the table that carries them has entries.

mod writer;

pub(crate) use writer::{Entries, Writer};

use std::rc::Rc;

use rama_wire::SpaceId;

use crate::lsm::error::Error;
use crate::lsm::layer::Found;
use crate::lsm::merge::Item;
use crate::lsm::ranges::RangeSet;
use crate::lsm::read::Order;
use crate::lsm::table::{self, Table};

/// Non-overlapping tables in ascending order.
#[derive(Debug)]
pub(crate) struct Run {
    tables: Vec<Rc<Table>>,
    spaces: Vec<RunSpace>,
}

/// One space in a run.
#[derive(Debug)]
pub(crate) struct RunSpace {
    pub id: SpaceId,
    ranges: RangeSet,
    parts: Vec<Part>,
    /// The smallest id of a table that says something of it.
    oldest: u64,
}

/// The entries of one space in one table.
#[derive(Debug)]
pub(crate) struct Part {
    pub table: Rc<Table>,
    /// Place in `Table::spaces`.
    space: usize,
}

impl Part {
    pub fn meta(&self) -> &table::SpaceMeta {
        &self.table.spaces()[self.space]
    }
}

impl Run {
    pub fn new(tables: Vec<Rc<Table>>) -> Run {
        let mut spaces: Vec<RunSpace> = Vec::new();
        for table in &tables {
            for (place, meta) in table.spaces().iter().enumerate() {
                let id = SpaceId(meta.space);
                if spaces.last().is_none_or(|space| space.id != id) {
                    spaces.push(RunSpace {
                        id,
                        ranges: RangeSet::default(),
                        parts: Vec::new(),
                        oldest: table.id,
                    });
                }
                let space = spaces.last_mut().expect("pushed above when missing");
                space.oldest = space.oldest.min(table.id);
                for range in &meta.ranges {
                    space.ranges.add(&range.lo, range.hi.as_deref());
                }
                if meta.begin < meta.end {
                    space.parts.push(Part {
                        table: table.clone(),
                        space: place,
                    });
                }
            }
        }
        assert!(
            spaces.is_sorted_by(|a, b| a.id < b.id),
            "the tables of a run ascend"
        );
        Run { tables, spaces }
    }

    pub fn tables(&self) -> &[Rc<Table>] {
        &self.tables
    }

    pub fn spaces(&self) -> &[RunSpace] {
        &self.spaces
    }

    pub fn file_bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.file_bytes()).sum()
    }

    #[inline]
    pub fn space(&self, id: SpaceId) -> Option<&RunSpace> {
        let place = self.spaces.partition_point(|space| space.id < id);
        self.spaces.get(place).filter(|space| space.id == id)
    }
}

impl RunSpace {
    pub fn ranges(&self) -> &RangeSet {
        &self.ranges
    }

    /// The tables with entries, ascending.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The smallest id of a table that says something of the space.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// What the run says about a key.
    #[inline]
    pub fn get(&self, key: &[u8], hash: u64, filtered: bool) -> Result<Found<'_>, Error> {
        let place = self
            .parts
            .partition_point(|part| &part.meta().last_key[..] < key);
        if let Some(part) = self.parts.get(place)
            && key >= &part.meta().first_key[..]
        {
            let found = part.table.get(part.meta(), key, hash, filtered)?;
            if found != Found::Unknown {
                return Ok(found);
            }
        }
        let hidden = self.ranges.covering(key).is_some();
        Ok(if hidden {
            Found::Deleted
        } else {
            Found::Unknown
        })
    }

    /// The table that has, or would have, an entry of `key`.
    pub fn table_of(&self, key: &[u8]) -> u64 {
        let place = self
            .parts
            .partition_point(|part| &part.meta().last_key[..] < key);
        self.parts.get(place).map_or(u64::MAX, |part| part.table.id)
    }

    /// The entries with `lo <= key < hi`.
    pub fn cursor(&self, lo: &[u8], hi: Option<&[u8]>) -> Cursor<'_> {
        let first = self
            .parts
            .partition_point(|part| &part.meta().last_key[..] < lo);
        let behind = hi.map_or(self.parts.len(), |hi| {
            self.parts
                .partition_point(|part| &part.meta().first_key[..] < hi)
        });
        let parts = self.parts.get(first..behind).unwrap_or_default();
        Cursor {
            parts,
            open: None,
            lo: lo.to_vec(),
            hi: hi.map(<[u8]>::to_vec),
        }
    }
}

/// Walks the tables of a run, one after the other.
pub(crate) struct Cursor<'a> {
    parts: &'a [Part],
    open: Option<table::Cursor<'a>>,
    lo: Vec<u8>,
    hi: Option<Vec<u8>>,
}

impl<'a> Cursor<'a> {
    #[inline]
    pub fn step(&mut self, order: Order) -> Result<Option<Item<'a>>, Error> {
        loop {
            if let Some(open) = &mut self.open
                && let Some(item) = open.step(order)?
            {
                return Ok(Some(item));
            }
            let next = match order {
                Order::Ascending => self.parts.split_first(),
                Order::Descending => self.parts.split_last(),
            };
            let Some((part, rest)) = next else {
                self.open = None;
                return Ok(None);
            };
            self.parts = rest;
            let hi = self.hi.as_deref();
            self.open = Some(table::Cursor::new(&part.table, part.meta(), &self.lo, hi)?);
        }
    }

    /// The table of the entry given last.
    pub fn table(&self) -> Option<u64> {
        self.open.as_ref().map(table::Cursor::table)
    }

    /// Skips what lies below `key`.
    pub fn skip_below(&mut self, key: &[u8]) -> Result<(), Error> {
        if key > &self.lo[..] {
            self.lo = key.to_vec();
        }
        self.open
            .as_mut()
            .map_or(Ok(()), |open| open.skip_below(key))
    }

    /// Skips `key` and what lies above it.
    pub fn skip_from(&mut self, key: &[u8]) -> Result<(), Error> {
        if self.hi.as_deref().is_none_or(|hi| key < hi) {
            self.hi = Some(key.to_vec());
        }
        self.open
            .as_mut()
            .map_or(Ok(()), |open| open.skip_from(key))
    }
}
